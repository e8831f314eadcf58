"""Evidence that cannot be reported on is refused; small cells leave no trace in what is reported."""

from __future__ import annotations

import pytest

from core.errors import AuscultError
from governance.reports.cohort_facts import cohort_tables
from governance.reports.evidence import check_evidence, hide_small_cells
from models_registry.cohorts.disclosure import hide_in_summary, withhold
from tests.reports.conftest import SUMMARY, make_evidence, measurement, verdict


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("result",), "result"),
        (("result", "verdicts"), "result.verdicts"),
        (("system", "intended_purpose"), "system.intended_purpose"),
        (("version", "digest"), "version.digest"),
        (("cohort", "simulated"), "cohort.simulated"),
        (("protocol", "approved_by"), "protocol.approved_by"),
        (("result_digest",), "result_digest"),
    ],
)
def test_lacking_keys_are_named(path: tuple[str, ...], named: str) -> None:
    evidence = make_evidence("pass")
    parent = evidence if len(path) == 1 else evidence[path[0]]
    del parent[path[-1]]
    with pytest.raises(AuscultError, match=named) as caught:
        check_evidence(evidence)
    assert caught.value.remedy


def test_an_empty_document_is_refused_for_its_schema() -> None:
    with pytest.raises(AuscultError, match="schema 'None'"):
        check_evidence({})


def test_an_entry_that_lacks_its_interval_is_named() -> None:
    evidence = make_evidence("pass")
    del evidence["result"]["measurements"][2]["low"]
    with pytest.raises(AuscultError, match=r"Entry 3 of result\.measurements lacks low"):
        check_evidence(evidence)


def test_a_fourth_outcome_is_refused() -> None:
    evidence = make_evidence("pass")
    evidence["result"]["verdicts"][0]["outcome"] = "probably"
    with pytest.raises(AuscultError, match="probably"):
        check_evidence(evidence)


@pytest.mark.parametrize("small", [{"n": 10}, {"patients": 3}, {"n": 1, "patients": 1}])
def test_a_small_group_keeps_no_number(small: dict[str, int]) -> None:
    evidence = make_evidence("pass")
    evidence["result"]["measurements"] = [measurement(**small)]
    evidence["result"]["verdicts"] = [verdict(**small, statement="It is .80 of 3 patients.")]
    result = hide_small_cells(evidence)["result"]
    row, judged = result["measurements"][0], result["verdicts"][0]
    assert (row["value"], row["low"], row["high"]) == (None, None, None)
    assert "fewer than 11" in row["reason"]
    assert all(row[key] is None and judged[key] is None for key in small)
    assert judged["value"] is None
    assert "3 patients" not in judged["statement"]


def test_eleven_is_shown_and_zero_tells_of_nobody() -> None:
    evidence = make_evidence("pass")
    evidence["result"]["measurements"] = [measurement(n=11, patients=11), measurement(n=0, patients=0)]
    assert hide_small_cells(evidence)["result"]["measurements"] == evidence["result"]["measurements"]


def test_small_counts_inside_a_detail_go_with_their_numbers() -> None:
    evidence = make_evidence("pass")
    detail = {"positives": 4, "negatives": 400, "pairs": [{"n": 6, "value": 0.3, "low": 0.1, "high": 0.5}]}
    evidence["result"]["measurements"] = [measurement(detail=detail)]
    shown = hide_small_cells(evidence)["result"]["measurements"][0]["detail"]
    assert shown["positives"] is None
    assert shown["negatives"] == 400
    assert shown["pairs"] == []


def test_the_evidence_itself_is_left_alone() -> None:
    evidence = make_evidence("pass")
    evidence["result"]["measurements"][0]["n"] = 5
    hide_small_cells(evidence)
    assert evidence["result"]["measurements"][0]["n"] == 5


def test_no_withheld_cell_can_be_worked_out_from_the_total() -> None:
    for cells in ({"a": 3, "b": 500, "c": 40}, {"a": 10, "b": 11}, {"a": 1, "b": 0, "c": 90}):
        shown = withhold(dict(cells))
        hidden = [key for key, value in shown.items() if isinstance(value, str)]
        assert len(hidden) >= 2
        assert all(isinstance(shown[key], str) for key, value in cells.items() if 0 < value < 11)
    assert withhold({"a": 11, "b": 0}) == {"a": 11, "b": 0}


def test_a_summary_keeps_no_small_cell_no_extreme_and_no_column_name() -> None:
    shown = hide_in_summary(SUMMARY)
    assert shown["attributes"]["scanner"]["values"] == {"A": 4000, "B": "withheld", "C": "<11"}
    assert shown["attributes"]["age"] == {"type": "integer", "median": 58.0, "missing": 0}
    assert "columns" not in shown
    labels = hide_in_summary({"labels": {"x": {"n": 100, "positive": 4, "negative": 96, "missing": 0}}})["labels"]
    assert labels == {"x": {"positive": "<11", "negative": "withheld", "missing": 0}}


def test_tables_of_a_summary_print_what_may_be_shown() -> None:
    tables = {table.title.split(":")[0]: table for table in cohort_tables(hide_in_summary(SUMMARY))}
    assert tables["Reference labels"].rows[0] == ("effusion", "5,210", "1,204", "4,006", "0")
    assert ("scanner", "C", "<11") in tables["Attributes"].rows
    assert ("sex", "not recorded", "31") in tables["Attributes"].rows
    assert ("text.report", "91.1%") in tables["Modalities"].rows
    assert cohort_tables(hide_in_summary({})) == ()
