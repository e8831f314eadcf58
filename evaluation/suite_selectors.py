"""The newest audits of one version by what they measure: verdicts of one family of suites. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce

from evaluation.engine.registry import SUITES, known_metrics
from evaluation.models import Alert, AuditRun, Monitor, RunStatus, Verdict
from evaluation.selectors import VerdictSummary, judging_runs, summary_of
from models_registry.models import Deployment, ModelVersion

LOOKED_AT = 40
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class SuiteAudit:
    """One audit with its verdicts of some suites; ``monitor`` is the key of the monitor whose window it judged."""

    run: AuditRun
    summary: VerdictSummary
    monitor: int | None = None


@cache
def metrics_of(suites: frozenset[str]) -> frozenset[str]:
    """The metrics of some suites; those that are not installed have none."""
    return frozenset(name for key, suite in SUITES if key in suites for name in suite.metrics)


def newest_audits_of(version: ModelVersion, suites: frozenset[str]) -> list[SuiteAudit]:
    """The newest audits that measure one of the suites, three at most. Two queries.

    Of each cohort by each protocol the newest; of a monitor's windows the newest window.
    """
    rows = judging_runs().filter(version=version, status=RunStatus.DONE).order_by("-finished_at", "-pk")
    shown_with = ("cohort__cohort", "protocol", "requested_by", "version__system", "window")
    newest: dict[tuple[str, int, str], AuditRun] = {}
    for run in rows.select_related(*shown_with).defer("protocol__source", "cohort__summary")[:LOOKED_AT]:
        if set(run.protocol.body.get("suites", ["fairness"])) & suites:
            monitor = _monitor_of(run)
            of = ("monitor", monitor) if monitor else ("cohort", run.cohort_id)
            newest.setdefault((*of, run.protocol.name), run)
    shown = {run.pk: run for run in list(newest.values())[:SHOWN]}
    verdicts: dict[int, list[Verdict]] = {}
    for verdict in Verdict.objects.filter(run__in=shown).order_by("position"):
        if _is_of(verdict, shown[verdict.run_id], suites):
            verdicts.setdefault(verdict.run_id, []).append(verdict)
    return [
        SuiteAudit(run=run, summary=summary_of(verdicts.get(run.pk, [])), monitor=_monitor_of(run))
        for run in shown.values()
    ]


def _monitor_of(run: AuditRun) -> int | None:
    window = getattr(run, "window", None)
    return window.monitor_id if window else None


def _is_of(verdict: Verdict, run: AuditRun, suites: frozenset[str]) -> bool:
    """Whether a verdict is on a metric of one of the suites; of a metric that is no longer installed, whether its
    audit measured nothing else."""
    metric = str(verdict.detail.get("metric", ""))
    if metric in known_metrics():
        return metric in metrics_of(suites)
    return set(run.protocol.body.get("suites", ["fairness"])) <= suites


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the audits of a version stand.

    Attributes:
        newest: The newest that is done; None before the first.
        lead: The statement of its leading verdict.
        later: The newest that is not done and was requested after it; None where there is none.
        alerts: Open alerts of the version's monitors.
        unwatched: It runs somewhere without a monitor.
    """

    newest: AuditRun | None
    lead: str
    later: AuditRun | None
    alerts: int
    unwatched: bool


def standing_of(version: ModelVersion) -> Standing:
    """How the audits of a version stand. One query."""
    ranked = Verdict.objects.filter(run=OuterRef("pk"), primary=True, outcome=OuterRef("outcome")).order_by("position")
    alerts = Alert.objects.filter(monitor__deployment__version=version).exclude(status=Alert.Status.CLOSED)
    counted = alerts.order_by().values("monitor__deployment__version").annotate(n=Count("pk")).values("n")
    running = Deployment.objects.filter(version=version, status=Deployment.Status.RUNNING)
    watched = Monitor.objects.filter(deployment__version=version).exclude(status=Monitor.Status.ENDED)
    rows = (
        judging_runs()
        .filter(version=version, window=None)
        .annotate(
            lead=Subquery(ranked.values("statement")[:1]),
            open_alerts=Coalesce(Subquery(counted), 0),
            runs_somewhere=Exists(running),
            watched=Exists(watched),
        )
    )
    return _standing(list(rows.select_related("protocol", "cohort__cohort").defer(*UNSHOWN)[:LOOKED_AT]))


UNSHOWN = ("protocol__source", "protocol__body", "cohort__summary")


def _standing(rows: Iterable[AuditRun]) -> Standing:
    known = list(rows)
    newest = next((run for run in known if run.status == RunStatus.DONE), None)
    later = known[0] if known and known[0].status not in (RunStatus.DONE, RunStatus.CANCELLED) else None
    first = known[0] if known else None
    return Standing(
        newest=newest,
        lead=getattr(newest, "lead", None) or "",
        later=later,
        alerts=getattr(first, "open_alerts", 0),
        unwatched=bool(first) and getattr(first, "runs_somewhere", False) and not getattr(first, "watched", True),
    )
