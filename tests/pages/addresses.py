"""Every address of the house, by what it needs."""

from __future__ import annotations

from types import SimpleNamespace

from django.urls import reverse

from models_registry.pages.rooms import ROOMS

CROSSED = "?of=effusion&by=sex+%26+age&rate=tpr"
"""The closer look at the one intersection that the scene has measured."""


def pages(house: SimpleNamespace) -> list[str]:
    """Pages for everyone of the house: HTML, by GET."""
    slug = house.system.slug
    return [
        reverse("systems"),
        reverse("system-new"),
        reverse("system", args=[slug]),
        reverse("version-new", args=[slug]),
        reverse("version", args=[slug, house.version.pk]),
        reverse("version", args=[slug, house.candidate.pk]),
        *(reverse(f"version-room-{room.key}", args=[slug, house.twin.pk]) for room in ROOMS if room.key),
        reverse("lineage", args=[slug, house.version.pk]),
        reverse("cohorts"),
        reverse("import-new"),
        reverse("import", args=[house.blocked.pk]),
        reverse("import", args=[house.ready.pk]),
        reverse("import", args=[house.reading.pk]),
        reverse("cohort", args=[house.cohort.cohort.slug]),
        reverse("cohort-role", args=[house.cohort.cohort.slug]),
        reverse("cohort-version", args=[house.real.cohort.slug, house.real.pk]),
        reverse("audits"),
        reverse("audit-new"),
        reverse("audit", args=[house.fail.pk]),
        reverse("audit", args=[getattr(house, "pass").pk]),
        reverse("audit", args=[house.short.pk]),
        reverse("audit", args=[house.running.pk]),
        reverse("audit", args=[house.broken.pk]),
        reverse("audit-chart-table", args=[house.fail.pk, 0]),
        reverse("compare"),
        reverse("audit-closer", args=[house.fail.pk]),
        reverse("audit-closer-table", args=[house.fail.pk, "heatmap"]) + CROSSED,
        reverse("workers"),
        reverse("monitors"),
        reverse("monitor-new"),
        reverse("alerts"),
        reverse("webhooks"),
        reverse("protocols"),
        reverse("protocol-new"),
        reverse("protocol", args=[house.protocol.pk]),
        reverse("protocol", args=[house.waiting.pk]),
        *_governance(house),
        *_regulation(house),
    ]


def _governance(house: SimpleNamespace) -> list[str]:
    """The rooms in which decisions are taken, and what people are told."""
    slug = house.system.slug
    return [
        reverse("reviews"),
        reverse("review", args=[house.review.pk]),
        reverse("review", args=[house.decided.pk]),
        reverse("conditions"),
        reverse("releases"),
        reverse("release-new"),
        reverse("ledger"),
        reverse("ledger") + "?act=run.requested&since=2026-01-01",
        reverse("ledger-entry", args=[0]),
        reverse("ledger-heads"),
        reverse("notifications"),
        reverse("notification-preferences"),
        reverse("risks"),
        reverse("deployments"),
        reverse("deployment-new"),
        reverse("deployment-new") + f"?version={house.twin.pk}",
        reverse("version-use", args=[slug, house.twin.pk]),
        reverse("oversight"),
        reverse("oversight-system", args=[slug]),
        reverse("risk-new"),
        reverse("incidents"),
        reverse("incident-new"),
        reverse("incident-new") + f"?system={slug}",
        reverse("policies"),
        reverse("policy-new"),
    ]


def _regulation(house: SimpleNamespace) -> list[str]:
    """Regulator access, questions, requirements, statements and documents."""
    slug = house.system.slug
    return [
        reverse("grants"),
        reverse("grant-new"),
        reverse("grant", args=[house.grant.pk]),
        reverse("questionnaire", args=[slug]),
        reverse("chapter", args=[slug, "scope"]),
        reverse("chapter", args=[slug, "product"]),
        reverse("requirements", args=[slug, house.twin.pk]),
        reverse("requirements", args=[slug, house.twin.pk]) + "?all=1",
        reverse("requirement", args=[slug, house.twin.pk, "AIA-Art6-3"]),
        reverse("statement-write", args=[slug, house.twin.pk, "AIA-Art6-3"]),
        reverse("statement-write", args=[slug, house.twin.pk, "AIA-AnnexIV-1-f"]),
        reverse("report-new", args=[slug, house.twin.pk, "dpia"]),
        reverse("report", args=[house.report.pk]),
        reverse("report", args=[house.report_failed.pk]),
        reverse("bundle", args=[house.bundle.pk]),
    ]


def parts(house: SimpleNamespace) -> list[str]:
    """Fragments, pictures and files for everyone of the house."""
    return [
        reverse("audit-progress", args=[house.running.pk]),
        reverse("import-progress", args=[house.reading.pk]),
        reverse("ledger-verification"),
        reverse("version-bom", args=[house.system.slug, house.version.pk]),
        reverse("requirement-counts", args=[house.system.slug, house.version.pk]),
        reverse("report-preview", args=[house.system.slug, house.version.pk, "logs_art12"]),
        reverse("audit-csv", args=[house.fail.pk]),
        reverse("audit-parquet", args=[house.fail.pk]),
        reverse("audit-evidence", args=[house.fail.pk]),
        reverse("audit-chart", args=[house.fail.pk, 0]),
        reverse("audit-closer-chart", args=[house.fail.pk, "heatmap"]) + CROSSED,
    ]


def issued(house: SimpleNamespace) -> list[str]:
    """Documents, for everyone of the house."""
    return [
        reverse("reports"),
        reverse("report-download", args=[house.report.pk, "pdf"]),
        reverse("report-download", args=[house.report.pk, "json"]),
        reverse("bundle-download", args=[house.bundle.pk]),
    ]


