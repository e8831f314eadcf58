"""Every address that answers a GET: with an object as most are, and with the largest of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Model, QuerySet
from django.urls import get_resolver, reverse

ANYBODY = ("clara", "amir", "elena", "mina", "lea", "dora", "tom")
FILES = {"audit-csv", "audit-parquet", "audit-evidence", "report-download", "bundle-download", "version-bom",
         "ledger-proof", "ledger-head", "ledger-consistency", "window-file", "window-evidently", "portal-verifier",
         "statement-file", "openapi"}  # fmt: skip
PICTURES = {"audit-chart", "audit-closer-chart", "monitor-track", "monitor-stream-chart",
            "generator-curve"}  # fmt: skip
ACTS = {
    "sign-out", "theme", "ledger-verify", "notifications-read", "failed-mails-again", "failed-mails-leave",
    "intake-start", "intake-files", "intake-finish", "intake-recheck", "intake-confirm", "intake-discard",
    "import-mapping", "import-confirm", "import-discard", "audit-cancel", "audit-resume", "protocol-approve",
    "webhook-act", "webhook-message-act", "monitor-act", "generator-training-cancel", "generator-training-resume",
    "patients-order-cancel", "repair-cancel", "repair-resume", "repair-audit", "statement-withdraw", "statement-carry",
    "version-submit", "version-retire", "review-open", "bundle-request", "comment-new", "recuse", "recuse-member",
    "review-withdraw", "condition-new", "condition-remove", "condition-act", "release-export", "release-withdraw",
    "release-revoke", "policy-approve", "policy-withdraw", "acceptance-revoke", "incident-amend", "incident-assign",
    "incident-investigate", "incident-close", "incident-reopen", "incident-draft", "incident-reported",
    "incident-explained", "token-revoke", "portal-bundle-link", "portal-link", "report-request", "notification",
    "account-sign-on-remove", "account-sessions", "invitation-withdraw", "language",
}  # fmt: skip
"""Addresses that take a POST, or that do something when they are opened."""
LEFT_OUT = {
    "gallery": "needs a generator that was trained",
    "gallery-image": "needs a generator that was trained",
    "release-download": "a file of a generator's patients",
    "window-cases": "needs the sample of a delivered window",
    "statement-file": "needs an upload",
    "study-image": "needs the key that opening a study gives",
    "compare-chart": "the audits of the full house are alike: there is no difference to draw",
    "repair": "needs a finding that a repair can be ordered for",
    "repair-new": "the same",
    "repair-progress": "the same",
    "account-prove": "asks for a second proof of who one is",
    "invitation": "needs the token of an invitation",
    "gap-accept": "needs a gap of the policy that was found just before",
}
"""Addresses that the full house has nothing for."""


OF_A_LIBRARY = ("account_", "mfa_", "socialaccount_", "openid_connect_")
"""Names of django-allauth begin so: its pages of signing in are not measured."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An address. ``object`` is ``usual``, ``largest`` or a state; ``who`` are people who open it by turns."""

    name: str
    object: str
    address: str
    who: tuple[str, ...] = ANYBODY

    @property
    def kind(self) -> str:
        return "file" if self.name in FILES else "picture" if self.name in PICTURES else "page"

    @property
    def title(self) -> str:
        return f"{self.name} ({self.object})" if self.object else self.name


def every_address() -> list[Asked]:
    """What is measured.

    Raises:
        SystemExit: an address of the house is neither measured, nor an act, nor left out with a reason.
    """
    found = [*_plain(), *_registry(), *_audits(), *_monitors(), *_synthetic(), *_governance(), *_regulation(),
             *_others()]  # fmt: skip
    own = {name for name in _names() if not name.startswith(OF_A_LIBRARY)}
    lost = own - {item.name for item in found} - ACTS - set(LEFT_OUT)
    if lost:
        raise SystemExit(f"Addresses that nothing asks for: {sorted(lost)}. Add them to benchmarks/web_addresses.py.")
    return found


