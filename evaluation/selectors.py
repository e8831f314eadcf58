"""Reading protocols, runs, verdicts and measurements. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Case, Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum, Value, When, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from core.errors import AuscultError, NotFoundError
from core.models import User
from core.reach import reach_of
from core.scope import everything_in_sight, in_sight
from evaluation.engine.registry import known_metrics
from evaluation.models import (
    AuditRun,
    Measurement,
    Monitor,
    MonitorWindow,
    Outcome,
    Protocol,
    RunStatus,
    Shard,
    ShardStatus,
    Verdict,
)
from models_registry.models import AISystem, CohortVersion, ModelVersion
from models_registry.selectors import unshown
from models_registry.services.versions import model_store

ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.JUDGING)
PEOPLE = (
    "version__system",
    "version__submitted_by",
    "cohort__cohort",
    "protocol__approved_by",
    "requested_by",
)
UNLISTED = (*unshown("version"), "protocol__source", "protocol__body", "cohort__summary")
"""What no list of runs shows: long texts and JSON."""
WORST_FIRST = (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS)
SHARDS_SHOWN = 100
SHARDS_READ = 4 * SHARDS_SHOWN


def list_runs() -> QuerySet[AuditRun]:
    """Every run with what a list shows, newest first."""
    rows = AuditRun.objects.select_related("version__system", "cohort__cohort", "protocol", "requested_by")
    return rows.defer(*UNLISTED)


def requested_runs() -> QuerySet[AuditRun]:
    """Runs that somebody asked for: those of a monitor's windows are listed with the monitor."""
    return list_runs().filter(of_no_window())


def of_no_window() -> Q:
    """That a run judges no monitor's window. A database sees through it that half of the runs may be such."""
    return Q(~Exists(MonitorWindow.objects.filter(run=OuterRef("pk"))))


def newest_by_protocol() -> Q:
    """That a run is the newest that is done of its version by its protocol, windows of monitors left out."""
    later = AuditRun.objects.filter(
        of_no_window(), status=RunStatus.DONE, version=OuterRef("version"), protocol=OuterRef("protocol")
    )
    return Q(~Exists(later.filter(pk__gt=OuterRef("pk"))), status=RunStatus.DONE)


def judging_runs() -> QuerySet[AuditRun]:
    """Runs whose verdicts judge: not those that a monitor's reference was made by, which nothing is compared with."""
    return AuditRun.objects.filter(~Exists(Monitor.objects.filter(reference_run=OuterRef("pk"))))


def runs_of_version(version: ModelVersion) -> QuerySet[AuditRun]:
    return requested_runs().filter(version=version)


def get_run(pk: int) -> AuditRun:
    others = AuditRun.objects.filter(spec_digest=OuterRef("spec_digest")).exclude(pk=OuterRef("pk"))
    rows = AuditRun.objects.select_related(*PEOPLE, "protocol__locked_by").annotate(tried_again=Exists(others))
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such audit.", remedy="Begin at the list of audits.")
    return found


def runs_failed() -> QuerySet[AuditRun]:
    return list_runs().filter(status=RunStatus.FAILED)


def list_protocols() -> QuerySet[Protocol]:
    rows = Protocol.objects.select_related("locked_by", "approved_by").defer("source", "body")
    return rows.annotate(n_runs=Count("runs")).order_by("name", "-locked_at")


def protocols_awaiting() -> QuerySet[Protocol]:
    return Protocol.objects.filter(status=Protocol.Status.LOCKED).select_related("locked_by").defer("source", "body")


def get_protocol(pk: int) -> Protocol:
    found = Protocol.objects.select_related("locked_by", "approved_by").filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such protocol.", remedy="Begin at the list of protocols.")
    return found


def auditable_versions() -> QuerySet[ModelVersion]:
    """Versions that an audit may still be requested for."""
    return (
        ModelVersion.objects.filter(status__in=["submitted", "in_audit", "void"])
        .select_related("system")
        .defer("manifest", "sizes", "config", "card")
    )


