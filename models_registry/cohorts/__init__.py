"""Cohorts and prediction files: read, checked, converted and read again. Knows nothing of Django.

inspection = inspect_cohort(path, mapping=Mapping.read(mapping_path))
manifest = convert_cohort(path, mapping=..., destination=folder)
reader = open_cohort(folder)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models_registry.cohorts.conversion import convert_cohort
    from models_registry.cohorts.inspection import FileKind, Inspection, inspect_cohort
    from models_registry.cohorts.mapping import Mapping, suggest_mapping
    from models_registry.cohorts.nih import NihFiles, write_nih_expert_cohort
    from models_registry.cohorts.openi import OpeniFiles, write_openi_cohort
    from models_registry.cohorts.overlap import SharedPatients, shared_patients
    from models_registry.cohorts.partition import (
        Partition,
        PredictionTable,
        partition_by_patient,
        read_predictions,
    )
    from models_registry.cohorts.reader import CohortReader, ReferenceTable, open_cohort

__all__ = [
    "CohortReader",
    "FileKind",
    "Inspection",
    "Mapping",
    "NihFiles",
    "OpeniFiles",
    "Partition",
    "PredictionTable",
    "ReferenceTable",
    "SharedPatients",
    "convert_cohort",
    "inspect_cohort",
    "open_cohort",
    "partition_by_patient",
    "read_predictions",
    "shared_patients",
    "suggest_mapping",
    "write_nih_expert_cohort",
    "write_openi_cohort",
]

_HOMES = {
    "conversion": ("convert_cohort",),
    "inspection": ("FileKind", "Inspection", "inspect_cohort"),
    "mapping": ("Mapping", "suggest_mapping"),
    "nih": ("NihFiles", "write_nih_expert_cohort"),
    "openi": ("OpeniFiles", "write_openi_cohort"),
    "overlap": ("SharedPatients", "shared_patients"),
    "partition": ("Partition", "PredictionTable", "partition_by_patient", "read_predictions"),
    "reader": ("CohortReader", "ReferenceTable", "open_cohort"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: whoever needs the types of ``schema`` alone does not wait for Arrow."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
