"""Where one clause of a sentence ends and the next begins: how far a cue such as "no" or "possible" reaches.

Within a clause, a cue reaches every finding behind it ("no effusion or pneumothorax") or before it ("effusion is not
seen"). A clause ends where a conjunction starts anew ("but", ", small"), where a verb has closed what was said and
another finding follows, and where a new cue begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from evaluation.engine.text.phrases import Action, Kind


class Item(NamedTuple):
    """A phrase where it stands: tokens ``start`` up to ``end``."""

    kind: Kind
    action: Action
    start: int
    end: int


NEAR = 5
"""Tokens within which a finding may be the subject of a verb behind it."""

ATTACHED = 2
"""Words at most that may stand between "resolved" and the finding behind it: "resolved left effusion"."""

ABSENT = frozenset({"absent"})
MENTIONS = frozenset({Kind.FINDING, Kind.STATEMENT, Kind.PREDICATE})


def clause_starts(items: Sequence[Item], tokens: Sequence[str], openers: frozenset[str]) -> list[int]:
    """Tokens at which a clause begins, beside the first, ascending."""
    return _Clauses(tokens, openers).run(items)


class _Clauses:
    """The state of one sentence. Each method is what one kind of phrase does to it.

    Attributes:
        mentions: Where the findings of the clause stand.
        cue: The cue that reaches forwards in the clause.
        closed: What was said is complete: a finding, a subject or a cue begins a new clause.
        settled: So is what was said of a subject, but another predicate of it may follow.
        governed: A verb stood before the findings ("there is an effusion").
    """

    def __init__(self, tokens: Sequence[str], openers: frozenset[str]) -> None:
        self.tokens = tokens
        self.openers = openers
        self.starts: list[int] = []
        self.subject_at = -1
        self.subjects: frozenset[int] = frozenset()
        self.following: Item | None = None
        self.before: Item | None = None
        self._clear()

    def _clear(self) -> None:
        self.mentions: list[int] = []
        self.cue: Kind | None = None
        self.closed = self.settled = self.governed = False

    def run(self, items: Sequence[Item]) -> list[int]:
        for place, item in enumerate(items):
            handler = _HANDLERS.get(item.kind)
            if handler is not None:
                self.following = items[place + 1] if place + 1 < len(items) else None
                handler(self, item)
            self.before = item
        return [start for start in self.starts if start > 0]

    def _begin(self, start: int) -> None:
        if not self.starts or start > self.starts[-1]:
            self.starts.append(start)
        self._clear()

    def mention(self, item: Item) -> None:
        if self.closed or self.settled:
            self._begin(item.start)
        self.mentions.append(item.start)

    def predicate(self, item: Item) -> None:
        if self.closed:
            self._begin(item.start)
        self.mentions.append(item.start)
        self.settled = self.governed and not self.subjects.isdisjoint(item.action.says)

    def subject(self, item: Item) -> None:
        anew = self.mentions and item.start > 0 and self.tokens[item.start - 1] == ","
        if self.closed or self.settled or anew:
            self._begin(item.start)
        self.subject_at, self.subjects = item.start, item.action.signs

    def cue_before(self, item: Item) -> None:
        if self.mentions or self.closed or self.cue is not None:
            self._begin(item.start)
        self.cue = item.kind

    def doubt(self, item: Item) -> None:
        """Doubt within a negation stays a negation: "no opacity suspicious for pneumonia"."""
        if self.cue in (Kind.ABSENT_BEFORE, Kind.HISTORICAL) and not self.closed:
            return
        if self.mentions or self.closed:
            self._begin(item.start)
        self.cue = item.kind

    def cue_after(self, item: Item) -> None:
        if self._another_subject(item):
            self._keep_last()
        self.closed = bool(self.mentions)

    def cue_either(self, item: Item) -> None:
        if self._speaks_back(item):
            self.cue_after(item)
        else:
            self.cue_before(item)

    def doubt_either(self, item: Item) -> None:
        if self._speaks_back(item):
            self.cue_after(item)
        else:
            self.doubt(item)

    def _speaks_back(self, item: Item) -> bool:
        """ "The effusion has resolved" speaks of what stands before; "resolved effusion" of what follows."""
        if not self.mentions:
            return False
        behind_verb = self.before is not None and self.before.kind is Kind.VERB and self.before.end == item.start
        return behind_verb or not self._attached(item)

    def _attached(self, item: Item) -> bool:
        following = self.following
        return following is not None and following.kind in MENTIONS and following.start - item.end <= ATTACHED

    def _another_subject(self, item: Item) -> bool:
        """ "There is effusion and pneumothorax is not seen": the last finding is the subject of what follows."""
        if not self.governed or len(self.mentions) < 2 or item.start - self.mentions[-1] > NEAR:
            return False
        return "and" not in self.tokens[self.mentions[-1] : item.start]

    def pseudo(self, item: Item) -> None:
        if self.cue is not None:
            self._begin(item.start)

    def verb(self, _item: Item) -> None:
        """A verb closes the findings before it, unless it stands between a cue and the finding: "not shown to be"."""
        if self.mentions and self.subject_at > self.mentions[-1]:
            self._begin(self.subject_at)
            self.governed = True
        elif self.mentions:
            self.closed = True
        else:
            self.governed = True

    def participle(self, item: Item) -> None:
        """ "No effusion seen" is complete; "or visualized pneumothorax" goes on."""
        self.closed = bool(self.mentions) and not self._attached(item)

    def _keep_last(self) -> None:
        last = self.mentions[-1]
        self._begin(last)
        self.mentions = [last]

    def link(self, item: Item) -> None:
        """ "No effusion, small pneumothorax" starts anew; "no nodule, large effusion or pneumothorax" goes on."""
        if self.mentions and self._is_well(item):
            self._begin(item.start)
            return
        following = self.tokens[item.end] if item.end < len(self.tokens) else ""
        if not self.mentions or following not in self.openers or self.cue is Kind.LISTING:
            return
        if self.tokens[item.start] == "," and any(word in ("or", "nor") for word in self.tokens[item.end :]):
            return
        self._begin(item.start)

    def _is_well(self, item: Item) -> bool:
        """Whether "normal" or "clear" follows: "no effusion, normal heart"."""
        following = self.following
        return (
            following is not None
            and following.kind is Kind.PREDICATE
            and following.start == item.end
            and ABSENT.issuperset(following.action.says.values())
        )

    def stop(self, item: Item) -> None:
        self._begin(item.start)


_HANDLERS: dict[Kind, Callable[[_Clauses, Item], None]] = {
    Kind.FINDING: _Clauses.mention,
    Kind.STATEMENT: _Clauses.mention,
    Kind.PREDICATE: _Clauses.predicate,
    Kind.SUBJECT: _Clauses.subject,
    Kind.ABSENT_BEFORE: _Clauses.cue_before,
    Kind.ABSENT_AFTER: _Clauses.cue_after,
    Kind.ABSENT_EITHER: _Clauses.cue_either,
    Kind.UNCERTAIN_BEFORE: _Clauses.doubt,
    Kind.UNCERTAIN_AFTER: _Clauses.cue_after,
    Kind.UNCERTAIN_EITHER: _Clauses.doubt_either,
    Kind.LISTING: _Clauses.doubt,
    Kind.HISTORICAL: _Clauses.cue_before,
    Kind.PSEUDO: _Clauses.pseudo,
    Kind.STOP: _Clauses.stop,
    Kind.VERB: _Clauses.verb,
    Kind.PARTICIPLE: _Clauses.participle,
    Kind.LINK: _Clauses.link,
}
