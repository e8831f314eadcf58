"""Charts in the language of the page: every word of the picture, of its alternative and of its table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.utils import translation

from core.spoken import spoken_value
from evaluation.chart_words import LOCALES
from evaluation.charts import ChartPlan, Happening, StreamLine, WindowState, plan_forest, plan_timeline, plan_track
from evaluation.charts.curves import plan_curve
from evaluation.engine.drift.words import effect_words
from tests.engine.measured import gap, measurement, nothing, verdict
from tests.engine.test_charts_fairness import PLANS
from tests.pages.test_monitors_charts import START, dot, point

SVG = "{http://www.w3.org/2000/svg}"
ENGLISH = re.compile(
    r"\b(?:the|of|is|are|by|and|with|to|from|not|at|than|scores?|studies|patients|sensitivity|windows?|margins?|interval"
    r"|judged|shown|female|male|evidence|value|step|points|fewer|threshold|[A-Z][a-z]{2} \d{4})\b",
    re.IGNORECASE,
)
ENGLISH_NUMBER = re.compile(r"(?<![\d\w])\.\d|\d\.\d\d\b(?!\.)")


def forest() -> ChartPlan:
    pair = {"groups": ["F", "M"], "value": -0.2, "low": -0.25, "high": -0.15}
    rows = [measurement(), measurement(group="M", value=0.9, n=1300), nothing(group="X")]
    detail = {"shrunken_gap": 0.12, "heterogeneity_p": 0.0001, "permutation_p": 0.02}
    return plan_forest([*rows, gap([pair], detail=detail)], verdict(statement=STATEMENT))


STATEMENT = (
    "Fails: the sensitivity of effusion differs most between female patients and male patients: .600 vs .800, "
    "difference -.200 (95% interval -.250 to -.150)."
)


def track() -> ChartPlan:
    happened = [Happening(at=START + timedelta(days=10), text="version 1.1 deployed")]
    points = [point(index, 0.3 * index) for index in range(6)]
    return plan_track([*points, point(6, None), point(7, 900.0, alarm=True, leading="age")], happened)


def quiet_track() -> ChartPlan:
    return plan_track([point(index) for index in range(5)])


def track_begun_anew() -> ChartPlan:
    points = [point(index) for index in range(4)]
    return plan_track([*points, point(5, 4.5, alarm=True), point(6, 0.1, cycle=2, threshold=math.log(1000))])


def stream(*values: float) -> ChartPlan:
    line = StreamLine(name="All studies", dots=tuple(dot(index, value) for index, value in enumerate(values)))
    states = [WindowState(index=item.index, closes=item.closes, state="judged") for item in line.dots]
    return plan_timeline("Age", effect_words("wasserstein_sigma"), [line], states)


def moved() -> ChartPlan:
    return stream(0.04, 0.04, 0.24, 0.24, 0.24)


def still() -> ChartPlan:
    return stream(0.04, 0.04, 0.05)


def curve() -> ChartPlan:
    return plan_curve("image.flow", [[1, 2.0], [1000, 0.5]])


@pytest.fixture(autouse=True)
def in_german() -> Iterator[None]:
    with translation.override("de"):
        yield


def texts_of(svg: str) -> list[str]:
    return [" ".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "make", [*PLANS, forest, track, quiet_track, track_begun_anew, moved, still, curve], ids=lambda make: make.__name__
)
def test_nothing_of_a_chart_stays_english(make: Callable[[], ChartPlan]) -> None:
    plan = make().said(spoken_value, locale=LOCALES["de"])
    chart = plan.draw("light")
    cells = [cell for row in chart.table_rows for cell in row]
    told = [chart.title, *re.split(r"(?<=[.;]) ", chart.text_alternative), *chart.table_headers, *cells]
    left = {text for text in [*told, *texts_of(chart.svg)] if ENGLISH.search(text) or ENGLISH_NUMBER.search(text)}
    assert left == set()


def test_a_heading_of_several_lines_is_said_whole_and_broken_anew() -> None:
    plan = forest().said(spoken_value, locale=LOCALES["de"])
    assert "unterscheidet sich am meisten zwischen Patientinnen und Patienten" in " ".join(
        texts_of(plan.draw("light").svg)
    )


def test_a_chart_in_english_is_as_it_was_planned() -> None:
    plan = forest()
    same = plan.said(str, locale="")
    assert (same.draw("print"), same.title) == (plan.draw("print"), plan.title)
