"""The grammar in which the ontology writes phrases, and what a phrase does to the sentence it stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import product

from core.errors import AuscultError

MOST = 4000
"""Texts that one phrase may stand for."""


class Kind(IntEnum):
    """What a phrase does to the sentence it stands in."""

    FINDING = 1
    SUBJECT = 2
    PREDICATE = 3
    STATEMENT = 4
    ABSENT_BEFORE = 5
    ABSENT_AFTER = 6
    ABSENT_EITHER = 7
    UNCERTAIN_BEFORE = 8
    UNCERTAIN_AFTER = 9
    BETWEEN = 10
    HISTORICAL = 11
    PSEUDO = 12
    STOP = 13
    VERB = 14
    LINK = 15
    IGNORED = 16
    UNCERTAIN_EITHER = 17
    LISTING = 18
    PARTICIPLE = 19


@dataclass(frozen=True, kw_only=True)
class Action:
    """A kind with its content.

    Attributes:
        names: Findings that a FINDING or STATEMENT speaks of.
        signs: Indices of signs: those a SUBJECT may be the subject of.
        says: For a PREDICATE, sign -> "present", "uncertain" or "absent".
        negated: For a STATEMENT, whether it clears its findings only behind a negation.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    signs: frozenset[int] = frozenset()
    says: Mapping[int, str] = field(default_factory=dict)
    negated: bool = False

    def join(self, other: Action) -> Action:
        """One action for a phrase that is listed twice under one kind."""
        return Action(
            kind=self.kind,
            names=tuple(dict.fromkeys([*self.names, *other.names])),
            signs=self.signs | other.signs,
            says={**self.says, **other.says},
            negated=self.negated,
        )


def expand(phrase: str, lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every text that a phrase stands for.

    Raises:
        AuscultError: for a list that does not exist, or a phrase that stands for too many texts.
    """
    choices: list[list[str]] = []
    total = 1
    for token in str(phrase).lower().replace("-", " ").split():
        optional = token.startswith("(")
        known = [entry for word in token.strip("()").split("|") for entry in _entries(word, lists, phrase)]
        choices.append([*known, *([""] if optional else [])])
        total *= len(choices[-1])
    if total > MOST:
        raise AuscultError(
            f"The ontology's phrase '{phrase}' stands for {total} texts; at most {MOST} are allowed.",
            remedy="Split the phrase, or use shorter lists in it.",
        )
    for picks in product(*choices):
        text = " ".join(pick for pick in picks if pick)
        if not text:
            raise AuscultError(
                f"The ontology's phrase '{phrase}' may stand for no word at all.",
                remedy="Leave one word that must be there.",
            )
        yield text


def _entries(word: str, lists: Mapping[str, Sequence[str]], phrase: str) -> Sequence[str]:
    if not word.startswith("{"):
        return [word]
    name = word.strip("{}")
    if name not in lists:
        raise AuscultError(
            f"The ontology's phrase '{phrase}' uses the list '{name}', which it does not have.",
            remedy=f"Use one of its lists: {', '.join(sorted(lists))}; or add it under 'lists'.",
        )
    return [str(entry).lower().replace("-", " ") for entry in lists[name]]
