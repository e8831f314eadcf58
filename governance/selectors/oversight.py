"""Reading human oversight: the measures of a system, and how often its outputs are overruled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from core.errors import NotFoundError
from evaluation.engine.records import ALL
from evaluation.models import AuditRun, Measurement, RunStatus
from governance.models import OutputCount, Override, OversightMeasure
from governance.standing.override_rates import (
    ErrorRate,
    Mark,
    Rate,
    error_rate,
    mark_of,
    not_compared,
    rate_of,
    rates_by_group,
)
from models_registry.models import AISystem, Deployment
from models_registry.selectors import unshown

LIMBS = OversightMeasure.Limb
WINDOW = timedelta(days=90)
"""The time over which a signal is looked for: what happened long ago must not cover what happens now."""
CASES = Count("case_digest", distinct=True, filter=~Q(case_digest=""))
LOOSE = Count("pk", filter=Q(case_digest=""))
"""Overrides of one case count once; those that name no case count each."""


@dataclass(frozen=True, kw_only=True)
class LimbRow:
    """One limb of Art. 14(4) with its measures. ``missing`` says what is not there yet; empty where one is verified."""

    limb: str
    label: str
    measures: tuple[OversightMeasure, ...]
    missing: str


@dataclass(frozen=True, kw_only=True)
class Overruled:
    """How often outputs were overruled at one deployment.

    Attributes:
        total: Since it began.
        groups: Rates by attribute, such as ``sex``.
        reasons, actions: How many overrides of each, in words; the most frequent first.
        months: The rate of each month, the newest first.
        recent: Over the last 90 days: what a signal is looked for in.
        mark: The signal, or None.
        compared_with: The error rate that it is held against, or None.
        not_compared: Why there is no comparison; empty where there is one.
    """

    total: Rate
    groups: dict[str, list[Rate]]
    reasons: tuple[tuple[str, int], ...]
    actions: tuple[tuple[str, int], ...]
    months: tuple[Rate, ...]
    recent: Rate
    mark: Mark | None
    compared_with: ErrorRate | None
    not_compared: str


def measures_of(system: AISystem) -> list[OversightMeasure]:
    """Every measure that is not ended, by limb; one counts when ``verified_by`` is set."""
    people = ("responsible", "recorded_by", "verified_by")
    return list(system.oversight_measures.filter(ended_at=None).select_related(*people).order_by("limb", "pk"))


def ended_measures(system: AISystem) -> list[OversightMeasure]:
    rows = system.oversight_measures.filter(ended_at__isnull=False).select_related("responsible", "recorded_by")
    return list(rows.order_by("-ended_at"))


def measure_by_id(pk: int) -> OversightMeasure:
    """One measure.

    Raises:
        NotFoundError: there is none with this number.
    """
    people = ("system", "responsible", "recorded_by", "verified_by")
    found = OversightMeasure.objects.select_related(*people).filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no measure {pk}.", remedy="Open the list of human oversight.")
    return found


def limbs_of(measures: Iterable[OversightMeasure]) -> list[LimbRow]:
    """The five limbs of Art. 14(4), each with its measures and what is missing."""
    found: dict[str, list[OversightMeasure]] = defaultdict(list)
    for measure in measures:
        found[measure.limb].append(measure)
    return [
        LimbRow(limb=limb.value, label=str(limb.label), measures=tuple(found[limb]), missing=_missing(found[limb]))
        for limb in LIMBS
    ]


def _missing(measures: list[OversightMeasure]) -> str:
    if not measures:
        return "No measure is recorded."
    if not any(measure.verified_by_id for measure in measures):
        return "A measure is recorded; nobody has verified it yet."
    return ""


def systems_overseen() -> list[tuple[AISystem, list[LimbRow]]]:
    """Every system with its limbs, in two queries."""
    found: dict[int, list[OversightMeasure]] = defaultdict(list)
    for measure in OversightMeasure.objects.filter(ended_at=None):
        found[measure.system_id].append(measure)
    return [(system, limbs_of(found[system.pk])) for system in AISystem.objects.all()]


def totals_of(deployments: Iterable[Deployment]) -> dict[int, tuple[int, int]]:
    """Overrides and outputs of each deployment, in two queries."""
    keys = [row.pk for row in deployments]
    over = Override.objects.filter(deployment__in=keys).order_by().values("deployment")
    overrides = {row["deployment"]: row["cases"] + row["loose"] for row in over.annotate(cases=CASES, loose=LOOSE)}
    shown = OutputCount.objects.filter(deployment__in=keys).order_by().values("deployment").annotate(n=Sum("n"))
    outputs = {row["deployment"]: row["n"] for row in shown}
    return {key: (overrides.get(key, 0), outputs.get(key, 0)) for key in keys}


def override_rates(deployment: Deployment, *, now: datetime | None = None) -> Overruled:
    """How often outputs were overruled at one deployment, and whether that is a signal.

    Args:
        now: The end of the 90 days that a signal is looked for in.
    """
    now = now or timezone.now()
    overrides = Override.objects.filter(deployment=deployment).order_by()
    outputs = OutputCount.objects.filter(deployment=deployment).order_by()
    start = now - WINDOW
    recent = (
        _cases(overrides.filter(happened_at__gte=start, happened_at__lte=now)),
        _sum(outputs.filter(day__gte=start.date(), day__lte=now.date())),
    )
    error = errors_of([deployment.version_id]).get(deployment.version_id)
    facts = {"overrides": recent[0], "outputs": recent[1], "error": error}
    return Overruled(
        total=rate_of(deployment.site, overrides=_cases(overrides), outputs=_sum(outputs)),
        groups=_groups(overrides, outputs),
        reasons=_tally(overrides, "reason", Override.Reason),
        actions=_tally(overrides, "action", Override.Action),
        months=_months(overrides, outputs),
        recent=rate_of("the last 90 days", overrides=recent[0], outputs=recent[1]),
        mark=mark_of(**facts),  # type: ignore[arg-type]
        compared_with=error,
        not_compared=not_compared(**facts),  # type: ignore[arg-type]
    )


def rates_by_site(system: AISystem) -> list[Rate]:
    """The rate of each site of a system, over all of its deployments there; small sites are hidden as groups are."""
    counts: dict[str, tuple[int, int]] = {}
    listed = list(Deployment.objects.filter(version__system=system))
    totals = totals_of(listed)
    for row in listed:
        over, shown = counts.get(row.site, (0, 0))
        counts[row.site] = (over + totals[row.pk][0], shown + totals[row.pk][1])
    # A site without outputs hides nothing: it must not stand for the second group of a sum.
    rates = rates_by_group({site: pair for site, pair in counts.items() if pair[1]})
    rates += [rate_of(site, overrides=pair[0], outputs=0) for site, pair in counts.items() if not pair[1]]
    return sorted(rates, key=lambda rate: rate.name)


def _cases(overrides: QuerySet[Override]) -> int:
    found = overrides.aggregate(cases=CASES, loose=LOOSE)
    return int(found["cases"]) + int(found["loose"])


def _sum(outputs: QuerySet[OutputCount]) -> int:
    return int(outputs.aggregate(n=Sum("n"))["n"] or 0)


def _tally(overrides: QuerySet[Override], field: str, choices: Any) -> tuple[tuple[str, int], ...]:
    found = overrides.values(field).annotate(n=Count("pk")).order_by("-n", field)
    return tuple((str(choices(row[field]).label), row["n"]) for row in found)


def _groups(overrides: QuerySet[Override], outputs: QuerySet[OutputCount]) -> dict[str, list[Rate]]:
    """Rates by attribute. A row that does not tell an attribute counts as ``not stated`` where others tell it."""
    over = [(row["group"], row["cases"] + row["loose"]) for row in _by_group(overrides, cases=CASES, loose=LOOSE)]
    shown = [(row["group"], row["total"]) for row in _by_group(outputs, total=Sum("n"))]
    names = sorted({name for group, _ in over + shown for name in group})
    found = {}
    for name in names:
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for place, rows in enumerate((over, shown)):
            for group, n in rows:
                counts[group.get(name, "not stated")][place] += n
        found[name] = rates_by_group({key: (pair[0], pair[1]) for key, pair in counts.items()})
    return found


def _by_group(rows: QuerySet[Any], **sums: Any) -> Iterable[Mapping[str, Any]]:
    return rows.values("group").annotate(**sums)


def _months(overrides: QuerySet[Override], outputs: QuerySet[OutputCount]) -> tuple[Rate, ...]:
    """The last twelve months in which something was reported, the newest first."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    over = overrides.values("happened_at__year", "happened_at__month").annotate(cases=CASES, loose=LOOSE)
    for row in over:
        counts[f"{row['happened_at__year']}-{row['happened_at__month']:02}"][0] += row["cases"] + row["loose"]
    for shown in outputs.values("day__year", "day__month").annotate(total=Sum("n")):
        counts[f"{shown['day__year']}-{shown['day__month']:02}"][1] += shown["total"]
    newest = sorted(counts.items(), reverse=True)[:12]
    return tuple(rate_of(month, overrides=pair[0], outputs=pair[1]) for month, pair in newest)


