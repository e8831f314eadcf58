"""Monitors as the people of the demo make and read them: what every story of monitoring does."""

from __future__ import annotations

import time
from datetime import datetime
from importlib import resources
from typing import Any

from config.demo.steps import Steps
from core.errors import AuscultError, EnvironmentProblemError

POLL_SECONDS = 0.25
OVER = ("judged", "empty", "refused", "failed")


class Watching(Steps):
    """Makes monitors, delivers data, and waits for windows."""

    def protocol_of(self, file: str) -> Any:
        """A protocol of the demo, locked and approved."""
        return self.protocol((resources.files("config.demo") / file).read_text(encoding="utf-8"))

    def monitor(self, deployment: Any, *, name: str, **facts: Any) -> Any:
        """The monitor of this name, made by the auditor, once its reference is there."""
        from evaluation.models import Monitor
        from evaluation.services.monitors import create_monitor

        found = deployment.monitors.filter(name=name).exclude(status=Monitor.Status.ENDED).first()
        row = found or create_monitor(
            deployment=deployment,
            name=name,
            grace_hours=0,
            owner=self.people["amir"],
            escalate_to=self.people["clara"],
            escalate_after_hours=24,
            by=self.people["amir"],
            **facts,
        )
        self.wait.until([row], done={Monitor.Status.ACTIVE}, title=lambda _: f"Reference of the monitor: {name}")
        return row

    def judged_window(self, monitor: Any, index: int, *, until: datetime) -> Any:
        """The window of this number, judged and explained. It is made by asking the monitor at the moment ``until``.

        Raises:
            AuscultError: it failed, with its own words.
        """
        from evaluation.models import MonitorWindow
        from evaluation.monitoring.firing import fire_monitor

        if not monitor.windows.filter(index=index).exists():
            fire_monitor(monitor.pk, now=until)
        while True:
            window = MonitorWindow.objects.filter(monitor=monitor, index=index).first()
            if window is not None and window.status in OVER and (window.status != "judged" or window.causes_digest):
                break
            self._still_served()
            time.sleep(POLL_SECONDS)
        if window.status == MonitorWindow.Status.FAILED:
            raise AuscultError(f"{window} failed: {window.error}", remedy="See the logs of the workers.")
        return window

    def accept(self, monitor: Any, window: Any, *, why: str) -> list[Any]:
        """Close the alarms of a window: what changed is accepted, and later windows are compared with those since."""
        from evaluation.models import Alert
        from evaluation.services.alerts import acknowledge_alert, close_alert

        closed = []
        kinds = (Alert.Kind.DRIFT, Alert.Kind.PERFORMANCE)
        for alert in monitor.alerts.filter(kind__in=kinds).exclude(status=Alert.Status.CLOSED):
            acknowledge_alert(alert=alert, by=self.people["amir"])
            alert.refresh_from_db()
            closed.append(
                close_alert(alert=alert, resolution=Alert.Resolution.NEW_NORMAL, closing=why, by=self.people["amir"])
            )
        monitor.refresh_from_db()
        return closed

    def _still_served(self) -> None:
        failed = self.wait.supervisor.failed
        if failed is not None:
            raise EnvironmentProblemError(
                f"{failed.title} stopped for good:\n{self.wait.supervisor.tail(failed.name)}",
                remedy=f"Read {self.wait.supervisor.log_path(failed.name)}, then run the same command again.",
            )
