"""Finds streams whose unit changed, over all patients or in one group, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluation.engine.drift.numbers import paired
from evaluation.engine.drift.records import Family, Notice, NoticeKind, Shape, StreamSpec
from evaluation.engine.drift.units import UnitChange, unit_change
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL

if TYPE_CHECKING:
    from evaluation.engine.drift.shifts import Scope

FAMILIES = frozenset({Family.NUMERIC, Family.SERIES})


def unit_notices(
    protocol: Protocol, specs: Sequence[StreamSpec], scopes: Sequence[Scope]
) -> dict[str, tuple[Notice, ...]]:
    """Stream -> notices of a change of unit. Groups are looked at where all patients together show none."""
    found: dict[str, tuple[Notice, ...]] = {}
    for spec in specs:
        if spec.shape is not Shape.NUMBER or spec.family not in FAMILIES or spec.name.endswith((":count", ":rate")):
            continue
        for scope in scopes:
            if spec.name in found and found[spec.name][0].detail["group"] == ALL:
                break
            if (change := _change(protocol, spec, scope)) is not None:
                found[spec.name] = (*found.get(spec.name, ()), _notice(spec, scope, change))
    return found


def _change(protocol: Protocol, spec: StreamSpec, scope: Scope) -> UnitChange | None:
    strata = [
        (one.numbers[spec.name], two.numbers[spec.name])
        for one, two in scope.pairs
        if spec.name in one.numbers and spec.name in two.numbers
    ]
    pair = paired(strata)
    return None if pair is None or pair.n < protocol.minimum_cell else unit_change(spec, pair)


def short(notice: Notice) -> str:
    """Why a stream has no shift, in a line."""
    told = notice.detail
    plus = f" and {told['offset']:+.4g}" if told["offset"] else ""
    return f"its unit changed: times {told['factor']:.5g}{plus}, as from {told['from']} to {told['to']}"


def _notice(spec: StreamSpec, scope: Scope, change: UnitChange) -> Notice:
    way = change.conversion
    plus = f" and {way.offset:+.4g}" if way.offset else ""
    part = "" if change.share == 1 else f"about {change.share:.0%} of "
    where = "" if scope.group == ALL else f" in {scope.attribute} {scope.group}"
    message = (
        f"{spec.title}: {part}the numbers{where} are those of the reference times {way.factor:.5g}{plus}, as from "
        f"{way.source} to {way.target}. Convert them at the source; this is no change of the patients."
    )
    detail = {
        "attribute": scope.attribute, "group": scope.group, "from": way.source, "to": way.target, "factor": way.factor,
        "offset": way.offset, "share": change.share, "ks_before": change.ks_before, "ks_after": change.ks_after,
        "log_ratio": change.log_ratio, "median": change.median, "median_reference": change.median_reference,
    }  # fmt: skip
    return Notice(kind=NoticeKind.UNIT, stream=spec.name, message=message, detail=detail)
