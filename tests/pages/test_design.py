"""The tokens hold what they promise, and numbers are written in one way."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.pages.navigation import ENTRIES
from core.templatetags import figures

ROOT = Path(__file__).resolve().parents[2]
TOKENS = (ROOT / "static" / "css" / "tokens.css").read_text()
STATES = ("pass", "fail", "insufficient", "working", "waiting")


def theme(selector: str) -> dict[str, str]:
    block = TOKENS[TOKENS.index(selector) :].partition("{")[2].partition("}")[0]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block))


LIGHT, DARK, AUTO = theme(":root {"), theme(':root[data-theme="dark"]'), theme(':root[data-theme="auto"]')


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, LIGHT | DARK], ids=["light", "dark"])
def test_text_holds_wcag_aa_on_every_ground(colours: dict[str, str]) -> None:
    for ground in ("ground", "surface", "sunken"):
        for text in ("ink", "muted", "accent", "fail"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["edge"], colours[ground]) >= 3, ground
    for state in STATES:
        assert contrast(colours[state], colours[f"{state}-ground"]) >= 4.5, state
        assert contrast(colours["ink"], colours[f"{state}-ground"]) >= 4.5, state
        assert contrast(colours[state], colours["surface"]) >= 4.5, state
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["accent"], colours["accent-ground"]) >= 4.5


def test_the_systems_dark_is_the_chosen_dark() -> None:
    assert DARK == AUTO and len(DARK) > 20


def test_greys_carry_no_tint() -> None:
    for colours in (LIGHT, DARK):
        for name in ("ground", "surface", "sunken", "ink", "muted", "line", "edge"):
            value = colours[name]
            assert value[1:3] == value[3:5] == value[5:7], name


def test_colours_are_decided_in_the_tokens_only() -> None:
    sheets = sorted((ROOT / "static" / "css").glob("*.css"))
    for sheet in (item for item in sheets if item.name not in {"tokens.css", "print.css"}):
        assert re.findall(r"#[0-9a-f]{3,8}\b|rgb\(|hsl\(", sheet.read_text()) == [], sheet.name
    assert len(sheets) == 12


def test_every_state_has_a_shape_of_its_own() -> None:
    icons = (ROOT / "templates" / "components" / "icon.html").read_text()
    assert all(f'name == "{state}"' in icons for state in ("pass", "fail", "insufficient", "working"))


def test_the_navigation_has_seven_entries_at_most() -> None:
    assert len(ENTRIES) <= 7


@pytest.mark.parametrize(
    ("value", "low", "high", "written"),
    [
        (0.91, 0.88, 0.94, ".91 (.88–.94)"),
        (-0.27, -0.36, -0.18, "−.27 (−.36 to −.18)"),
        (0.02, -0.03, 0.07, ".02 (−.03 to .07)"),
        (1.0, 0.97, 1.0, "1.00 (.97–1.00)"),
        (0.0, 0.0, 0.04, ".00 (.00–.04)"),
        (-0.001, -0.004, 0.001, ".00 (.00 to .00)"),
        (None, None, None, "–"),
        (0.5, None, None, ".50"),
    ],
)
def test_estimates_as_papers_write_them(
    value: float | None, low: float | None, high: float | None, written: str
) -> None:
    assert figures.estimate(value, low, high) == written


def test_times_counts_and_spans() -> None:
    assert figures.when(datetime(2026, 11, 22, 14, 5, tzinfo=UTC)) == "22 Nov 2026 14:05 UTC"
    assert figures.when("2026-11-02T04:05:59+00:00") == "2 Nov 2026 04:05 UTC"
    assert figures.when(None) == "–"
    assert [figures.count(n) for n in (0, 1204, None)] == ["0", "1,204", "–"]
    assert figures.nouns(1, "study,studies") == "1 study" and figures.nouns(0, "study,studies") == "0 studies"
    assert [figures.duration(s) for s in (40, 125, 1260, 7500, 200000)] == [
        "40 s",
        "2 min 5 s",
        "21 min",
        "2 h 5 min",
        "2 days",
    ]
    assert [figures.p_value(p) for p in (0.0004, 0.034, 1.0, None)] == ["< .001", ".034", "> .999", "–"]
    assert [figures.percent(s) for s in (0, 0.123, 1.0, None)] == ["0 %", "12.3 %", "100 %", "–"]


def test_a_verdict_is_split_into_finding_and_particulars() -> None:
    said = "Fails: effusion is missed more often in women than in men: sensitivity .73 vs .90, margin .10."
    assert figures.headline(said) == "Effusion is missed more often in women than in men"
    assert figures.particulars(said) == "Sensitivity .73 vs .90, margin .10."
    assert figures.headline("A sentence of another suite.") == "A sentence of another suite"
