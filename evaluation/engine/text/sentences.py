"""Reads the phrases of a folded report in order and decides what each finding is said to be."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from evaluation.engine.text.ontology import Action, Kind, Ontology

NEAR = 40
"""Characters within which a predicate still finds a subject behind it: "blunting of the left costophrenic angle"."""

PRESENT, UNCERTAIN, ABSENT = "present", "uncertain", "absent"


class Mode(IntEnum):
    """The cue that reaches the next finding."""

    NONE = 0
    ABSENT = 1
    UNCERTAIN = 2
    HISTORICAL = 3


_SAYS = {Mode.NONE: PRESENT, Mode.ABSENT: ABSENT, Mode.UNCERTAIN: UNCERTAIN}


class Mention:
    """A finding where it stands, with what is said of it so far: ``says`` changes while the sentence is read.

    Attributes:
        governed: A verb stood before it ("there is an effusion"), so a cue behind it may belong to another finding.
    """

    __slots__ = ("end", "finding", "governed", "says", "sentence", "start")

    def __init__(self, *, finding: str, says: str, start: int, end: int, sentence: int, governed: bool) -> None:
        self.finding = finding
        self.says = says
        self.start = start
        self.end = end
        self.sentence = sentence
        self.governed = governed


class _Predicate:
    """What is said of a subject that is still to be settled."""

    __slots__ = ("action", "end", "mode", "start")

    def __init__(self, *, action: Action, start: int, end: int, mode: Mode) -> None:
        self.action = action
        self.start = start
        self.end = end
        self.mode = mode


def read_sentences(folded: str, words: Ontology) -> list[Mention]:
    """Mentions of a folded text, in the order of the text."""
    reader = _Reader(words)
    actions, handlers = words.actions, reader.handlers
    for match in words.pattern.finditer(folded):
        text = match.group()
        action = actions.get(text) or actions.get(" ".join(text.split())) or _PUNCTUATION[len(text) == 1]
        if action.kind is Kind.IGNORED:
            continue
        reader.settle(action, match.start())
        handlers[action.kind](action, match.start(), match.end())
    reader.settle(_PUNCTUATION[True], len(folded))
    return sorted(reader.mentions, key=lambda item: item.start)


_PUNCTUATION = (Action(kind=Kind.CONTINUE), Action(kind=Kind.END))


class _Reader:
    """The state of one sentence. Each method is what one kind of phrase does to it."""

    def __init__(self, words: Ontology) -> None:
        self.signs = words.signs
        self.mentions: list[Mention] = []
        self.sentence = 0
        self.handlers: dict[Kind, Callable[[Action, int, int], None]] = {
            Kind.END: self.end,
            Kind.FINDING: self.finding,
            Kind.SUBJECT: self.subject,
            Kind.PREDICATE: self.predicate,
            Kind.STATEMENT: self.statement,
            Kind.ABSENT_BEFORE: lambda *_: self.start(Mode.ABSENT),
            Kind.ABSENT_AFTER: lambda *_: self.look_back(ABSENT),
            Kind.ABSENT_EITHER: lambda *_: self.look_back(ABSENT) if self.open else self.start(Mode.ABSENT),
            Kind.UNCERTAIN_BEFORE: lambda *_: self.doubt(),
            Kind.UNCERTAIN_AFTER: lambda *_: self.look_back(UNCERTAIN),
            Kind.BETWEEN: lambda *_: self.between(),
            Kind.HISTORICAL: lambda *_: self.start(Mode.HISTORICAL),
            Kind.PSEUDO: lambda *_: self.start(Mode.NONE),
            Kind.STOP: lambda *_: self.stop(),
            Kind.VERB: lambda *_: self.verb(),
            Kind.CONTINUE: lambda *_: self.release(),
        }
        self._clear()

    def _clear(self) -> None:
        self.mode, self.used, self.after_verb = Mode.NONE, False, False
        self.open: list[Mention] = []
        self.subjects: frozenset[int] = frozenset()
        self.closed = False
        self.pending: _Predicate | None = None

    def end(self, _action: Action, _start: int, _end: int) -> None:
        self._clear()
        self.sentence += 1

    def start(self, mode: Mode) -> None:
        """A cue that reaches forwards; ``used`` tells whether a finding stood in its reach already."""
        self.mode, self.used = mode, False

    def doubt(self) -> None:
        """Doubt within a negation stays a negation: "no opacity suspicious for pneumonia"."""
        if self.mode is not Mode.ABSENT and self.mode is not Mode.HISTORICAL:
            self.start(Mode.UNCERTAIN)

    def between(self) -> None:
        """ "Atelectasis versus pneumonia": both are uncertain."""
        if self.open and self.open[-1].says == PRESENT:
            self.open[-1].says = UNCERTAIN
        self.doubt()

    def release(self) -> None:
        """Ends the reach of a cue that has reached something."""
        if self.used:
            self.start(Mode.NONE)

    def stop(self) -> None:
        self.start(Mode.NONE)
        self.open = []

    def verb(self) -> None:
        """A verb ends the reach of a cue, unless it stands between the cue and the finding: "not shown to be"."""
        self.release()
        self.after_verb = True

    def look_back(self, says: str) -> None:
        """A cue behind the findings: of those since the last verb, or of the last one."""
        free = [item for item in self.open if not item.governed] or self.open[-1:]
        for item in free:
            if says == ABSENT or item.says == PRESENT:
                item.says = says
        self.open = free[-1:]

    def finding(self, action: Action, start: int, end: int) -> None:
        governed = self.after_verb
        if governed:
            self.open, self.after_verb = [], False
        self.used = True
        if self.mode is not Mode.HISTORICAL:
            for name in action.names:
                self._mention(name, _SAYS[self.mode], start, end, governed)

    def statement(self, action: Action, start: int, end: int) -> None:
        if action.negated == (self.mode is Mode.ABSENT) and self.mode in (Mode.ABSENT, Mode.NONE):
            for name in action.names:
                self._mention(name, ABSENT, start, end, True)
        self.used = True

    def subject(self, action: Action, _start: int, _end: int) -> None:
        if self.closed:
            self.subjects, self.closed = frozenset(), False
        self.subjects |= action.signs

    def predicate(self, action: Action, start: int, end: int) -> None:
        self.pending = _Predicate(action=action, start=start, end=end, mode=self.mode)
        self.used = True

    def settle(self, action: Action, start: int) -> None:
        """Give the waiting predicate its subject, now that the next phrase is known.

        A subject right behind it ("normal heart size") comes first, then subjects before it, then one that follows
        within a few words.
        """
        waiting = self.pending
        if waiting is None:
            return
        behind = action.signs if action.kind is Kind.SUBJECT else frozenset()
        near = behind & waiting.action.says.keys() if start - waiting.end <= NEAR else frozenset()
        before = self.subjects & waiting.action.says.keys()
        if near and start - waiting.end <= 1:
            signs = near
        elif before:
            signs = before
            self.closed = True
        elif near:
            signs = near
        else:
            if action.kind is not Kind.SUBJECT:
                self.pending = waiting if action.kind is not Kind.END else None
            return
        self.pending = None
        self._speak(waiting, signs)

    def _speak(self, waiting: _Predicate, signs: frozenset[int]) -> None:
        """Mentions of what a predicate says of the findings of its signs."""
        for sign in sorted(signs):
            said = waiting.action.says[sign]
            if waiting.mode is Mode.HISTORICAL or (waiting.mode is Mode.ABSENT and said != PRESENT):
                continue  # "not normal" says that something is wrong, not what
            if waiting.mode is Mode.ABSENT:
                said = ABSENT
            elif waiting.mode is Mode.UNCERTAIN:
                said = UNCERTAIN
            for name in self.signs[sign]:
                self._mention(name, said, waiting.start, waiting.end, True)

    def _mention(self, finding: str, says: str, start: int, end: int, governed: bool) -> None:
        item = Mention(finding=finding, says=says, start=start, end=end, sentence=self.sentence, governed=governed)
        self.mentions.append(item)
        self.open.append(item)
