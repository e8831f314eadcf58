"""Counts as they may leave the platform: no cell of 1 to 10 patients, and none that could be worked out.

A single withheld cell of a row with a known total could be worked out from the others, so the next smallest goes
with it. Smallest and largest values are left out: each is the value of one person.
"""

from __future__ import annotations

from typing import Any

SMALLEST_CELL = 11
SMALL = f"<{SMALLEST_CELL}"
WITHHELD = "withheld"
Cells = dict[str, int | str]


def is_small(count: object) -> bool:
    """Whether a count is one that must not be shown. Zero is no small cell: it tells of nobody."""
    return isinstance(count, int) and not isinstance(count, bool) and 0 < count < SMALLEST_CELL


def withhold(cells: Cells) -> Cells:
    """Cells of one partition with those of 1 to 10 as ``<11``, and another ``withheld`` where only one is."""
    shown: Cells = {key: SMALL if is_small(value) else value for key, value in cells.items()}
    if sum(isinstance(value, str) for value in shown.values()) == 1:
        rest = [(value, key) for key, value in shown.items() if isinstance(value, int) and value > 0]
        if rest:
            shown[min(rest)[1]] = WITHHELD
    return shown


def hide_in_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """A cohort's summary (``models_registry.cohorts.summary``) without small cells, extremes and column names."""
    shown: dict[str, Any] = {key: summary[key] for key in ("modalities", "warnings") if key in summary}
    for kind in ("labels", "decisions"):
        shown[kind] = {name: _binary(row) for name, row in summary.get(kind, {}).items()}
    shown["attributes"] = {name: _attribute(row) for name, row in summary.get("attributes", {}).items()}
    shown["splits"] = withhold(summary.get("splits", {}))
    return shown


def _binary(row: dict[str, Any]) -> dict[str, Any]:
    cells = withhold({key: row[key] for key in ("positive", "negative", "missing") if key in row})
    return cells if any(isinstance(value, str) for value in cells.values()) else dict(row)


def _attribute(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: row[key] for key in ("type", "distinct", "median") if key in row}
    if "values" not in row:
        return shown | withhold({"missing": row.get("missing", 0)})
    cells = withhold({"missing": row.get("missing", 0)} | {f"= {key}": item for key, item in row["values"].items()})
    missing = cells.pop("missing")
    return shown | {"missing": missing, "values": {key[2:]: item for key, item in cells.items()}}
