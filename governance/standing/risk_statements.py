"""What accepted statements say about risks, sorted by the row that they belong to, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from governance.rules import Facts
from governance.rules.values import date_of, plain, rows_of

INHERENT, MEASURES = "GDPR-35-7-c", "GDPR-35-7-d"
"""Where risks are rated before measures, and where measures and what remains after them are stated."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A safeguard. ``done_on`` is None where it is only planned, or where its day is still to come."""

    text: str
    owner: str
    due: str
    done_on: date | None


def whole(value: Any) -> int | None:
    """A rating as an integer of 1 to 4; None for anything else."""
    text = str(value).strip() if not isinstance(value, bool) else ""
    return int(text) if text in {"1", "2", "3", "4"} else None


def risk_key(text: Any) -> str:
    """The row that a stated risk belongs to, whatever its letters: ``Discriminatory output`` is ``bias``."""
    key = "_".join(str(text).replace("-", " ").casefold().split())
    return ALIASES.get(key, key)


ALIASES = {
    "access": "illegitimate_access",
    "illegitimate_access_to_data": "illegitimate_access",
    "modification": "unwanted_modification",
    "unwanted_modification_of_data": "unwanted_modification",
    "loss": "disappearance",
    "disappearance_of_data": "disappearance",
    "discriminatory_output": "bias",
    "discrimination": "bias",
    "wrong_or_invented_output": "wrong_output",
    "inaccuracy": "wrong_output",
    "memorisation_or_inference_from_the_model": "model_inference",
    "memorisation_by_the_model,_or_inference_from_it": "model_inference",
    "memorisation": "model_inference",
    "inference": "model_inference",
    "use_beyond_the_purpose": "function_creep",
}


def grouped(table: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of a table by the risk that they are about."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows_of(table):
        found.setdefault(risk_key(row.get("risk", "")), []).append(row)
    return found


def cells(table: Any) -> list[str]:
    """Each row of a table as one text."""
    return [": ".join(str(cell) for cell in row.values()) for row in rows_of(table)]


def joined(stated: Any, entries: Sequence[Mapping[str, Any]], column: str) -> str:
    """A stated list and one column of entries as one text, nothing twice."""
    texts = [str(item) for item in stated] if isinstance(stated, list) else []
    texts += [str(row[column]) for row in entries if row.get(column)]
    return "; ".join(dict.fromkeys(texts))


def measures_of(facts: Facts, key: str) -> tuple[Measure, ...]:
    """The safeguards that are stated against one risk."""
    stated = facts.values(MEASURES)
    dates = grouped(stated.get("implementation_dates")).get(key, [])
    done = {plain(row.get("measure")): date_of(row.get("done_on")) for row in dates}
    return tuple(
        Measure(
            text=str(row.get("measure", "")),
            owner=str(row.get("owner", "")),
            due=str(row.get("due", "")),
            done_on=_by_now(facts, row, done.get(plain(row.get("measure")))),
        )
        for row in grouped(stated.get("measures_per_risk")).get(key, [])
    )


def _by_now(facts: Facts, row: Mapping[str, Any], day: date | None) -> date | None:
    """The day on which a measure was done; None where it lies ahead, or where the measure is called planned."""
    planned = plain(row.get("status", "")) == "planned"
    return day if day is not None and day <= facts.as_of.date() and not planned else None
