"""The evidence document as reports read it: whole, and with small cells hidden."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from core.errors import AuscultError
from models_registry.cohorts.disclosure import is_small

SCHEMA = "auscult/evidence/1"
"""Counts of 1 to 10 people or studies do not leave the platform."""
HIDDEN = "Withheld: fewer than 11 studies or patients."

NEEDED: dict[str, tuple[str, ...]] = {
    "run": ("id", "requested_by", "requested_at", "started_at", "finished_at"),
    "system": ("name", "provider", "intended_purpose", "risk_class"),
    "version": ("label", "adapter", "digest", "manifest", "config", "submitted_by", "submitted_at"),
    "cohort": ("name", "digest", "n_studies", "n_patients", "simulated", "summary"),
    "protocol": ("name", "title", "digest", "body", "locked_by", "locked_at", "approved_by", "approved_at"),
    "execution": ("settings", "environment"),
    "result": ("outcome", "measurements", "verdicts"),
}
MEASUREMENT = (
    "metric",
    "label",
    "attribute",
    "group",
    "value",
    "reason",
    "low",
    "high",
    "level",
    "n",
    "method",
)
VERDICT = ("criterion", "metric", "outcome", "primary", "direction", "margin", "value", "low", "high", "n")
OUTCOMES = ("pass", "fail", "insufficient")


def check_evidence(evidence: dict[str, Any]) -> None:
    """Refuse evidence that a report could not be written from without guessing.

    Raises:
        AuscultError: the document is of another schema, or lacks something; the message names what.
    """
    if evidence.get("schema") != SCHEMA:
        raise _unfit(f"It is of the schema '{evidence.get('schema')}', not '{SCHEMA}'.")
    absent = [part for part in NEEDED if not isinstance(evidence.get(part), dict)]
    absent += [f"{part}.{key}" for part, key in _pairs() if part not in absent and key not in evidence[part]]
    if "result_digest" not in evidence:
        absent.append("result_digest")
    if absent:
        raise _unfit(f"It lacks {', '.join(absent)}.")
    result = evidence["result"]
    for name, needed in (("measurements", MEASUREMENT), ("verdicts", VERDICT)):
        for row, item in enumerate(result[name], start=1):
            if lacking := [key for key in needed if key not in item]:
                raise _unfit(f"Entry {row} of result.{name} lacks {', '.join(lacking)}.")
    outcomes = [result["outcome"], *(item["outcome"] for item in result["verdicts"])]
    if unknown := [outcome for outcome in outcomes if outcome not in OUTCOMES]:
        raise _unfit(f"It holds the outcome '{unknown[0]}', which is none of {', '.join(OUTCOMES)}.")


def is_fit(evidence: dict[str, Any]) -> bool:
    """Whether a report may be written from it. Unfit evidence of another audit is left out, like a lost one."""
    try:
        check_evidence(evidence)
    except AuscultError:
        return False
    return True


def _pairs() -> Iterable[tuple[str, str]]:
    return ((part, key) for part, keys in NEEDED.items() for key in keys)


def _unfit(what: str) -> AuscultError:
    return AuscultError(
        f"No report can be written from this evidence. {what}",
        remedy="Run the audit again with this release of the platform, and report on the new run.",
    )


def hide_small_cells(evidence: dict[str, Any]) -> dict[str, Any]:
    """A copy of the evidence in which no count of 1 to 10 is left, nor a value that rests on one.

    The engine already gives no value for small groups; this keeps a report safe from evidence that did not
    come from it, and takes the small counts out of the ``detail`` of measurements.
    """
    shown = deepcopy(evidence)
    result = shown["result"]
    for item in result["measurements"]:
        item["detail"] = _hide_inside(item.get("detail", {}))
        if _hide_counts(item):
            item.update(value=None, low=None, high=None, reason=item["reason"] or HIDDEN)
    for item in result["verdicts"]:
        if _hide_counts(item):
            item.update(value=None, low=None, high=None, statement=HIDDEN)
    return shown


def _hide_counts(item: dict[str, Any]) -> bool:
    """Take small counts out of one entry; whether there was any."""
    small = [key for key in ("n", "patients") if is_small(item.get(key))]
    for key in small:
        item[key] = None
    return bool(small)


NOT_PATIENTS = frozenset({"pairs_compared", "replicates"})
"""Numbers in the ``detail`` of a measurement that count something else than patients or studies."""


def _hide_inside(value: Any) -> Any:
    """A JSON value with every small integer taken out; entries of a list that rest on one go whole."""
    if isinstance(value, dict):
        return {key: item if key in NOT_PATIENTS else _hide_inside(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide_inside(item) for item in value if not _rests_on_small(item)]
    return None if is_small(value) else value


def _rests_on_small(value: Any) -> bool:
    return isinstance(value, dict) and (is_small(value.get("n")) or is_small(value.get("patients")))


def runs_weights(evidence: dict[str, Any]) -> bool:
    """Whether the audited version was run, and not read from a log of its predictions."""
    return bool(evidence["version"]["config"].get("runs_weights"))


def unbound_weights(evidence: dict[str, Any]) -> str:
    """What is to be told of weights that run elsewhere, bound by no digest; empty where they are bound or not run."""
    return str(evidence["version"]["config"].get("details", {}).get("weights", ""))