def auditable_cohorts() -> QuerySet[CohortVersion]:
    """Cohorts that an audit can be requested on. A cohort belongs to no system: somebody who sees single systems is
    offered those that audits of these systems used, and those that nobody used yet; never a neighbour's."""
    return not_of_neighbours(CohortVersion.objects.select_related("cohort").defer("summary"))


def not_of_neighbours(rows: QuerySet[CohortVersion]) -> QuerySet[CohortVersion]:
    """Without the cohorts that were used by systems out of sight alone."""
    if everything_in_sight():
        return rows
    here, anywhere = AuditRun.objects.values("cohort"), AuditRun._base_manager.values("cohort")
    return rows.filter(Q(pk__in=here) | ~Q(pk__in=anywhere))


def check_not_of_neighbours(by: User, *cohorts: CohortVersion) -> None:
    """Raise where somebody who sees single systems names a cohort that only systems beyond their reach used.

    Forms do not offer these; a program that guesses a number is told what is told of any that is not there.

    Raises:
        NotFoundError: one of the cohorts is a neighbour's.
    """
    if (reach := reach_of(by)) is None:
        return
    keys = {cohort.pk for cohort in cohorts}
    with in_sight(reach):
        found = set(not_of_neighbours(CohortVersion.objects.filter(pk__in=keys)).values_list("pk", flat=True))
    if keys - found:
        raise NotFoundError("There is no such cohort.", remedy="Choose one that is listed.")


def usable_protocols() -> QuerySet[Protocol]:
    return Protocol.objects.filter(status=Protocol.Status.APPROVED).defer("source", "body")


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Where a run is.

    Attributes:
        rate: Studies per second over the shards that were computed, not taken from the cache; None before any.
        eta_seconds: Time left at this rate; None where the rate is unknown.
        shards: Those with something to say (running, failed, taken up again), then the others, 100 at most.
    """

    studies_done: int
    studies_total: int
    shards_done: int
    shards_total: int
    from_cache: int
    rate: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None
    shards: tuple[Shard, ...]

    @property
    def share(self) -> float:
        return self.studies_done / self.studies_total if self.studies_total else 0.0


def progress_of(run: AuditRun) -> RunProgress:
    """Counts of one run's shards: in one query, in two where there are more than are looked at."""
    rows = list(run.shards.order_by("index")[: SHARDS_READ + 1])
    counts = _counted(rows) if len(rows) <= SHARDS_READ else _count(run)
    urgency: dict[str, int] = {ShardStatus.RUNNING: 1, ShardStatus.FAILED: 0}
    shards = sorted(rows[:SHARDS_READ], key=lambda row: urgency.get(row.status, 2))
    elapsed = seconds_of(run)
    done = min(counts["studies"], run.n_studies)
    rate = counts["computed"] / elapsed if elapsed and elapsed > 1 and counts["computed"] else None
    return RunProgress(
        studies_done=done,
        studies_total=run.n_studies,
        shards_done=counts["done"],
        shards_total=counts["total"],
        from_cache=counts["cached"],
        rate=rate,
        eta_seconds=(run.n_studies - done) / rate if rate and run.status == RunStatus.RUNNING else None,
        elapsed_seconds=elapsed,
        shards=tuple(shards[:SHARDS_SHOWN]),
    )


def seconds_of(run: AuditRun) -> float | None:
    """How long a run took, or has taken so far; None before its start."""
    end = run.finished_at or timezone.now()
    return (end - run.started_at).total_seconds() if run.started_at else None


def _count(run: AuditRun) -> dict[str, int]:
    """What :func:`_counted` says, of any number of shards."""
    counts: dict[str, int | None] = run.shards.aggregate(
        total=Count("pk"),
        done=Count("pk", filter=Q(status=ShardStatus.DONE)),
        cached=Count("pk", filter=Q(from_cache=True)),
        studies=Sum("studies_done"),
        computed=Sum("studies_done", filter=Q(from_cache=False)),
    )
    return {name: count or 0 for name, count in counts.items()}


