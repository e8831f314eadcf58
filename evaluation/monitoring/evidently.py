"""The report of another library, Evidently, on the sample of a window: attached as evidence beside our own judgement.

It looks at one window alone, with thresholds of its own and no account of how often it looks: a *single-look* verdict.
Its numbers are computed again by our engine, from sketches of the same rows, and have to agree. It decides nothing.

No identifier is given to it. Categories of fewer patients than the protocol's smallest cell are put together, and
numbers are cut off at the 1st and 99th percentile of the reference, so that its pictures show no single patient.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.drift.categories import js_divergence
from evaluation.engine.drift.numbers import number_shift, paired
from evaluation.engine.drift.sample import DriftSample
from evaluation.engine.sketches.quantiles import QuantileSketch

RARE = "(rare)"
SHOWN = ("number.", "category.", "group.", "score.", "label.")
LEAST_SPREAD = 0.001
"""Standard deviation below which Evidently does not divide."""
LEAST = 30
"""Values of a column on either side; with fewer, Evidently is not given the column."""


@dataclass(frozen=True, kw_only=True)
class EvidentlyReport:
    """What Evidently wrote.

    Attributes:
        html, json: The report as it comes from the library.
        verdict: ``{"drift": bool, "drifted": n, "columns": n, "version": ...}``: its default judgement of the data set,
            and ``any``: whether any column drifted by its default threshold.
        checks: For each column: its method, threshold and value, our value on the same rows where we have the method,
            and whether they agree.
    """

    html: bytes
    json: bytes
    verdict: dict[str, Any]
    checks: tuple[dict[str, Any], ...]


def evidently_report(reference: DriftSample, window: DriftSample, *, minimum_cell: int) -> EvidentlyReport:
    """Evidently's preset for data drift, by its defaults, on two samples.

    Raises:
        AuscultError: no column has enough values on both sides.
    """
    before, now, numeric = _frames(reference, window, minimum_cell=minimum_cell)
    if not len(before.columns):
        raise AuscultError(
            f"No column has {LEAST} values in the window and in the reference.",
            remedy="Evidently reports windows with more studies.",
        )
    snapshot, version = _run(before, now, numeric)
    body = json.loads(snapshot.json())
    checks = tuple(_checks(body, before, now))
    counted = next(item["value"] for item in body["metrics"] if item["metric_name"].startswith("DriftedColumnsCount"))
    share = next(item for item in body["tests"] if item["name"].startswith("Share of Drifted"))
    verdict = {
        "drift": share["status"] == "FAIL",
        "any": counted["count"] > 0,
        "drifted": int(counted["count"]),
        "columns": len(before.columns),
        "n": len(now),
        "n_reference": len(before),
        "version": version,
    }
    return EvidentlyReport(
        html=snapshot.get_html_str(as_iframe=False).encode(),
        json=json.dumps(body, sort_keys=True).encode(),
        verdict=verdict,
        checks=checks,
    )


def _run(before: Any, now: Any, numeric: list[str]) -> tuple[Any, str]:
    """Nothing is sent anywhere: collecting of usage is off. Warnings are those of the library's own old imports."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import evidently
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        shape = DataDefinition(
            numerical_columns=numeric, categorical_columns=[name for name in before.columns if name not in numeric]
        )
        data = [Dataset.from_pandas(part, data_definition=shape) for part in (now, before)]
        snapshot = Report([DataDriftPreset()], include_tests=True).run(*data)
    return snapshot, str(evidently.__version__)


def _frames(reference: DriftSample, window: DriftSample, *, minimum_cell: int) -> tuple[Any, Any, list[str]]:
    """Reference and window as frames of the same columns, and which of them are numbers."""
    import pandas as pd

    before: dict[str, Any] = {}
    now: dict[str, Any] = {}
    numeric = []
    for name in sorted(set(reference.columns) & set(window.columns)):
        pair = reference.columns[name], window.columns[name]
        if not name.startswith(SHOWN) or min(_known(values) for values in pair) < LEAST:
            continue
        if pair[0].dtype == object:
            before[name], now[name] = _categories(*pair, least=minimum_cell)
        elif len(np.unique(pair[0][~np.isnan(pair[0])])) > 1:
            before[name], now[name] = _cut_off(*pair)
            numeric.append(name)
    return pd.DataFrame(before), pd.DataFrame(now), numeric


