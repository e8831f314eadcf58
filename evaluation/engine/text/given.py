"""Which modalities a study lacks, as a text may cite them.

A text says "laboratory values" or "the history"; a study has ``series.crp`` and ``text.indication``. A modality is
lacking only where it is known: where something of its kind is listed, and the study has none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evaluation.engine.text.records import Citation

VITALS = frozenset({
    "heart_rate", "hr", "pulse", "respiratory_rate", "rr", "resp_rate", "spo2", "sao2", "oxygen_saturation",
    "temperature", "temp", "sbp", "dbp", "map", "nbps", "nbpd", "systolic", "diastolic", "blood_pressure",
    "systolic_blood_pressure", "diastolic_blood_pressure", "systolic_bp", "diastolic_bp", "mean_arterial_pressure",
})  # fmt: skip
"""Series that are vital signs; any other series is a laboratory value."""

HISTORY = frozenset({"indication", "history", "clinical_history", "clinical_information", "notes", "note", "reason"})
"""Texts that tell why a study was made."""

KINDS = ("image", "labs", "vitals", "history")


def kind_of(modality: str) -> str:
    """What a text calls a modality of a cohort: ``series.heart_rate`` is one of the vitals."""
    head, _, name = modality.partition(".")
    name = name.casefold()
    if head == "series":
        return "vitals" if name in VITALS else "labs"
    if head == "text":
        return "history" if name in HISTORY else name
    return head


def lacking(given: Mapping[str, bool]) -> frozenset[str]:
    """Kinds of which something is listed and nothing is there."""
    there: dict[str, bool] = {}
    for modality, has in given.items():
        kind = kind_of(modality)
        there[kind] = there.get(kind, False) or has
    return frozenset(kind for kind, has in there.items() if not has)


def cited_but_absent(citations: Iterable[Citation], absent: frozenset[str]) -> list[Citation]:
    """Citations of what the study lacks."""
    return [item for item in citations if item.modality in absent]
