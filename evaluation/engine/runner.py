"""Audits a prediction file: streams it by patients, so that memory does not grow with its size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.digests import sha256_file
from core.errors import ProtocolError
from evaluation.engine.assessment import assess
from evaluation.engine.protocol import AttributeSpec, Protocol
from evaluation.engine.records import UNKNOWN, Assessment, ShardTable
from evaluation.engine.sketch import AuditSketch, sketch_shard
from evaluation.engine.sketches.counts import OVERALL, CountsSketch

Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """An audited prediction file. ``cohort``: file, sha256, n_studies, n_patients, warnings."""

    protocol: Protocol
    cohort: dict[str, Any]
    assessment: Assessment

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the shape of the published schema, see :func:`audit_schema`."""
        protocol = {"name": self.protocol.name, "digest": self.protocol.digest, "body": self.protocol.to_dict()}
        return {"auscult_audit": 1, "protocol": protocol, "cohort": self.cohort, **self.assessment.to_dict()}


@cache
def audit_schema() -> dict[str, Any]:
    """The published JSON Schema of :meth:`AuditResult.to_dict`."""
    text = (resources.files("evaluation.engine") / "audit.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def run_audit(
    *,
    protocol: Protocol,
    predictions: Path,
    suites: Sequence[str] | None = None,
    progress: Progress | None = None,
    cross_check: bool = True,
) -> AuditResult:
    """Audit a prediction file (Parquet or CSV, see ``docs/cohorts.md``) by a protocol.

    Args:
        suites: Those of the protocol's suites to run; all of them unless told otherwise.
        progress: Told the share done and what is being done.

    Raises:
        CohortError: for a file that cannot be used: file, column and row are named.
        ProtocolError: where protocol and file do not fit each other; every missing column is named at once.
    """
    from models_registry.cohorts import partition_by_patient, read_predictions

    for key in suites or ():
        if key not in protocol.suites:
            raise ProtocolError(
                f"The protocol has no suite '{key}'.", remedy=f"Use one of: {', '.join(protocol.suites)}."
            )
    check_columns(protocol, prediction_columns(predictions), file=predictions.name)
    with TemporaryDirectory(prefix="auscult-audit-") as spool:
        needed = [*protocol.attribute_columns, *(f"label.{name}" for name in protocol.label_names)]
        parts = partition_by_patient(predictions, columns=needed, spool=Path(spool), progress=progress)
        sketch = merge_all(
            sketch_shard(protocol, ShardTable(**vars(read_predictions(part))), suites=suites) for part in parts.parts
        )
    check_contents(protocol, sketch, file=predictions.name)
    cohort = {
        "file": predictions.name,
        "sha256": sha256_file(predictions),
        "n_studies": sketch.n_studies,
        "n_patients": sketch.n_patients,
        "warnings": [problem.to_dict() for problem in parts.warnings],
    }
    assessment = assess(protocol, sketch, suites=suites, cross_check=cross_check)
    return AuditResult(protocol=protocol, cohort=cohort, assessment=assessment)


def merge_all(sketches: Iterable[AuditSketch]) -> AuditSketch:
    """The merge of one or more sketches."""
    return reduce(AuditSketch.merge, sketches)


def prediction_columns(path: Path) -> tuple[str, ...]:
    """Canonical names of the columns of a prediction file; reads its head only.

    Raises:
        CohortError: when it cannot be opened.
    """
    from models_registry.cohorts.mapping import Mapping, resolve
    from models_registry.cohorts.problems import ProblemLog
    from models_registry.cohorts.source import open_source

    log = ProblemLog(path.name)
    source = open_source(path, Mapping(), log)
    return tuple(column.name for column in resolve(source.columns, Mapping(), log))


def check_columns(protocol: Protocol, columns: Sequence[str], *, file: str) -> None:
    """Whether a file with these columns can be judged by the protocol.

    Raises:
        ProtocolError: naming every column that is missing, and every label that lacks a threshold.
    """
    problems = [*_attribute_gaps(protocol, set(columns)), *_label_gaps(protocol, set(columns))]
    if problems:
        raise ProtocolError(
            "\n".join(problems),
            remedy="Add the columns to the file, or change the protocol. 'auscult protocol init --predictions FILE' "
            f"writes one that fits. The file has: {', '.join(columns) or 'no columns'}.",
            file=file,
        )


def _attribute_gaps(protocol: Protocol, columns: set[str]) -> Iterator[str]:
    for item in protocol.attributes:
        if item.column not in columns:
            yield f"The attribute '{item.name}' reads the column '{item.column}', which is missing."


def _label_gaps(protocol: Protocol, columns: set[str]) -> Iterator[str]:
    for label in protocol.labels:
        name = label.name
        if f"label.{name}" not in columns:
            yield f"The label '{name}' needs its reference 'label.{name}', which is missing."
        if f"pred.{name}" in columns or (f"score.{name}" in columns and label.threshold):
            continue
        if f"score.{name}" in columns:
            yield f"The label '{name}' comes with 'score.{name}', so the protocol must give it a threshold."
        else:
            yield f"The label '{name}' needs 'pred.{name}' or 'score.{name}'; both are missing."


def check_contents(protocol: Protocol, sketch: AuditSketch, *, file: str) -> None:
    """Whether there is anything to judge in what was counted.

    Raises:
        ProtocolError: for an attribute that does not vary, or a label without any reference or prediction.
    """
    counts = sketch.parts.get("fairness")
    if not isinstance(counts, CountsSketch):
        return
    problems = [text for item in protocol.attributes if (text := _flat(item, counts))]
    for name in protocol.label_names:
        unread = counts.cells[name, OVERALL].silent.sum(axis=0)
        if int(unread[0]) == sketch.n_studies:
            problems.append(f"Column label.{name}: no study has a value.")
        elif int(unread.sum()) == sketch.n_studies:
            problems.append(f"Label {name}: no study with a reference has a prediction.")
    if problems:
        raise ProtocolError(
            "\n".join(problems),
            remedy="Correct the file, or take the attribute or label out of the protocol.",
            file=file,
        )


def _flat(item: AttributeSpec, counts: CountsSketch) -> str:
    groups = [name for name in counts.tallies[item.name].groups if name != UNKNOWN]
    if len(groups) > 1:
        return ""
    told = f"every study is in the group {groups[0]}" if groups else "no study has a usable value"
    return f"Column {item.column}: {told}, so nothing can be compared by '{item.name}'."
