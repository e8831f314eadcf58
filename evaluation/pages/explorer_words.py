"""What the explorer calls errors, findings and groups, and what a metric's failing leads to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.templatetags.figures import words
from evaluation.engine.registry import known_metrics
from evaluation.pages.report_marks import LOOKS, Look, look_of
from evaluation.studies.classes import ANY, CLASSES, NONE
from evaluation.studies.selectors import Choices

FLAGS = {
    "answer_wrong": Look(title="Wrong answer", icon="cross", line="wrong", meaning="Not what is true of the study."),
    "answer_refused": Look(title="Refused to answer", icon="slash", line="maybe", meaning="Neither right nor wrong."),
    "answer_unparseable": Look(
        title="Unreadable answer", icon="question", line="wrong", meaning="Says neither yes nor no, or both."
    ),
    "answer_truncated": Look(
        title="Answer cut off", icon="slash", line="wrong", meaning="It ended at the limit of tokens."
    ),
    "answer_unmoved": Look(
        title="Same answer without the study", icon="slash", line="maybe", meaning="It does not rest on the study."
    ),
    "answer_reworded": Look(
        title="Other answer to other words", icon="swap", line="maybe", meaning="It rests on how it is asked."
    ),
    "truncated": Look(title="Report cut off", icon="slash", line="maybe", meaning="It ended at the limit of tokens."),
    "abstained": Look(title="No report, or declined", icon="slash", line="maybe", meaning="It settles no finding."),
    "unsupported_language": Look(title="Not in English", icon="dash", line="absent", meaning="Not scored."),
    "no_reference": Look(title="No expert's report", icon="dash", line="absent", meaning="Not scored."),
}
"""Looks of kinds that are no marks in a text."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One choice of a filter with the number of studies behind it."""

    value: str
    title: str
    studies: int


def about(finding: str) -> str:
    """What a mark is about, in words: a finding, a measured value by its title, or several findings to choose from."""
    from evaluation.engine.probing.wording import options_of
    from evaluation.engine.text.analytes import analyte_words

    known = analyte_words().analytes
    return ", ".join(known[name].title if name in known else words(name) for name in options_of(finding))


def look_of_kind(kind: str) -> Look:
    """Of any kind in an index of studies."""
    return FLAGS.get(kind) or look_of(kind)


def error_options(choices: Choices) -> list[Option]:
    titles = {ANY: "Any error", NONE: "No error"} | {key: item.title for key, item in CLASSES.items()}
    return [Option(value=key, title=titles[key], studies=number) for key, number in choices.errors.items()]


def finding_options(choices: Choices) -> list[Option]:
    return [Option(value=name, title=about(name), studies=number) for name, number in choices.findings.items()]


def group_options(choices: Choices, between: str) -> list[tuple[str, list[Option]]]:
    """Attribute in words -> its groups."""
    return [
        (
            words(attribute),
            [
                Option(value=f"{attribute}{between}{group}", title=group, studies=number)
                for group, number in sorted(groups.items())
            ],
        )
        for attribute, groups in choices.groups.items()
    ]


def metric_words(metric: str) -> str:
    """The title of a metric that the reader came from; empty for what is none."""
    info = known_metrics().get(metric)
    return info.title if info else ""


def legend(kinds: Iterable[str]) -> list[Look]:
    """The looks of the kinds that occur, the gravest first."""
    found = set(kinds)
    return [look for kind, look in LOOKS.items() if kind in found]
