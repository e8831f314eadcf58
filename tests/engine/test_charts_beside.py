"""What charts leave to their tables, and what tables tell beside the picture."""

from __future__ import annotations

from evaluation import charts
from tests.engine import measured
from tests.engine.test_charts_fairness import words


def test_a_heat_map_says_how_many_columns_it_leaves_to_the_table() -> None:
    rows = [
        measured.measurement(metric="tpr", attribute="ward & site", group=f"ward {ward} & site {place}", value=0.5)
        for ward in range(12)
        for place in range(13)
    ]
    plan = charts.plan_heatmap(rows, label="effusion", attribute="ward & site")
    assert " are in the table" in words(plan.draw("light").svg)
    assert len(plan.table_rows) >= 12 * 13


def test_what_stands_beside_a_gap_is_in_the_table_and_in_the_words() -> None:
    pairs = [
        {"groups": ["F", "M"], "rate": "tpr", "value": -0.16, "low": -0.2, "high": -0.13, "n": 900, "patients": 500}
    ]
    gap = measured.gap(pairs)
    gap["detail"] |= {
        "shrunken_gap": 0.12, "heterogeneity_p": 0.0004, "permutation_p": 0.025, "unknown_bounds": [0.02, 0.31],
        "unknown_studies": 1203,
    }  # fmt: skip
    rows = [measured.measurement(metric="tpr", group=group, value=0.7) for group in "FM"]
    plan = charts.plan_forest([*rows, gap], measured.verdict())
    beside = {row[1]: row[2:] for row in plan.table_rows if row[0] == "Beside the gap"}
    assert beside["Gap with chance taken out"][0] == ".12"
    assert beside["Do the groups differ at all"][0] == "p < .001"
    assert beside["Groups dealt at random"] == ("p = .025", "", "", "permutation test")
    assert beside["Gap, whatever groups the Unknown belong to"] == (".02 to .31", "", "", "1,203 studies")
    assert "Gap, whatever groups the Unknown belong to: .02 to .31." in plan.text_alternative
