"""What the registry asks of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import can
from core.models import User
from core.pages.panels import QueueItem, queue_source
from models_registry.access import check_may_import_cohort, check_may_register_version
from models_registry.models import CohortImport, VersionIntake
from models_registry.selectors import failed_trainings, imports_awaiting, intakes_awaiting

IMPORT_WORDS = {
    CohortImport.Status.READY: (
        "Confirm the import of",
        "It was read without errors. Nothing is registered yet.",
        "working",
    ),
    CohortImport.Status.BLOCKED: (
        "Mend the import of",
        "It has errors that stop its registration.",
        "insufficient",
    ),
    CohortImport.Status.FAILED: ("Look at the import of", "It could not be read or registered.", "fail"),
}

INTAKE_WORDS = {
    VersionIntake.Status.RECEIVING: ("Go on with the upload of", "Not all of its files have arrived.", "working"),
    VersionIntake.Status.READY: ("Confirm", "It was checked without errors. Nothing is registered yet.", "working"),
    VersionIntake.Status.BLOCKED: ("Mend", "A check found an error that stops its registration.", "insufficient"),
    VersionIntake.Status.FAILED: ("Look at", "It could not be checked or registered.", "fail"),
}


@queue_source
def versions_on_their_way(user: User) -> Iterator[QueueItem]:
    if not can(check_may_register_version, user):
        return
    for row in intakes_awaiting(user):
        verb, why, tone = INTAKE_WORDS[VersionIntake.Status(row.status)]
        yield QueueItem(
            title=f"{verb} {row.system.name} {row.label}",
            why=why,
            href=reverse("intake", args=[row.system.slug, row.pk]),
            since=row.created_at,
            tone=tone,
            word=row.get_status_display(),
        )


@queue_source
def imports_and_trainings(user: User) -> Iterator[QueueItem]:
    if can(check_may_import_cohort, user):
        for row in imports_awaiting(user):
            verb, why, tone = IMPORT_WORDS[CohortImport.Status(row.status)]
            yield QueueItem(
                title=f"{verb} {row.name}",
                why=why,
                href=reverse("import", args=[row.pk]),
                since=row.created_at,
                tone=tone,
                word=row.get_status_display(),
            )
    for job in failed_trainings(user):
        yield QueueItem(
            title=gettext("Training of %(name)s %(version_label)s failed")
            % {"name": job.system.name, "version_label": job.version_label},
            why=job.error or "The worker gave no reason.",
            href=reverse("system", args=[job.system.slug]),
            since=job.finished_at or job.requested_at,
            tone="fail",
            word="Failed",
        )
