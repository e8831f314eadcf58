"""A monitor that really fires: beat, a broker, worker processes, and workers that are killed in the middle."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.embedded.stack import Stack
from tests.stack.conftest import Installation, free_port

pytestmark = [pytest.mark.stack]

LEASE_SECONDS, EVERY_SECONDS, WEEKS = 3, 5, 2
NOT_OURS: Any = None
"""The stack runs inside the test: there is no process to signal."""
PREPARE = f"""
    from contextlib import nullcontext
    from datetime import timedelta
    from types import SimpleNamespace
    from django.conf import settings
    from django.utils import timezone
    from config.demo.people import ensure_people
    from tests.evaluation.monitor_story import Story
    folder = settings.AUSCULT_HOME / "sources" / "story"
    folder.mkdir(parents=True)
    opens = timezone.now().replace(microsecond=0) - timedelta(weeks={WEEKS}, hours=1)
    people = SimpleNamespace(**ensure_people("monitors-only"))
    story = Story(people, folder, [], lambda execute: nullcontext(), opens)
    for week in range({WEEKS}):
        story.deliver(week)
    answer = story.create(crontab="", every_seconds={EVERY_SECONDS}).pk
"""
END = """
    from core.models import LedgerEntry
    from evaluation.models import AuditRun, Monitor, MonitorWindow, StreamPoint
    monitor = Monitor.objects.get()
    rows = list(monitor.windows.order_by("index"))
    names = ("monitor.activated", "monitor.asked", "monitor.windows_due", "window.collected", "window.judged")
    answer = {
        "monitor": [monitor.status, monitor.fired_at is not None, monitor.schedule.name],
        "windows": [[row.index, row.status, row.alarm, row.n_patients, row.run_id] for row in rows],
        "acts": {name: LedgerEntry.objects.filter(act=name).count() for name in names},
        "of": sorted(LedgerEntry.objects.filter(act="window.judged").values_list("subject_id", flat=True)),
        "pks": sorted(str(row.pk) for row in rows),
        "runs": AuditRun.objects.count(),
        "points": [row.points.count() for row in rows],
        "alerts": list(monitor.alerts.values_list("kind", "key")),
    }
"""


def ended(found: dict[int, str]) -> bool:
    """Whether both windows are final."""
    return len(found) == WEEKS and set(found.values()) <= {"judged", "empty", "refused", "failed"}


@dataclass(kw_only=True)
class Scene:
    installation: Installation
    stack: Stack

    def statuses(self) -> dict[int, str]:
        """Window -> its status, read past Django: it is asked every few milliseconds."""
        query = "SELECT w.'index', w.status FROM evaluation_monitorwindow w"
        with closing(sqlite3.connect(self.installation.home / "auscult.sqlite3", timeout=20)) as database:
            return dict(database.execute(query))

    def until(self, met: Callable[[dict[int, str]], Any], seconds: float = 240) -> Any:
        """Wait until ``met`` answers; None means not yet."""
        end = time.monotonic() + seconds
        while (answer := met(found := self.statuses())) is None:
            assert time.monotonic() < end, f"it did not happen in time: {found}\n{self.logs()}"
            time.sleep(0.003)
        return answer

    def kill_while(self, status: str) -> int | None:
        """Kill the worker of the queue ``cpu`` while it has a window in this state; None where it was faster."""
        index = self.until(
            lambda found: next((i for i, now in found.items() if now == status), -1 if ended(found) else None)
        )
        if index < 0:
            return None
        process = self.stack.supervisor.services["worker-cpu"].process
        assert process is not None
        process.kill()
        process.wait()
        return index if self.statuses()[index] == status else None

    def logs(self) -> str:
        return "\n".join(self.stack.supervisor.tail(name) for name in ("beat", "worker-cpu", "worker-gpu"))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    home, port = Path(tempfile.mkdtemp(prefix="auscult-monitor-")), free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AUSCULT_")]:
            patch.delenv(name)
        patch.setenv("AUSCULT_THREADS", "1")
        try:
            with Stack(home=home, port=port, tell=print, lease_seconds=LEASE_SECONDS) as stack:
                installation = Installation(
                    home=home, port=port, result={}, process=NOT_OURS, environment=stack.environment
                )
                yield Scene(installation=installation, stack=stack)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def test_beat_fires_and_each_window_is_judged_once_though_workers_are_killed(scene: Scene) -> None:
    """Two weeks are over when the monitor is made. Nobody asks it to look: the schedule does.

    The only worker that judges is killed while it reads one window's data, and again while it judges one.
    """
    scene.installation.python(PREPARE)
    read = scene.kill_while("collecting")
    judged = scene.kill_while("judging")
    assert (read, judged) != (None, None), "the worker was faster than the killer, both times"
    scene.until(lambda found: True if ended(found) else None)
    time.sleep(EVERY_SECONDS + 1)  # the schedule fires again, and a sweep comes by

    end = scene.installation.python(END)
    status, fired, name = end["monitor"]
    log = scene.stack.supervisor.log_path("beat").read_text()
    assert (status, fired) == ("active", True) and log.count(f"Sending due task {name} ") >= 2
    assert [row[:4] for row in end["windows"]] == [[index, "judged", False, 60] for index in range(1, WEEKS + 1)]
    assert len({run for *_, run in end["windows"]}) == 2 and end["runs"] == 3, "one audit for each, and the reference's"
    assert end["acts"] == {
        "monitor.activated": 1,
        "monitor.asked": 0,
        "monitor.windows_due": 1,
        "window.collected": 2,
        "window.judged": 2,
    }
    assert end["of"] == end["pks"]
    assert len(set(end["points"])) == 1 and end["points"][0] > 0
    assert end["alerts"] == [], "nothing changed, and nothing is left to be told"
