"""What could be done about a gap that failed, with the gap before and after, measured on patients it was not fitted on.

Patients are in two halves by a hash of their identifier (see ``sketches/scores``). Each method is fitted on the one and
measured on the other, from the histograms of the sketch: no row is needed, and the order of merging does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.engine.protocol import Protocol
from evaluation.engine.records import UNKNOWN, Advice, Outcome, Verdict
from evaluation.engine.sketches.scores import Floats, Ints, ScoreCells
from evaluation.engine.suites.fairness.mitigation import (
    OPTIMISER_CONSTRAINTS,
    Mitigation,
    Task,
    optimise_thresholds,
    recalibrate,
    reduce_disparity,
)
from evaluation.engine.suites.fairness.rates import GAPS, RATES
from evaluation.engine.suites.fairness.sketch import FairnessSketch

MOST = 6
MOST_GROUPS = 12
NONE = "none"
COSTS = ("tpr", "fpr", "selection_rate")
OUTCOMES_OF = {"tpr": (1,), "fpr": (0,), "selection_rate": (0, 1)}
"""Outcomes of the studies in a rate's denominator: 1 with the finding, 0 without."""

EVIDENCE = (
    "Measured on a held-out half of the audited patients, not on new patients. In MEDFAIR (Zong et al., ICLR 2023) no "
    "method was significantly better than plain training: look at data and labels of the group first."
)
AT_DECISION = (
    "The patient's group is used when a decision is made, which needs clinical and legal review before any use."
)
BY_LOT = "Some decisions are made by lot, which is rarely acceptable in care."


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to mitigate a gap, with its title in a reader's words."""

    name: str
    title: str
    fit: Callable[[Task], Mitigation]


METHODS = (
    Method(name="ThresholdOptimizer", title="Thresholds of its own for each group", fit=optimise_thresholds),
    Method(
        name="ExponentiatedGradient",
        title="A model on score and group, fitted with a bound on the gap",
        fit=reduce_disparity,
    ),
    Method(
        name="recalibration by group",
        title="Scores recalibrated in each group, one threshold for all",
        fit=recalibrate,
    ),
)


def advise(protocol: Protocol, sketch: FairnessSketch, verdicts: Sequence[Verdict]) -> tuple[Advice, ...]:
    """Advice on every gap of decisions that failed, primary criteria first, for at most six of them.

    Where there can be none, the advice says why (``after`` is None). Gaps of other kinds, such as of calibration or
    of reports, are not the matter of thresholds and get none.
    """
    failed = [item for item in verdicts if item.outcome is Outcome.FAIL and item.metric in GAPS and item.attribute]
    ordered = sorted(failed, key=lambda item: not item.primary)
    told = [advice for verdict in ordered[:MOST] for advice in _advise_on(protocol, sketch, verdict)]
    if len(ordered) > MOST:
        others = ", ".join(f"{item.criterion} ({item.label})" for item in ordered[MOST:][:MOST])
        reason = f"{MOST} failed criteria are worked on; {len(ordered) - MOST} more were not: {others}"
        told.append(_none(ordered[MOST], reason))
    return tuple(told)


