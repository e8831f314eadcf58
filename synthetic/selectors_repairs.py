"""Reading repairs: what can be repaired of an audit, by whom, and where a repair is. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from core.errors import NotFoundError
from evaluation.engine.protocol import JOIN
from evaluation.engine.records import UNKNOWN
from evaluation.models import AuditRun, Outcome, RunStatus, Verdict
from models_registry.models import CohortVersion, JobStatus, ModelVersion, TrainingJob
from synthetic.models import Repair, RepairStatus
from synthetic.repairing.wishes import rates_of
from synthetic.selectors import generators

OPEN = (RepairStatus.MAKING, RepairStatus.TRAINING, RepairStatus.AUDITING)
ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)
RELATED = (
    "run__version__system", "run__cohort__cohort", "run__protocol", "run__requested_by", "generator__system",
    "source__system", "source__cohort__cohort", "generation__result__cohort", "training__result__system", "audit",
    "requested_by",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A failed verdict of fairness that a repair may be ordered for.

    Attributes:
        groups: Those that can be made patients of, the one that is served worse first where that is known.
    """

    verdict: Verdict
    metric: str
    groups: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.verdict.label

    @property
    def attribute(self) -> str:
        return self.verdict.attribute


def finding_of(verdict: Verdict, served: dict[str, float] | None = None) -> Finding | None:
    """What can be repaired of a verdict; None where it did not fail, or does not compare decisions between groups.

    Args:
        served: Group -> how much worse it is served than others, of the rate that the verdict compares.
    """
    metric, groups = verdict.detail.get("metric", ""), verdict.detail.get("groups", [])
    if verdict.outcome != Outcome.FAIL or not verdict.attribute or not rates_of(metric):
        return None
    usable = [name for name in groups if UNKNOWN not in name.split(JOIN)]
    ordered = sorted(usable, key=lambda name: -(served or {}).get(name, 0.0))
    return Finding(verdict=verdict, metric=metric, groups=tuple(ordered))


def findings_of(run: AuditRun) -> list[Finding]:
    """Every finding of an audit that a repair may be ordered for, those that decide first. At most two queries."""
    if run.status != RunStatus.DONE:
        return []
    rows = sorted(run.verdicts.all(), key=lambda row: (not row.primary, row.position))
    found = [item for row in rows if (item := finding_of(row)) is not None and item.groups]
    if not found:
        return []
    served = _served(run, found)
    sharper = [finding_of(item.verdict, served.get((item.metric, item.label, item.attribute))) for item in found]
    return [item for item in sharper if item is not None]


def _served(run: AuditRun, found: list[Finding]) -> dict[tuple[str, str, str], dict[str, float]]:
    """How badly each group of a finding is served, by its first rate: the higher the worse."""
    from evaluation.engine.suites.fairness.rates import RATES

    rates = {rates_of(item.metric)[0] for item in found}
    rows = run.measurements.filter(metric__in=rates, attribute__in={item.attribute for item in found})
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows.filter(value__isnull=False).only("metric", "label", "attribute", "group", "value"):
        for item in found:
            if (rates_of(item.metric)[0], item.label, item.attribute) == (row.metric, row.label, row.attribute):
                place = values.setdefault((item.metric, item.label, item.attribute), {})
                place[row.group] = RATES[row.metric].worse * float(row.value or 0.0)
    return values


def training_of(version: ModelVersion) -> TrainingJob | None:
    """The training on this platform that made a version; None where it came from elsewhere."""
    rows = TrainingJob.objects.filter(result=version, status=JobStatus.DONE)
    return rows.select_related("system", "cohort__cohort", "backbone__system", "augmentation__cohort").first()


def generators_from(cohort: CohortVersion) -> QuerySet[ModelVersion]:
    """Generators in use that learnt from a cohort, newest first."""
    return generators().filter(made_by__cohort=cohort).distinct()


def repair_by_id(pk: int) -> Repair:
    """One repair.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = Repair.objects.select_related(*RELATED).filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no repair {pk}.", remedy="Open it from the page of synthetic patients.")
    return found


def list_repairs() -> QuerySet[Repair]:
    """Every repair with what a list shows, newest first."""
    rows = Repair.objects.select_related("run__version__system", "training__result__system", "requested_by")
    return rows.defer("comparison").order_by("-requested_at", "-pk")


def repairs_of_run(run: AuditRun) -> list[Repair]:
    """Repairs that were ordered from an audit, or end in it; with what they found."""
    return list(list_repairs().defer(None).filter(Q(run=run) | Q(audit=run)))


def to_advance() -> QuerySet[Repair]:
    """Repairs whose present step has ended, or may have: those to audit are looked at again and again."""
    return Repair.objects.filter(
        Q(status=RepairStatus.MAKING, generation__status__in=ENDED)
        | Q(status=RepairStatus.TRAINING, training__status__in=ENDED)
        | Q(status=RepairStatus.AUDITING)
    )


def awaiting_audit() -> QuerySet[Repair]:
    """Repairs that wait for an auditor."""
    rows = Repair.objects.filter(status=RepairStatus.AUDITING, audit=None)
    return rows.select_related("training__result__system", "training__result__submitted_by", "run__protocol")


def failed_repairs(user: Any) -> QuerySet[Repair]:
    """Failed repairs of this person."""
    return Repair.objects.filter(requested_by=user, status=RepairStatus.FAILED).defer("comparison")


def audit_for(repair: Repair) -> AuditRun | None:
    """The latest audit of the new version that is by the same protocol, on the same cohort, with the same settings."""
    assert repair.training is not None
    rows = AuditRun.objects.filter(
        version=repair.training.result, cohort=repair.run.cohort, protocol=repair.run.protocol,
        settings=repair.run.settings, frame_digest="",
    )  # fmt: skip
    return rows.exclude(status__in=(RunStatus.FAILED, RunStatus.CANCELLED)).order_by("-pk").first()
