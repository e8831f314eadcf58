"""Asking for the files of a released cohort. A worker writes and signs them."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.plain_text import written
from core.reach import service
from governance.access_releases import check_may_export_release
from governance.models import ReleaseExport, SyntheticRelease
from governance.selectors.releases import check_released

MOST_WORDS = 300


@service
def request_export(*, release: SyntheticRelease, publisher: str, contact: str, licence: str, by: User) -> ReleaseExport:
    """Order the files of a released cohort: Parquet, CSV, DICOM and FHIR, a datasheet, a signed statement.

    Args:
        publisher, contact, licence: What the files say of where they come from, whom to ask, and what one may do with
            them.

    Raises:
        DeniedError: the person may not, or the release does not stand.
        ConflictError: the set was not made by a generator of this installation, or its files are being written.
        AuscultError: a text is empty, too long, or holds a character that cannot be printed.
    """
    check_may_export_release(by, release)
    check_released(release.cohort)
    if release.cohort.parent_id is None:
        raise ConflictError(
            f"{release.cohort} was not made by a generator of this installation, so there is no datasheet to write.",
            remedy="Give its recipients the settings of the simulator: equal settings make equal patients.",
        )
    terms = {
        "publisher": written(publisher, name="The publisher", most=MOST_WORDS),
        "contact": written(contact, name="The contact", most=MOST_WORDS),
        "licence": written(licence, name="The licence", most=MOST_WORDS),
    }
    try:
        with transaction.atomic():
            export = ReleaseExport.objects.create(release=release, terms=terms, issued_by=by)
    except IntegrityError as error:
        raise ConflictError("The files of this release are being written.", remedy="Wait for them.") from error
    ledger.record(
        actor=by.username,
        act="release.export_requested",
        subject=("SyntheticRelease", release.pk),
        payload={"export": export.pk, "cohort": release.cohort_digest, "evidence": release.evidence_digest},
    )
    from governance import tasks

    tasks.write_release.delay_on_commit(export.pk)
    return export
