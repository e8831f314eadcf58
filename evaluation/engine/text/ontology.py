"""The vocabulary of chest radiograph reports, compiled from ``ontology.yaml`` into one regular expression."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

import yaml

from core.digests import sha256_json
from core.errors import AuscultError

LINE_END = "\N{PILCROW SIGN}"
"""What a line break that ends a sentence is written as before the text is scanned."""

END_OF_WORD = r"(?!\w)"


class Kind(IntEnum):
    """What a phrase does to the sentence it stands in."""

    END = 0
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
    CONTINUE = 15
    IGNORED = 16


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


@dataclass(frozen=True, kw_only=True)
class Ontology:
    """Findings and the compiled phrases.

    Attributes:
        titles: Finding -> its name in words, in the order of the file.
        ancestors: Finding -> every more general finding that it implies.
        pathologies: Findings that say that the patient is ill; a device does not.
        signs: Findings of each sign.
        pattern: Matches one phrase of a folded text, the end of a sentence, or a conjunction that starts anew.
        actions: Phrase (words with single spaces) -> what it does.
        abstentions: Matches where a report declines to answer.
        headings: Matches a heading; group "skipped" is set where what follows is not read.
        digest: SHA-256 of the file's content: results of different vocabularies must not be merged.
    """

    version: str
    digest: str
    titles: Mapping[str, str]
    ancestors: Mapping[str, frozenset[str]]
    pathologies: frozenset[str]
    signs: tuple[tuple[str, ...], ...]
    pattern: re.Pattern[str]
    actions: Mapping[str, Action]
    abstentions: re.Pattern[str]
    headings: re.Pattern[str]

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.titles)


@cache
def ontology() -> Ontology:
    """The vocabulary that comes with Auscult."""
    text = (resources.files("evaluation.engine.text") / "ontology.yaml").read_text(encoding="utf-8")
    return compile_ontology(yaml.safe_load(text))


def compile_ontology(body: Mapping[str, Any]) -> Ontology:
    """An ontology from the plain data of a file such as ``ontology.yaml``, whose head describes the phrases.

    Raises:
        AuscultError: for a parent that is no finding, or a phrase listed under two kinds.
    """
    lists, findings = body["lists"], body["findings"]
    actions: dict[str, Action] = {}
    for phrase, action in _phrases(body):
        for text in _expanded(phrase, lists):
            known = actions.get(text)
            if known is not None and known.kind is not action.kind:
                raise AuscultError(
                    f"The ontology lists '{phrase}' both as {known.kind.name} and as {action.kind.name}.",
                    remedy="Keep a phrase under one heading.",
                )
            actions[text] = action if known is None else known.join(action)
    headings = body["headings"]
    return Ontology(
        version=str(body["version"]),
        digest=sha256_json(dict(body)),
        titles={name: item["title"] for name, item in findings.items()},
        ancestors={name: _ancestors(name, findings) for name in findings},
        pathologies=frozenset(name for name, item in findings.items() if item.get("pathology", True)),
        signs=tuple(tuple(item["findings"]) for item in body["signs"]),
        pattern=_pattern(actions, lists),
        actions=actions,
        abstentions=re.compile(rf"\b(?:{_any(body['abstentions'])})\b"),
        headings=re.compile(
            rf"(?:^|(?<=[.{LINE_END}\n]))\s{{0,20}}(?:(?P<skipped>{_any(headings['skipped'])})|(?:{_any(headings['read'])}))\s{{0,5}}:"
        ),
    )


def _ancestors(name: str, findings: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(findings[name].get("parents", []))
    while waiting:
        parent = waiting.pop()
        if parent not in findings:
            raise AuscultError(
                f"The ontology gives '{name}' the parent '{parent}', which is no finding.",
                remedy="Name a finding of the ontology.",
            )
        if parent not in found:
            found.add(parent)
            waiting += findings[parent].get("parents", [])
    return frozenset(found)


def _phrases(body: Mapping[str, Any]) -> Iterator[tuple[str, Action]]:
    for name, item in body["findings"].items():
        yield from ((phrase, Action(kind=Kind.FINDING, names=(name,))) for phrase in item["phrases"])
    for index, sign in enumerate(body["signs"]):
        subject = Action(kind=Kind.SUBJECT, signs=frozenset({index}))
        yield from ((phrase, subject) for phrase in sign["subjects"])
        for said in ("present", "uncertain", "absent"):
            predicate = Action(kind=Kind.PREDICATE, says={index: said})
            yield from ((phrase, predicate) for phrase in sign.get(said, ()))
    for item in body["statements"]:
        action = Action(kind=Kind.STATEMENT, names=tuple(item["findings"]), negated=item["negated"])
        yield from ((phrase, action) for phrase in item["phrases"])
    cues = body["cues"]
    places = (
        (cues["absent"]["before"], Kind.ABSENT_BEFORE), (cues["absent"]["after"], Kind.ABSENT_AFTER),
        (cues["absent"]["either"], Kind.ABSENT_EITHER), (cues["uncertain"]["before"], Kind.UNCERTAIN_BEFORE),
        (cues["uncertain"]["after"], Kind.UNCERTAIN_AFTER), (cues["uncertain"]["between"], Kind.BETWEEN),
        (cues["historical"]["before"], Kind.HISTORICAL), (cues["pseudo"], Kind.PSEUDO), (cues["stop"], Kind.STOP),
        (cues["verbs"], Kind.VERB), (body["ignored"], Kind.IGNORED),
    )  # fmt: skip
    for phrases, kind in places:
        yield from ((phrase, Action(kind=kind)) for phrase in phrases)


def _expanded(phrase: str, lists: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every text that a phrase stands for."""
    choices: list[list[str]] = []
    for token in phrase.split():
        optional = token.startswith("(")
        words = token.strip("()").split("|")
        known = [entry for word in words for entry in (lists[word[1:-1]] if word.startswith("{") else [word])]
        choices.append([*known, *([""] if optional else [])])
    for picks in product(*choices):
        yield " ".join(pick for pick in picks if pick)


