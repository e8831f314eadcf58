"""A critical alarm does what the policies that apply say, once; and gates ask that what is used is watched."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from core import tasks
from core.models import LedgerEntry, Notification, RoleGrant
from evaluation import tasks as evaluation_tasks
from evaluation.models import Alert, Monitor, MonitorWindow
from evaluation.monitoring.escalating import escalate_alerts
from evaluation.services.alerts import acknowledge_alert, raise_alert
from governance.execution_alerts import follow_alerts
from governance.execution_escalation import escalate_unread
from governance.models import Incident, Policy
from governance.selectors.policies import gate
from governance.services.deployments import suspend_deployment
from governance.sweeps import SWEEPS
from models_registry.models import Deployment
from tests.evaluation.monitor_scene import make_monitor, make_window
from tests.governance.policy_fixtures import standing

__all__ = ["standing"]
pytestmark = pytest.mark.django_db
Standing = Callable[..., Policy]
TEXT = "The estimated sensitivity for effusion fell by .09 (.06 to .12); the margin is .05."


@pytest.fixture
def monitor(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Monitor:
    for task in (tasks.deliver, tasks.deliver_outgoing, evaluation_tasks.send_webhook):
        monkeypatch.setattr(task, "delay", lambda pk: None)
    return make_monitor(people)


def alarm(monitor: Monitor, **given: Any) -> Alert:
    facts: dict[str, Any] = {
        "kind": "performance", "severity": "critical", "key": "drift:1",
        "title": "Estimated performance has fallen", "text": TEXT,
    }  # fmt: skip
    return raise_alert(monitor=monitor, **facts | given)


def watching(standing: Standing, reaction: str, **given: Any) -> Policy:
    return standing(name=f"watch-{reaction}", monitoring={"critical_breach": reaction}, **given)


def status_of(monitor: Monitor) -> str:
    return str(Deployment.objects.values_list("status", flat=True).get(pk=monitor.deployment_id))


def answered() -> list[dict[str, Any]]:
    rows = LedgerEntry.objects.filter(act="alert.answered").order_by("index")
    return [json.loads(row.body)["payload"] for row in rows]


def test_the_sweep_is_run() -> None:
    assert "governance.execution_alerts:follow_alerts" in SWEEPS


def test_without_a_policy_that_says_so_people_are_told_and_nothing_is_stopped(
    monitor: Monitor, standing: Standing
) -> None:
    watching(standing, "tell")
    standing(name="silent", applies_to=["watched-model"])
    alarm(monitor)
    assert follow_alerts() == 1
    assert (status_of(monitor), Incident.objects.count(), answered()) == ("running", 0, [])


def test_a_critical_alarm_suspends_and_opens_an_incident_once(
    people: SimpleNamespace, monitor: Monitor, standing: Standing
) -> None:
    policy = watching(standing, "both")
    alert = alarm(monitor, window=make_window(monitor, 4, alarm=True))
    assert [follow_alerts(), follow_alerts()] == [1, 0]
    assert status_of(monitor) == "suspended"
    row = Deployment.objects.get(pk=monitor.deployment_id)
    assert row.suspended_by is None and TEXT in row.suspension and str(policy) in row.suspension
    incident = Incident.objects.get()
    assert (incident.reported_by, incident.deployment, incident.version) == (people.amir, row, row.version)
    assert (incident.kinds, incident.deployer_aware_at) == ([], alert.last_at.replace(microsecond=0))
    assert answered() == [
        answered()[0] | {"policies": [str(policy)], "incident": incident.pk, "suspended": True, "kind": "performance"}
    ]
    event = alert.events.latest("pk")
    assert event.act == "answered" and "The deployment was suspended." in event.text

    alarm(monitor, text="It went on in the next window.", window=make_window(monitor, 5, alarm=True))
    assert follow_alerts() == 1
    assert (Incident.objects.count(), len(answered())) == (1, 1), "the same alarm is answered once"


def test_what_a_person_resumed_is_not_suspended_again_by_the_same_alarm(
    people: SimpleNamespace, monitor: Monitor, standing: Standing
) -> None:
    watching(standing, "suspend")
    alert = alarm(monitor)
    follow_alerts()
    Deployment.objects.filter(pk=monitor.deployment_id).update(status="running")  # that it may, has its own tests
    alarm(monitor, text="The next window shows it too.")
    follow_alerts()
    assert status_of(monitor) == "running"
    Alert.objects.filter(pk=alert.pk).update(
        status="closed", resolution="fixed", closing="Mended.", closed_at=timezone.now()
    )
    alarm(monitor, key="drift:2")  # another alarm does
    follow_alerts()
    assert status_of(monitor) == "suspended"


def test_only_critical_alarms_that_a_protocol_raised_are_answered(monitor: Monitor, standing: Standing) -> None:
    watching(standing, "both")
    alarm(monitor, severity="warning")
    alarm(monitor, kind="source", key="source")
    alarm(monitor, kind="concept", key="concept:score.effusion")  # a notice, not an alarm of the lifetime test
    assert follow_alerts() == 3
    assert (status_of(monitor), answered()) == ("running", [])
    alarm(monitor)  # the warning rises
    follow_alerts()
    assert status_of(monitor) == "suspended"


def test_every_policy_that_applies_has_its_say(monitor: Monitor, standing: Standing) -> None:
    watching(standing, "incident")
    watching(standing, "suspend", applies_to=["another-system"])
    alarm(monitor)
    follow_alerts()
    assert (status_of(monitor), Incident.objects.count()) == ("running", 1)
    standing(name="named", applies_to=["watched-model"], monitoring={"critical_breach": "suspend"})
    alarm(monitor, key="drift:2")
    follow_alerts()
    assert (status_of(monitor), Incident.objects.count()) == ("suspended", 2)
    assert len(answered()[-1]["policies"]) == 2


def test_a_policy_that_was_changed_behind_the_platform_stops(monitor: Monitor, standing: Standing) -> None:
    policy = watching(standing, "suspend")
    Policy.objects.filter(pk=policy.pk).update(body=policy.body | {"monitoring": {"critical_breach": "tell"}})
    alarm(monitor)
    follow_alerts()
    assert status_of(monitor) == "suspended"


def test_words_that_look_like_a_patient_s_number_stay_out_of_the_incident(
    people: SimpleNamespace, monitor: Monitor, standing: Standing
) -> None:
    watching(standing, "incident")
    RoleGrant.objects.filter(user=people.amir).delete()  # the owner left the house: the next who may report does
    alert = alarm(monitor, title="Column 20261122001 has shifted")
    follow_alerts()
    incident = Incident.objects.get()
    assert (incident.title, incident.reported_by) == (f"Critical alarm, alert {alert.pk}", people.clara)
    assert "20261122001" not in incident.description


def test_an_alarm_that_cannot_be_answered_is_tried_again(
    monitor: Monitor, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching(standing, "both")
    alarm(monitor)
    with monkeypatch.context() as broken:

        def refuse(**_: Any) -> None:
            raise RuntimeError("a worker dies")

        broken.setattr("governance.execution_alerts.suspend_deployment", refuse)
        with pytest.raises(RuntimeError, match="dies"), transaction.atomic():
            follow_alerts()
    assert (status_of(monitor), Incident.objects.count()) == ("running", 0), "half of it is not done"
    assert follow_alerts() == 1
    assert (status_of(monitor), Incident.objects.count()) == ("suspended", 1)


def test_the_gate_reads_how_what_runs_is_watched(people: SimpleNamespace, monitor: Monitor, standing: Standing) -> None:
    policy = standing(name="watched", monitoring={"max_silence_days": 20})
    version, now = monitor.deployment.version, timezone.now()

    def found() -> dict[str, Any]:
        items = {item.item: item for item in gate(version, policy, now=now).items}
        return {"state": str(items["monitoring"].state), "until": items["monitoring"].expires_at}

    make_window(monitor, 3, judged_at=now)  # of March: that it is judged today makes nothing of today watched
    assert found()["state"] == "stale"
    window = make_window(monitor, 4, closes_at=now - timedelta(days=4), judged_at=now - timedelta(days=3))
    recent = {"closes_at": now, "judged_at": now}
    make_window(monitor, 5, status="empty", **recent)
    make_window(monitor, 6, residuals=[], **recent)  # too few patients: nothing was looked at
    other = make_monitor(people, name="Paused one", status="paused", deployment=monitor.deployment)
    make_window(other, 1, **recent)
    assert found() == {"state": "met", "until": window.closes_at + timedelta(days=20)}
    MonitorWindow.objects.filter(pk=window.pk).update(closes_at=now, judged_at=now - timedelta(days=5))
    assert found() == {"state": "met", "until": now + timedelta(days=15)}, "a window by count closes as it is judged"
    MonitorWindow.objects.filter(pk=window.pk).update(closes_at=now - timedelta(days=21), judged_at=now)
    assert found()["state"] == "stale"
    Monitor.objects.filter(pk=monitor.pk).update(status="paused")
    assert found()["state"] == "missing"
    suspend_deployment(deployment=monitor.deployment, reason="The scanner is being replaced.", by=None)
    assert "monitoring" not in {item.item for item in gate(version, policy, now=now).items}


def test_an_escalation_that_nobody_reads_goes_on_while_the_alert_is_open(
    people: SimpleNamespace, monitor: Monitor
) -> None:
    alert, now = alarm(monitor, severity="warning"), timezone.now()
    assert escalate_alerts(now + timedelta(hours=25)) == 1
    assert escalate_unread(now + timedelta(hours=3)) == 0
    assert escalate_unread(now + timedelta(hours=4, minutes=1)) == 1
    row = Notification.objects.filter(recipient=people.clara).latest("pk")
    assert row.title == f"Not read: Not acknowledged: {alert.title}"
    acknowledge_alert(alert=alert, by=people.clara)
    assert escalate_unread(now + timedelta(hours=9)) == 0, "the administrators need not know"
    assert not Notification.objects.filter(read_at=None).exists()
