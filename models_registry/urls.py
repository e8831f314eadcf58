"""Addresses of systems, versions and their intakes, cohorts and imports.

A slug never holds a tilde, so a system called "New" or a cohort called "Import" hides no page.
"""

from __future__ import annotations

from django.urls import path

from models_registry.pages import cohorts, imports, intakes, lineage, queue, systems, uploads, versions
from models_registry.pages.rooms import LEDGER, OVERVIEW, ROOMS

__all__ = ["queue", "urlpatterns"]

urlpatterns = [
    path("systems/", systems.system_list, name="systems"),
    path("systems/~new/", systems.system_new, name="system-new"),
    path("systems/<slug:slug>/", systems.system_detail, name="system"),
    path("systems/<slug:slug>/versions/new/", intakes.version_new, name="version-new"),
    path("systems/<slug:slug>/intakes/", uploads.intake_start, name="intake-start"),
    path("systems/<slug:slug>/intakes/<int:pk>/", intakes.intake_detail, name="intake"),
    path("systems/<slug:slug>/intakes/<int:pk>/files/", uploads.intake_files, name="intake-files"),
    path("systems/<slug:slug>/intakes/<int:pk>/finish/", uploads.intake_finish, name="intake-finish"),
    path("systems/<slug:slug>/intakes/<int:pk>/checks/", intakes.intake_checks, name="intake-checks"),
    path("systems/<slug:slug>/intakes/<int:pk>/recheck/", intakes.intake_recheck, name="intake-recheck"),
    path("systems/<slug:slug>/intakes/<int:pk>/confirm/", intakes.intake_confirm, name="intake-confirm"),
    path("systems/<slug:slug>/intakes/<int:pk>/discard/", intakes.intake_discard, name="intake-discard"),
    path("systems/<slug:slug>/versions/<int:pk>/", versions.version_room, name="version"),
    *(
        path(
            f"systems/<slug:slug>/versions/<int:pk>/~{room.key}/",
            versions.version_room,
            {"room": room},
            name=f"version-room-{room.key}",
        )
        for room in ROOMS
        if room not in (OVERVIEW, LEDGER)  # the ledger's room is made on the floor that knows reviews and reports
    ),
    path("systems/<slug:slug>/versions/<int:pk>/lineage/", lineage.lineage, name="lineage"),
    path("systems/<slug:slug>/versions/<int:pk>/ml-bom.cdx.json", versions.version_bom, name="version-bom"),
    path("cohorts/", cohorts.cohort_list, name="cohorts"),
    path("cohorts/~import/", imports.import_new, name="import-new"),
    path("cohorts/~import/<int:pk>/", imports.import_detail, name="import"),
    path("cohorts/~import/<int:pk>/progress/", imports.import_progress, name="import-progress"),
    path("cohorts/~import/<int:pk>/mapping/", imports.import_mapping, name="import-mapping"),
    path("cohorts/~import/<int:pk>/confirm/", imports.import_confirm, name="import-confirm"),
    path("cohorts/~import/<int:pk>/discard/", imports.import_discard, name="import-discard"),
    path("cohorts/<slug:slug>/", cohorts.cohort_detail, name="cohort"),
    path("cohorts/<slug:slug>/role/", cohorts.cohort_role, name="cohort-role"),
    path("cohorts/<slug:slug>/<int:pk>/", cohorts.cohort_detail, name="cohort-version"),
]
