"""The ward in which the reference model is used, watched week by week: simulated studies, and a change that is planted.

Six weeks are replayed. In the fifth a new scanner comes, which takes most pictures from then on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from config.demo.watching import Watching

ZONE = "Europe/Vienna"
MONITOR = "Week by week"
WEEKS, CHANGED = 6, 5
"""Weeks that are replayed, and the number of the first (from 1) with the new scanner."""
PATIENTS = 200
OLD = {"Aquila DR": 0.5, "Borealis CR": 0.3, "Corvus mobile": 0.2}
NEW = {"Aquila DR": 0.05, "Borealis CR": 0.05, "Corvus mobile": 0.9}
FIRST = datetime(2026, 10, 5, tzinfo=ZoneInfo(ZONE))


class WardStory(Watching):
    """Makes a monitor of the deployed reference model and replays six weeks through it."""

    def watch(self, version: Any) -> Any | None:
        """The monitor after its last week; None where the version is not deployed."""
        from models_registry.models import CohortVersion

        deployment = version.deployments.exclude(status="ended").first()
        if deployment is None:
            return None
        self.display.say("g. A monitor watches what is in use; in week 5 a new scanner is planted")
        drop = self.home / "sources" / "ward-drop"
        drop.mkdir(parents=True, exist_ok=True)
        monitor = self.monitor(
            deployment,
            name=MONITOR,
            protocol=self.protocol_of("reference-watch-v1.yaml"),
            reference_cohort=CohortVersion.objects.filter(cohort__name="Simulated held-out patients").latest("pk"),
            source_kind="folder",
            source={"path": str(drop), "settle_seconds": 0},
            window_unit="week",
            window_size=1,
            first_opens_at=FIRST,
            zone=ZONE,
            crontab="0 6 * * 1",
        )
        for week in range(1, WEEKS + 1):
            self._week(monitor, week, drop)
        return monitor

    def _week(self, monitor: Any, week: int, drop: Path) -> None:
        opens = FIRST + timedelta(weeks=week - 1)
        if not monitor.windows.filter(index=week).exists():
            _write(drop / f"week-{week}.parquet", week=week, opens=opens)
        window = self.judged_window(monitor, week, until=opens + timedelta(weeks=1, hours=6))
        told = f"   week {week}: {window.n_studies} studies, {window.get_status_display().lower()}"
        leading = window.causes[0]["sentence"] if window.causes else "no cause was found"
        self.display.say(f"{told}; alarm. {leading}" if window.alarm else f"{told}, no alarm")


def _write(path: Path, *, week: int, opens: datetime) -> None:
    """One week of simulated studies, spread over its days, like the held-out patients but for the scanners."""
    from tempfile import TemporaryDirectory

    import pyarrow as pa
    import pyarrow.parquet as pq

    from synthetic.simulator import SimulatorSettings, simulate_cohort

    settings = SimulatorSettings(
        patients=PATIENTS,
        seed=499 + week,
        tasks=("findings", "deterioration", "rare"),
        scanners=NEW if week >= CHANGED else OLD,
    )
    with TemporaryDirectory() as folder:
        table = pq.read_table(simulate_cohort(settings, Path(folder) / "week.parquet"))
    step = timedelta(weeks=1) / (table.num_rows + 1)
    first = opens.astimezone(UTC)
    times = pa.array([first + step * (place + 1) for place in range(table.num_rows)], pa.timestamp("us", tz="UTC"))
    if "study_time" in table.column_names:
        table = table.drop_columns(["study_time"])
    part = path.with_suffix(".part")
    pq.write_table(table.append_column("study_time", times), part)
    part.rename(path)
