"""Agreement of images, reports and plans, each as a ratio to the same on real patients that nothing learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import PARTS, UNTOLD
from synthetic.suites.crossmodal_reading import Looked
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.likeness_estimates import Estimate, area, balanced, mean, mean_of
from synthetic.suites.likeness_gathering import figure

Ints = npt.NDArray[np.int64]
LEAST = 20
"""Studies of either kind from which an agreement is told."""
VISIBLE = 0.7
"""An area, or a mean of sensitivity and specificity, that real patients have to exceed beyond doubt for a finding to be
judged: one that is hardly seen, or not told of, would be kept by noise as well."""
MOST_RATIO = 10.0
Measure = Callable[[Looked, int], Estimate | None]


@dataclass(frozen=True, kw_only=True)
class LookedSets:
    """The sets of an audit. ``learnt`` stands in for synthetic patients in every null."""

    findings: tuple[str, ...]
    synthetic: Looked
    learnt: Looked
    held_out: Looked


def findings_in_images(sets: LookedSets) -> Iterator[Figure]:
    """Area under the curve of the reader against the plan, synthetic over real."""
    for place, name in enumerate(sets.findings):
        ceiling = _seen(sets.held_out, place)
        if ceiling is not None:
            yield figure("finding_ceiling", ceiling, of=name, counted="images", judged=_visible(ceiling))
    yield from _ratios("finding_agreement", sets, _seen, bar=VISIBLE, what="visible in real images", counted="images")


def findings_in_reports(sets: LookedSets) -> Iterator[Figure]:
    """Mean of sensitivity and specificity of the reports' assertions against the plan, synthetic over real."""
    yield from _ratios("report_agreement", sets, _asserted, bar=VISIBLE, what="told in real reports", counted="reports")


def parts_in_images(sets: LookedSets) -> Iterator[Figure]:
    """Share of present findings that the reader sees on the planned side, in the planned zone, of the planned size."""
    for part, words in PARTS.items():
        yield from _ratios(f"{part}_agreement", sets, _part_seen(part), bar=1 / len(words), counted="images",
                           what=f"seen with its {part} in real images")  # fmt: skip


def sides_in_reports(sets: LookedSets) -> Iterator[Figure]:
    """Share of present findings whose side the report tells as planned."""
    yield from _ratios("report_side_agreement", sets, _side_told, bar=1 / len(PARTS["side"]), counted="reports",
                       what="told with its side in real reports")  # fmt: skip


def images_and_reports(sets: LookedSets) -> Iterator[Figure]:
    """Share of findings that are asserted with a side, or zone, whose side or zone the reader sees in the image."""
    for part in ("side", "zone"):
        yield from _ratios(f"image_report_{part}", sets, _told_and_seen(part), bar=1 / len(PARTS[part]),
                           what=f"told and seen with its {part} in real pairs", counted="pairs")  # fmt: skip


def _ratios(
    metric: str, sets: LookedSets, measure: Measure, *, bar: float, what: str, counted: str
) -> Iterator[Figure]:
    """A ratio per finding and one over all, for the findings whose ceiling is beyond the bar."""
    made, ceilings, nulls = [], [], []
    for place, name in enumerate(sets.findings):
        ceiling = measure(sets.held_out, place)
        if ceiling is None or not _visible(ceiling, bar):
            continue
        found, null = measure(sets.synthetic, place), measure(sets.learnt, place)
        if found is None:
            yield not_computed(metric, f"fewer than {LEAST} synthetic {counted} can be compared", of=name)
            continue
        yield figure(metric, found.over(ceiling), of=name, null=null.over(ceiling) if null else None, counted=counted,
                     most=MOST_RATIO, synthetic=found.value, real=ceiling.value)  # fmt: skip
        made.append(found)
        ceilings.append(ceiling)
        nulls += [null] if null else []
    if not made:
        yield not_computed(metric, f"no finding is {what}, or none is there in synthetic ones")
        return
    whole, top = mean_of(made), mean_of(ceilings)
    null = mean_of(nulls).over(top) if len(nulls) == len(made) else None
    total = Estimate(value=whole.value, parts=whole.parts, n=sum(item.n for item in made))
    yield figure(metric, total.over(top), null=null, counted=counted, most=MOST_RATIO, findings=len(made),
                 synthetic=whole.value, real=top.value)  # fmt: skip


def _visible(ceiling: Estimate, bar: float = VISIBLE) -> bool:
    return ceiling.value - 1.96 * ceiling.error > bar


def _enough(truth: npt.NDArray[np.bool_]) -> bool:
    return min(int(truth.sum()), int((~truth).sum())) >= LEAST


def _seen(looked: Looked, place: int) -> Estimate | None:
    if looked.seen is None:
        return None
    present = looked.pictured.present[:, place]
    known = present != UNTOLD
    truth = present[known] == 1
    if not _enough(truth):
        return None
    scores = looked.seen.present[known, place].astype(np.float64)
    return area(scores, truth, looked.codes[looked.images][known], looked.patients)


def _asserted(looked: Looked, place: int) -> Estimate | None:
    if looked.told is None:
        return None
    present = looked.plans.present[:, place]
    known = (present != UNTOLD) & looked.reported
    truth = present[known] == 1
    if not _enough(truth):
        return None
    return balanced(looked.told.present[known, place] == 1, truth, looked.codes[known], looked.patients)


def _part_seen(part: str) -> Measure:
    def measure(looked: Looked, place: int) -> Estimate | None:
        if looked.seen is None:
            return None
        planned = looked.pictured.part(part)[:, place]
        here = (looked.pictured.present[:, place] == 1) & (planned != UNTOLD)
        if here.sum() < LEAST:
            return None
        seen = looked.seen.parts[part][here, place].argmax(axis=-1)
        return mean(seen == planned[here], looked.codes[looked.images][here], looked.patients)

    return measure


def _side_told(looked: Looked, place: int) -> Estimate | None:
    if looked.told is None:
        return None
    planned = looked.plans.side[:, place]
    here = (looked.plans.present[:, place] == 1) & (planned != UNTOLD) & looked.reported
    if here.sum() < LEAST:
        return None
    return mean(looked.told.side[here, place] == planned[here], looked.codes[here], looked.patients)


def _told_and_seen(part: str) -> Measure:
    def measure(looked: Looked, place: int) -> Estimate | None:
        if looked.seen is None or looked.told is None:
            return None
        told = looked.told.part(part)[looked.images, place]
        here = told != UNTOLD
        if here.sum() < LEAST:
            return None
        seen = looked.seen.parts[part][here, place].argmax(axis=-1)
        return mean(seen == told[here], looked.codes[looked.images][here], looked.patients)

    return measure