def _names() -> set[str]:
    found: set[str] = set()

    def walk(patterns: list[Any], prefix: str) -> None:
        for item in patterns:
            route = prefix + str(item.pattern)
            if hasattr(item, "url_patterns"):
                walk(item.url_patterns, route)
            elif (item.name and not route.startswith("api/v1/")) or item.name == "openapi":
                found.add(item.name)

    walk(get_resolver().url_patterns, "")
    return found


def _of(name: str, *chosen: tuple[str, list[Any]], query: str = "", who: tuple[str, ...] = ANYBODY) -> Iterator[Asked]:
    for thing, arguments in chosen:
        yield Asked(name=name, object=thing, address=reverse(name, args=arguments) + query, who=who)


def _two(rows: QuerySet[Any], by: str) -> tuple[Any, Any]:
    """The middle one and the largest one by what hangs on them."""
    ordered = list(rows.annotate(_size=Count(by)).order_by("-_size", "-pk").values_list("pk", flat=True))
    return rows.get(pk=ordered[len(ordered) // 2]), rows.get(pk=ordered[0])


def _pair(model: type[Model], by: str) -> list[tuple[str, list[int]]]:
    usual, largest = _two(model._default_manager.all(), by)
    return [("usual", [usual.pk]), ("largest", [largest.pk])]


def _plain() -> Iterator[Asked]:
    for name in ("systems", "system-new", "cohorts", "import-new", "audit-new", "compare", "workers", "protocols",
                 "protocol-new", "monitors", "monitor-new", "alerts", "webhooks", "reviews", "conditions", "releases",
                 "release-new", "ledger-heads", "ledger-verification", "notifications", "notification-preferences",
                 "risks", "risk-new", "deployments", "deployment-new", "oversight", "incidents", "incident-new",
                 "policies", "policy-new", "grants", "grant-new", "reports", "synthetic", "generator-new",
                 "patients-new", "openapi"):  # fmt: skip
        yield from _of(name, ("", []))
    for who in (*ANYBODY, "ada", "nadia"):
        yield Asked(name="home", object=f"as {who}", address="/", who=(who,))
    yield Asked(name="sign-in", object="", address="/sign-in/", who=("",))
    yield Asked(name="systems", object="with limited roles", address="/systems/", who=("nadia",))
    yield from _of("account", ("", []))
    for name in ("people", "tokens", "failed-mails", "invitations"):
        yield from _of(name, ("", []), who=("ada",))
    yield from _of("audits", ("", []))
    for told, query in (("page 100", "?page=100"), ("searched", "?q=system"), ("failed", "?outcome=fail&sort=cohort"),
                        ("with windows", "?windows=1&page=190")):  # fmt: skip
        yield from _of("audits", (told, []), query=query)


def _registry() -> Iterator[Asked]:
    from models_registry.models import AISystem, Cohort, CohortImport, ModelVersion, VersionIntake
    from models_registry.pages.rooms import ROOMS

    for thing, system in zip(("usual", "largest"), _two(AISystem.objects.all(), "versions__runs"), strict=True):
        for name in ("system", "version-new", "questionnaire", "oversight-system"):
            yield from _of(name, (thing, [system.slug]))
        yield from _of("chapter", (thing, [system.slug, "scope"]), (f"{thing}, product", [system.slug, "product"]))
    for thing, version in zip(("usual", "largest"), _two(ModelVersion.objects.all(), "runs"), strict=True):
        here = [version.system.slug, version.pk]
        yield from _of("version", (thing, here))
        for room in ROOMS:
            if room.key:
                yield from _of(f"version-room-{room.key}", (thing, here))
        for name in ("lineage", "version-use", "requirements", "requirement-counts", "version-bom"):
            yield from _of(name, (thing, here))
        yield from _of("requirements", (f"{thing}, all", here), query="?all=1")
        for name in ("requirement", "statement-write"):
            yield from _of(name, (thing, [*here, "AIA-Art6-3"]))
        yield from _of("report-new", (thing, [*here, "annex_iv"]))
        yield from _of("report-preview", (thing, [*here, "dpia"]))
    for thing, cohort in zip(("usual", "largest"), _two(Cohort.objects.exclude(versions=None), "versions"),
                             strict=True):  # fmt: skip
        yield from _of("cohort", (thing, [cohort.slug]))
        yield from _of("cohort-role", (thing, [cohort.slug]))
        yield from _of("cohort-version", (thing, [cohort.slug, cohort.versions.earliest("pk").pk]))
    for status in ("blocked", "ready"):
        yield from _of("import", (status, [CohortImport.objects.filter(status=status).latest("pk").pk]))
    yield from _of("import-progress", ("", [CohortImport.objects.filter(status="inspecting").latest("pk").pk]))
    intake = VersionIntake.objects.filter(status="ready").select_related("system").latest("pk")
    for name in ("intake", "intake-checks"):
        yield from _of(name, ("", [intake.system.slug, intake.pk]))


def _audits() -> Iterator[Asked]:
    from evaluation.models import AuditRun, Protocol

    usual = AuditRun.objects.filter(settings__bench="usual", window=None).latest("pk")
    largest = AuditRun.objects.get(settings__bench="largest")
    failed = AuditRun.objects.filter(outcome="fail", reviews__isnull=False).earliest("pk")
    for thing, run in (("usual", usual), ("largest", largest), ("closer look", failed)):
        for name in ("audit", "audit-closer", "audit-csv", "audit-parquet", "audit-evidence"):
            yield from _of(name, (thing, [run.pk]))
        for name in ("audit-chart", "audit-chart-table"):
            yield from _of(name, (thing, [run.pk, run.verdicts.earliest("position").position]))
    for status in ("running", "failed"):
        yield from _of("audit", (status, [AuditRun.objects.filter(status=status).latest("pk").pk]))
    yield from _of("audit-progress", ("", [AuditRun.objects.filter(status="running").latest("pk").pk]))
    for kind in ("calibration", "tradeoff", "heatmap"):
        query = "?of=effusion&by=sex" + ("+%26+age&rate=tpr" if kind == "heatmap" else "")
        yield from _of("audit-closer-chart", (kind, [failed.pk, kind]), query=query)
        yield from _of("audit-closer-table", (kind, [failed.pk, kind]), query=query)
    done = list(AuditRun.objects.filter(version=usual.version, status="done", window=None).order_by("-pk")[:2])
    yield from _of("compare", ("two audits", []), query=f"?left=run:{done[0].pk}&right=run:{done[-1].pk}")
    read = AuditRun.objects.filter(protocol__name="reports-explored").exclude(settings__has_key="bench").earliest("pk")
    yield from _of("studies", ("", [read.pk]), who=("lea",))
    yield from _of("study", ("", [read.pk, 0, 3]), who=("lea",))
    yield from _of("protocol", *_pair(Protocol, "runs"))


def _monitors() -> Iterator[Asked]:
    from evaluation.models import Alert, Monitor, MonitorWindow, Webhook

    for thing, monitor in zip(("usual", "largest"), _two(Monitor.objects.filter(status="active"), "windows"),
                              strict=True):  # fmt: skip
        for name in ("monitor", "monitor-track", "monitor-track-table"):
            yield from _of(name, (thing, [monitor.pk]))
        for name in ("monitor-stream", "monitor-stream-chart", "monitor-stream-table"):
            yield from _of(name, (thing, [monitor.pk]), query="?of=age")
        window = monitor.windows.filter(status="judged").latest("index")
        yield from _of("monitor-window", (thing, [monitor.pk, window.index]))
    alarm = MonitorWindow.objects.filter(alarm=True).exclude(evidently_html="").earliest("pk")
    yield from _of("monitor-window", ("alarm", [alarm.monitor_id, alarm.index]))
    yield from _of("window-evidently", ("", [alarm.monitor_id, alarm.index]))
    yield from _of("window-file", ("", [alarm.monitor_id, alarm.index, "evidence"]))
    yield from _of("alert", *_pair(Alert, "events"))
    yield from _of("webhook", *_pair(Webhook, "deliveries"))


def _synthetic() -> Iterator[Asked]:
    from synthetic.models import Generation, GeneratorTraining

    for name in ("generator-training", "generator-training-progress"):
        yield from _of(name, ("", [GeneratorTraining.objects.earliest("pk").pk]))
    yield from _of("generator-curve", ("", [GeneratorTraining.objects.earliest("pk").pk, "tables.loss"]))
    order = Generation.objects.filter(version__isnull=False, status="running").earliest("pk")
    for name in ("patients-order", "patients-order-progress"):
        yield from _of(name, ("", [order.pk]))


def _governance() -> Iterator[Asked]:
    from governance.models import Incident, OversightMeasure, Policy, Review, Risk, SyntheticRelease
    from models_registry.models import Deployment, ModelVersion

    yield from _of("review", *_pair(Review, "comments"))
    yield from _of("review", ("decided", [Review.objects.filter(status="approved").earliest("pk").pk]))
    yield from _of("release", *_pair(SyntheticRelease, "votes"))
    yield from _of("risk", *_pair(Risk, "ratings"))
    for thing, key in _pair(Deployment, "overrides"):
        for name in ("deployment", "overrides", "override-new"):
            yield from _of(name, (thing, key))
    running = ModelVersion.objects.filter(status="approved").earliest("pk")
    yield from _of("deployment-new", ("chosen", []), query=f"?version={running.pk}")
    yield from _of("oversight-measure", ("", [OversightMeasure.objects.earliest("pk").pk]))
    for thing, key in _pair(Incident, "events"):
        for name in ("incident", "incident-clocks"):
            yield from _of(name, (thing, key))
    policy = Policy.objects.filter(status="approved").earliest("pk")
    yield from _of("policy", ("", [policy.pk]))
    version = Review.objects.filter(status="approved").earliest("pk").version
    yield from _of("version-policy", ("", [version.system.slug, version.pk, policy.name]))


def _regulation() -> Iterator[Asked]:
    from governance.models import Bundle, Grant, Report

    rita = ("rita",)
    grant = Grant.objects.earliest("pk")
    bundle = Bundle.objects.earliest("pk")
    version = bundle.review.version
    yield from _of("grant", ("", [grant.pk]), who=("dora",))
    yield from _of("portal", ("", []), who=rita)
    yield from _of("portal-standing", ("", []), who=rita)
    yield from _of("portal-system", ("", [grant.pk, version.system.slug]), who=rita)
    yield from _of("portal-version", ("", [grant.pk, version.pk]), who=rita)
    yield from _of("portal-bundle", ("", [grant.pk, bundle.pk]), who=rita)
    yield from _of("portal-verifier", ("", [grant.pk]), who=rita)
    report = Report.objects.filter(status="issued").earliest("pk")
    yield from _of("report", ("", [report.pk]))
    yield from _of("report-download", ("", [report.pk, "pdf"]))
    yield from _of("bundle", ("", [bundle.pk]))
    yield from _of("bundle-download", ("", [bundle.pk]))


def _others() -> Iterator[Asked]:
    from core.models import LedgerHead, SignedHead, User

    size = LedgerHead.objects.get(pk=1).size
    heads = list(SignedHead.objects.order_by("size").values_list("size", flat=True)[:2])
    yield from _of("ledger", ("", []))
    yield from _of("ledger", ("far back", []), query="?before=5000")
    yield from _of("ledger", ("one act since a day", []), query="?act=run.requested&since=2026-01-01")
    yield from _of("ledger", ("one actor", []), query="?actor=person1")
    yield from _of("ledger-entry", ("", [size // 2]))
    yield from _of("ledger-proof", ("", [size // 2]))
    yield from _of("ledger-head", ("", [heads[0]]))
    yield from _of("ledger-consistency", ("", []), query=f"?from={heads[0]}&to={heads[-1]}")
    yield from _of("person", ("", [User.objects.get(username="clara").pk]), who=("ada",))
