"""Runs in the peers' own virtual environment: alibi-detect and NannyML on windows of a simulated hospital, by default.

``python measure.py FOLDER`` reads ``reference-K.csv`` and ``windows-K.csv`` (with a column ``window``) of every run K
and prints, as JSON, the windows in which each library alarms. It imports nothing of Auscult.
"""

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CATEGORIES = ("ward", "scanner", "mask")


def main(arguments: list[str]) -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    print(json.dumps(windows(Path(arguments[0]))))


def windows(folder: Path) -> dict[str, Any]:
    """Library -> for each run, the numbers of the windows in which it alarms. ``versions`` beside."""
    pandas = importlib.import_module("pandas")
    found: dict[str, Any] = {"alibi-detect": [], "NannyML": []}
    judges: dict[str, Callable[[Any, Any], list[int]]] = {"alibi-detect": _alibi, "NannyML": _nannyml}
    for path in sorted(folder.glob("reference-*.csv")):
        reference = pandas.read_csv(path)
        rows = pandas.read_csv(path.with_name(path.name.replace("reference", "windows")))
        for name, judge in judges.items():
            found[name].append(judge(reference, rows))
    names = ("alibi_detect", "nannyml")
    return found | {"versions": {name: str(importlib.import_module(name).__version__) for name in names}}


def _alibi(reference: Any, rows: Any) -> list[int]:
    """``TabularDrift``: KS and chi-squared tests at .05, Bonferroni over columns. Gaps get the median."""
    numpy = importlib.import_module("numpy")
    columns = [name for name in reference.columns if name != "window"]
    codes = {name: sorted({*reference[name], *rows[name]}) for name in CATEGORIES}

    def plain(frame: Any) -> Any:
        made = frame[columns].copy()
        for name in columns:
            if name in codes:
                made[name] = made[name].map(codes[name].index)
            else:
                made[name] = made[name].fillna(reference[name].median())
        return made.to_numpy(dtype=numpy.float32)

    places = {columns.index(name): len(codes[name]) for name in CATEGORIES}
    tabular = importlib.import_module("alibi_detect.cd").TabularDrift
    detector = tabular(plain(reference), p_val=0.05, categories_per_feature=places)
    return [int(k) for k, part in rows.groupby("window") if detector.predict(plain(part))["data"]["is_drift"]]


def _nannyml(reference: Any, rows: Any) -> list[int]:
    """``UnivariateDriftCalculator`` with its default method (Jensen-Shannon) and thresholds (3 standard deviations)."""
    columns = [name for name in reference.columns if name != "window"]
    size = int(rows.groupby("window").size().iloc[0])
    calculator = importlib.import_module("nannyml").UnivariateDriftCalculator(
        column_names=columns, treat_as_categorical=list(CATEGORIES), chunk_size=size
    )
    calculator.fit(reference[columns])
    result = calculator.calculate(rows[columns]).filter(period="analysis").to_df()
    alerts = result.loc[:, [name for name in result.columns if name[-1] == "alert"]]
    return [int(k) for k in range(len(alerts)) if bool(alerts.iloc[k].any())]


if __name__ == "__main__":
    main(sys.argv[1:])