def errors_of(versions: Iterable[int]) -> dict[int, ErrorRate]:
    """How often the newest finished audit of each version found its outputs wrong; left out where it did not measure
    accuracy over all studies."""
    runs = AuditRun.objects.filter(version__in=list(versions), status=RunStatus.DONE).order_by("finished_at", "pk")
    newest = {row["version"]: row["pk"] for row in runs.values("version", "pk")}
    rows = Measurement.objects.filter(run__in=newest.values(), metric="accuracy", group=ALL, value__isnull=False)
    found: dict[int, list[tuple[float, float | None, float | None]]] = defaultdict(list)
    for run, value, low, high in rows.values_list("run", "value", "low", "high"):
        found[run].append((value or 0.0, low, high))
    made = {version: error_rate(found[run], source=f"Audit {run}") for version, run in newest.items() if found.get(run)}
    return {version: error for version, error in made.items() if error is not None}


def register(system: AISystem) -> list[dict[str, Any]]:
    """The measures and the overrides of a system as plain facts, for dossiers: measures first, then deployments."""
    measures = [
        {
            "kind": "measure",
            "limb": row.limb,
            "by": row.kind,
            "text": row.text,
            "role": row.role,
            "moment": row.moment,
            "site": row.site,
            "verified_on": row.verified_on.isoformat() if row.verified_on else None,
        }
        for row in measures_of(system)
    ]
    found = Deployment.objects.filter(version__system=system).select_related("version").defer(*unshown("version"))
    rows = list(found.order_by("pk"))
    totals = totals_of(rows)
    rates = [rate_of(row.site, overrides=totals[row.pk][0], outputs=totals[row.pk][1]) for row in rows]
    overruled = [
        {
            "kind": "overrides",
            "deployment": row.pk,
            "version": row.version.label,
            "site": row.site,
            "overrides": rate.overrides,
            "outputs": rate.outputs,
            "rate": rate.value,
            "low": rate.low,
            "high": rate.high,
            "reason": rate.reason or None,
        }
        for row, rate in zip(rows, rates, strict=True)
    ]
    return measures + overruled
