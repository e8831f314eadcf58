"""The forest chart: the same facts as picture, words and table."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation import charts
from evaluation.engine import assess, sketch_shard
from tests.engine.builders import clustered, protocol, table
from tests.engine.test_fairness import rows_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(theme: charts.Theme = "light", **changes: object) -> charts.Chart:
    rows = clustered(np.random.default_rng(1), patients=2000, tpr={"F": 0.55, "M": 0.85})
    read = protocol(**changes)
    found = assess(read, sketch_shard(read, table(rows)), cross_check=False)
    measurements = [m.to_dict() for m in found.measurements]
    return charts.plan_forest(measurements, found.verdicts[0].to_dict()).draw(theme)


def words(chart: charts.Chart) -> str:
    return " ".join(node.text or "" for node in ElementTree.fromstring(chart.svg).iter(f"{SVG}text"))


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_the_picture_is_the_same_every_time_and_needs_no_style_or_script(theme: charts.Theme) -> None:
    one, two = drawn(theme), drawn(theme)
    assert one.svg == two.svg
    assert "style=" not in one.svg
    assert "<script" not in one.svg
    assert float(ElementTree.fromstring(one.svg).attrib["width"]) <= 720
    assert charts.PALETTES[theme].fail in one.svg


def test_picture_words_and_table_say_the_same() -> None:
    chart = drawn()
    assert chart.title == "Fails: x is missed more often in female patients than in male patients"
    assert chart.title in words(chart)
    assert "margin ±.10" in words(chart)
    drawn_rows = [row for row in chart.table_rows if row[0] != "Beside the gap"]
    assert [row[1] for row in drawn_rows] == ["Female", "Male", "Female − Male"]
    assert all(len(row) == len(chart.table_headers) for row in chart.table_rows)
    for row in drawn_rows:
        assert row[2] in words(chart)
        assert f"{row[1]}: {row[2]}, {row[3]} studies of {row[4]} patients" in chart.text_alternative
    assert drawn_rows[-1][-1] == "beyond the margin"


def test_a_suppressed_group_is_named_and_not_drawn() -> None:
    rows = rows_of({"F": (500, 50, 100, 500), "M": (500, 50, 100, 500), "X": (3, 0, 3, 3)})
    read = protocol()
    found = assess(read, sketch_shard(read, table(rows)), cross_check=False)
    chart = charts.plan_forest([m.to_dict() for m in found.measurements], found.verdicts[0].to_dict()).draw("print")
    assert "fewer than 11 patients" in words(chart)
    assert chart.table_rows[2][1:] == ("X", "not shown", "", "", "suppressed: fewer than 11 patients")


def test_a_floor_is_drawn_on_the_axis_of_the_rate() -> None:
    floor = {"id": "floor", "metric": "tpr", "attribute": "sex", "direction": "at_least", "margin": 0.8}
    chart = drawn(criteria=[floor])
    assert "margin .80" in words(chart)
    assert chart.table_rows[0][-1] == "beyond the margin"
    assert len(chart.table_rows) == 2


def test_a_verdict_without_any_group_to_compare_is_drawn_without_crashing() -> None:
    read = protocol()
    found = assess(read, sketch_shard(read, table(rows_of({"F": (3, 0, 3, 3)}))), cross_check=False)
    chart = charts.plan_forest([m.to_dict() for m in found.measurements], found.verdicts[0].to_dict()).draw("light")
    assert chart.title.startswith("Insufficient evidence")


def test_what_n_counts_and_what_is_written_are_told_by_the_metric() -> None:
    from evaluation.charts.metrics import STUDIES, counts_of, is_written

    assert counts_of("chair_i") == "findings reported by the model" and counts_of("tpr") == STUDIES
    assert [is_written(name) for name in ("chair_i", "mirage", "tpr", "ece", "support")] == [
        True,
        True,
        False,
        False,
        False,
    ]
