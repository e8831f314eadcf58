"""Handing a monitor over: who may, to whom, what the ledger and the persons are told, by service and by program."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from core.digests import sha256_text
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, User
from core.tokens import issue_token
from evaluation.models import Monitor
from evaluation.monitoring.collecting import collect_window
from evaluation.services.monitors import hand_over_monitor
from tests.evaluation.monitor_scene import make_monitor, make_window
from tests.registry.scene import acts, snapshot, without

pytestmark = pytest.mark.django_db
WHY = "Amir goes to another hospital."


@pytest.fixture
def monitor(people: SimpleNamespace) -> Monitor:
    return make_monitor(people)


def fresh(monitor: Monitor) -> tuple[str, str | None]:
    row = Monitor.objects.get(pk=monitor.pk)
    return row.owner.username, row.escalate_to.username if row.escalate_to else None


def told() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LedgerEntry.objects.filter(act="monitor.handed_over").latest("index").body)
    return found


def test_owner_and_escalation_change_with_one_entry_and_the_new_ones_are_told(
    people: SimpleNamespace, monitor: Monitor
) -> None:
    hand_over_monitor(monitor=monitor, owner=people.boris, by=people.clara, reason=WHY)
    assert fresh(monitor) == ("boris", "clara") and acts() == ["monitor.handed_over"]
    assert (told()["actor"], told()["payload"]) == (
        "clara",
        {
            "owner": {"from": "amir", "to": "boris"},
            "escalate_to": {"from": "clara", "to": "clara"},
            "reason_sha256": sha256_text(WHY),
        },
    )
    assert WHY not in LedgerEntry.objects.latest("index").body
    assert list(Notification.objects.values_list("recipient__username", flat=True)) == ["boris"]
    hand_over_monitor(monitor=monitor, escalate_to=people.lea, by=people.boris, reason=WHY)
    assert fresh(monitor) == ("boris", "lea")
    hand_over_monitor(monitor=monitor, escalate_to=None, by=people.boris, reason=WHY)
    assert fresh(monitor) == ("boris", None) and told()["payload"]["escalate_to"] == {"from": "lea", "to": None}
    assert list(Notification.objects.values_list("recipient__username", flat=True).order_by("pk")) == ["boris", "lea"]


def test_whom_a_monitor_is_not_given_to_and_by_whom_not(people: SimpleNamespace, monitor: Monitor) -> None:
    before = snapshot()
    for name in without("amir boris clara lea"):
        with pytest.raises(DeniedError):
            hand_over_monitor(monitor=monitor, owner=people.boris, by=getattr(people, name), reason=WHY)
    for name in ("elena", "clara", "nobody"):  # submitted the model; approved the protocol; has no role
        with pytest.raises(DeniedError, match="cannot own this monitor") as refused:
            hand_over_monitor(monitor=monitor, owner=getattr(people, name), by=people.amir, reason=WHY)
        assert refused.value.column == "owner"
    with pytest.raises(DeniedError, match="cannot see to an alert") as refused:
        hand_over_monitor(monitor=monitor, escalate_to=people.nobody, by=people.amir, reason=WHY)
    assert refused.value.column == "escalate_to"
    for given, column in (({"owner": people.boris, "reason": "Brief"}, "reason"), ({"reason": WHY}, "owner")):
        with pytest.raises(AuscultError) as wrong:
            hand_over_monitor(monitor=monitor, by=people.amir, **given)
        assert wrong.value.column == column and wrong.value.remedy
    Monitor.objects.filter(pk=monitor.pk).update(status="ended")
    with pytest.raises(ConflictError, match="has ended"):
        hand_over_monitor(monitor=monitor, owner=people.boris, by=people.amir, reason=WHY)
    Monitor.objects.filter(pk=monitor.pk).update(status="active")
    assert snapshot() == before


def test_the_escalation_of_a_monitor_whose_owner_left_can_be_changed_alone(
    people: SimpleNamespace, monitor: Monitor
) -> None:
    User.objects.filter(pk=people.amir.pk).update(is_active=False)
    hand_over_monitor(monitor=monitor, escalate_to=people.lea, by=people.boris, reason=WHY)
    assert fresh(monitor) == ("amir", "lea")


def test_a_hand_over_without_its_entry_does_not_happen(
    people: SimpleNamespace, monitor: Monitor, broken_ledger: None, sent: list[tuple[str, int]]
) -> None:
    before = snapshot()
    with pytest.raises(RuntimeError):
        hand_over_monitor(monitor=monitor, owner=people.boris, by=people.clara, reason=WHY)
    assert snapshot() == before and sent == []


def test_a_paused_monitor_is_handed_over_and_stays_paused(
    people: SimpleNamespace, monitor: Monitor, django_capture_on_commit_callbacks: Any, sent: list[tuple[str, int]]
) -> None:
    window = make_window(monitor, 1, status="due")
    Monitor.objects.filter(pk=monitor.pk).update(status="paused")
    with django_capture_on_commit_callbacks(execute=True):
        hand_over_monitor(monitor=monitor, owner=people.boris, by=people.clara, reason=WHY)
    assert sent == [("evaluation.tasks.collect_window", window.pk)]
    collect_window(window.pk)
    window.refresh_from_db()
    assert window.status == "due" and Monitor.objects.get(pk=monitor.pk).status == "paused"


def test_a_program_hands_a_monitor_over(
    people: SimpleNamespace, monitor: Monitor, settings: Any, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()

    def post(by: User, body: dict[str, Any], pk: int = monitor.pk) -> Any:
        secret = issue_token(user=by, name="Rota", scopes=["monitors"], days=30, by=None)[1]
        client = Client(headers={"Authorization": f"Bearer {secret}"})
        return client.post(f"/api/v1/monitors/{pk}/hand-over", json.dumps(body), content_type="application/json")

    answer = post(people.amir, {"owner": "boris", "escalate_to": None, "reason": WHY})
    assert (answer.status_code, answer.json()["owner"], answer.json()["escalate_to"]) == (200, "boris", None)
    assert fresh(monitor) == ("boris", None) and told()["actor"] == "amir"
    assert post(people.boris, {"escalate_to": "clara", "reason": WHY}).json()["escalate_to"] == "clara"
    assert fresh(monitor) == ("boris", "clara")
    ghost = post(people.boris, {"owner": "ghost-7", "reason": WHY})
    assert ghost.status_code == 422 and "'owner'" in ghost.json()["detail"] and "ghost-7" not in ghost.content.decode()
    assert post(people.boris, {"owner": "amir"}).json()["fields"][0]["field"] == "body.body.reason"
    assert post(people.boris, {"owner": "amir", "reason": WHY, "why": "x"}).status_code == 422
    assert post(people.elena, {"owner": "amir", "reason": WHY}).status_code == 403
    assert post(people.boris, {"owner": "clara", "reason": WHY}).status_code == 403
    assert post(people.boris, {"owner": "amir", "reason": WHY}, pk=999).status_code == 404
    assert fresh(monitor) == ("boris", "clara")