def _advise_on(protocol: Protocol, sketch: FairnessSketch, verdict: Verdict) -> Iterator[Advice]:
    cells = sketch.scores.cells.get((verdict.label, verdict.attribute))
    reason = _unsuited(protocol, verdict, cells)
    if reason or cells is None:
        yield _none(verdict, reason)
        return
    halves = _Halves.of(protocol, verdict, cells)
    if reason := halves.shortfall(protocol.minimum_denominator):
        yield _none(verdict, reason, halves)
        return
    task = Task(
        metric=verdict.metric,
        groups=halves.groups,
        fit=halves.counts[0],
        selected=float(RATES["selection_rate"].of(halves.decided[0].sum(axis=0))),
        margin=verdict.margin,
    )
    for method in METHODS:
        try:
            made = method.fit(task)
        except (ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
            told = str(error).splitlines()[0] if str(error) else error.__class__.__name__
            yield _advice(verdict, method, halves, None, f"it could not be fitted: {told}")
        else:
            yield _advice(verdict, method, halves, made, "")


def _unsuited(protocol: Protocol, verdict: Verdict, cells: ScoreCells | None) -> str:
    """Why no method applies; empty where one may."""
    if protocol.underdiagnosis is not None and verdict.label == protocol.underdiagnosis.name:
        return "the composite has no score of its own: see the sensitivity of its findings"
    if verdict.metric not in OPTIMISER_CONSTRAINTS:
        return "the methods at hand equalise sensitivity, false positive rate or selection rate, not this"
    if cells is None:
        return f"the model gave decisions and no scores for {verdict.label}: a threshold cannot be moved"
    return ""


@dataclass(frozen=True, kw_only=True)
class _Halves:
    """The groups that are compared, in both halves.

    Attributes:
        counts: int64 [2, G, 2, BINS], studies by half, group, outcome and bin.
        decided: int64 [2, G, 4], the audited decisions.
    """

    metrics: tuple[str, ...]
    groups: tuple[str, ...]
    counts: Ints
    decided: Ints

    @classmethod
    def of(cls, protocol: Protocol, verdict: Verdict, cells: ScoreCells) -> _Halves:
        """Known groups that have enough patients in every rate of the criterion, as when it was judged."""
        metrics, least = GAPS[verdict.metric], protocol.minimum_denominator
        column = {"fpr": 0, "tpr": 1, "selection_rate": 2}
        used = [
            index
            for index, name in enumerate(cells.groups)
            if name != UNKNOWN and all(cells.owners[index, column[metric]] >= least for metric in metrics)
        ]
        return cls(
            metrics=metrics,
            groups=tuple(cells.groups[index] for index in used),
            counts=cells.hist[:, used],
            decided=cells.decided[:, used],
        )

    def shortfall(self, least: int) -> str:
        """Why there is nothing to fit or to measure; empty where there is."""
        if len(self.groups) < 2:
            return "fewer than two groups have enough patients with scores"
        if len(self.groups) > MOST_GROUPS:
            return f"there are {len(self.groups)} groups; at most {MOST_GROUPS} are worked on"
        words = {"tpr": "studies with the finding", "fpr": "studies without it", "selection_rate": "studies"}
        for metric in self.metrics:
            judged = RATES[metric].studies(self.decided)
            sizes = np.minimum(self.counts[:, :, OUTCOMES_OF[metric]].sum(axis=(2, 3)), judged).min(axis=0)
            small = int(np.argmin(sizes))
            if sizes[small] < least:
                return f"group {self.groups[small]} has fewer than {least} {words[metric]} in one half of the patients"
        return ""

    @property
    def n(self) -> tuple[int, int]:
        """Studies of the half that is fitted on, and of the held-out one."""
        fit, held_out = self.counts.sum(axis=(1, 2, 3))
        return int(fit), int(held_out)

    def mitigated(self, chances: Floats) -> Floats:
        """Expected (tp, fp, fn, tn) of each group of the held-out half under a decision rule, float64 [G, 4]."""
        studies = self.counts[1].sum(axis=2)
        chosen = (self.counts[1] * chances[:, None, :]).sum(axis=2)
        missed = studies - chosen
        return np.stack([chosen[:, 1], chosen[:, 0], missed[:, 1], missed[:, 0]], axis=1)


def _gap(cells: Floats | Ints, metrics: Sequence[str]) -> float:
    """Largest difference between two groups in any of the rates."""
    rates = np.stack([RATES[metric].of(cells.astype(np.float64)) for metric in metrics])
    return float((rates.max(axis=1) - rates.min(axis=1)).max())


def _overall(cells: Floats | Ints, metric: str) -> float | None:
    rate = float(RATES[metric].of(cells.astype(np.float64).sum(axis=0)))
    return round(rate, 4) if np.isfinite(rate) else None


def _advice(verdict: Verdict, method: Method, halves: _Halves, made: Mitigation | None, reason: str) -> Advice:
    before, after = halves.decided[1], None if made is None else halves.mitigated(made.chances)
    lot = [BY_LOT] if made is not None and made.by_lot else []
    return Advice(
        criterion=verdict.criterion,
        metric=verdict.metric,
        label=verdict.label,
        attribute=verdict.attribute,
        method=method.name,
        title=method.title,
        before=round(_gap(before, halves.metrics), 4),
        after=None if after is None else round(_gap(after, halves.metrics), 4),
        reason=reason,
        n_fit=halves.n[0],
        n_held_out=halves.n[1],
        costs={rate: (_overall(before, rate), None if after is None else _overall(after, rate)) for rate in COSTS},
        detail={} if made is None else made.detail,
        caution=" ".join([EVIDENCE, AT_DECISION, *lot]),
    )


def _none(verdict: Verdict, reason: str, halves: _Halves | None = None) -> Advice:
    fit, held_out = halves.n if halves else (0, 0)
    return Advice(
        criterion=verdict.criterion,
        metric=verdict.metric,
        label=verdict.label,
        attribute=verdict.attribute,
        method=NONE,
        title="No mitigation was measured",
        before=None,
        after=None,
        reason=reason,
        n_fit=fit,
        n_held_out=held_out,
        costs={},
        detail={},
        caution=EVIDENCE,
    )
