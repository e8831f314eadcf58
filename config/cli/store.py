"""``auscult store``: the content of an installation, and the object store behind it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.object_storage import SharedStore


@click.group()
def store() -> None:
    """Content by digest: weights, cohorts, evidence, reports."""


@store.command(cls=BadInputCommand)
@json_option
def push(as_json: bool) -> None:
    """Bring everything that lies in the local folder into the bucket of AUSCULT_S3_URL.

    Once, when an object store is put behind an installation that had none; again after the bucket was restored. What is
    there is left. Each object is compared with its digest first: what was changed on disk is named, and not sent.

    Exit status: 0 all of it is there, 1 something was changed on disk, 3 the bucket cannot be used.
    """
    from rich.console import Console
    from rich.progress import track

    kept = _shared()
    jobs = list(_content(kept))
    counts = {"objects": 0, "folders": 0, "sent": 0}
    changed = []
    shown = track(jobs, "Sending", console=Console(stderr=True), disable=as_json or not sys.stderr.isatty())
    for kind, digest in shown:
        counts[kind] += 1
        sent = _send(kept, kind, digest)
        counts["sent"] += sent is True
        if sent is None:
            changed.append(digest)
    tell(
        counts | {"bucket": kept.bucket.name, "changed": changed},
        *(f"Changed on disk, not sent: {digest}" for digest in changed),
        f"{counts['objects']:,} objects and {counts['folders']:,} folders are here; {counts['sent']:,} were sent.",
        as_json=as_json,
    )
    sys.exit(1 if changed else 0)


def _shared() -> SharedStore:
    from config.cli import open_installation
    from core.errors import EnvironmentProblemError

    open_installation()
    from core.object_storage import NAMED, SharedStore
    from models_registry.services.versions import model_store

    kept = model_store()
    if not isinstance(kept, SharedStore):
        raise EnvironmentProblemError(f"{NAMED} is not set.", remedy="Set it as the servers have it, and try again.")
    return kept


def _content(kept: SharedStore) -> Iterator[tuple[str, str]]:
    """Kind and digest of everything in the local folder."""
    for kind in ("objects", "folders"):
        for path in sorted((kept.root / kind).glob("??/*")):
            yield kind, path.name


def _send(kept: SharedStore, kind: str, digest: str) -> bool | None:
    """Whether it was sent now; None where it is not what its name says."""
    from core.digests import sha256_file
    from core.errors import DigestMismatchError

    if kind == "objects":
        return kept.push_object(digest) if sha256_file(kept.place(digest)) == digest else None
    try:
        return kept.push_folder(kept.folder_place(digest), digest)
    except DigestMismatchError:
        return None
