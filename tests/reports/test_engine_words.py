"""What the engine writes in English is said in German: every reason that its source holds, and nothing of the data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from evaluation.engine.suites.fairness.rates import RATES
from evaluation.engine.suites.hallucination.parts import FAMILIES
from evaluation.engine.suites.hallucination.sampled import FAMILY as SAMPLED
from governance.reports.engine_words import said

ENGINE = Path(__file__).parents[2] / "evaluation" / "engine"
BEGINNINGS = ("undefined: ", "not judged: ", "suppressed: ")


def fixed_reasons() -> Iterator[str]:
    """Every reason that stands in the engine's source as one text, without a changing part."""
    for path in ENGINE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts]
        yield from (str(node.value) for node in texts if str(node.value).startswith(BEGINNINGS))


def counted() -> list[str]:
    """What the engine's metrics count, as its reasons name it."""
    rates = [text for rate in RATES.values() for text in (rate.among, rate.persons)]
    families = (*FAMILIES.values(), SAMPLED)
    rules = [rule for family in families for rule in family.rules]
    return sorted({*rates, *(text for rule in rules for text in (rule.among, rule.persons))})


def undefined() -> list[str]:
    """Why the engine's derived metrics are undefined where they are."""
    return sorted(
        {f"undefined: {rule.undefined}" for family in (*FAMILIES.values(), SAMPLED) for rule in family.derived}
    )


@pytest.mark.parametrize("reason", sorted({*fixed_reasons(), *undefined()}))
def test_every_fixed_reason_of_the_engine_is_said_in_german(reason: str) -> None:
    with translation.override("de"):
        told = said(reason)
    assert told != reason and told.startswith(("nicht definiert: ", "nicht beurteilt: ", "unterdrückt: "))


@pytest.mark.parametrize("what", counted())
def test_every_counted_thing_is_said_in_german(what: str) -> None:
    with translation.override("de"):
        assert what not in said(f"undefined: no {what}")
        assert what not in said(f"group F has 12 {what}, 30 are needed")


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("suppressed: fewer than 11 patients", "unterdrückt: weniger als 11 Patienten"),
        ("group F: undefined: no study has a score", "Gruppe F: nicht definiert: Keine Untersuchung hat einen Wert"),
        (
            "at least 30 patients with the finding in group F (it has fewer than 11); about 1,204 more patients in "
            "group M",
            "mindestens 30 Patienten mit dem Befund in Gruppe F (bisher weniger als 11); etwa 1.204 weitere Patienten "
            "in Gruppe M",
        ),
        ("Sensitivity by age band & sex", "Sensitivität nach Altersgruppe & Geschlecht"),
        (".83 (.79 to .87)", "0,83 (0,79 bis 0,87)"),
        ("−.22 (−.28 to −.16)", "−0,22 (−0,28 bis −0,16)"),
        ("margin ±.10", "Grenzwert ±0,10"),
        ("accepted .80 to 1.20", "zulässig 0,80 bis 1,20"),
        ("Female − Male", "Weiblich − Männlich"),
        ("40 to 60 − under 40", "40 to 60 − under 40"),
        ("pleural effusion", "pleural effusion"),
        ("", ""),
    ],
)
def test_forms_of_the_engine(english: str, german: str) -> None:
    with translation.override("de"):
        assert said(english) == german
    with translation.override("en"):
        assert said(english) == english


@given(text=st.text(max_size=60))
def test_any_text_is_said_without_an_error(text: str) -> None:
    with translation.override("de"):
        assert isinstance(said(text), str)
