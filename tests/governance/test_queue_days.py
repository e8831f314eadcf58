"""What waits on the home page with a day comes first, the soonest at the top."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from django.utils import timezone

from core.pages.panels import queue_for
from governance.execution_deployments import CONFIRM_WITHIN
from governance.services.deployments import suspend_deployment
from tests.governance.deployment_scene import WHY, approved, put
from tests.governance.incident_scene import clocks, make_scene, recorded
from tests.governance.risk_scene import a_risk, acceptable, accepted, planned


def test_clocks_and_other_days_come_first(people: SimpleNamespace, home: Path) -> None:
    scene, now = make_scene(people), timezone.now()
    incident = recorded(scene, version=None, breach=True, controller_aware_at=now - timedelta(hours=60))
    due = {row.due_at for row in clocks(incident).values() if row.due_at}
    row = suspend_deployment(
        deployment=put(approved(people, home, label="2.0"), people.clara), reason=WHY, by=people.amir
    )
    acceptance = accepted(acceptable(people), people.clara, days=9)
    a_risk(people, title="Nobody's")
    items = queue_for(people.clara)
    days = [item.due for item in items]
    assert due | {row.suspended_at + CONFIRM_WITHIN, acceptance.expires_at} <= set(days)
    with_a_day = [day for day in days if day is not None]
    assert days[: len(with_a_day)] == sorted(with_a_day), "first what has a day, the soonest first"
    assert items[0].due == min(due) and items[0].title.startswith("Report incident 1")
    assert None in days, "and then the rest"


def test_a_control_is_due_at_the_end_of_its_day(people: SimpleNamespace) -> None:
    control = planned(a_risk(people), people, due_on=timezone.localdate() + timedelta(days=2))
    (item,) = [item for item in queue_for(people.mina) if item.title.startswith("Implement your control")]
    assert item.due is not None and item.due > timezone.now() + timedelta(days=1)
    assert timezone.localdate(item.due) == control.due_on
    assert timezone.localdate(item.due + timedelta(seconds=1)) > control.due_on
