"""The monitoring plan: indicators with the protocol's limits, sources by site, MDR dates worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.pmm_plan import PmmPlan
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import PLAN, make_statements


def draft(scene: dict[str, dict[str, Any]] | None = None, *, outcome: str = "fail", **answers: Any) -> Draft:
    evidence = make_evidence(outcome)
    told = PLAN if scene is None else scene
    context = context_of(evidence, statements=make_statements(told), answers=make_answers(**answers))
    return PmmPlan().draft(evidence, context)


def table(document: Draft, caption: str) -> str:
    return document.html.split(caption)[1].split("</table>")[0]


def rows_of(document: Draft, chapter: str, start: str) -> list[list[str]]:
    section = next(item for item in document.data["sections"] if item["id"] == chapter)
    found = next(block for block in section["blocks"] if block.get("caption", "").startswith(start))
    rows: list[list[str]] = found["rows"]
    return rows


def test_limits_are_those_of_the_locked_protocol_and_values_those_of_the_run() -> None:
    """The evidence: difference −.220 (−.280 to −.160) on 604 studies, margin .10, failed."""
    document = draft()
    row = next(row for row in rows_of(document, "3", "Indicators with their limits") if row[7] == "fail")
    assert row[1:7] == ["effusion", "sex", "within ±.100", "−.220", "−.280 to −.160", "604"]
    section = next(item for item in document.data["sections"] if item["id"] == "3")
    sources = section["blocks"][0]["sources"]
    assert [(source["kind"], source["digest"]) for source in sources] == [
        ("audit", document.data["subject"]["evidence_digest"])
    ]


def test_a_requirement_without_an_indicator_is_said_to_be_missing() -> None:
    rows = {row[0]: row[2:] for row in rows_of(draft(), "3", "Indicators by requirement")}
    assert rows["Art. 9"] == ["Missing: no audit measures it.", "Missing: no stated indicator names this article."]
    assert rows["Art. 14"][1] == "Share overruled"
    assert rows["Art. 15"] == ["Missing: no audit measures it.", "Sensitivity"]
    assert rows["Art. 10"][0] == "comparison of groups (Art. 10(2)(f))"
    assert list(rows) == [f"Art. {number}" for number in range(9, 16)]


def test_a_site_without_a_source_is_named() -> None:
    scene = {key: value for key, value in PLAN.items() if key != "AIA-Art72-2"}
    rows = dict(rows_of(draft(scene), "2", "Sites where the system is used"))
    assert set(rows) == {"Ward A", "Ward B"}
    assert set(rows.values()) == {"Missing: no source of field data names this site."}
    assert set(dict(rows_of(draft(), "2", "Sites where")).values()) == {"named in the table above"}


def test_a_crossed_limit_stands_where_escalation_is_told() -> None:
    chapter = draft().html.split('id="chapter-5"')[1].split("</section>")[0]
    assert "Limits that are already crossed or not shown" in chapter
    assert "Effusion is missed more often in female patients" in chapter
    assert "Limits that are already crossed" not in draft(outcome="pass").html


@pytest.mark.parametrize(
    ("device", "last", "due"),
    [
        ("IIa", "2026-03-31", "2028-03-31"),
        ("IIb", "2026-03-31", "2027-03-31"),
        ("III", "2026-03-31", "2027-03-31"),
        ("III", "2024-02-29", "2025-03-01"),
        ("I", "2026-03-31", None),
    ],
)
def test_the_next_safety_report_by_class(device: str, last: str, due: str | None) -> None:
    """MDR Art. 86(1): class IIa at least every two years, IIb and III every year; class I has none."""
    document = draft(PLAN | {"MDR-86": {"last_psur": last, "mdr_class": device}}, mdr_class=device)
    assert document.data["content"]["next_psur"] == due


def test_a_safety_report_that_is_overdue_is_said_to_be() -> None:
    document = draft(PLAN | {"MDR-86": {"last_psur": "2024-11-21", "mdr_class": "IIa"}})
    assert "The report was due by 21 Nov 2026." in document.html
    assert "<strong>Overdue</strong>" in document.html
    later = draft(PLAN | {"MDR-86": {"last_psur": "2024-11-22", "mdr_class": "IIa"}})
    assert "<strong>Overdue</strong>" not in later.html


def test_stated_tables_are_tables() -> None:
    matrix = table(draft(), "What follows when a limit is crossed")
    assert "Suspend use in that group" in matrix
    assert "Dora Lind" in matrix


def test_the_template_that_does_not_exist_yet_is_dated() -> None:
    assert "due by 2 Sep 2027" in draft().html