def _known(values: npt.NDArray[Any]) -> int:
    missing = np.array([value is None for value in values]) if values.dtype == object else np.isnan(values)
    return int((~missing).sum())


def _categories(before: npt.NDArray[Any], now: npt.NDArray[Any], *, least: int) -> tuple[list[str], list[str]]:
    sides = [Counter(map(str, values)) for values in (before, now)]
    # On each side by itself: one that many had and two have now would show the two.
    few = {name for counts in sides for name, count in counts.items() if count < least}
    kept = {name for counts in sides for name in counts} - few
    told = [[str(value) if str(value) in kept else RARE for value in values] for values in (before, now)]
    return told[0], told[1]


def _cut_off(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    low, high = np.nanpercentile(before, [1, 99])
    low, high = (low, high) if low < high else (np.nanmin(before), np.nanmax(before))
    return np.clip(before, low, high), np.clip(now, low, high)


def _checks(body: Mapping[str, Any], before: Any, now: Any) -> Any:
    """Its value for each column beside ours, computed from the same rows."""
    for item in body["metrics"]:
        config = item["config"]
        if "column" not in config:
            continue
        name, method, value = config["column"], config["method"], float(item["value"])
        own = _own(method, before[name], now[name])
        apart = None if own is None else abs(own[0] - value)
        yield {
            "column": name,
            "method": method,
            "threshold": config["threshold"],
            "value": value,
            "ours": None if own is None else own[0],
            "agrees": None if own is None or apart is None else bool(apart <= own[1]),
            "drift": value < config["threshold"] if method.endswith("p_value") else value >= config["threshold"],
        }


def _own(method: str, before: Any, now: Any) -> tuple[float, float] | None:
    """The statistic as the engine computes it from sketches, and how far apart both may be; None where we have none.

    Sketches keep a number to a thousandth, so distances may differ by a hundredth of themselves. P-values of Kolmogorov
    and Smirnov's test are exact there and asymptotic here.
    """
    if method == "Jensen-Shannon distance":
        bits = js_divergence(*_shares(before, now))
        return math.sqrt(max(0.0, bits * math.log(2))), 1e-6  # told in nats there
    if method == "Z-test p_value":
        share = _two_shares(before, now)
        return None if share is None else (share, 1e-6)
    if method not in ("Wasserstein distance (normed)", "K-S p_value"):
        return None
    pair = paired([(QuantileSketch.of(now.dropna()), QuantileSketch.of(before.dropna()))])
    if pair is None:
        return None
    found = number_shift(pair, z=0.0)
    if method == "K-S p_value":
        return found.p_value, 0.05
    distance = found.detail["wasserstein"] / max(found.detail["sd"], LEAST_SPREAD)
    return distance, 0.01 * distance + 1e-3


def _shares(before: Any, now: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    names = sorted({*before.unique(), *now.unique()})
    one, two = (np.array([float((part == name).mean()) for name in names]) for part in (before, now))
    return one, two


def _two_shares(before: Any, now: Any) -> float | None:
    """Two-sided p-value of equal shares of one of two values, with the pooled variance."""
    from scipy.stats import norm

    names = sorted({str(value) for value in (*before.dropna().unique(), *now.dropna().unique())})
    if len(names) != 2:
        return None
    shares = [float((part.dropna().astype(str) == names[0]).mean()) for part in (before, now)]
    sizes = [len(part.dropna()) for part in (before, now)]
    pooled = (shares[0] * sizes[0] + shares[1] * sizes[1]) / sum(sizes)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    return float(2 * norm.sf(abs(shares[0] - shares[1]) / spread)) if spread > 0 else None
