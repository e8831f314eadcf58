"""The logging statement: the platform's ledger told truthfully and apart from the logs of the deployed system."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.logs_art12 import ACTS, LogsArt12
from tests.reports.conftest import make_evidence
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import LOGS, make_statements

ROOT = Path(__file__).resolve().parents[2]
APPS = ("core", "models_registry", "evaluation", "synthetic", "governance", "config")
ACT = re.compile(r'"([a-z_]+)\.(?:[a-z_]+(?:ed|en|wn)|made|cast|carried_over)"')
COLUMNS = {"auscult", "text", "truncated"}
"""Names in files of cohorts and predictions that look like acts."""


def draft(scene: dict[str, dict[str, Any]] | None = None) -> Draft:
    evidence = make_evidence("fail")
    told = LOGS if scene is None else scene
    return LogsArt12().draft(evidence, context_of(evidence, statements=make_statements(told)))


def chapter(document: Draft, number: str) -> str:
    return document.html.split(f'id="chapter-{number}"')[1].split('<section class="chapter')[0]


def test_every_kind_of_act_in_the_code_is_told() -> None:
    """The word before the dot of every act that any service records."""
    sources = [path.read_text(encoding="utf-8") for app in APPS for path in (ROOT / app).rglob("*.py")]
    recorded = {name for text in sources for name in ACT.findall(text)} - COLUMNS
    assert {"run", "vote", "report"} <= recorded
    assert recorded <= {key for key, _text in ACTS}


def test_the_ledger_is_not_passed_off_as_the_log_of_the_system() -> None:
    text = chapter(draft({}), "1")
    assert "is no log of its use on patients" in text
    assert "The platform does not run the deployed system and sees none of its logs" in text
    assert "Log schema version" in text
    assert "Missing: nothing accepted is held." in text


def test_the_head_of_the_ledger_is_that_of_the_dossier() -> None:
    document = draft()
    told = document.data["content"]["platform_ledger"]
    assert (told["size"], told["root"]) == (61, document.data["subject"]["ledger"]["root"])
    assert told["root"] in chapter(document, "1")


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("6 months", "six months or more"),
        ("26 weeks", "shorter than six months"),
        ("183 days", "six months or more"),
        ("1 years", "six months or more"),
        ("90 days", "shorter than six months"),
    ],
)
def test_retention_is_held_against_the_floor(period: str, said: str) -> None:
    """Art. 19(1) and 26(6): six months at the least. 26 weeks are 182 days, half a year is 182.6."""
    document = draft(LOGS | {"AIA-Art26-6": LOGS["AIA-Art26-6"] | {"retention_period": period}})
    row = chapter(document, "3").split("Deployer (Art. 26(6))")[1].split("</tr>")[0]
    assert said in row
    assert document.data["content"]["retention"] == {"provider": "12 months", "deployer": period}


def test_two_periods_for_one_thing_contradict() -> None:
    """Provider and deployer state different periods: both are shown, and neither requirement is complete."""
    document = draft()
    states = {row["id"]: row["state"] for section in document.data["sections"] for row in section["requirements"]}
    assert states["AIA-Art19"] == states["AIA-Art26-6"] == "nonconform"
    assert "Contradicted:" in chapter(document, "3")


def test_events_that_the_schema_lacks_are_missing() -> None:
    text = chapter(draft(), "2").split("Events that are needed at the least")[1].split("</table>")[0]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', text))
    assert rows == {
        "version of the model": "named",
        "quality of the input": "Missing",
        "output": "named",
        "failure": "named",
        "override by a person": "Missing",
        "change of configuration": "Missing",
    }


def test_a_control_table_names_stream_and_party() -> None:
    text = chapter(draft(), "3").split("Who controls which log")[1].split("</table>")[0]
    assert "reading system" in text
    assert "hospital" in text