def _any(phrases: Sequence[str]) -> str:
    """Alternation of plain phrases, longer ones first."""
    return "|".join(re.escape(item).replace(r"\ ", r"\s+") for item in sorted(phrases, key=len, reverse=True))


def _pattern(phrases: Iterable[str], lists: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Matches the end of a sentence, a phrase (the longest that begins at a place), or a conjunction that starts anew.

    Python's matcher tries the branches of an alternation in turn; a tree of words has few at each step.
    """
    ends = rf"(?<!\bvs)[.!?](?=\s|$|{LINE_END})|[;{LINE_END}]"
    anew = rf"\s+(?=(?:{_any(lists['size'])})\b)"
    # "no effusion, small pneumothorax" starts anew; "no nodule, large effusion or pneumothorax" goes on with its list.
    comma = rf",{anew}(?![^.;{LINE_END}]{{0,200}}\b(?:or|nor)\b)"
    tree: dict[str, Any] = {}
    for text in phrases:
        node = tree
        for word in text.split():
            node = node.setdefault(word, {})
        node[""] = {}
    return re.compile(rf"{ends}|{comma}|\b(?:(?:and|with){anew}|{_branches(tree)})")


def _branches(node: Mapping[str, Any]) -> str:
    """Regular expression of what may follow in a tree of words: longer phrases before the one that ends here."""
    by_initial: dict[str, list[str]] = defaultdict(list)
    for word in sorted(node, key=lambda item: (-len(item), item)):
        if word:
            by_initial[word[0]].append(word)
    parts = []
    for initial, words in sorted(by_initial.items()):
        rests = []
        for word in words:
            below = {key: value for key, value in node[word].items() if key}
            longer = [rf"\s+(?:{_branches(below)})"] if below else []
            rests.append(
                f"{re.escape(word[1:])}(?:{'|'.join([*longer, *([END_OF_WORD] if '' in node[word] else [])])})"
            )
        parts.append(f"{re.escape(initial)}(?:{'|'.join(rests)})")
    return "|".join(parts)
