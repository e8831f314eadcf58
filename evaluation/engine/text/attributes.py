"""What a sentence says beside which findings there are: their side, severity and change; comparisons; citations."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from evaluation.engine.text.assertions import Said
from evaluation.engine.text.records import Assertion, Change, Severity, Side

SEPARATORS = frozenset({",", "and", "or", "with", "nor", "plus", ":"})
_SIDES = {frozenset({Side.LEFT}): Side.LEFT, frozenset({Side.RIGHT}): Side.RIGHT}


class Word(NamedTuple):
    """A phrase that says more: tokens ``start`` up to ``end``."""

    kind: str
    value: str
    start: int
    end: int


class More(NamedTuple):
    """What is said of one finding."""

    side: Side | None
    severity: Severity | None
    change: Change | None


NOTHING = More(None, None, None)


def described(
    said: Sequence[Said], words: Sequence[Word], tokens: Sequence[str], starts: Sequence[int], sided: frozenset[str]
) -> list[More]:
    """Side, severity and change of each finding of a sentence.

    Each word belongs to one finding: of its clause, to the one that it stands right before ("left effusion"), else to
    the one that it stands behind ("effusion on the left, small"). So "small left effusion and right pneumothorax" keeps
    its sides apart.
    """
    if not words:
        return [NOTHING] * len(said)
    places = sorted({(min(one.start, one.of[0]), max(one.end, one.of[1])) for one in said})
    bounds = [0, *starts]
    given: dict[tuple[int, int], list[Word]] = {place: [] for place in places}
    for word in words:
        owner = _owner(word, places, tokens, bounds)
        if owner is not None:
            given[owner].append(word)
    found = [
        _more(given[(min(one.start, one.of[0]), max(one.end, one.of[1]))], one, lateral=one.finding in sided)
        for one in said
    ]
    return _shared(said, found, tokens, sided)


def _owner(
    word: Word, places: Sequence[tuple[int, int]], tokens: Sequence[str], bounds: Sequence[int]
) -> tuple[int, int] | None:
    """The finding that a word speaks of: one of its clause, else the one before; None where there is none."""
    first = bounds[bisect_right(bounds, word.start) - 1]
    last = next((bound for bound in bounds if bound > word.start), len(tokens))
    earlier = later = None
    for place in places:
        if place[0] < word.end and word.start < place[1]:
            return place
        if place[1] <= word.start:
            earlier = place
        elif later is None and place[0] < last:
            later = place
    if later is None or earlier is None:
        return later or earlier
    if earlier[0] < first:
        return later
    ahead = not _separated(word.end, later[0], tokens)
    back = not _separated(earlier[1], word.start, tokens)
    return later if ahead and (not back or later[0] - word.end <= 1) else earlier


def _separated(start: int, end: int, tokens: Sequence[str]) -> bool:
    return any(token in SEPARATORS for token in tokens[start:end])


def _more(words: Sequence[Word], said: Said, *, lateral: bool) -> More:
    sides = {Side(word.value) for word in words if word.kind == "side"}
    side = None if not sides or not lateral else _SIDES.get(frozenset(sides), Side.BOTH)
    change = _nearest([word for word in words if word.kind == "change"], said)
    degree = _nearest([word for word in words if word.kind == "severity"], said)
    if said.assertion is Assertion.ABSENT:
        return More(side, None, Change(change) if change == Change.RESOLVED.value else None)
    return More(side, Severity(int(degree)) if degree else None, Change(change) if change else None)


def _nearest(words: Sequence[Word], said: Said) -> str | None:
    """The value that stands nearest; of those before and behind at one distance, the one before."""
    return min(words, key=lambda word: abs(word.start - said.start)).value if words else None


def _shared(said: Sequence[Said], found: list[More], tokens: Sequence[str], sided: frozenset[str]) -> list[More]:
    """ "Bibasilar opacities, likely atelectasis": what is doubtful lies where the finding before it lies."""
    for place in range(1, len(said)):
        one, before = said[place], said[place - 1]
        if (
            found[place].side is None
            and found[place - 1].side is not None
            and one.finding in sided
            and one.assertion is Assertion.UNCERTAIN
            and before.assertion is not Assertion.ABSENT
        ):
            found[place] = found[place]._replace(side=found[place - 1].side)
    return found
