"""A cohort's counts, small cells withheld, laid out as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance.reports.wording import spoken
from models_registry.cohorts.disclosure import WITHHELD


@dataclass(frozen=True, kw_only=True)
class CountTable:
    """Counts as a table of text. ``title`` is its caption; ``text_columns`` from the left hold words."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


def cohort_tables(summary: dict[str, Any]) -> tuple[CountTable, ...]:
    """Tables of a summary from :func:`hide_in_summary`; those without a row are left out."""
    tables = (
        CountTable(
            title="Reference labels: number of studies",
            headers=("Label", "With reference", "Present", "Absent", "No reference"),
            rows=tuple(
                (name, *(_text(row.get(key, WITHHELD)) for key in ("n", "positive", "negative", "missing")))
                for name, row in summary.get("labels", {}).items()
            ),
        ),
        CountTable(
            title="Attributes: number of studies",
            headers=("Attribute", "Value", "Studies"),
            text_columns=2,
            rows=tuple(
                line for name, row in summary.get("attributes", {}).items() for line in _attribute_rows(name, row)
            ),
        ),
        CountTable(
            title="Modalities: share of studies that have them",
            headers=("Modality", "Share"),
            rows=tuple((name, f"{share:.1%}") for name, share in summary.get("modalities", {}).items()),
        ),
    )
    return tuple(table for table in tables if table.rows)


def _attribute_rows(name: str, row: dict[str, Any]) -> list[tuple[str, str, str]]:
    title = spoken(name)
    lines = [(title, value, _text(studies)) for value, studies in row.get("values", {}).items()]
    if not lines:
        median = row.get("median")
        what = f"median {median:g}" if median is not None else f"{row.get('distinct', 'unknown')} values"
        lines = [(title, what, "—")]
    return [*lines, (title, "not recorded", _text(row["missing"]))] if row.get("missing") else lines


def _text(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"
