"""The words of a question: every finding with its article and number, every kind of question in several wordings.

``wording.yaml`` beside this file has the words. The first wording of a question is asked; the others paraphrase it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import yaml

from core.errors import AuscultError, ProtocolError
from evaluation.engine.asking import REPORT, ProbeKind

LETTERS = "ABCDEFGH"
SEPARATOR = "|"
"""Joins the findings of a question with options, in ``Asking.finding``."""

MOST_OPTIONS = len(LETTERS) - 1
ONE, MASS, MANY = "one", "mass", "many"
SIZE, SEVERITY, WHERE = "size", "severity", "where"
_AN = frozenset("aeiou")


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A finding in words.

    Attributes:
        noun: Without an article, such as ``pleural effusion``.
        number: ``one`` (countable), ``mass`` (no article) or ``many`` (plural).
        premise: What a question with a false premise asks of it: ``size``, ``severity`` or ``where``.
        names: What an answer may call it.
        reads: Findings of the ontology that speak of it, where its own name is none of them.
    """

    noun: str
    number: str
    premise: str
    names: tuple[str, ...]
    reads: tuple[str, ...] = ()

    @property
    def indefinite(self) -> str:
        """The noun as it is first spoken of: ``a pleural effusion``, ``an opacity``, ``pulmonary oedema``."""
        if self.number != ONE:
            return self.noun
        return f"{'an' if self.noun[:1].lower() in _AN else 'a'} {self.noun}"

    def words(self) -> dict[str, str]:
        """What the placeholders of a question stand for."""
        verb = "are" if self.number == MANY else "is"
        return {
            "a": self.indefinite,
            "the": f"the {self.noun}",
            "noun": self.noun,
            "is": verb,
            "Is": verb.capitalize(),
            "it": "they" if self.number == MANY else "it",
        }


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The file of words, checked.

    Attributes:
        questions: Medium (``image``, ``text``, ``study``) -> form -> wordings.
        phrases: Finding, and every other name of it -> its words.
        names: Every such name -> the finding.
        never: Names that cannot be asked about.
        endings: (number, ends of words) for names that are not in the file, in order.
    """

    version: str
    questions: Mapping[str, Mapping[str, tuple[str, ...]]]
    none_of_above: str
    phrases: Mapping[str, Phrase]
    names: Mapping[str, str]
    never: frozenset[str]
    endings: tuple[tuple[str, tuple[str, ...]], ...]


@cache
def wording() -> Wording:
    """The words that come with Auscult."""
    text = (resources.files("evaluation.engine.probing") / "wording.yaml").read_text(encoding="utf-8")
    return _read(yaml.safe_load(text))


def phrase_of(finding: str) -> Phrase:
    """The words of a finding or of a cohort's label; of an unknown one, by its name and the end of its last word.

    Raises:
        ProtocolError: for a name such as ``no_finding``, which is no finding that a study can have.
    """
    words = wording()
    name = plain_name(finding)
    if name in words.never:
        raise ProtocolError(
            f"No question can be asked about '{finding}': it is no finding that a study can have.",
            remedy="Take it out of 'probing.findings'.",
            column="probing.findings",
        )
    known = words.phrases.get(name)
    return known if known is not None else _guessed(name, words)


def plain_name(finding: str) -> str:
    """A name in small letters with underscores: ``Pleural Effusion`` becomes ``pleural_effusion``."""
    return "_".join(finding.replace("-", " ").replace("_", " ").lower().split())


def known_as(finding: str) -> str:
    """The name of a finding in the file of words, or its plain name."""
    name = plain_name(finding)
    return wording().names.get(name, name)


def options_of(finding: str) -> tuple[str, ...]:
    """Findings of a question with options, from ``Asking.finding``. The option behind them is "none of the above"."""
    return tuple(finding.split(SEPARATOR))


def join_options(findings: Iterable[str]) -> str:
    """What ``Asking.finding`` holds for a question with these options; the inverse of :func:`options_of`."""
    return SEPARATOR.join(findings)


def letter_of_none(findings: Sequence[str]) -> str:
    """The letter of "none of the above"."""
    return LETTERS[len(findings)]


@lru_cache(maxsize=4096)
def questions_for(kind: str, finding: str, modality: str) -> tuple[str, ...]:
    """Every wording of one question. The first is asked; the paraphrase of turn t is the one at ``1 + t``.

    Args:
        kind: A value of :class:`~evaluation.engine.asking.ProbeKind`; a report is not asked for with a question.
        finding: As in ``Asking.finding``: for a question with options, all of them joined with ``|``.
        modality: ``image``, ``text.<name>``, or another, of which the question says "study".

    Raises:
        ProtocolError: for a finding that cannot be asked about.
        AuscultError: for a kind that has no question.
    """
    forms = wording().questions[_medium(modality)]
    if kind == REPORT or kind not in set(ProbeKind):
        raise AuscultError(f"There is no question of the kind '{kind}'.", remedy="Name a kind of probe.")
    if kind == ProbeKind.NONE_OF_ABOVE:
        options = _lettered(options_of(finding))
        return tuple(form.format(options=options) for form in forms["choice"])
    phrase = phrase_of(finding)
    form = phrase.premise if kind == ProbeKind.FALSE_PREMISE else "yes_no"
    return tuple(_capital(item.format(**phrase.words())) for item in forms[form])


def _medium(modality: str) -> str:
    if modality == "image":
        return "image"
    return "text" if modality.startswith("text.") else "study"


def _lettered(findings: Sequence[str]) -> str:
    if len(findings) > MOST_OPTIONS:
        raise AuscultError(
            f"A question has {len(findings)} options; {MOST_OPTIONS} is the most.", remedy="Give fewer options."
        )
    texts = [*(phrase_of(item).indefinite for item in findings), wording().none_of_above]
    return "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, texts, strict=False))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _guessed(name: str, words: Wording) -> Phrase:
    noun = name.replace("_", " ")
    last = noun.rsplit(" ", 1)[-1]
    number = next((kind for kind, ends in words.endings if last.endswith(ends)), ONE)
    return Phrase(noun=noun, number=number, premise=WHERE, names=(noun,))


def _read(body: Mapping[str, Any]) -> Wording:
    phrases: dict[str, Phrase] = {}
    names: dict[str, str] = {}
    for finding, item in body["findings"].items():
        made = Phrase(
            noun=item["noun"],
            number=item.get("number", ONE),
            premise=item.get("premise", WHERE),
            names=(item["noun"], *item.get("names", ())),
            reads=tuple(item.get("reads", ())),
        )
        for name in (finding, *item.get("same_as", ())):
            if name in phrases:
                raise AuscultError(f"The words of '{name}' are given twice.", remedy="Keep one entry of wording.yaml.")
            phrases[name], names[name] = made, finding
    return Wording(
        version=str(body["version"]),
        questions={
            medium: {form: tuple(texts) for form, texts in forms.items()} for medium, forms in body["questions"].items()
        },
        none_of_above=body["none_of_above"],
        phrases=phrases,
        names=names,
        never=frozenset(body["never"]),
        endings=tuple((kind, tuple(ends)) for item in body["endings"] for kind, ends in item.items()),
    )
