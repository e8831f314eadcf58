"""A new monitor: what is typed is kept, what is wrong stands at its field, and the first windows are shown before."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core.errors import AuscultError
from evaluation.models import Monitor
from evaluation.pages import monitors_new
from tests.evaluation.monitor_scene import make_cohort_version, make_deployment, watch_protocol
from tests.pages.monitors_scene import people

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.django_db
URL = "/monitors/new/"


@pytest.fixture
def typed(db: None) -> dict[str, Any]:
    who = people()
    return {
        "deployment": make_deployment(who).pk, "name": "Daily <check>", "protocol": watch_protocol(who).pk,
        "reference_cohort": make_cohort_version(who).pk, "source_kind": "folder", "folder_path": "/data/drop",
        "folder_marks": "on", "window_size": "1", "window_unit": "day", "zone": "Europe/Vienna",
        "first_opens_at": "2026-03-28T00:00", "grace_hours": "2", "rhythm": "crontab", "crontab": "30  6 * *  *",
        "every_unit": "hours", "owner": who.amir.pk, "escalate_to": "", "escalate_after_hours": "24",
        "mapping": "columns: {Accession: study_id}", "table_name": "left over from another choice",
    }  # fmt: skip


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the page gives to the service, which has its own tests; it may be told to refuse."""
    given: list[dict[str, Any]] = []

    def create(**facts: Any) -> Monitor:
        given.append(facts)
        if facts["name"] == "Refused":
            raise AuscultError("The folder is outside.", remedy="Choose another.", column="path")
        return SimpleNamespace(pk=7)  # type: ignore[return-value]

    monkeypatch.setattr(monitors_new, "create_monitor", create)
    return given


def test_the_service_gets_what_was_chosen_and_nothing_else(
    typed: dict[str, Any], made: list[dict[str, Any]], sign_in: SignIn
) -> None:
    answer = sign_in("amir").post(URL, typed)
    assert answer.headers["Location"] == reverse("monitor", args=[7])
    facts = made[0]
    assert facts["source"] == {"path": "/data/drop", "marks": True, "mapping": {"columns": {"Accession": "study_id"}}}
    assert facts["first_opens_at"].isoformat() == "2026-03-28T00:00:00+01:00"
    assert (facts["crontab"], facts["every_seconds"]) == ("30 6 * * *", None)
    assert facts["by"].username == "amir" and facts["escalate_to"] is None
    every = typed | {"rhythm": "interval", "every": "6", "every_unit": "hours", "source_kind": "api", "mapping": ""}
    sign_in("amir").post(URL, every)
    assert (made[1]["crontab"], made[1]["every_seconds"], made[1]["source"]) == ("", 21600, {})
    table = typed | {"source_kind": "table", "table_url_env": "AUSCULT_SOURCE_RIS", "table_time_column": "t"}
    sign_in("amir").post(URL, table | {"mapping": ""})
    assert made[2]["source"] == {
        "url_env": "AUSCULT_SOURCE_RIS", "table": "left over from another choice", "time_column": "t",
    }  # fmt: skip


def test_the_first_windows_are_shown_by_the_clock_of_the_zone(
    typed: dict[str, Any], made: list[dict[str, Any]], sign_in: SignIn
) -> None:
    text = sign_in("amir").post(URL, typed | {"preview": "1"}).content.decode()
    assert made == [] and not Monitor.objects.exists(), "nothing is made yet"
    shown = text.split('id="preview"')[1].split("</section>")[0]
    assert 'scope="row">1</th>' in shown and 'scope="row">0</th>' not in shown, "people count from 1"
    assert "Sun 29 Mar 2026 00:00" in shown and "Mon 30 Mar 2026 00:00" in shown, "a day of 23 hours ends at midnight"
    assert "Sun 29 Mar 2026 02:00" in shown or "Sun 29 Mar 2026 03:00" in shown, "two hours later it is judged"
    assert "It looks next at" in shown and "06:30" in shown and "at once" in shown
    assert "Daily &lt;check&gt;" in text and "Daily <check>" not in text
    count = sign_in("amir").post(URL, typed | {"preview": "1", "window_unit": "count", "window_size": "500"})
    assert "whenever 500 more studies have arrived" in count.content.decode()


@pytest.mark.parametrize(
    ("wrong", "target", "said"),
    [
        ({"name": ""}, "id_name", "Fill in or choose: Name."),
        ({"name": "Refused"}, "id_folder_path", "The folder is outside. Choose another."),
        ({"crontab": "6 *"}, "id_crontab", "Set times are five parts"),
        ({"crontab": "99 99 * * *", "preview": "1"}, "id_crontab", "cannot be read"),
        ({"window_size": "1000000", "preview": "1"}, "id_window_size", "No calendar holds"),
        ({"mapping": "a: [b"}, "id_mapping", "this is no YAML"),
        ({"first_opens_at": "2026-03-29T02:30"}, "id_first_opens_at", "the clocks went forward"),
        ({"first_opens_at": "soon"}, "id_first_opens_at", "Give the day and the time"),
        ({"rhythm": "interval", "every": ""}, "id_every", "Say how long the pause is."),
        ({"zone": "Mars/Base"}, "id_zone", "Select a valid choice"),
        ({"owner": "99999"}, "id_owner", "Select a valid choice"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(
    typed: dict[str, Any], made: list[dict[str, Any]], sign_in: SignIn, wrong: dict[str, str], target: str, said: str
) -> None:
    answer = sign_in("amir").post(URL, typed | wrong)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert f'href="#{target}"' in text and f'id="{target}"' in text and said in text
    assert 'value="/data/drop"' in text


def test_who_may_not_make_one_reads_why(typed: dict[str, Any], sign_in: SignIn) -> None:
    client = sign_in("mina")
    text = client.get(URL).content.decode()
    assert "Only people with the role auditor may make a monitor." in text and "disabled>Make the monitor" in text
    assert client.post(URL, typed).status_code in (403, 422)
    assert not Monitor.objects.exists()


def test_what_is_missing_first_is_said(sign_in: SignIn) -> None:
    text = sign_in("amir").get(URL).content.decode()
    assert "No deployment runs." in text and "No approved protocol has a section on drift." in text
