"""What the earlier windows of a cycle say about a later one, beyond their scores.

Numbers that came in another unit are no part of the pool that later windows are compared with: they would make every
later window look odd. And once labels have contradicted the reference's calibration, nothing that is estimated by it is
believed in later windows either, whether or not these have labels, until the test is restarted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from evaluation.engine.drift.records import Family, StreamShift
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.records import ALL

Scope = tuple[str, str, str]
"""Label, attribute, group; the latter two ``""`` and ``All`` over all patients."""


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
