"""A monitor with a real reference in the store, for tests of where its data come from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.models import Monitor
from evaluation.monitoring.schema import check_source
from evaluation.monitoring.sources.base import SOURCES, Arrived, Job
from models_registry.cohorts import convert_cohort
from models_registry.models import Deployment, VersionStatus
from tests.evaluation.monitor_scene import FIRST, make_monitor
from tests.registry.scene import Files, make_cohort, make_protocol, make_version

OPENS = datetime(2026, 3, 2, tzinfo=UTC)
CLOSES = datetime(2026, 3, 9, tzinfo=UTC)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def monitor(people: SimpleNamespace, files: Files, tmp_path: Path, drop: Path) -> Monitor:
    """It watches the drop folder, and waits for no file to settle."""
    source = check_source("folder", {"path": str(drop), "settle_seconds": 0})
    return watched(people, files, tmp_path, source_kind="folder", source=source)


def studies(n: int, *, start: int = 0, day: int = 3, **changes: Any) -> pd.DataFrame:
    """Studies of as many patients on one day of March 2026, as a hospital's export would have them."""
    number = np.arange(start, start + n)
    frame = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in number],
            "study_id": [f"s{i}" for i in number],
            "study_time": [f"2026-03-{day:02}T{i % 24:02}:30:00+00:00" for i in number],
            "sex": np.where(number % 2, "F", "M"),
            "age": 30 + number % 50,
            "label.effusion": number % 3 % 2,
        }
    )
    return frame.assign(**changes)


def watched(people: Any, files: Files, folder: Path, **given: Any) -> Monitor:
    """An active weekly monitor of a recorded model, with the reference's files in the store."""
    source = folder / "reference.csv"
    studies(300).to_csv(source, index=False)
    convert_cohort(source, mapping=None, destination=folder / "reference")
    version = make_version(people, files.predictions, status=VersionStatus.DEPLOYED)
    deployment = Deployment.objects.create(
        version=version, site="North Hospital", contact_name="Ines Vogel", contact_email="ines@hospital.example",
        started_at=FIRST, started_by=people.clara,
    )  # fmt: skip
    facts = {
        "deployment": deployment,
        "reference_cohort": make_cohort(people, folder / "reference", "Reference cohort"),
        "protocol": make_protocol(people),
        "zone": "UTC",
        "first_opens_at": OPENS,
    }
    return make_monitor(people, **facts | given)


def job(kind: str, source: dict[str, Any], folder: Path, **given: Any) -> Job:
    """What is asked of a source, for the first window."""
    facts = {
        "settings": check_source(kind, source), "opens_at": OPENS, "closes_at": CLOSES, "zone": "UTC",
        "scratch": folder, "columns": ("patient_id", "study_id", "sex", "age", "label.effusion"),
    }  # fmt: skip
    return Job(**facts | given)


def brought(kind: str, source: dict[str, Any], folder: Path, **given: Any) -> list[Arrived]:
    """Everything that a source brings."""
    folder.mkdir(exist_ok=True)
    return list(SOURCES.get(kind).pull(job(kind, source, folder, **given)))
