"""What the earlier windows of a cycle say about a later one, beyond their scores.

Numbers that came in another unit are no part of the pool that later windows are compared with: they would make every
later window look odd. And once labels have contradicted the reference's calibration beyond doubt, nothing that is
estimated by it is believed in later windows either, whether or not these have labels, until the test is restarted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from evaluation.engine.drift.estimated import INVALID
from evaluation.engine.drift.records import Family, Notice, NoticeKind, StreamShift
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.records import ALL

Scope = tuple[str, str, str]
"""Label, attribute, group; the latter two ``""`` and ``All`` over all patients."""


def lasting(notices: Iterable[Notice], shifts: Sequence[StreamShift], *, looks: int) -> tuple[Notice, ...]:
    """Notices, each contradiction with ``detail["lasting"]``: whether later windows heed it.

    One window's labels take away its own estimates at p <= .01. Looked at each week, .01 would be reached in many a
    quiet year, and estimates be lost for the whole cycle. So of the k-th window a contradiction lasts where
    ``p <= 6 * .01 / (pi^2 k^2 m)``, m labels and groups: one that is none ever lasts with probability at most .01.

    Args:
        shifts: Every shift of the window.
        looks: Windows of this cycle that were judged, this one among them.
    """
    tried = max(sum(item.family is family for item in shifts) for family in (Family.CONCEPT, Family.ESTIMATED))
    level = 6 * INVALID / (math.pi * looks) ** 2 / max(tried, 1)
    return tuple(
        replace(item, detail=item.detail | {"lasting": item.detail["p_value"] <= level})
        if item.kind is NoticeKind.CONCEPT
        else item
        for item in notices
    )


def without_numbers(sketch: DriftSketch, streams: Collection[str]) -> DriftSketch:
    """The sketch without the numbers of some streams; its patients still count for all others."""
    if not streams:
        return sketch
    cells = {
        key: replace(cell, numbers={name: part for name, part in cell.numbers.items() if name not in streams})
        for key, cell in sketch.cells.items()
    }
    return replace(sketch, cells=cells)


def without_estimates(shifts: Iterable[StreamShift], contradicted: Mapping[Scope, int]) -> tuple[StreamShift, ...]:
    """Shifts, those of estimates without a value where an earlier window's labels contradicted the calibration.

    Args:
        contradicted: Where, and the number of the first window that told so. What holds over all patients holds in
            every group; what holds in one group is said of that group alone.
    """
    return tuple(_checked(item, contradicted) for item in shifts)


def _checked(item: StreamShift, contradicted: Mapping[Scope, int]) -> StreamShift:
    label = item.stream.partition(".")[2]
    told = [contradicted.get(scope) for scope in ((label, "", ALL), (label, item.attribute, item.group))]
    since = min((number for number in told if number is not None), default=None)
    if item.family is not Family.ESTIMATED or since is None or item.value is None:
        return item
    reason = (
        f"invalid since window {since}: labels contradicted the calibration of the reference, see concept.{label}; "
        "so it stays until the test is restarted"
    )
    return replace(item, value=None, low=None, high=None, p_value=None, reason=reason, detail={})
