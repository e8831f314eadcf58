"""A cohort's counts, small cells withheld, laid out as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from governance.reports.wording import decimal, share, spoken
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
            title=_("Reference labels: number of studies"),
            headers=(_("Label"), _("With reference"), _("Present"), _("Absent"), _("No reference")),
            rows=tuple(
                (name, *(_text(row.get(key, WITHHELD)) for key in ("n", "positive", "negative", "missing")))
                for name, row in summary.get("labels", {}).items()
            ),
        ),
        CountTable(
            title=_("Attributes: number of studies"),
            headers=(_("Attribute"), _("Value"), _("Studies")),
            text_columns=2,
            rows=tuple(
                line for name, row in summary.get("attributes", {}).items() for line in _attribute_rows(name, row)
            ),
        ),
        CountTable(
            title=_("Modalities: share of studies that have them"),
            headers=(_("Modality"), _("Share")),
            rows=tuple((name, share(part)) for name, part in summary.get("modalities", {}).items()),
        ),
    )
    return tuple(table for table in tables if table.rows)


def _attribute_rows(name: str, row: dict[str, Any]) -> list[tuple[str, str, str]]:
    title = spoken(name)
    lines = [(title, value, _text(studies)) for value, studies in row.get("values", {}).items()]
    if not lines:
        median = row.get("median")
        what = _("median %(value)s") % {"value": decimal(median, "g")} if median is not None else _distinct(row)
        lines = [(title, what, "—")]
    return [*lines, (title, _("not recorded"), _text(row["missing"]))] if row.get("missing") else lines


def _distinct(row: dict[str, Any]) -> str:
    return _("%(n)s values") % {"n": row.get("distinct", "?")}


def _text(value: int | str) -> str:
    return value if isinstance(value, str) else decimal(value, ",")
