"""Whether a monitor's source and reference go together, asked before it is made and again for every window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.errors import CohortError, ProtocolError
from evaluation.engine import Protocol as Rules
from evaluation.engine.columns import check_columns
from evaluation.models import Monitor
from evaluation.models import Protocol as LockedProtocol
from evaluation.monitoring.findings import Finding, Severity
from evaluation.monitoring.sources.base import SOURCES
from models_registry.cohorts import Mapping
from models_registry.cohorts.arrival import REQUIRED
from models_registry.cohorts.conversion import read_manifest
from models_registry.execution import cohort_folder
from models_registry.models import CohortRole, CohortVersion, Deployment

LISTED = 10


def check_source(kind: str, source: dict[str, Any]) -> dict[str, Any]:
    """The settings of a source, complete and in one form; nothing is asked for over a network.

    Raises:
        AuscultError: there is no such kind, or a setting is wrong; ``column`` names the setting.
    """
    return SOURCES.get(kind).check(source)


def check_reference(
    *,
    deployment: Deployment,
    reference: CohortVersion,
    protocol: LockedProtocol,
    kind: str,
    source: dict[str, Any],
) -> None:
    """Whether windows from this source can be compared with this reference under this protocol.

    Args:
        source: As :func:`check_source` gave it.

    Raises:
        CohortError: the reference cannot be used, or is of another schema than the source.
        ProtocolError: the reference or the source lacks columns that the protocol judges by.
    """
    rules = Rules.from_dict(protocol.body)
    manifest = read_manifest(cohort_folder(reference))
    name = f"reference {reference.cohort.name}"
    if reference.cohort.role == CohortRole.TRAINING:
        raise CohortError(
            f"{reference.cohort.name} is a training cohort: a model does better on it than anywhere else.",
            remedy="Choose a cohort that it was tested on.",
            file=name,
        )
    least = rules.drift.minimum_reference if rules.drift else 0
    if manifest.n_patients < least:
        raise CohortError(
            f"The reference has {manifest.n_patients:,} patients; the protocol asks for {least:,}.",
            remedy="Choose a larger reference, or a protocol that asks for fewer.",
            file=name,
        )
    answers = deployment.version.config.get("outputs", [])
    given = [column for column in manifest.columns if not column.startswith(("pred.", "score."))]
    check_columns(rules, [*given, *answers], file=name, able=deployment.version.config.get("capabilities", []))
    _check_schema(rules, manifest.columns, kind, source, answers)


def _check_schema(rules: Rules, columns: tuple[str, ...], kind: str, source: dict[str, Any], answers: Any) -> None:
    """What the source is told to make, against what the reference has."""
    foreign = [
        target
        for target in Mapping.from_dict(source.get("mapping") or {}).columns.values()
        if target not in columns and target not in REQUIRED
    ]
    gives = SOURCES.get(kind).gives(source)
    if gives is not None:
        asked = [f"label.{name}" for name in source.get("labels", {})]
        asked += [f"series.{name}" for name in source.get("series", {})]
        foreign += [name for name in asked if name not in columns]
        try:
            check_columns(rules, [name for name in gives if name in columns] + list(answers), file="source")
        except ProtocolError as error:
            raise ProtocolError(
                f"A source of this kind cannot bring what the protocol judges by. {error.message}",
                remedy="Use a drop folder, a table or the programming interface, or another protocol.",
                file="source",
                column=error.column,
            ) from error
    if foreign:
        raise CohortError(
            f"The source makes columns that the reference does not have: {', '.join(foreign[:LISTED])}.",
            remedy="Choose a reference of the same schema, or correct the source.",
            file="source",
            column=foreign[0],
        )


def unusable(monitor: Monitor, findings: Iterable[Finding]) -> list[Finding]:
    """What makes a window unfit to be judged: an attribute, by which everything is cut, has become another thing."""
    rules = Rules.from_dict(monitor.protocol.body)
    needed = {item.column for item in rules.attributes}
    odd = [f for f in findings if f.code == "column-retyped" and f.severity != Severity.INFO]
    return [f for f in odd if f.column in needed and f.decisive]
