"""``auscult incident``: lists, countdowns, and a report from a file."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from config.cli.incident import incident
from governance.models import Incident
from tests.governance.incident_scene import HEALTH, TEXT, TITLE, freeze, make_scene, recorded, vienna

NOW = vienna(2027, 3, 10, 9, 30)


@pytest.fixture
def scene(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    freeze(monkeypatch, NOW)
    return make_scene(people)


def run(*words: str) -> Result:
    return CliRunner().invoke(incident, words, catch_exceptions=True)


def file(folder: Path, **facts: Any) -> str:
    told = {
        "system": "chest-model",
        "version": "1.0",
        "title": TITLE,
        "description": TEXT,
        "zone": "Europe/Vienna",
        "kinds": [HEALTH],
        "aware_at": "2027-03-09T16:00",
    }
    place = folder / "incident.yaml"
    place.write_text(yaml.safe_dump({key: value for key, value in (told | facts).items() if value is not None}))
    return str(place)


def test_a_file_is_recorded_and_its_clocks_are_told(scene: SimpleNamespace, tmp_path: Path) -> None:
    done = run("record", file(tmp_path), "--as", "elena")
    assert done.exit_code == 0, done.output
    assert "Recorded incident 1." in done.output
    assert "MDR (MDR Art. 87(3)): due 24 Mar 2027 23:59:59 CET (Europe/Vienna), 14 days 14 h left." in done.output
    made = Incident.objects.get()
    assert (made.version, made.reported_by.username) == (scene.version, "elena")
    assert made.aware_at == vienna(2027, 3, 9, 16)
    late = run("record", file(tmp_path, aware_at="2027-01-09T16:00:00+00:00"), "--as", "elena")
    assert "Late at intake." in late.output
    told = json.loads(run("record", file(tmp_path, kinds=None), "--as", "elena", "--json").output)
    assert told == {"number": 3, "clocks": []}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"system": "nobody"}, "There is no system 'nobody'"),
        ({"version": "9"}, "has no version '9'"),
        ({"title": None}, "There is no title"),
        ({"zone": "Mars/Olympus"}, "no zone"),
        ({"aware_at": "yesterday"}, "is no time"),
        ({"death": "perhaps"}, "death is not yes or no"),
        ({"affected_persons": True}, "not a whole number"),
        ({"harm": "great"}, "what no incident has: harm"),
        ({"description": "MRN 00812734 fell."}, "number of a patient"),
        ({"aware_at": None}, "Nobody is recorded as aware"),
    ],
)
def test_a_file_that_cannot_be_ends_with_3(
    scene: SimpleNamespace, tmp_path: Path, facts: dict[str, Any], words: str
) -> None:
    done = run("record", file(tmp_path, **facts), "--as", "elena")
    assert (done.exit_code, Incident.objects.count()) == (3, 0), done.output
    assert words in done.output
    assert "What to do" in done.output


@pytest.mark.parametrize("text", ["- a\n- b\n", "{", "\xff\xfe", ""])
def test_what_is_no_report_ends_with_3(scene: SimpleNamespace, tmp_path: Path, text: str) -> None:
    place = tmp_path / "incident.yaml"
    place.write_bytes(text.encode("latin-1"))
    assert run("record", str(place), "--as", "elena").exit_code == 3


def test_regulators_report_nothing(scene: SimpleNamespace, tmp_path: Path) -> None:
    assert run("record", file(tmp_path), "--as", "rita").exit_code == 3
    assert not Incident.objects.exists()


def test_lists_and_countdowns(scene: SimpleNamespace) -> None:
    assert "No incident is open." in run("list").output
    assert (run("clocks").output.strip(), run("clocks").exit_code) == ("No clock runs.", 0)
    recorded(scene, aware_at=NOW - dt.timedelta(days=1))
    assert run("clocks", "--system", "chest-model").exit_code == 0
    recorded(scene, aware_at=NOW - dt.timedelta(days=30), title="Overdue")
    done = run("clocks")
    assert done.exit_code == 1, "one has run out"
    assert done.output.splitlines()[0].startswith(
        "Incident 2  MDR (MDR Art. 87(3)), owed: run out, ran out 14 days 9 h ago"
    )
    rows = json.loads(run("clocks", "--json").output)
    assert [(row["incident"], row["standing"]) for row in rows] == [(2, "run_out"), (1, "running")]
    assert rows[1]["due_at"] == "2027-03-24T22:59:59+00:00"
    assert run("list").output.splitlines()[0].startswith("2  Open  Chest model: Overdue")
    told = json.loads(run("list", "--json", "--all").output)
    assert [row["next"]["deadline"] for row in told] == ["MDR-87-3", "MDR-87-3"]
    assert run("clocks", "--system", "nobody").exit_code == 3
