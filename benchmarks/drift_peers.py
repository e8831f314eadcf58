"""Other libraries on the windows that ``validity_drift`` judges: Evidently here, two more in an environment of theirs.

Each looks at one window at a time, by its defaults, as its documentation shows; an alarm in a quiet year is false.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift_scene import studies
from evaluation.engine import ShardTable
from evaluation.engine.statistics.seeds import generator

MEASURE = Path(__file__).parent / "peers" / "measure.py"
NUMERIC = ("age", "crp", "score")


def columns_of(table: ShardTable) -> Any:
    """The streams that every library reads, as a pandas frame."""
    import pandas as pd

    assert table.streams is not None
    made = {**table.streams.numbers, **table.streams.categories, "score": table.scores["finding"]}
    return pd.DataFrame({name: made[name] for name in ("age", "crp", "ward", "scanner", "mask", "score")})


def quiet_frames(run: int, windows: int, n: int, reference: int) -> tuple[Any, list[Any]]:
    """Reference and windows of one quiet year: the same as in ``validity_drift`` under the same number."""
    rng = generator(run, "null", str(n), str(reference))
    return columns_of(studies(rng, reference)), [columns_of(studies(rng, n)) for _ in range(windows)]


def evidently_alarms(before: Any, windows: list[Any]) -> dict[str, list[int]]:
    """Windows in which Evidently's preset finds drift: in any column, and in the data set (half of the columns)."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        others = [name for name in before.columns if name not in NUMERIC]
        shape = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=others)
        reference = Dataset.from_pandas(before, data_definition=shape)
        found: dict[str, list[int]] = {"any column": [], "data set": []}
        for k, window in enumerate(windows):
            report = Report([DataDriftPreset()])
            snapshot = report.run(Dataset.from_pandas(window, data_definition=shape), reference)
            drifted = next(
                item["value"]
                for item in snapshot.dict()["metrics"]
                if str(item.get("metric_name", item.get("metric_id"))).startswith("DriftedColumnsCount")
            )
            if drifted["count"] > 0:
                found["any column"].append(k)
            if drifted["share"] >= 0.5:
                found["data set"].append(k)
    return found


def peers_alarms(python: Path, runs: int, windows: int, n: int, reference: int) -> dict[str, Any]:
    """What :mod:`benchmarks.peers.measure` finds, run by the peers' Python."""
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            before, after = quiet_frames(run, windows, n, reference)
            before.to_csv(Path(folder) / f"reference-{run:04}.csv", index=False)
            rows = [frame.assign(window=k) for k, frame in enumerate(after)]
            import pandas as pd

            pd.concat(rows).to_csv(Path(folder) / f"windows-{run:04}.csv", index=False)
        done = subprocess.run([str(python), str(MEASURE), folder], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The peers could not be measured: {done.stderr.strip()[-2000:]}\nWhat to do: make bench-peers.")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def share_of_years(alarms: list[list[int]]) -> tuple[float, float]:
    """Share of runs with an alarm, and of windows."""
    return float(np.mean([bool(item) for item in alarms])), float(np.mean([len(item) for item in alarms]))
