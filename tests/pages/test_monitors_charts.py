"""The two pictures of a monitor's life: what they say, and that every mark lies where its number is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluation.charts import (
    PALETTES,
    ChartPlan,
    Happening,
    NothingToDrawError,
    StreamDot,
    StreamLine,
    TrackPoint,
    WindowState,
    e_value,
    plan_timeline,
    plan_track,
)
from evaluation.pages.monitors_words import stream_words

START = datetime(2026, 3, 9, tzinfo=UTC).replace(tzinfo=None)
LIMIT = math.log(20)


def point(index: int, log_e: float | None = -0.4, **given: Any) -> TrackPoint:
    facts: dict[str, Any] = {"state": "judged" if log_e is not None else "empty", "word": "Judged", "cycle": 1}
    facts |= {"log_e": log_e, "decisive": log_e, "threshold": LIMIT, "method": "e_process"}
    return TrackPoint(index=index, closes=START + timedelta(weeks=index), **(facts | given))


def layers(spec: Any) -> Iterator[Any]:
    """Every layer of a picture that has data."""
    if isinstance(spec, dict):
        if "data" in spec:
            yield spec
        for value in spec.values():
            yield from layers(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from layers(value)


def drawn(plan: ChartPlan, kind: str, *having: str) -> list[dict[str, Any]]:
    """Rows of the marks of one kind that have these fields."""
    found = (item for item in layers(plan.specify(PALETTES["light"])) if item["mark"]["type"] == kind)
    return [row for item in found for row in item["data"]["values"] if all(name in row for name in having)]


@pytest.mark.parametrize(
    ("log_e", "written"),
    [
        (0.0, "1.0"), (math.log(0.31), ".31"), (math.log(20), "20"), (math.log(2400), "2,400"), (math.log(9.96), "10"),
        (math.log(3e7), "10^7"), (400.0, "10^173"), (-30.0, "below .01"), (None, ""), (math.nan, ""),
    ],
)  # fmt: skip
def test_evidence_is_written_as_a_reader_reads_it(log_e: float | None, written: str) -> None:
    assert e_value(log_e) == written


def test_the_title_of_a_track_states_the_finding() -> None:
    quiet = [point(index) for index in range(5)]
    said = plan_track(quiet).title
    assert said == "No alarm in 5 windows: evidence of a change is .67, an alarm is due at 20"
    alarm = point(5, 4.5, alarm=True, leading="scanner maker")
    assert plan_track([*quiet, alarm]).title == "Alarm in window 5, to 13 Apr 2026: scanner maker"
    anew = point(6, 0.1, cycle=2, threshold=math.log(1000))
    assert plan_track([*quiet, alarm, anew]).title.startswith("No alarm in the first window since the monitor began")
    small = point(5, 6.0, decisive=0.0)
    assert "a change is certain, but it is smaller than the margins" in plan_track([*quiet, small]).title


def test_points_lie_at_their_powers_of_ten_and_alarms_have_a_shape() -> None:
    points = [point(0, 0.0), point(1, math.log(10)), point(2, None), point(3, 900.0, alarm=True), point(4, -80.0)]
    plan = plan_track(points)
    dots = drawn(plan, "point", "e", "shape")
    assert [round(dot["e"], 6) for dot in dots[:2]] == [0.0, 1.0]
    assert [dot["shape"] for dot in dots] == ["circle", "circle", "diamond", "circle"]
    top, bottom = dots[2]["e"], dots[3]["e"]
    assert math.log10(20) < top <= math.log10(20) + 5, "what is far beyond stands at the end of the axis"
    assert bottom == -2.0
    strip = drawn(plan, "point", "t", "edge")
    assert [row["shape"] for row in strip] == ["circle", "circle", "square", "circle", "circle"]
    assert [row["t"] for row in dots] == [row["t"] for place, row in enumerate(strip) if place != 2]


def test_a_life_begun_anew_has_a_line_of_its_own_and_its_own_limit() -> None:
    points = [point(0), point(1, 4.0, alarm=True), point(2, 0.1, cycle=2, threshold=math.log(1000)), point(3, cycle=2)]
    plan = plan_track([*points[:3], point(3, 0.2, cycle=2, threshold=math.log(1000))])
    words = [row["text"] for row in drawn(plan, "text", "text")]
    assert {"alarm at 20", "alarm at 1,000", "begins anew"} <= set(words)
    lines = [item for item in layers(plan.specify(PALETTES["light"])) if item["mark"]["type"] == "line"]
    assert [len(item["data"]["values"]) for item in lines if "e" in item["data"]["values"][0]] == [2, 2, 2, 2]
    bands = drawn(plan, "rect", "limit")
    assert len(bands) == 2 and bands[0]["to"] == bands[1]["t"]


def test_what_happened_is_numbered_told_and_in_the_table() -> None:
    happened = [Happening(at=START + timedelta(days=day), text=f"thing {day}") for day in (2, 2, 9, 400)]
    plan = plan_track([point(index) for index in range(4)], happened, zone="Europe/Vienna")
    heads = [row for row in drawn(plan, "text", "x", "text") if row["text"] in {"1", "2", "3", "4"}]
    assert [row["text"] for row in heads] == ["1", "2", "3"], "what lies outside of the picture is left out"
    places = [row["x"] for row in heads]
    assert min(places[1] - places[0], places[2] - places[1]) >= 16, "numbers do not cover each other"
    assert [row[6] for row in plan.table_rows[4:]] == ["thing 2", "thing 2", "thing 9"]
    assert "thing 9" in plan.text_alternative and plan.table_headers[1] == "Closed (Europe/Vienna)"


def dot(index: int, value: float | None, **given: Any) -> StreamDot:
    facts: dict[str, Any] = {"margin": 0.1, "n": 200}
    if value is not None:
        facts |= {"low": value - 0.05, "high": value + 0.05}
    facts = {"low": None, "high": None} | facts | given
    return StreamDot(index=index, closes=START + timedelta(weeks=index), value=value, **facts)


def stream(*lines: StreamLine, **given: Any) -> ChartPlan:
    states = [WindowState(index=item.index, closes=item.closes, state="judged") for item in lines[0].dots]
    return plan_timeline("Scanner maker", "distance of the shares", lines, states, **given)


def test_a_stream_says_since_when_it_is_beyond_its_margin() -> None:
    quiet = [dot(index, 0.04) for index in range(3)]
    assert stream(StreamLine(name="All studies", dots=tuple(quiet))).title == (
        "Scanner maker was in no window wholly beyond its margin"
    )
    moved = StreamLine(name="All studies", dots=(*quiet, dot(3, 0.3), dot(4, 0.3)))
    assert stream(moved).title == "Scanner maker is beyond its margin since window 3 (to 30 Mar 2026)"
    back = StreamLine(name="All studies", dots=(*moved.dots, dot(5, 0.02)))
    assert stream(back).title == "Scanner maker is within its margin again; it was beyond it in window 4"
    women = StreamLine(name="Sex: F", dots=moved.dots)
    assert "beyond its margin in sex: F since window 3" in stream(women, back).title


def test_dots_intervals_and_margin_are_those_of_the_rows() -> None:
    line = StreamLine(name="All studies", dots=(dot(0, 0.04), dot(1, None, reason="too few"), dot(2, 0.3)))
    plan = stream(line)
    assert [(row["value"], row["shape"]) for row in drawn(plan, "point", "value", "shape")] == [
        (0.04, "circle"), (0.3, "diamond"),
    ]  # fmt: skip
    assert [(row["low"], row["high"]) for row in drawn(plan, "rule", "low", "high")] == [
        (pytest.approx(-0.01), pytest.approx(0.09)), (0.25, 0.35),
    ]  # fmt: skip
    assert [row["top"] for row in drawn(plan, "rect", "top")] == [0.1]
    both = stream(line, both_sides=True)
    assert [(row["value"], row["top"]) for row in drawn(both, "rect", "top")] == [(-0.1, 0.1)]
    assert plan.table_rows[1][3:] == ("none", ".10", "", "200", "too few")
    assert plan.table_rows[2][3] == ".300 (.250 to .350)"


def test_nothing_to_draw_is_said_in_words() -> None:
    with pytest.raises(NothingToDrawError, match="No window was judged yet"):
        plan_track([point(0, None)])
    with pytest.raises(NothingToDrawError, match="estimates are not valid"):
        stream(StreamLine(name="All studies", dots=(dot(0, None, reason="estimates are not valid"),)))


def test_pictures_hold_against_the_schema_and_are_drawn_alike_each_time() -> None:
    import altair

    happened = [Happening(at=START + timedelta(days=10), text="version 1.1 deployed")]
    track = plan_track([point(index, 0.3 * index) for index in range(6)], happened)
    lines = [StreamLine(name=f"Group {place}", dots=tuple(dot(i, 0.02 * i) for i in range(3))) for place in range(10)]
    for plan in (track, stream(*lines[:2], both_sides=True)):
        altair.Chart.from_dict(plan.specify(PALETTES["dark"]), validate=True)
        first = plan.draw("dark").svg
        assert first == plan.draw("dark").svg and first.startswith("<svg")
    told = [row["text"] for row in drawn(stream(*lines), "text", "text")]
    assert "Not drawn: Group 8, Group 9; see the table." in told


@pytest.mark.parametrize(
    ("name", "detail", "words"),
    [
        ("age", {"title": "age at the study"}, "Age at the study"),
        ("scanner_maker", {}, "Scanner maker"),
        ("series.crp:median", None, "CRP, median of the study"),
        ("text.indication:oov", None, "Indication, share of words that the reference does not know"),
        ("image:embedding", None, "Image, embedding"),
        ("estimated.effusion", {"title": "estimated.effusion"}, "Estimated performance on effusion"),
        ("label.pleural_effusion", None, "Share of studies with pleural effusion"),
        ("concordance:image-text.report", None, "Agreement of image and report"),
        ("case_mix", None, "Case mix: who comes"),
    ],
)
def test_streams_have_names_that_a_reader_knows(name: str, detail: dict[str, Any] | None, words: str) -> None:
    assert stream_words(name, detail) == words