def _counted(shards: list[Shard]) -> dict[str, int]:
    return {
        "total": len(shards),
        "done": sum(row.status == ShardStatus.DONE for row in shards),
        "cached": sum(row.from_cache for row in shards),
        "studies": sum(row.studies_done for row in shards),
        "computed": sum(row.studies_done for row in shards if not row.from_cache),
    }


@dataclass(frozen=True, kw_only=True)
class VerdictSummary:
    """A run's verdicts in the order in which a committee reads them.

    Attributes:
        lead: The verdict that decides the outcome: the first failed primary one, else the first insufficient
            primary one, else the passed one that is nearest to its limit. None for a run without primary verdicts.
        failed, passed, insufficient: How many primary verdicts.
    """

    lead: Verdict | None
    primary: tuple[Verdict, ...]
    exploratory: tuple[Verdict, ...]
    failed: int
    passed: int
    insufficient: int


def verdicts_of(run: AuditRun) -> VerdictSummary:
    """Failed, then insufficient, then passed; among those as the protocol has them."""
    return summary_of(run.verdicts.all())


def summary_of(verdicts: Iterable[Verdict]) -> VerdictSummary:
    """Some verdicts of one run in the order in which a committee reads them."""
    order = {Outcome.FAIL: 0, Outcome.INSUFFICIENT: 1, Outcome.PASS: 2}
    rows = sorted(verdicts, key=lambda row: (order[Outcome(row.outcome)], row.position))
    primary = [row for row in rows if row.primary]
    return VerdictSummary(
        lead=min(primary, key=_slack_of_passed) if primary else None,
        primary=tuple(primary),
        exploratory=tuple(row for row in rows if not row.primary),
        failed=sum(row.outcome == Outcome.FAIL for row in primary),
        passed=sum(row.outcome == Outcome.PASS for row in primary),
        insufficient=sum(row.outcome == Outcome.INSUFFICIENT for row in primary),
    )


def _slack_of_passed(verdict: Verdict) -> tuple[int, float]:
    """Failed before insufficient before passed, and among passed ones by what is left between interval and limit.

    ``min`` keeps the protocol's order among those that are equal.
    """
    order = {Outcome.FAIL: 0, Outcome.INSUFFICIENT: 1, Outcome.PASS: 2}[Outcome(verdict.outcome)]
    detail = verdict.detail
    low, high, info = detail.get("low"), detail.get("high"), known_metrics().get(detail.get("metric", ""))
    if order < 2 or low is None or high is None or info is None:
        return order, 0.0
    return order, info.slack(detail["direction"], detail["margin"], low, high)


def leading_verdicts(systems: Iterable[AISystem]) -> dict[int, Verdict]:
    """The verdict that leads the newest audit of each system that is done, by the system's key. One query.

    Of the primary verdicts the first that failed, else the first without enough evidence, else the first that passed.
    """
    keys = [system.pk for system in systems]
    done = judging_runs().filter(of_no_window(), version__system__in=keys, status=RunStatus.DONE)
    latest = [F("finished_at").desc(), F("pk").desc()]
    place = Window(RowNumber(), partition_by=F("version__system"), order_by=latest)
    newest = done.order_by().annotate(place=place).filter(place=1).values("pk")
    worst = Case(*(When(outcome=outcome, then=Value(place)) for place, outcome in enumerate(WORST_FIRST)))
    rows = Verdict.objects.filter(run__in=newest, primary=True).select_related("run__version")
    rows = rows.annotate(rank=worst).order_by("rank", "position")
    found: dict[int, Verdict] = {}
    for row in rows.defer(*unshown("run__version")):
        found.setdefault(row.run.version.system_id, row)
    return found


def get_verdict(run: AuditRun, position: int) -> Verdict:
    found = run.verdicts.filter(position=position).first()
    if found is None:
        raise NotFoundError("This audit has no such verdict.", remedy="Begin at the page of the audit.")
    return found


