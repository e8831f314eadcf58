"""What a worker does for a gallery: choose patients, find who is most like them, and keep both as one small file."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings

from core.digests import sha256_json
from core.errors import AuscultError
from models_registry.cohorts import open_cohort
from models_registry.leases import unexpected
from models_registry.models import CohortVersion
from models_registry.services.versions import model_store
from synthetic.models import Generation
from synthetic.selectors import cohort_of

log = logging.getLogger(__name__)
SCHEMA = "auscult/gallery/2"


def gallery_file(job: Generation) -> Path:
    """Where the gallery of an order lies: named by what decides it."""
    assert job.result is not None and job.version is not None
    key = {"schema": SCHEMA, "made": job.result.digest, "generator": job.version.digest}
    home: Path = settings.AUSCULT_HOME
    return home / "cache" / "galleries" / f"{sha256_json(key)}.json"


def prepare_gallery(job_id: int) -> None:
    """Write the gallery of an order, or why there is none. Safe to call twice: a gallery that is there stays."""
    job = Generation.objects.select_related("version", "result").get(pk=job_id)
    if job.result is None or job.version is None:
        return
    file = gallery_file(job)
    if file.is_file() and "error" not in json.loads(file.read_text()):
        return
    try:
        _write(file, {"schema": SCHEMA, "cards": _cards(job)})
    except AuscultError as error:
        log.warning("The gallery of order %s cannot be prepared: %s", job_id, error.message)
        _write(file, {"schema": SCHEMA, "cards": [], "error": error.message, "remedy": error.remedy})
    except Exception as error:
        what, _, remedy = unexpected(error).partition(" What to do: ")
        _write(file, {"schema": SCHEMA, "cards": [], "error": what, "remedy": remedy.capitalize()})
        raise


def _write(file: Path, body: dict[str, Any]) -> None:
    """All of it or nothing: two workers that write at once do not mix. Who is like whom is for this account alone."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".partial", delete=False) as partial:
        partial.write(json.dumps(body))
    Path(partial.name).replace(file)


def _cards(job: Generation) -> list[dict[str, Any]]:
    from synthetic.execution_generators import read_cohort
    from synthetic.gallery.cards import choose_cards
    from synthetic.generators.linked import split_cohort
    from synthetic.generators.settings import GeneratorSettings

    assert job.result is not None and job.version is not None
    parent = cohort_of(job.version)
    if parent is None:
        raise AuscultError(
            "The cohort that the generator learnt from is not registered here.", remedy="Train the generator here."
        )
    wanted = GeneratorSettings.from_dict(job.version.config["details"]["settings"])
    parts = split_cohort(read_cohort(parent, wanted), wanted)
    made = read_cohort(job.result, wanted)
    shards = [_shards(cohort) for cohort in (job.result, parent)]
    return [card.to_dict() for card in choose_cards(made, parts[0], parts[-1], shards=shards, seed=wanted.seed)]


def _shards(cohort: CohortVersion) -> dict[str, int]:
    """Study -> its share."""
    reader = open_cohort(model_store().folder_path(cohort.digest))
    return {
        study: number
        for number, part in enumerate(reader.shards)
        for study in reader.table(part, ["study_id"])["study_id"].to_pylist()
    }
