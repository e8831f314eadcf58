"""What each finding of a sentence is said to be, once its clauses and what is negated in them are known.

negspacy tells what is negated. Here is what it lacks: doubt, the past, subjects with what is said of them ("the heart
is enlarged", "lungs are clear"), and statements that clear many findings at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluation.engine.text.clauses import MENTIONS, Item
from evaluation.engine.text.phrases import Kind
from evaluation.engine.text.records import Assertion

NEAR = 7
"""Tokens within which a predicate still finds a subject behind it: "blunting of the left costophrenic angle"."""


APART = 8
"""Tokens within which "versus" speaks of the finding before it, too."""


class Said(NamedTuple):
    """A finding in tokens ``start`` up to ``end``; ``of``: the tokens of what it is said of, where there is such."""

    finding: str
    assertion: Assertion
    start: int
    end: int
    of: tuple[int, int]


_FORWARDS = {Kind.UNCERTAIN_BEFORE, Kind.LISTING}


def findings_said(
    items: Sequence[Item], starts: Sequence[int], negated: Mapping[int, bool], signs: Sequence[tuple[str, ...]]
) -> list[Said]:
    """Every finding of a sentence with its assertion, in order.

    Args:
        starts: Tokens at which clauses begin.
        negated: Start of a mention -> whether a negation reaches it.
        signs: Findings of each sign.
    """
    reader = _Signs(signs)
    doubts, past = _doubts(items, starts), _past(items, starts)
    for item in items:
        if item.kind is Kind.IGNORED:
            continue
        reader.settle(item)
        if item.kind is Kind.SUBJECT:
            reader.subject(item)
        elif item.kind in MENTIONS and item.start not in past:
            absent, uncertain = negated.get(item.start, False), item.start in doubts
            if item.kind is Kind.PREDICATE:
                reader.predicate(item, absent=absent, uncertain=uncertain)
            elif item.kind is Kind.STATEMENT:
                reader.statement(item, absent=absent, uncertain=uncertain)
            else:
                assertion = Assertion.ABSENT if absent else Assertion.UNCERTAIN if uncertain else Assertion.PRESENT
                reader.say(item.action.names, assertion, item)
    reader.settle(None)
    return sorted(reader.said, key=lambda said: said.start)


def _doubts(items: Sequence[Item], starts: Sequence[int]) -> set[int]:
    """Mentions that a cue of doubt reaches: one before them or behind them in their clause."""
    found: set[int] = set()
    waiting: list[int] = []
    clause, doubt = 0, False
    for item in items:
        here = bisect_right(starts, item.start)
        if here != clause:
            clause, waiting, doubt = here, [], False
        if item.kind in MENTIONS:
            waiting.append(item.start)
            if doubt:
                found.add(item.start)
        elif item.kind is Kind.UNCERTAIN_AFTER:
            found.update(waiting)
        elif item.kind is Kind.BETWEEN:
            found.update(start for start in waiting[-1:] if item.start - start <= APART)
            doubt = True
        elif item.kind in _FORWARDS:
            doubt = True
        elif item.kind is Kind.UNCERTAIN_EITHER:
            found.update(waiting)
            doubt = not waiting
    return found


def _past(items: Sequence[Item], starts: Sequence[int]) -> set[int]:
    """Mentions behind "history of" in their clause."""
    cues = [item for item in items if item.kind is Kind.HISTORICAL]
    return {
        item.start
        for cue in cues
        for item in items
        if item.kind in MENTIONS
        and item.start > cue.start
        and bisect_right(starts, item.start) == bisect_right(starts, cue.start)
    }


class _Predicate(NamedTuple):
    """What is said of a subject that is still to be settled."""

    item: Item
    absent: bool
    uncertain: bool


class _Signs:
    """Finds the subject of each predicate."""

    def __init__(self, signs: Sequence[tuple[str, ...]]) -> None:
        self.signs = signs
        self.said: list[Said] = []
        self.subjects: frozenset[int] = frozenset()
        self.span = (0, 0)
        self.closed = False
        self.waiting: _Predicate | None = None

    def say(self, names: Sequence[str], assertion: Assertion, item: Item, of: tuple[int, int] | None = None) -> None:
        self.said += [Said(name, assertion, item.start, item.end, of or (item.start, item.end)) for name in names]

    def statement(self, item: Item, *, absent: bool, uncertain: bool) -> None:
        """A statement clears its findings where it is negated and must be, or is not and must not."""
        if item.action.negated is absent and not uncertain:
            self.say(item.action.names, Assertion.ABSENT, item)

    def subject(self, item: Item) -> None:
        if self.closed:
            self.subjects, self.closed = frozenset(), False
        self.subjects |= item.action.signs
        self.span = (item.start, item.end)

    def predicate(self, item: Item, *, absent: bool, uncertain: bool) -> None:
        self.waiting = _Predicate(item, absent, uncertain)

    def settle(self, following: Item | None) -> None:
        """Give the waiting predicate its subject, now that the next phrase is known.

        A subject right behind it ("normal heart size") comes first, then subjects before it, then one that follows
        within a few words.
        """
        waiting = self.waiting
        if waiting is None:
            return
        is_subject = following is not None and following.kind is Kind.SUBJECT
        says = waiting.item.action.says.keys()
        gap = following.start - waiting.item.end if following is not None else 0
        near = following.action.signs & says if following is not None and is_subject and gap <= NEAR else frozenset()
        before = self.subjects & says
        if near and following is not None and (gap == 0 or not before):
            self._speak(waiting, near, (following.start, following.end))
        elif before:
            self.closed = True
            self._speak(waiting, before, self.span)
        elif is_subject:
            self.waiting = None

    def _speak(self, waiting: _Predicate, signs: frozenset[int], of: tuple[int, int]) -> None:
        """Mentions of what a predicate says of the findings of its signs."""
        self.waiting = None
        for sign in sorted(signs):
            assertion = Assertion(waiting.item.action.says[sign])
            if waiting.absent and assertion is not Assertion.PRESENT:
                continue  # "not normal" says that something is wrong, not what
            if waiting.absent:
                assertion = Assertion.ABSENT
            elif waiting.uncertain:
                assertion = Assertion.UNCERTAIN
            self.say(self.signs[sign], assertion, waiting.item, of)
