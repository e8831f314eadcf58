"""Reading patient-level content. Every reading is an act: it is in the ledger before anything is shown.

The ledger never learns which study it was: it keeps an HMAC under the installation's own key, the same that overrides
are counted under, so that whoever holds a study's identifier and the key can find who opened it, and nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core import signing
from django.db import transaction

from core import ledger
from core.case_keys import keyed_digest
from core.errors import DeniedError
from core.models import User
from core.reach import limited
from evaluation.access import check_may_read_patients
from evaluation.models import AuditRun
from evaluation.studies.held import HeldStudy, held_study, study_image
from evaluation.studies.index import StudyTexts
from evaluation.studies.selectors import Studies, StudyFilter, StudyLine, StudyPlace, studies_of, texts_of

IMAGE_SECONDS = 3600
"""How long the image of a study that was opened can be asked for."""
SALT = "evaluation.explorer.image"


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """One study with everything that is shown of it.

    Attributes:
        image_key: What its image is asked for with: signed, for this person and this study, for an hour.
    """

    line: StudyLine
    texts: StudyTexts
    held: HeldStudy
    image_key: str


@limited
def list_studies(*, run: AuditRun, chosen: StudyFilter, by: User) -> Studies:
    """The studies of a run that a filter chooses.

    Raises:
        DeniedError: ``by`` may not read patient-level content.
    """
    check_may_read_patients(by)
    found = studies_of(run, chosen)
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="studies.listed",
            subject=("AuditRun", run.pk),
            payload={"filter": _told(chosen, found), "studies": len(found.places)},
        )
    return found


def _told(chosen: StudyFilter, found: Studies) -> dict[str, str]:
    """The filter as the ledger keeps it. A word that is none of the run's may name a patient, and is not kept."""
    return {name: value if value in found.known(name) else "unknown" for name, value in vars(chosen).items() if value}


@limited
def open_study(*, run: AuditRun, place: StudyPlace, chosen: StudyFilter, by: User) -> tuple[OpenedStudy, Studies]:
    """One study, and the chosen ones around it.

    Raises:
        DeniedError: ``by`` may not read patient-level content.
        NotFoundError: the run has no such study.
    """
    check_may_read_patients(by)
    texts = texts_of(run, place)
    around = studies_of(run, chosen)
    line = around.line(place)
    held = held_study(run.cohort.digest, place.shard, line.study_id)
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="study.opened",
            subject=("AuditRun", run.pk),
            payload={"study": keyed_digest("study", run.version.system.slug, line.study_id)},
        )
    key = signing.dumps([by.pk, run.pk, place.shard, place.row], salt=SALT)
    return OpenedStudy(line=line, texts=texts, held=held, image_key=key), around


@limited
def opened_image(*, run: AuditRun, place: StudyPlace, key: str, by: User) -> bytes:
    """The image of a study that ``by`` has opened within the last hour, as PNG. That opening is the act on record.

    Raises:
        DeniedError: ``by`` may not read patient-level content, or has not opened the study.
        NotFoundError: the run has no such study, or the study no image.
    """
    check_may_read_patients(by)
    try:
        opened = signing.loads(key, salt=SALT, max_age=IMAGE_SECONDS)
    except signing.BadSignature:
        opened = None
    if opened != [by.pk, run.pk, place.shard, place.row]:
        raise DeniedError("An image is shown on the page of its study.", remedy="Open the study (again).")
    line = studies_of(run, StudyFilter()).line(place)
    return study_image(run.cohort.digest, place.shard, line.study_id)
