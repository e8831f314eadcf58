"""``auscult monitor``: how monitors stand, bringing studies by hand, making one from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.db import connection

import config.cli as cli
from config.cli.monitor_file import monitor_facts
from core.errors import AuscultError
from evaluation.models import Delivery, Monitor
from tests.config.test_cli import Ended, auscult
from tests.evaluation.monitor_scene import make_alert, make_monitor, make_window
from tests.evaluation.source_scene import studies, watched
from tests.registry.fixtures import files, home, people, sent
from tests.registry.scene import Files

__all__ = ["auscult", "files", "home", "people", "sent"]
Auscult = Callable[..., Ended]


@pytest.fixture
def monitor(
    people: SimpleNamespace, files: Files, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Monitor:
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.delenv("AUSCULT_USER", raising=False)
    return watched(people, files, tmp_path)


def test_how_monitors_stand(monitor: Monitor, people: SimpleNamespace, auscult: Auscult) -> None:
    make_window(monitor, 1)
    make_window(monitor, 2, status="empty", n_studies=0, n_patients=0, log_e=None, error="")
    make_window(monitor, 3, alarm=True, log_e=3.4)
    make_alert(monitor)
    make_alert(monitor, key="empty", kind="empty", title="Window 2 has no studies.", status="closed",
               resolution="settled", closing="It went on.", closed_at=datetime(2026, 4, 1, tzinfo=UTC))  # fmt: skip
    ended = make_monitor(people, deployment=monitor.deployment, name="Old", status="ended", protocol=monitor.protocol)
    listed = auscult("monitor", "list")
    assert listed.code == 0 and "window 3 judged, ALARM\t1 open alert\n" in listed.output and "Old" not in listed.output
    assert [item["id"] for item in json.loads(auscult("monitor", "list", "--all", "--json").output)] == [
        monitor.pk, ended.pk,
    ]  # fmt: skip
    shown = json.loads(auscult("monitor", "show", monitor.pk, "--json").output)
    assert (shown["protocol"], shown["owner"], shown["schedule"], shown["source"]) == (
        "sex-gap", "amir", "0 6 * * 1", {"kind": "api"},
    )  # fmt: skip
    assert "reference: Reference cohort" in auscult("monitor", "show", monitor.pk).output
    windows = json.loads(auscult("monitor", "windows", monitor.pk, "--json").output)
    assert [(item["index"], item["status"], item["alarm"]) for item in windows] == [
        (3, "judged", True), (2, "empty", False), (1, "judged", False),
    ]  # fmt: skip
    assert "log e 3.40, ALARM" in auscult("monitor", "windows", monitor.pk).output
    assert [item["kind"] for item in json.loads(auscult("monitor", "alerts", monitor.pk, "--json").output)] == ["drift"]
    assert "Window 2 has no studies." in auscult("monitor", "alerts", monitor.pk, "--all").output
    missing = auscult("monitor", "show", 999)
    assert missing.code == 3 and "There is no monitor 999." in missing.errors


def test_studies_are_brought_by_hand(monitor: Monitor, auscult: Auscult, tmp_path: Path) -> None:
    path = tmp_path / "week.csv"
    studies(12).to_csv(path, index=False)
    taken = auscult("monitor", "deliver", monitor.pk, path, "--by", "lea")
    assert (taken.code, taken.output) == (0, "Kept: 12 studies.\n")
    assert auscult("monitor", "deliver", monitor.pk, path, "--by", "lea").output == "Known already: 12 studies.\n"
    studies(12, age=["x"] * 12, **{"label.effusion": "maybe"}).to_csv(path, index=False)
    refused = auscult("monitor", "deliver", monitor.pk, path, "--by", "lea")
    assert refused.code == 3 and "row 1: A label column holds something else" in refused.errors
    assert "maybe" not in refused.errors and Delivery.objects.filter(status="refused").count() == 1
    denied = auscult("monitor", "deliver", monitor.pk, path, "--by", "elena")
    assert denied.code == 3 and "You submitted the version" in denied.errors
    assert auscult("monitor", "deliver", monitor.pk, tmp_path / "none.csv", "--by", "lea").code == 3


@pytest.mark.parametrize("act", ["run", "pause", "resume"])
def test_acts_are_passed_on(monitor: Monitor, auscult: Auscult, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.services import monitors

    asked: list[dict[str, Any]] = []
    name = "run_now" if act == "run" else f"{act}_monitor"
    monkeypatch.setattr(monitors, name, lambda **given: asked.append(given))
    assert auscult("monitor", act, monitor.pk, "--by", "amir").code == 0
    assert [(item["monitor"], item["by"].username) for item in asked] == [(monitor, "amir")]
    assert auscult("monitor", act, monitor.pk).code == 3
    told = json.loads(auscult("monitor", act, monitor.pk, "--by", "amir", "--json").output)
    assert told == json.loads(auscult("monitor", "list", "--json").output)[0]


def test_a_monitor_is_handed_over(monitor: Monitor, people: SimpleNamespace, auscult: Auscult) -> None:
    give, why = ("monitor", "hand-over", monitor.pk), ("--reason", "Amir goes to another hospital.", "--by", "clara")
    done = auscult(*give, "--owner", "boris", "--escalate-to", "lea", *why)
    assert (done.code, done.output) == (0, f"Monitor {monitor.pk} is owned by boris; its alerts escalate to lea.\n")
    told = json.loads(auscult(*give, "--escalate-to", "dora", *why, "--json").output)
    assert (told["id"], told["owner"], told["escalate_to"]) == (monitor.pk, "boris", "dora")
    alone = auscult(*give, "--chairs-alone", *why)
    assert alone.output.endswith("escalate to the committee chairs alone.\n")
    monitor.refresh_from_db()
    assert (monitor.owner, monitor.escalate_to) == (people.boris, None)
    for wrong, says in (
        (("--owner", "elena"), "cannot own this monitor"),
        (("--owner", "ghost"), "There is no user called 'ghost'"),
        (("--chairs-alone", "--escalate-to", "lea"), "exclude each other"),
        ((), "are these persons already"),
    ):
        refused = auscult(*give, *wrong, *why)
        assert refused.code == 3 and says in refused.errors, wrong
    assert auscult(*give, "--owner", "amir", "--by", "clara").code == 3


def body(monitor: Monitor, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Daily watch", "deployment": monitor.deployment_id, "protocol": "sex-gap",
        "reference": "reference-cohort", "source": {"kind": "api"}, "owner": "amir", "zone": "Europe/Vienna",
        "window": {"unit": "day", "size": 1, "opens_at": "2026-11-02", "grace_hours": 6},
        "schedule": {"crontab": "0 7 * * *"}, "escalation": {"to": "clara", "after_hours": 48},
    } | changes  # fmt: skip


def test_a_monitor_is_made_from_a_file(
    monitor: Monitor, auscult: Auscult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.services import monitors

    asked: list[dict[str, Any]] = []

    def make(**given: Any) -> Monitor:
        asked.append(given)
        return monitor

    monkeypatch.setattr(monitors, "create_monitor", make)
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump(body(monitor)))
    assert auscult("monitor", "create", path, "--by", "amir").code == 0
    given = asked[0]
    assert given["first_opens_at"] == datetime(2026, 11, 1, 23, tzinfo=UTC)  # midnight in Vienna
    assert (given["deployment"], given["reference_cohort"], given["protocol"]) == (
        monitor.deployment, monitor.reference_cohort, monitor.protocol,
    )  # fmt: skip
    assert (given["owner"].username, given["escalate_to"].username, given["escalate_after_hours"]) == (
        "amir", "clara", 48,
    )  # fmt: skip
    assert (given["crontab"], given["every_seconds"], given["zone"], given["grace_hours"], given["source"]) == (
        "0 7 * * *", None, "Europe/Vienna", 6, {},
    )  # fmt: skip
    path.write_text("name: [unclosed")
    assert "not YAML" in auscult("monitor", "create", path, "--by", "amir").errors


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"zone": "Vienna"}, "'zone' must be"),
        ({"colour": "red"}, "'colour' in the file is not known"),
        ({"window": {"unit": "day", "opens_at": "soon"}}, "'window.opens_at' must be"),
        ({"window": {"unit": "day", "size": "1", "opens_at": "2026-11-02"}}, "'window.size' must be"),
        ({"source": "api"}, "'source' must be"),
        ({"deployment": 999}, "There is no deployment '999'"),
        ({"protocol": "none"}, "There is no approved protocol 'none'"),
        ({"reference": "none"}, "There is no cohort 'none'"),
        ({"owner": "ghost"}, "There is no user called 'ghost'"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(monitor: Monitor, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(AuscultError, match=says) as told:
        monitor_facts(body(monitor, **changes), file="monitor.yaml")
    assert told.value.remedy
