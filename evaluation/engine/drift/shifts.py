"""How far each stream of a window lies from the reference: over all patients, and in each group that is watched.

Over all patients and in a group alike, studies are compared within the joint groups of the case mix, by putting the
reference into the window's mix. The effect of a stream goes by its shape:

- a number: ``wasserstein_sigma``, see ``numbers``; where values are missing also a stream ``missing.<column>``;
- a category, the mask and the case mix: ``js_distance``, see ``categories``;
- a vector: ``auc_excess`` of a cross-fitted classifier, see ``vectors``;
- scores and labels: see ``scored``.

All are 0 where nothing changed, whatever the number of patients: what chance adds is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from evaluation.engine.drift.categories import CategoryShift, category_shift, unseen
from evaluation.engine.drift.cells import CellSketch, merged
from evaluation.engine.drift.numbers import number_shift, paired
from evaluation.engine.drift.records import Family, Notice, NoticeKind, Shape, StreamShift, StreamSpec
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.drift.unit_notices import short, unit_notices
from evaluation.engine.protocol import JOIN, Protocol
from evaluation.engine.records import ALL, UNKNOWN
from evaluation.engine.statistics.intervals import z_of

CASE_MIX = "case_mix"
MISSING = "missing."
COUNTED = ("uncompared", "missing", "missing_reference")
"""Details that count patients."""
TOLD = 5
"""So many categories are named with their shares."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Some patients on both sides, by stratum of the case mix.

    Attributes:
        pairs: Window and reference of each stratum; an empty sketch where one side has none.
    """

    attribute: str
    group: str
    pairs: tuple[tuple[CellSketch, CellSketch], ...]

    @cached_property
    def n(self) -> int:
        """Patients of the window."""
        return sum(window.n for window, _ in self.pairs)

    @cached_property
    def n_reference(self) -> int:
        return sum(reference.n for _, reference in self.pairs)


def shifts_of(
    protocol: Protocol, window: DriftSketch, reference: DriftSketch
) -> tuple[tuple[StreamShift, ...], tuple[Notice, ...]]:
    """Every shift, and what is told apart from drift of patients.

    A shift with fewer patients than ``protocol.minimum_cell`` on either side has no value and no details.

    Raises:
        AuscultError: the two were read through different frames.
    """
    window.check_like(reference)
    shifts: list[StreamShift] = []
    notices = [*not_watched(window), *unseen_notices(protocol, window, reference)]
    scopes = list(scopes_of(protocol, window, reference))
    units = unit_notices(protocol, window.specs, scopes)
    for scope in scopes:
        for spec in window.specs:
            if spec.shape is not Shape.SCORED:
                shifts += _unscored(protocol, spec, scope, units.get(spec.name))
        found, told = _scored(protocol, window.specs, scope)
        shifts += found
        notices += told
    mix, told = case_mix_shift(protocol, window, reference)
    ordered = sorted([*shifts, *mix], key=lambda item: (item.attribute, item.group, item.stream))
    return tuple(ordered), (*notices, *(item for found in units.values() for item in found), *told)


def scopes_of(protocol: Protocol, window: DriftSketch, reference: DriftSketch) -> Iterator[Scope]:
    """All patients, then each group of the attributes that are watched group by group."""
    drift = protocol.drift
    if drift is None:
        return
    yield _scope(drift.case_mix, window, reference, "", ALL)
    for attribute in drift.groups or window.attributes:
        for group in sorted({*window.groups(attribute), *reference.groups(attribute)}):
            yield _scope(drift.case_mix, window, reference, attribute, group)


def case_mix_shift(
    protocol: Protocol, window: DriftSketch, reference: DriftSketch
) -> tuple[list[StreamShift], list[Notice]]:
    """The joint distribution of the attributes of the case mix; nothing where the protocol names none."""
    drift = protocol.drift
    if drift is None or not drift.case_mix or not drift.watches(Family.CASE_MIX):
        return [], []
    counts = [
        {JOIN.join(key): cell.n for key, cell in part.strata(drift.case_mix).items()} for part in (window, reference)
    ]
    spec = StreamSpec(
        name=CASE_MIX, family=Family.CASE_MIX, shape=Shape.CATEGORY, title="case mix", modality=CASE_MIX
    )  # fmt: skip
    scope = Scope(attribute="", group=ALL, pairs=((window.total(), reference.total()),))
    shift = _of_categories(protocol, spec, scope, [(counts[0], counts[1])])
    if shift.value is None or shift.value < shift.margin:
        return [shift], []
    names = ", ".join(drift.case_mix)
    moved = "; ".join(
        f"{item['category']} {item['before']:.0%} before, {item['now']:.0%} now" for item in shift.detail["largest"]
    )
    message = f"Patients come in another mix of {names}{': ' + moved if moved else ''}."
    detail = {"value": shift.value, "margin": shift.margin}
    return [shift], [Notice(kind=NoticeKind.CASE_MIX, stream=CASE_MIX, message=message, detail=detail)]


def unseen_notices(protocol: Protocol, window: DriftSketch, reference: DriftSketch) -> Iterator[Notice]:
    """Categories, and groups of attributes, that the reference never had. Those of few patients are only counted."""
    ours, theirs = window.total(), reference.total()
    for name in sorted(set(ours.categories) & set(theirs.categories)):
        found = unseen(ours.categories[name], theirs.categories[name])
        if found:
            yield _unseen(protocol, name, window.spec(name).title, found)
    for name in window.attributes:
        sizes = {key: window.of_group(name, key).n for key in window.groups(name)}
        found = unseen(sizes, dict.fromkeys((*reference.groups(name), UNKNOWN), 1))
        if found:
            yield _unseen(protocol, name, name.replace("_", " "), found)


def _unseen(protocol: Protocol, name: str, title: str, found: dict[str, int]) -> Notice:
    named = {key: number for key, number in found.items() if number >= protocol.minimum_cell}
    few = len(found) - len(named)
    parts = [f"'{key}' ({number:,} patients)" for key, number in named.items()]
    if few:
        parts.append(f"{few} with fewer than {protocol.minimum_cell} patients each")
    message = f"{title}: categories that the reference does not have: {', '.join(parts)}."
    detail: dict[str, Any] = {"categories": named, "suppressed": few}
    return Notice(kind=NoticeKind.UNSEEN, stream=name, message=message, detail=detail)


def not_watched(window: DriftSketch) -> Iterator[Notice]:
    """Streams and families that are not watched, and why."""
    for name, why in sorted(window.why_not.items()):
        yield Notice(kind=NoticeKind.NOT_WATCHED, stream=name, message=why)


def _scope(case_mix: Sequence[str], window: DriftSketch, reference: DriftSketch, attribute: str, group: str) -> Scope:
    """Cells of one group on both sides, by their joint group of the case mix."""
    strata: dict[tuple[str, ...], tuple[list[CellSketch], list[CellSketch]]] = {}
    place = window.attributes.index(attribute) if attribute else -1
    mix = [window.attributes.index(name) for name in case_mix]
    for side, part in enumerate((window, reference)):
        for key, cell in part.cells.items():
            if place < 0 or key[place] == group:
                strata.setdefault(tuple(key[i] for i in mix), ([], []))[side].append(cell)
    pairs = tuple((merged(ours), merged(theirs)) for _, (ours, theirs) in sorted(strata.items()))
    return Scope(attribute=attribute, group=group, pairs=pairs)


def _unscored(
    protocol: Protocol, spec: StreamSpec, scope: Scope, units: Sequence[Notice] | None
) -> Iterator[StreamShift]:
    """Shifts of a number, a category or a vector."""
    few = _few(protocol, scope)
    if spec.shape is Shape.NUMBER:
        yield from _missing(protocol, spec, scope)
        yield _told_unit(_of_numbers(protocol, spec, scope), units)
    elif few:
        yield _without(protocol, spec, scope, few, _effect(spec))
    elif spec.shape is Shape.CATEGORY:
        strata = [(one.categories.get(spec.name, {}), two.categories.get(spec.name, {})) for one, two in scope.pairs]
        yield _of_categories(protocol, spec, scope, strata)
    else:
        yield _of_vectors(protocol, spec, scope)


def _of_numbers(protocol: Protocol, spec: StreamSpec, scope: Scope) -> StreamShift:
    strata = [
        (one.numbers[spec.name], two.numbers[spec.name])
        for one, two in scope.pairs
        if spec.name in one.numbers and spec.name in two.numbers
    ]
    n, n_reference = (sum(pair[side].n for pair in strata) for side in (0, 1))
    reason = _few(protocol, scope) or _too_few(protocol, n, n_reference, "patients with a number")
    pair = None if reason else paired(strata)
    if pair is None or pair.n < protocol.minimum_cell:
        return _without(
            protocol, spec, scope, reason or "no stratum of the case mix has enough on both sides", _effect(spec)
        )
    found = number_shift(pair, z=z_of(protocol.alpha))
    made = _without(protocol, spec, scope, "", _effect(spec))
    detail = found.detail | _compared(pair.uncompared, pair.m, protocol)
    return replace(
        made, value=found.value, low=found.low, high=found.high, p_value=found.p_value, n=pair.n,
        n_reference=pair.n_reference, detail=detail,
    )  # fmt: skip


def _missing(protocol: Protocol, spec: StreamSpec, scope: Scope) -> Iterator[StreamShift]:
    """Whether a column is there. That of a modality is told by the mask."""
    found = [(one.numbers.get(spec.name), two.numbers.get(spec.name)) for one, two in scope.pairs]
    if spec.family is not Family.NUMERIC or not any(part and part.missing for pair in found for part in pair):
        return
    own = StreamSpec(
        name=MISSING + spec.name, family=Family.MASK, shape=Shape.CATEGORY, title=f"{spec.title}, whether it is there",
        modality=spec.modality,
    )  # fmt: skip
    strata = [tuple({"there": part.n, "missing": part.missing} if part else {} for part in pair) for pair in found]
    if few := _few(protocol, scope):
        yield _without(protocol, own, scope, few, "js_distance")
    else:
        yield _of_categories(protocol, own, scope, [(one, two) for one, two in strata])


def _of_categories(
    protocol: Protocol, spec: StreamSpec, scope: Scope, strata: Sequence[tuple[dict[str, int], dict[str, int]]]
) -> StreamShift:
    made = _without(protocol, spec, scope, "", "js_distance")
    found = category_shift(strata, z=z_of(protocol.alpha))
    reason = _few(protocol, scope)
    if not reason and (found is None or found.n < protocol.minimum_cell):
        reason = "no stratum of the case mix has enough on both sides"
    if reason or found is None:
        return replace(made, reason=reason)
    detail = found.detail | _compared(found.uncompared, found.m, protocol)
    return replace(
        made, value=found.value, low=found.low, high=found.high, p_value=found.p_value, n=found.n,
        n_reference=found.n_reference, detail=detail | {"largest": _largest(protocol, found)},
    )  # fmt: skip


def _largest(protocol: Protocol, found: CategoryShift) -> list[dict[str, Any]]:
    """The categories that changed most, without those of few patients on either side."""
    rows: list[dict[str, Any]] = []
    for name in found.window:
        now, before = found.window[name], found.reference[name]
        sizes = (round(now * found.n), round(before * found.n_reference))
        if now != before and all(size == 0 or size >= protocol.minimum_cell for size in sizes):
            rows.append({"category": name or "(missing)", "before": before, "now": now})
    return sorted(rows, key=lambda row: (-abs(row["now"] - row["before"]), row["category"]))[:TOLD]


def _of_vectors(protocol: Protocol, spec: StreamSpec, scope: Scope) -> StreamShift:
    from evaluation.engine.drift.discriminant import vector_shift

    pairs = [
        (one.vectors[spec.name], two.vectors[spec.name])
        for one, two in scope.pairs
        if _both(spec.name, one.vectors, two.vectors)
    ]
    if reason := _too_few(protocol, *_sizes(pairs), "patients with one"):
        return _without(protocol, spec, scope, reason, "auc_excess")
    margin = protocol.drift.margin(spec.family) if protocol.drift else 0.0
    window, reference = ([pair[side] for pair in pairs] for side in (0, 1))
    found = vector_shift(spec, window, reference, margin=margin, seed=protocol.seed)
    return _placed(protocol, found, scope)


def _placed(protocol: Protocol, found: StreamShift, scope: Scope) -> StreamShift:
    """A shift of a scope, without counts of few patients."""
    kept = {name: _told(protocol, found.detail[name]) for name in COUNTED if name in found.detail}
    return replace(found, attribute=scope.attribute, group=scope.group, detail=found.detail | kept)


def _scored(protocol: Protocol, specs: Sequence[StreamSpec], scope: Scope) -> tuple[list[StreamShift], list[Notice]]:
    """Shifts of scores and labels, of the streams that are watched."""
    wanted = {spec.name: spec for spec in specs if spec.shape is Shape.SCORED}
    labels = sorted({label for pair in scope.pairs for part in pair for label in part.scored})
    shifts: list[StreamShift] = []
    notices: list[Notice] = []
    for label in labels:
        own = [spec for name, spec in wanted.items() if name.partition(".")[2] == label]
        found, told = _of_label(protocol, label, own, scope)
        shifts += [item for item in found if item.stream in wanted]
        # That labels contradict the estimates is told to whoever watches estimates.
        notices += [item for item in told if {item.stream, f"estimated.{label}"} & set(wanted)]
    where = {"attribute": scope.attribute, "group": scope.group}
    return shifts, [replace(item, detail=item.detail | where) for item in notices]


def _of_label(
    protocol: Protocol, label: str, specs: Sequence[StreamSpec], scope: Scope
) -> tuple[list[StreamShift], list[Notice]]:
    from evaluation.engine.drift.estimated import scored_shifts

    pairs = [(one.scored[label], two.scored[label]) for one, two in scope.pairs if _both(label, one.scored, two.scored)]
    if reason := _too_few(protocol, *_sizes(pairs), "patients with a score"):
        return [_without(protocol, spec, scope, reason, _effect(spec)) for spec in specs], []
    window, reference = ([pair[side] for pair in pairs] for side in (0, 1))
    shifts, notices = scored_shifts(protocol, label, window, reference)
    return [_placed(protocol, item, scope) for item in shifts], list(notices)


def _both(name: str, *sides: Mapping[str, Any]) -> bool:
    return all(name in side for side in sides)


def _sizes(pairs: Sequence[tuple[Any, Any]]) -> tuple[int, int]:
    """Patients on either side, in the strata that both have."""
    both = [(one.n, two.n) for one, two in pairs if one.n and two.n]
    return sum(one for one, _ in both), sum(two for _, two in both)


def _told_unit(shift: StreamShift, units: Sequence[Notice] | None) -> StreamShift:
    """A stream whose unit changed has no drift of patients to tell."""
    if not units:
        return shift
    return replace(shift, value=None, low=None, high=None, p_value=None, reason=short(units[0]), detail={})


def _few(protocol: Protocol, scope: Scope) -> str:
    return _too_few(protocol, scope.n, scope.n_reference, "patients")


def _too_few(protocol: Protocol, n: int, n_reference: int, what: str) -> str:
    """Why nothing is told of so few; "" where they are enough."""
    for number, side in ((n, "window"), (n_reference, "reference")):
        if number < protocol.minimum_cell:
            return f"the {side} has {'no' if not number else f'fewer than {protocol.minimum_cell}'} {what}"
    return ""


def _effect(spec: StreamSpec) -> str:
    return {
        Shape.NUMBER: "wasserstein_sigma",
        Shape.CATEGORY: "js_distance",
        Shape.VECTOR: "auc_excess",
        Shape.SCORED: f"{spec.family.value}_shift",
    }[spec.shape]


def _compared(uncompared: int, worth: float, protocol: Protocol) -> dict[str, Any]:
    """Patients whose stratum the reference lacks, where enough to be told; what the reference is worth."""
    return {"uncompared": _told(protocol, uncompared), "reference_worth": worth}


def _told(protocol: Protocol, number: int) -> int | None:
    """A number of patients; None where they are few."""
    return number if number == 0 or number >= protocol.minimum_cell else None


def _without(protocol: Protocol, spec: StreamSpec, scope: Scope, reason: str, effect: str) -> StreamShift:
    """A shift that has no value, or not yet."""
    margin = protocol.drift.margin(spec.family) if protocol.drift else 0.0
    return StreamShift(
        stream=spec.name, family=spec.family, attribute=scope.attribute, group=scope.group, effect=effect, value=None,
        low=None, high=None, margin=margin, p_value=None, n=scope.n, n_reference=scope.n_reference, reason=reason,
    )  # fmt: skip
