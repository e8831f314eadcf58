"""What the registers hold stands in the reports; where they are empty, no report changes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from governance.reports.annex_iv import AnnexIV
from governance.reports.base import Draft, schema_of
from governance.reports.committee_one_pager import CommitteeOnePager
from governance.reports.logs_art12 import LogsArt12
from governance.reports.outlined import OutlinedReport
from governance.reports.pmm_plan import PmmPlan
from governance.reports.serious_incident import SeriousIncident
from tests.governance.register_scene import BIAS, clock, counted, deployment, incident, measure
from tests.governance.test_rules_register import risk
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.scenes import context_of

REPORTS = (AnnexIV(), PmmPlan(), SeriousIncident(), LogsArt12())
LATE = clock("MDR-87-3", "2026-11-16T22:59:59+00:00", reference="BfArM 17")
NAMES = ("risks", "incidents", "deployments", "oversight", "overrides", "conditions")
CONDITION = {"id": 1, "review": 1, "text": "Local data", "owner": "lea", "due_at": "2027-01-15T00:00:00+00:00",
             "status": "open"}  # fmt: skip


def registers(evidence: dict[str, Any], **given: list[dict[str, Any]]) -> dict[str, Any]:
    version = {name: evidence["version"][name] for name in ("label", "digest")}
    told: dict[str, Any] = {name: [] for name in NAMES} | given
    for row in told["deployments"]:
        row["version"] = version
    for row in told["incidents"]:
        row["version"] = version["digest"]
    return told


def draft(report: OutlinedReport, *, language: str = "en", **given: Any) -> Draft:
    evidence = make_evidence("pass")
    answers = make_answers(incident=True, incident_kinds=["a_health"])
    context = context_of(evidence, language=language, registers=registers(evidence, **given), answers=answers)
    return report.draft(evidence, context)


def full() -> dict[str, list[dict[str, Any]]]:
    return {
        "incidents": [incident(LATE)],
        "deployments": [deployment(), deployment("Elsewhere", "suspended", id=6)],
        "oversight": [measure("b"), measure("d", verified=False)],
        "overrides": [counted(1, 900, mark=BIAS), counted(None, None, deployment=6)],
        "conditions": [CONDITION],
        "risks": [risk()],
    }


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.key)
def test_empty_registers_change_no_report(report: OutlinedReport) -> None:
    evidence = make_evidence("pass")
    answers = make_answers(incident=True, incident_kinds=["a_health"])
    without = report.draft(evidence, context_of(evidence, answers=answers)).data
    empty = draft(report).data
    assert _same_but_digest(without, empty)


def _same_but_digest(one: Any, other: Any) -> bool:
    """Equal but for the digest of the dossier, which holds the empty registers."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = one.keys() == other.keys()
        return both and all(
            name in ("digest", "dossier_digest") or _same_but_digest(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_but_digest, one, other))
    return bool(one == other)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.key)
def test_a_report_with_registers_is_valid_against_its_schema(report: OutlinedReport, language: str) -> None:
    document = draft(report, language=language, **full())
    jsonschema.Draft202012Validator(schema_of(report.key)).validate(document.data)


def test_the_incident_report_tells_the_register() -> None:
    document = draft(SeriousIncident(), incidents=[incident(LATE)])
    for words in ("Pneumothorax not flagged", "BfArM 17", "not sent", "A deadline has passed"):
        assert words in document.html, words
    (found,) = document.data["content"]["clocks"]
    assert (found["aware_at"], found["due_at"], found["late"]) == (
        "2026-11-01T10:00:00+00:00",
        "2026-11-16T22:59:59+00:00",
        True,
    )
    sent = draft(SeriousIncident(), incidents=[incident(LATE | {"sent_at": "2026-11-09T08:00:00+00:00"})])
    (found,) = sent.data["content"]["clocks"]
    assert (found["sent_at"], found["late"]) == ("2026-11-09T08:00:00+00:00", False)


def test_an_incident_that_the_answers_deny_is_told_all_the_same() -> None:
    evidence = make_evidence("pass")
    told = registers(evidence, incidents=[incident(LATE)])
    answers = make_answers(incident=False, breach=False)
    html = SeriousIncident().draft(evidence, context_of(evidence, registers=told, answers=answers)).html
    assert "There is nothing to report" not in html and "Pneumothorax not flagged" in html


def test_the_technical_documentation_tells_use_and_oversight() -> None:
    html = draft(AnnexIV(), **full()).html
    for words in ("Elsewhere", "not verified", "21 Nov 2026", "Automation bias is suspected", "withheld"):
        assert words in html, words
    assert "The radiologist sees the image first, limb d." in html


def test_the_monitoring_plan_tells_sites_rates_and_incidents() -> None:
    html = draft(PmmPlan(), **full()).html
    assert all(words in html for words in ("Where this version is deployed", "Outputs that clinicians overruled"))
    assert "Incidents in the register" in html


def test_the_logging_statement_tells_counted_overrides() -> None:
    assert "Outputs that clinicians overruled" in draft(LogsArt12(), **full()).html


ONE_LINE = {
    "en": "Suspended at Elsewhere. Open incident: 3. "
    "1 condition of the approval is in force and not met; it is due on 15 Jan 2027.",
    "de": "Ausgesetzt: Elsewhere. Offener Vorfall: 3. "
    "1 Bedingung der Genehmigung gilt und ist nicht erfüllt; sie ist am 15.01.2027 fällig.",
}


@pytest.mark.parametrize("language", ONE_LINE)
def test_the_one_pager_has_one_line_of_what_is_in_use(language: str) -> None:
    evidence, words = make_evidence("fail"), ONE_LINE[language]
    context = context_of(evidence, language=language, registers=registers(evidence, **full()))
    document = CommitteeOnePager().build(evidence, context)
    assert document.data["warnings"][-1]["text"] == words
    assert words.split(".")[0] in document.html
    jsonschema.Draft202012Validator(schema_of("committee_one_pager")).validate(document.data)


def test_text_from_the_registers_stays_text() -> None:
    script = "<script>alert(1)</script>"
    told = full() | {"incidents": [incident(LATE, title=script, site=script)], "oversight": [measure("b", text=script)]}
    for report in REPORTS:
        assert script not in draft(report, **told).html
