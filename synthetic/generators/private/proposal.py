"""A domain to begin with, from names of columns and from what everybody knows of them. No value is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KNOWN_ATTRIBUTES: dict[str, Any] = {
    "sex": ["F", "M"],
    "age": {"low": 0, "high": 110, "bins": 11, "whole": True},
    "view": {"values": ["AP", "PA", "LATERAL"], "each": "study"},
    "weight": {"low": 0, "high": 250, "bins": 10, "whole": False},
    "height": {"low": 40, "high": 220, "bins": 9, "whole": False},
    "bmi": {"low": 10, "high": 70, "bins": 12, "whole": False},
}
"""Sexes as most registers write them; a person is not known to have become much older than 110 years."""
KNOWN_SERIES: dict[str, tuple[float, float, int, bool]] = {
    "crp": (0, 500, 1, True), "procalcitonin": (0, 100, 2, True), "wbc": (0, 100, 1, True),
    "haemoglobin": (0, 25, 1, False), "platelets": (0, 1500, 0, True), "sodium": (100, 180, 0, False),
    "potassium": (1, 10, 1, False), "creatinine": (0, 2000, 0, True), "glucose": (0, 60, 1, True),
    "lactate": (0, 30, 1, True), "troponin": (0, 50_000, 0, True), "d_dimer": (0, 50_000, 0, True),
    "ph": (6.5, 8, 2, False), "spo2": (40, 100, 0, False), "heart_rate": (0, 250, 0, False),
    "respiratory_rate": (0, 80, 0, False), "systolic_pressure": (30, 280, 0, False),
    "diastolic_pressure": (10, 180, 0, False), "temperature": (28, 43, 1, False), "nt_probnp": (0, 70_000, 0, True),
}  # fmt: skip
"""Low, high, digits behind the point, whether small values count: what laboratories and monitors can report, in the
usual unit. Whoever orders a training has to see whether the cohort's unit is that one."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A domain as JSON for somebody to correct.

    Attributes:
        unknown: Columns of which nothing is known: they are left out unless somebody writes them in.
    """

    body: dict[str, Any]
    unknown: tuple[str, ...]


def propose_domain(columns: Iterable[str], *, findings: Iterable[str] = ()) -> Proposal:
    """A domain from the names of a cohort's columns, as its manifest has them: ``sex``, ``series.crp``, ``label.x``.

    Args:
        findings: Labels that plans are to be made of; all of the cohort's where it is empty.
    """
    body: dict[str, Any] = {"findings": list(findings), "attributes": {}, "series": {}, "texts": [], "image": False}
    unknown: list[str] = []
    chosen = bool(body["findings"])
    for column in columns:
        kind, _, name = column.rpartition(".")
        if column == "image":
            body["image"] = True
        elif kind == "label":
            body["findings"] += [] if chosen else [name]
        elif kind == "text":
            body["texts"].append(name)
        elif kind == "series" and name in KNOWN_SERIES:
            low, high, decimals, log = KNOWN_SERIES[name]
            body["series"][name] = {"low": low, "high": high, "decimals": decimals, "log": log}
        elif not kind and column in KNOWN_ATTRIBUTES:
            body["attributes"][column] = KNOWN_ATTRIBUTES[column]
        elif column not in ("patient_id", "study_id", "study_time"):
            unknown.append(column)
    return Proposal(body=body, unknown=tuple(unknown))