def granted(house: SimpleNamespace) -> list[str]:
    """What a regulator opens under a grant, and nobody else."""
    return [
        reverse("portal"),
        reverse("portal-system", args=[house.grant.pk, house.twin.system.slug]),
        reverse("portal-version", args=[house.grant.pk, house.twin.pk]),
        reverse("portal-bundle", args=[house.grant.pk, house.bundle.pk]),
        reverse("portal-verifier", args=[house.grant.pk]),
    ]


def acts(house: SimpleNamespace) -> list[str]:
    """Addresses that only take a POST."""
    return [
        reverse("import-mapping", args=[house.blocked.pk]),
        reverse("import-confirm", args=[house.ready.pk]),
        reverse("import-discard", args=[house.ready.pk]),
        reverse("audit-cancel", args=[house.running.pk]),
        reverse("audit-resume", args=[house.broken.pk]),
        reverse("protocol-approve", args=[house.waiting.pk]),
        reverse("review-open", args=[house.short.pk]),
        reverse("comment-new", args=[house.review.pk]),
        reverse("recuse", args=[house.review.pk]),
        reverse("recuse-member", args=[house.review.pk]),
        reverse("review-withdraw", args=[house.review.pk]),
        reverse("condition-new", args=[house.review.pk]),
        reverse("version-submit", args=[house.system.slug, house.candidate.pk]),
        reverse("version-retire", args=[house.system.slug, house.candidate.pk]),
        reverse("report-request", args=[house.fail.pk]),
        reverse("bundle-request", args=[house.decided.pk]),
        reverse("ledger-verify"),
        reverse("notifications-read"),
        reverse("failed-mails-again"),
        reverse("failed-mails-leave"),
        reverse("statement-withdraw", args=[house.system.slug, house.twin.pk, "GDPR-22", 1]),
        reverse("statement-carry", args=[house.system.slug, house.twin.pk, "GDPR-22", 1]),
    ]


def unknown() -> list[str]:
    """Well-formed addresses of things that do not exist, or belong to something else."""
    return [
        "/governance/ledger/999999/",
        f"/governance/ledger/{10**40}/",
        "/governance/ledger/999999/proof.json",
        "/governance/ledger/heads/999999.json",
        "/systems/nobody/",
        "/systems/nobody/versions/new/",
        "/systems/chest-model/versions/9999/",
        "/systems/text-mined-labels/versions/1/",
        "/systems/chest-model/versions/9999/lineage/",
        "/systems/chest-model/versions/9999/~fairness/",
        "/systems/chest-model/versions/9999/~ledger/",
        "/systems/chest-model/versions/1/~cellar/",
        "/compare/?left=run:9999&right=run:1",
        "/compare/differences.svg",
        "/systems/text-mined-labels/versions/1/ml-bom.cdx.json",
        "/systems/chest-model/intakes/9999/",
        "/systems/chest-model/intakes/9999/checks/",
        "/cohorts/nobody/",
        "/cohorts/emergency-department-2024/1/",
        "/cohorts/~import/9999/",
        "/audits/9999/",
        "/audits/9999/progress/",
        "/audits/9999/measurements.csv",
        "/audits/9999/measurements.parquet",
        "/audits/9999/evidence.json",
        "/audits/1/charts/999.svg",
        "/audits/1/charts/0.svg?theme=neon",
        "/audits/9999/closer/",
        "/audits/9999/explorer/",
        "/audits/9999/explorer/0/0/",
        "/audits/9999/explorer/0/0/image.png",
        "/audits/1/closer/pie.svg",
        "/audits/1/closer/calibration.svg?of=effusion&by=sex",
        "/audits/protocols/9999/",
        "/monitors/9999/",
        "/monitors/9999/track.svg",
        "/monitors/9999/windows/1/",
        "/monitors/alerts/9999/",
        "/monitors/webhooks/9999/",
        *UNKNOWN_TO_GOVERNANCE,
    ]


UNKNOWN_TO_GOVERNANCE = (
    "/governance/reviews/9999/",
    "/governance/releases/9999/",
    "/governance/risks/9999/",
    "/governance/deployments/9999/",
    "/governance/deployments/9999/overrides/",
    "/governance/deployments/9999/overrides/new/",
    "/governance/oversight/nobody/",
    "/governance/oversight/measures/9999/",
    "/systems/chest-model/versions/9999/use/",
    "/governance/incidents/9999/",
    "/governance/incidents/9999/clocks/",
    "/governance/grants/9999/",
    "/governance/policies/9999/",
    "/governance/acceptances/9999/revoke/",
    "/systems/chest-model/versions/1/policies/nothing/",
    "/cohorts/nobody/role/",
    "/reports/9999/pdf/",
    "/reports/1/exe/",
    "/reports/bundles/9999/download/",
    "/reports/bundles/9999/",
    "/reports/9999/",
    "/systems/nobody/questions/",
    "/systems/chest-model/questions/nothing/",
    "/systems/chest-model/versions/9999/requirements/",
    "/systems/chest-model/versions/9999/requirement-counts/",
    "/systems/chest-model/versions/1/requirements/NOTHING/",
    "/systems/chest-model/versions/1/requirements/NOTHING/write/",
    "/systems/chest-model/versions/1/requirements/GDPR-22/statements/9999/files/abc/",
    "/systems/chest-model/versions/1/reports/novel/",
    "/systems/chest-model/versions/1/reports/novel/preview/",
    "/notifications/9999/",
    "/nowhere/",
)
