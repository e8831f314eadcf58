"""SDMetrics' own reports, shown beside ours and judged by nobody.

Its diagnostic score was 1.0 on a set whose time index repeated, and its privacy measures score copies 1.0: what they
say is known, which is why they are attached, and not why they would be trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.suites.fidelity_tables import Frames
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.likeness_columns import OTHER, Column, Frame

MOST_ROWS = 1000
MOST_COLUMNS = 15
METHOD = "SDMetrics on a sample; it tells no error, and none is claimed"


def sdmetrics_reports(frames: Frames, *, seed: int) -> Iterator[Figure]:
    """Quality and diagnostic score of one table of study rows, synthetic against held-out."""
    columns = [
        column
        for column in frames.columns
        if all(np.isfinite(one.values[column.name]).any() for one in (frames.synthetic, frames.held_out))
    ][:MOST_COLUMNS]
    if not columns:
        yield not_computed("sdmetrics", "no column is there in both sets")
        return
    described = {"primary_key": "row", "columns": {"row": {"sdtype": "id"}} | {c.name: _kind(c) for c in columns}}
    real = _table(frames.held_out, columns, seed)
    for name in ("quality", "diagnostic"):
        score = _score(name, real, _table(frames.synthetic, columns, seed), described)
        null = _score(name, real, _table(frames.learnt, columns, seed), described)
        yield Figure(
            metric="sdmetrics", of=name, value=score, error=0.0, n=min(MOST_ROWS, len(frames.synthetic.codes)),
            counted="rows", null=null, method=METHOD, detail={"columns": len(columns)},
        )  # fmt: skip


def _kind(column: Column) -> dict[str, str]:
    return {"sdtype": "numerical" if column.numeric else "categorical"}


def _table(made: Frame, columns: Sequence[Column], seed: int) -> Any:
    """At most MOST_ROWS studies as a data frame; categories by number, so that none is named."""
    import pandas as pd

    rows = generator(seed, "sdmetrics").permutation(len(made.codes))[:MOST_ROWS]
    table: dict[str, Any] = {"row": np.arange(len(rows))}
    for column in columns:
        values = made.values[column.name][rows]
        table[column.name] = values if column.numeric else _words(values)
    return pd.DataFrame(table)


def _words(values: Any) -> list[str | None]:
    return [None if np.isnan(v) else "other" if v == OTHER else f"value {int(v)}" for v in values]


def _score(name: str, real: Any, made: Any, described: dict[str, Any]) -> float:
    with warnings.catch_warnings():
        # Its single-table reports announce that they will move.
        warnings.simplefilter("ignore")
        from sdmetrics.reports.single_table import DiagnosticReport, QualityReport

        report = QualityReport() if name == "quality" else DiagnosticReport()
        report.generate(real, made, described, verbose=False)
    return float(report.get_score())
