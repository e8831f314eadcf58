"""Readings over time: whether they follow each other as real ones do, and whether their times increase."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_estimates import Estimate, correlation, share
from synthetic.suites.likeness_gathering import figure, patient_codes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pairs = Callable[[LinkedStudies, str, Ints], tuple[Floats, Floats, Ints]]
LEAST_PAIRS = 30
NONE = "the cohort has no series"


def lags(sets: AuditSets) -> Iterator[Figure]:
    """The correlation of successive readings, and of successive visits' means, less the real one."""
    if not sets.held_out.series:
        yield not_computed("series_lag1", NONE)
        yield not_computed("visit_lag1", NONE)
    for name in sets.held_out.series:
        for metric, pairs in (("series_lag1", _readings), ("visit_lag1", _visits)):
            made, learnt, held = (_lag(one, name, pairs) for one in (sets.synthetic, sets.learnt, sets.held_out))
            if made is None or held is None:
                who = "real" if held is None else "synthetic"
                reason = f"fewer than {LEAST_PAIRS} {who} pairs follow each other, or they do not vary"
                yield not_computed(metric, reason, of=name)
                continue
            null = None if learnt is None else learnt.minus(held)
            counted = "pairs of readings" if metric == "series_lag1" else "pairs of visits"
            yield figure(metric, made.minus(held), of=name, null=null, counted=counted, least=-2.0, most=2.0,
                         synthetic=made.value, real=held.value)  # fmt: skip


def _lag(studies: LinkedStudies, name: str, pairs: Pairs) -> Estimate | None:
    if name not in studies.series:
        return None
    codes, patients = patient_codes(studies)
    before, after, whose = pairs(studies, name, codes)
    return correlation(_midranks(before), _midranks(after), whose, patients) if len(before) >= LEAST_PAIRS else None


def _readings(studies: LinkedStudies, name: str, codes: Ints) -> tuple[Floats, Floats, Ints]:
    """Each reading with the one after it in the same study."""
    items = studies.series[name]
    rows = [row for row, item in enumerate(items) if item is not None and len(item) > 1]
    if not rows:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)
    values = [np.asarray(items[row])[:, 1] for row in rows]
    lengths = np.array([len(one) - 1 for one in values])
    before, after = (np.concatenate([one[part] for one in values]) for part in (slice(None, -1), slice(1, None)))
    return before, after, np.repeat(codes[rows], lengths)


def _visits(studies: LinkedStudies, name: str, codes: Ints) -> tuple[Floats, Floats, Ints]:
    """The mean of each study with that of the patient's next one."""
    items = studies.series[name]
    means = np.array([np.nan if item is None or not len(item) else float(item[:, 1].mean()) for item in items])
    same = (codes[1:] == codes[:-1]) & np.isfinite(means[1:]) & np.isfinite(means[:-1])
    return means[:-1][same], means[1:][same], codes[1:][same]


def _midranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - counts / 2)[place] / len(values)
    return found


def time_index(sets: AuditSets) -> Iterator[Figure]:
    """The share of series with at least two readings whose times strictly increase, less the real share."""
    if not sets.held_out.series:
        yield not_computed("time_index", NONE)
    for name in sets.held_out.series:
        made, learnt, held = (_increasing(one, name) for one in (sets.synthetic, sets.learnt, sets.held_out))
        if made is None or held is None:
            yield not_computed("time_index", "no series has two readings", of=name)
            continue
        null = None if learnt is None else learnt.minus(held)
        yield figure("time_index", made.minus(held), of=name, null=null, counted="series", least=-1.0,
                     synthetic=made.value, real=held.value)  # fmt: skip


def _increasing(studies: LinkedStudies, name: str) -> Estimate | None:
    items = studies.series.get(name, [])
    rows = [row for row, item in enumerate(items) if item is not None and len(item) > 1]
    if not rows:
        return None
    codes, patients = patient_codes(studies)
    rising = [bool((np.diff(np.asarray(items[row])[:, 0]) > 0).all()) for row in rows]
    return share(rising, codes[rows], patients)
