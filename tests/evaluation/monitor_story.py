"""A hospital whose model is watched week by week: its reference, its deliveries, and workers without processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from evaluation.models import Monitor, MonitorWindow
from evaluation.services.monitors import create_monitor
from models_registry.cohorts import convert_cohort
from models_registry.models import Deployment, VersionStatus
from tests.registry.scene import make_cohort, make_protocol, make_version

OPENS = datetime(2026, 3, 2, tzinfo=UTC)
WEEK = timedelta(weeks=1)
WEEKS, PER_WEEK, REFERENCE = 6, 60, 240
RULES = """
auscult_protocol: 1
name: story-watch
title: Weekly watch of the story
suites: [drift]
labels: [{name: effusion, threshold: {value: 0.5, source: the middle}}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: inputs, metric: numeric_shift, direction: at_most, margin: 0.5}
drift:
  watch: [numeric, categorical, prediction]
  case_mix: [sex]
  critical: [categorical]
  minimum_window: 50
  minimum_reference: 100
  sample: 100
"""


def patients(n: int, *, start: int, seed: int, opens: datetime, scanner: str = "") -> pd.DataFrame:
    """Studies of as many patients, spread over a week; with ``scanner`` all come from a new one."""
    rng = np.random.default_rng(seed)
    number = np.arange(start, start + n)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i:05}" for i in number],
            "study_id": [f"s{i:05}" for i in number],
            "study_time": [(opens + WEEK * (i + 0.5) / n).isoformat() for i in range(n)],
            "sex": rng.choice(["F", "M"], n),
            "age": rng.normal(60, 12, n).round(1),
            "scanner": np.full(n, scanner) if scanner else rng.choice(["Aquila", "Borealis"], n),
            "label.effusion": (rng.random(n) < 0.3).astype(int),
        }
    )


class Story:
    """Everything that a test needs of one watched deployment.

    Attributes:
        sent: Messages that wait, as ``(task, id)``.
        committed: Runs something and sends what it sends on commit.
        opens: When the first week begins.
    """

    def __init__(
        self,
        people: SimpleNamespace,
        folder: Path,
        sent: list[tuple[str, int]],
        committed: Any,
        opens: datetime = OPENS,
    ) -> None:
        self.people, self.folder, self.sent, self.committed, self.opens = people, folder, sent, committed, opens
        (folder / "drop").mkdir()
        self._predict()
        patients(REFERENCE, start=0, seed=1, opens=opens - 8 * WEEK).to_csv(folder / "reference.csv", index=False)
        convert_cohort(folder / "reference.csv", mapping=None, destination=folder / "reference")
        version = make_version(people, folder / "log", status=VersionStatus.DEPLOYED)
        self.facts: dict[str, Any] = {
            "deployment": Deployment.objects.create(
                version=version, site="North Hospital", contact_name="Ines Vogel",
                contact_email="ines@hospital.example", started_at=opens, started_by=people.clara,
            ),
            "name": "Weekly watch",
            "protocol": make_protocol(people, RULES),
            "reference_cohort": make_cohort(people, folder / "reference", "Reference"),
            "source_kind": "folder",
            "source": {"path": str(folder / "drop"), "settle_seconds": 0},
            "window_unit": "week", "window_size": 1, "first_opens_at": opens, "zone": "UTC",
            "crontab": "0 6 * * 1", "owner": people.amir, "escalate_to": people.clara, "by": people.amir,
        }  # fmt: skip

    def _predict(self) -> None:
        """The model's recorded answers for every patient that ever comes."""
        n = REFERENCE + WEEKS * PER_WEEK
        (self.folder / "log").mkdir()
        frame = pd.DataFrame(
            {
                "study_id": [f"s{i:05}" for i in range(n)],
                "score.effusion": np.random.default_rng(7).beta(2, 5, n).round(4),
            }
        )
        frame.to_parquet(self.folder / "log" / "predictions.parquet", index=False)

    def create(self, **changes: Any) -> Monitor:
        with self.committed(execute=True):
            return create_monitor(**self.facts | changes)

    def active(self, **changes: Any) -> Monitor:
        """A monitor whose reference is made."""
        monitor = self.create(**changes)
        self.work()
        monitor.refresh_from_db()
        assert (monitor.status, monitor.error) == (Monitor.Status.ACTIVE, "")
        return monitor

    def deliver(self, week: int, scanner: str = "") -> None:
        """The studies of one week arrive in the drop folder."""
        start, opens = REFERENCE + week * PER_WEEK, self.opens + week * WEEK
        frame = patients(PER_WEEK, start=start, seed=100 + week, opens=opens, scanner=scanner)
        path = self.folder / "drop" / f"week-{week}.csv"
        frame.to_csv(path, index=False)

    def work(self, *, until: Callable[[str], bool] = lambda name: False) -> list[str]:
        """Do what waits, as workers do, and what comes of it; stop before a task that ``until`` names.

        The search for causes comes after the judging, changes nothing of it, and has tests of its own: it is left out.
        """
        from config.celery import app

        done = []
        while self.sent and not until(self.sent[0][0]):
            name, *args = self.sent.pop(0)
            if name.endswith(".explain_window"):
                continue
            with self.committed(execute=True):
                app.tasks[name].run(*args)
            done.append(name.rpartition(".")[2])
        return done

    def fire(self, monitor: Monitor, *, weeks: int) -> None:
        """The schedule fires when so many weeks are over, and the workers do the rest."""
        from evaluation.monitoring.firing import fire_monitor

        with self.committed(execute=True):
            fire_monitor(monitor.pk, now=self.opens + weeks * WEEK)

    @staticmethod
    def windows(monitor: Monitor) -> list[MonitorWindow]:
        return list(monitor.windows.order_by("index"))
