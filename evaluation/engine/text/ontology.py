"""The vocabulary of chest radiograph reports: ``ontology.yaml``, checked and compiled into phrases and what they do.

A protocol may add to it (``reports.vocabulary``): :func:`vocabulary_of`. The digest tells which vocabulary read a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from core.digests import sha256_json
from core.errors import AuscultError
from evaluation.engine.text.phrases import Action, Kind, expand

GRAVITIES = (1, 2, 3)
ATTRIBUTES = ("side", "severity", "change", "comparison", "citation")
"""Kinds of words that say more of a finding, or of the report: phrase -> value, apart from what :class:`Kind` tells.
The value ``none`` hides what is within the phrase."""

LINE_END = "\N{PILCROW SIGN}"
"""What a line break that ends a sentence is written as before the text is cut."""

OPEN = ("findings", "lists", "attributes.citation")
"""Where additions may bring new keys."""

PROPERTIES = ("title", "phrases", "parents", "gravity", "pathology", "sided")
"""What may be said of a finding."""

SPARE_DEFAULTS: Mapping[str, Any] = {"gravity": 2, "pathology": True, "sided": False}


@dataclass(frozen=True, kw_only=True)
class Ontology:
    """Findings and the compiled phrases.

    Attributes:
        titles: Finding -> its name in words, in the order of the file.
        ancestors: Finding -> every more general finding that it implies.
        pathologies: Findings that say that the patient is ill; a device does not.
        gravity: Finding -> 1, 2 or 3: how much harm lies in inventing or missing it.
        sided: Findings that have a side: an effusion does, an enlarged heart does not.
        signs: Findings of each sign.
        actions: Phrase (words with single spaces) -> what it does.
        attributes: Phrase -> (kind of :data:`ATTRIBUTES`, value) pairs.
        openers: Words that begin a new part of a sentence behind a comma, "and" or "with".
        abstentions: Matches where a report declines to answer.
        heading: Matches a heading in a folded text; group "name" is a key of ``headings``.
        headings: Heading -> ``body``, ``findings``, ``impression``, or ``skipped``: what follows was not seen.
        digest: SHA-256 of the file's content: results of different vocabularies must not be merged.
    """

    version: str
    digest: str
    titles: Mapping[str, str]
    ancestors: Mapping[str, frozenset[str]]
    pathologies: frozenset[str]
    gravity: Mapping[str, int]
    sided: frozenset[str]
    signs: tuple[tuple[str, ...], ...]
    actions: Mapping[str, Action]
    attributes: Mapping[str, tuple[tuple[str, str], ...]]
    openers: frozenset[str]
    abstentions: re.Pattern[str]
    heading: re.Pattern[str]
    headings: Mapping[str, str]

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.titles)


@cache
def ontology() -> Ontology:
    """The vocabulary that comes with Auscult."""
    return compile_ontology(_bundled())


def vocabulary_of(additions: Mapping[str, Any]) -> Ontology:
    """The vocabulary with the additions of a protocol; the one that comes with Auscult where there are none.

    Compiled once for each digest of the additions.

    Raises:
        AuscultError: see :func:`extend_ontology` and :func:`compile_ontology`.
    """
    if not additions:
        return ontology()
    digest = sha256_json(dict(additions))
    if digest not in _EXTENDED:
        made = compile_ontology(extend_ontology(_bundled(), additions))
        while len(_EXTENDED) >= 8:
            _EXTENDED.pop(next(iter(_EXTENDED)))
        _EXTENDED[digest] = made
    return _EXTENDED[digest]


_EXTENDED: dict[str, Ontology] = {}


@cache
def _source() -> str:
    return (resources.files("evaluation.engine.text") / "ontology.yaml").read_text(encoding="utf-8")


def _bundled() -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load(_source())
    return body


def extend_ontology(body: Mapping[str, Any], additions: Mapping[str, Any]) -> dict[str, Any]:
    """A body with additions of the same shape: lists grow, keys are added, a plain value replaces the one before.

    Raises:
        AuscultError: naming the key, where it is none of the ontology's or its value has another shape.
    """
    merged = deepcopy(dict(body))
    _merge(merged, additions, path="")
    return merged


def _merge(into: dict[str, Any], additions: Mapping[str, Any], *, path: str) -> None:
    for key, value in additions.items():
        place = f"{path}.{key}" if path else str(key)
        known = into.get(key)
        if known is None:
            _check_new(str(key), path, known=into)
            into[key] = deepcopy(value)
        elif isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value, path=place)
        elif isinstance(known, list) and isinstance(value, list):
            into[key] = [*known, *(item for item in value if item not in known)]
        elif isinstance(known, dict | list) or isinstance(value, Mapping | list):
            shape = "a mapping" if isinstance(known, dict) else "a list" if isinstance(known, list) else "a plain value"
            raise AuscultError(f"The vocabulary's '{place}' must be {shape}.", remedy="Write it as in ontology.yaml.")
        else:
            into[key] = value


def _check_new(key: str, path: str, *, known: Mapping[str, Any]) -> None:
    """Only findings, lists and modalities can be added as new keys; a property of a finding must be one."""
    if path in OPEN or (path.startswith("findings.") and key in PROPERTIES):
        return
    allowed = PROPERTIES if path.startswith("findings.") else sorted(known)
    raise AuscultError(
        f"The vocabulary has no '{key}'{f' in {path!r}' if path else ''}.", remedy=f"Use one of: {', '.join(allowed)}."
    )


def compile_ontology(body: Mapping[str, Any]) -> Ontology:
    """An ontology from the plain data of a file such as ``ontology.yaml``, whose head describes the phrases.

    Raises:
        AuscultError: for a parent that is no finding, a phrase listed under two kinds, or a finding without a title or
            phrases, or with a gravity that is not 1, 2 or 3.
    """
    lists, findings = body["lists"], body["findings"]
    _check_findings(findings)
    _check_names(body)
    return Ontology(
        version=str(body["version"]),
        digest=sha256_json(dict(body)),
        titles={name: item["title"] for name, item in findings.items()},
        ancestors={name: _ancestors(name, findings) for name in findings},
        pathologies=frozenset(name for name in findings if _property(findings, name, "pathology")),
        gravity={name: _property(findings, name, "gravity") for name in findings},
        sided=frozenset(name for name in findings if _property(findings, name, "sided")),
        signs=tuple(tuple(item["findings"]) for item in body["signs"]),
        actions=_actions(body),
        attributes=_attributes(body["attributes"], lists),
        openers=frozenset(word.replace("-", " ") for word in lists["openers"]),
        abstentions=re.compile(rf"\b(?:{_any(body['abstentions'])})\b"),
        heading=re.compile(rf"(?:^|(?<=[.;:{LINE_END}\n]))\s{{0,20}}(?P<name>{_any(_headings(body))})\s{{0,5}}:"),
        headings={heading: section for section, items in body["headings"].items() for heading in items},
    )


def _headings(body: Mapping[str, Any]) -> list[str]:
    return [heading for items in body["headings"].values() for heading in items]


def _property(findings: Mapping[str, Any], name: str, key: str) -> Any:
    return findings[name].get(key, SPARE_DEFAULTS[key])


def _check_findings(findings: Mapping[str, Any]) -> None:
    for name, item in findings.items():
        if not isinstance(item, Mapping) or not item.get("title") or not isinstance(item.get("phrases"), list):
            raise AuscultError(
                f"The vocabulary's finding '{name}' needs a title and a list of phrases.",
                remedy=f'Write {name}: {{title: "its name", phrases: ["words that name it"]}}.',
            )
        if unknown := sorted(set(item) - set(PROPERTIES)):
            raise AuscultError(
                f"The vocabulary's finding '{name}' has the property '{unknown[0]}', which is not known.",
                remedy=f"Use one of: {', '.join(PROPERTIES)}.",
            )
        if item.get("gravity", SPARE_DEFAULTS["gravity"]) not in GRAVITIES:
            raise AuscultError(
                f"The vocabulary's finding '{name}' has the gravity {item['gravity']!r}.", remedy="Give 1, 2 or 3."
            )


def _check_names(body: Mapping[str, Any]) -> None:
    needed = {"signs": ("subjects", "findings"), "statements": ("findings", "phrases", "negated")}
    for section, keys in needed.items():
        for item in body[section]:
            if not isinstance(item, Mapping) or any(key not in item for key in keys):
                raise AuscultError(
                    f"An entry of the ontology's '{section}' lacks one of: {', '.join(keys)}.",
                    remedy="Write it like the entries of ontology.yaml.",
                )
            for name in item["findings"]:
                if name not in body["findings"]:
                    raise AuscultError(
                        f"The ontology's '{section}' speak of '{name}', which is no finding.",
                        remedy="Name a finding of the ontology.",
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


def _actions(body: Mapping[str, Any]) -> dict[str, Action]:
    actions: dict[str, Action] = {}
    for phrase, action in _phrases(body):
        for text in expand(phrase, body["lists"]):
            known = actions.get(text)
            if known is not None and known.kind is not action.kind:
                raise AuscultError(
                    f"The ontology lists '{text}' both as {known.kind.name} and as {action.kind.name}.",
                    remedy="Keep a phrase under one heading.",
                )
            actions[text] = action if known is None else known.join(action)
    return actions


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
        (cues["verbs"], Kind.VERB),
        (cues["uncertain"]["either"], Kind.UNCERTAIN_EITHER), (cues["uncertain"]["listing"], Kind.LISTING),
        (cues["participles"], Kind.PARTICIPLE), (body["ignored"], Kind.IGNORED), ([",", "and", "with"], Kind.LINK),
    )  # fmt: skip
    for phrases, kind in places:
        yield from ((phrase, Action(kind=kind)) for phrase in phrases)


def _attributes(
    body: Mapping[str, Mapping[str, Sequence[str]]], lists: Mapping[str, Sequence[str]]
) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, dict[tuple[str, str], None]] = {}
    for kind, values in body.items():
        for value, phrases in values.items():
            for phrase in phrases:
                for text in expand(phrase, lists):
                    found.setdefault(text, {})[(kind, value)] = None
    return {text: tuple(pairs) for text, pairs in found.items()}


def _any(phrases: Sequence[str]) -> str:
    """Alternation of plain phrases, longer ones first."""
    ordered = sorted((item.replace("-", " ") for item in phrases), key=len, reverse=True)
    return "|".join(re.escape(item).replace(r"\ ", r"\s+") for item in ordered)
