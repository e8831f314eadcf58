"""The editor of a mapping: what each column of a hospital's file is, and what its values mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from core.errors import CohortError
from models_registry.cohorts.schema import ColumnRole, role_of

IGNORE = "ignore"
NAMED = {ColumnRole.LABEL, ColumnRole.SCORE, ColumnRole.PRED, ColumnRole.TEXT, ColumnRole.SERIES}
ROLES = (
    (ColumnRole.PATIENT_ID.value, "Patient identifier"),
    (ColumnRole.STUDY_ID.value, "Study identifier"),
    (ColumnRole.STUDY_TIME.value, "Time of the study"),
    (ColumnRole.SPLIT.value, "Split (train, test)"),
    (ColumnRole.LABEL.value, "Reference label of"),
    (ColumnRole.COVARIATE.value, "Attribute called"),
    (ColumnRole.IMAGE.value, "Image"),
    (ColumnRole.TEXT.value, "Text called"),
    (ColumnRole.SERIES.value, "Series called"),
    (ColumnRole.SCORE.value, "Model score for"),
    (ColumnRole.PRED.value, "Model decision for"),
    (IGNORE, "Leave out"),
)
SETTINGS = ("encoding", "delimiter", "image_root")


@dataclass(frozen=True, kw_only=True)
class ColumnRow:
    """One line of the editor. ``values`` is written ``YES = 1, NO = 0``; ``samples`` are from the first rows."""

    original: str
    role: str
    name: str
    values: str
    samples: tuple[str, ...]


def rows_of(inspection: dict[str, Any]) -> list[ColumnRow]:
    """The editor's lines for an inspected file, filled in with the suggested mapping."""
    suggested = inspection.get("suggested_mapping", {})
    targets, values = suggested.get("columns", {}), suggested.get("values", {})
    preview = inspection.get("preview", {})
    samples = {
        original: tuple(dict.fromkeys(row[place] for row in preview.get("rows", []) if row[place]))[:3]
        for place, original in enumerate(preview.get("originals", []))
    }
    rows = []
    for column in inspection.get("columns", []):
        original = column["original"]
        target = targets.get(original, column["name"])
        known = values.get(target, {}) or values.get(column["name"], {})
        rows.append(_row(original, target, _written(known), samples.get(original, ())))
    ignored = [
        ColumnRow(original=name, role=IGNORE, name="", values="", samples=()) for name in suggested.get("ignore", [])
    ]
    return rows + ignored


def _row(original: str, target: str, values: str, samples: tuple[str, ...]) -> ColumnRow:
    role = role_of(target)
    name = target.partition(".")[2] if role in NAMED else target if role is ColumnRole.COVARIATE else ""
    return ColumnRow(original=original, role=role.value, name=name, values=values, samples=samples)


def rows_from_post(data: QueryDict, shown: list[ColumnRow]) -> list[ColumnRow]:
    """The lines as they were typed, so that a refused mapping is shown again as it was."""
    typed = zip(
        data.getlist("original"),
        data.getlist("role"),
        data.getlist("name"),
        data.getlist("values"),
        strict=False,
    )
    samples = {row.original: row.samples for row in shown}
    return [
        ColumnRow(original=original, role=role, name=name.strip(), values=values, samples=samples.get(original, ()))
        for original, role, name, values in typed
    ]


def mapping_from(data: QueryDict, rows: list[ColumnRow]) -> dict[str, Any]:
    """The mapping that the editor stands for.

    Raises:
        CohortError: a name is missing, or a table of values cannot be read; it names the column.
    """
    columns: dict[str, str] = {}
    values: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.role == IGNORE:
            continue
        target = _target(row)
        columns[row.original] = target
        if row.values.strip():
            values[target] = _read_values(row)
    ignore = [row.original for row in rows if row.role == IGNORE]
    ignore += [line.strip() for line in data.get("ignore", "").splitlines() if line.strip()]
    body: dict[str, Any] = {"columns": columns, "values": values, "ignore": ignore}
    for name in SETTINGS:
        if text := data.get(name, "").strip(" "):
            body[name] = text.replace("\\t", "\t") if name == "delimiter" else text
    return body


def _target(row: ColumnRow) -> str:
    if row.role == ColumnRole.COVARIATE.value or row.role in {role.value for role in NAMED}:
        if not row.name:
            raise CohortError(
                "The column has a role that needs a name.",
                remedy="Name it beside its role.",
                column=row.original,
            )
        return row.name if row.role == ColumnRole.COVARIATE.value else f"{row.role}.{row.name}"
    return ColumnRole(row.role).value if row.role in set(ColumnRole) else row.original


def _read_values(row: ColumnRow) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for part in row.values.replace("\n", ",").split(","):
        if not part.strip():
            continue
        source, equals, meaning = part.partition("=")
        if not equals:
            raise CohortError(
                f"'{part.strip()}' does not say what a value means.",
                remedy="Write value = meaning, with commas between, for example YES = 1, NO = 0. "
                "Nothing after = means missing.",
                column=row.original,
            )
        table[source.strip()] = _scalar(meaning.strip())
    return table


def _scalar(text: str) -> str | int | float | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _written(table: dict[str, Any]) -> str:
    return ", ".join(f"{source} = {'' if meaning is None else meaning}" for source, meaning in table.items())