def measurements_behind(run: AuditRun, verdict: Verdict) -> list[dict[str, Any]]:
    """What the chart of one verdict shows: every measurement of its label and attribute, as the engine gave it."""
    rows = run.measurements.filter(label=verdict.label, attribute=verdict.attribute).order_by("position")
    return list(rows.values_list("detail", flat=True))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One combination of which a run has measurements, ``n`` of them, of any number of groups; without a value are
    ``undefined``."""

    suite: str
    metric: str
    label: str
    attribute: str
    n: int = 0
    undefined: int = 0


def measured_of(run: AuditRun) -> list[Measured]:
    """What a run has measurements of, in one query, in the order in which the engine gave them."""
    names = ("suite", "metric", "label", "attribute")
    counts = {"rows": Count("pk"), "undefined": Count("pk", filter=Q(value=None)), "first": Min("position")}
    rows = run.measurements.order_by().values(*names).annotate(**counts).order_by("first")
    return [Measured(**{name: row[name] for name in names}, n=row["rows"], undefined=row["undefined"]) for row in rows]


def measurement_choices(found: Iterable[Measured]) -> dict[str, list[str]]:
    """The suites, metrics, labels and attributes among what was measured, each sorted."""
    rows = list(found)
    return {
        name: sorted({str(getattr(row, name)) for row in rows if getattr(row, name)})
        for name in ("suite", "metric", "label", "attribute")
    }


def measurements_for(
    run: AuditRun, *, label: str, attributes: Iterable[str], metrics: Iterable[str]
) -> list[dict[str, Any]]:
    """Measurements of some metrics of one label by some attributes, as the engine gave them, in one query."""
    rows = run.measurements.filter(label=label, attribute__in=set(attributes), metric__in=set(metrics))
    return list(rows.order_by("position").values_list("detail", flat=True))


def attempts_of(run: AuditRun) -> list[AuditRun]:
    """Every attempt at the same audit, this one among them, the first first. None is ever deleted."""
    rows = AuditRun.objects.filter(spec_digest=run.spec_digest).select_related("requested_by")
    return list(rows.order_by("attempt"))


def evidence_in_short(run: AuditRun) -> tuple[dict[str, Any], AuscultError | None]:
    """Of the evidence document what a page shows: how it was executed, notes, advice. Its bytes are checked against
    the digest every time; what they say is read once, since equal digests say the same."""
    if not run.evidence_digest:
        return {}, None
    try:
        data = model_store().get_bytes(run.evidence_digest)
    except AuscultError as error:
        return {}, error
    key = f"evidence-in-short:1:{run.evidence_digest}"
    kept: dict[str, Any] | None = cache.get(key)
    if kept is None:
        told = json.loads(data)
        result = told.get("result", {})
        part = {name: result[name] for name in ("notes", "advice") if name in result}
        kept = {"execution": told.get("execution", {}), "result": part}
        cache.set(key, kept, timeout=24 * 3600)
    return kept, None


def advice_of(run: AuditRun, evidence: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What could reduce the gaps that failed; None while a worker still works it out, or where it cannot be had."""
    if not run.advice_digest:
        kept: list[dict[str, Any]] | None = evidence.get("result", {}).get("advice")
        awaited = kept == [] and run.verdicts.filter(outcome=Outcome.FAIL).exists()
        return None if awaited else kept or []
    try:
        told: list[dict[str, Any]] = model_store().get_json(run.advice_digest)["advice"]
    except AuscultError:
        return None
    return told


def cells_of(measurement: Measurement, columns: Iterable[str]) -> list[Any]:
    """Values of a measurement by column name: from its own fields, else from the engine's record."""
    return [getattr(measurement, name, measurement.detail.get(name)) for name in columns]


def runs_by_protocol(protocol: Protocol) -> QuerySet[AuditRun]:
    return list_runs().filter(protocol=protocol)
