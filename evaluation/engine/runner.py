"""Audits a prediction file: streams it by patients, so that memory does not grow with its size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, reduce
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.digests import sha256_file
from core.errors import AuscultError, CohortError, ProtocolError
from evaluation.engine.assessment import assess
from evaluation.engine.protocol import AttributeSpec, Protocol
from evaluation.engine.records import UNKNOWN, Assessment, ShardTable
from evaluation.engine.sketch import AuditSketch, sketch_shard
from evaluation.engine.sketches.claims import COLUMNS, ClaimsSketch
from evaluation.engine.sketches.counts import OVERALL, CountsSketch

if TYPE_CHECKING:
    from models_registry.cohorts import Mapping as FileMapping

Progress = Callable[[float, str], None]
MAX_SHOWN = 30
MAX_LISTED = 600
"""Columns, and characters of their names, that an error lists."""


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
    tuning: Path | None = None,
    mapping: FileMapping | None = None,
    progress: Progress | None = None,
    cross_check: bool = True,
) -> AuditResult:
    """Audit a prediction file (Parquet or CSV, see ``docs/cohorts.md``) by a protocol.

    Args:
        suites: Those of the protocol's suites to run; all of them unless told otherwise.
        tuning: The file that thresholds were tuned on, if it is another: no patient may be in both.
        mapping: What the columns and values of the files mean, where they are not those of the contract.
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
    check_columns(protocol, prediction_columns(predictions, mapping=mapping), file=predictions.name)
    notes = [] if tuning is None else [check_tuning(protocol, tuning, predictions, mapping=mapping)]
    with TemporaryDirectory(prefix="auscult-audit-") as spool, _named(predictions.name):
        needed = [*protocol.attribute_columns, *(f"label.{name}" for name in protocol.label_names)]
        needed += ["split"] if protocol.splits else []
        parts = partition_by_patient(predictions, columns=needed, spool=Path(spool), mapping=mapping, progress=progress)
        notes += check_splits(
            protocol, parts.summary.get("splits") or {}, n_studies=parts.n_studies, file=predictions.name
        )
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
    assessment = replace(assessment, notes=(*assessment.notes, *notes))
    return AuditResult(protocol=protocol, cohort=cohort, assessment=assessment)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Names the file in errors that do not."""
    try:
        yield
    except AuscultError as error:
        error.file = error.file or file
        raise


def merge_all(sketches: Iterable[AuditSketch]) -> AuditSketch:
    """The merge of one or more sketches."""
    return reduce(AuditSketch.merge, sketches)


def prediction_columns(path: Path, *, mapping: FileMapping | None = None) -> tuple[str, ...]:
    """Canonical names of the columns of a prediction file; reads its head only.

    Raises:
        CohortError: when it cannot be opened, or has no columns.
    """
    from models_registry.cohorts.mapping import Mapping as FileMapping
    from models_registry.cohorts.mapping import resolve
    from models_registry.cohorts.problems import ProblemLog, error_of
    from models_registry.cohorts.source import open_source

    log = ProblemLog(path.name)
    used = mapping or FileMapping()
    source = open_source(path, used, log)
    if not source.columns and (error := error_of(log.problems())) is not None:
        raise error
    return tuple(column.name for column in resolve(source.columns, used, log))


def check_columns(protocol: Protocol, columns: Sequence[str], *, file: str) -> None:
    """Whether a file with these columns can be judged by the protocol.

    Raises:
        ProtocolError: naming every column that is missing, and every label that lacks a threshold.
    """
    have = set(columns)
    gaps = [
        *_attribute_gaps(protocol, have),
        *_label_gaps(protocol, have),
        *_score_gaps(protocol, have),
        *_other_gaps(protocol, have),
    ]
    if not gaps:
        return
    shown = ", ".join(
        [*columns[:MAX_SHOWN], *([f"and {len(columns) - MAX_SHOWN} others"] * (len(columns) > MAX_SHOWN))]
    )
    raise ProtocolError(
        "\n".join(text for _, text in gaps),
        remedy="Add the columns to the file, name them in a mapping, or change the protocol. 'auscult protocol init "
        f"--predictions FILE' writes one that fits. The file has: {shown[:MAX_LISTED] or 'no columns'}.",
        file=file,
        column=gaps[0][0] if len(gaps) == 1 else None,
    )


Gap = tuple[str, str]
"""A column that is missing or of no use as it is, and why it is needed."""


def _attribute_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    for item in protocol.attributes:
        if item.column not in columns:
            yield item.column, f"The attribute '{item.name}' reads the column '{item.column}', which is missing."


def _label_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    for label in protocol.labels:
        name = label.name
        score, pred = f"score.{name}", f"pred.{name}"
        if f"label.{name}" not in columns:
            yield f"label.{name}", f"The label '{name}' needs its reference 'label.{name}', which is missing."
        if pred in columns or (score in columns and label.threshold):
            continue
        if score in columns:
            yield score, f"The label '{name}' comes with '{score}', so the protocol must give it a threshold."
        else:
            yield pred, f"The label '{name}' needs '{pred}' or '{score}'; both are missing."


def _score_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    """Primary criteria on what is computed from scores, where there are decisions alone: they could never hold.

    Exploratory ones are let through; their verdicts say what is missing.
    """
    from evaluation.engine.registry import SUITES, Basis

    metrics = {name: info for key in protocol.suites for name, info in SUITES.get(key).metrics.items()}
    for item in protocol.criteria:
        if not item.primary or item.metric not in metrics or metrics[item.metric].basis is not Basis.SCORES:
            continue
        for name in protocol.label_names if "*" in item.labels else item.labels:
            if f"score.{name}" not in columns and f"pred.{name}" in columns:
                yield (
                    f"score.{name}",
                    f"The criterion '{item.id}' on '{item.metric}' needs 'score.{name}', which is missing.",
                )


def _other_gaps(protocol: Protocol, columns: set[str]) -> Iterator[Gap]:
    if protocol.splits and "split" not in columns:
        judged = ", ".join(protocol.splits.audited)
        yield "split", f"The protocol judges the split {judged} only; the column 'split' is missing."
    for name in ("text.reference", "text.generated") if protocol.reports else ():
        if name not in columns:
            yield name, f"The protocol compares written reports; the column '{name}' is missing."


def check_tuning(protocol: Protocol, tuning: Path, predictions: Path, *, mapping: FileMapping | None = None) -> str:
    """That no audited patient is in the file that thresholds were tuned on; says so in a sentence.

    Raises:
        CohortError: naming how many patients are, and the first row of the audited file.
    """
    from models_registry.cohorts import shared_patients

    judged = protocol.splits.audited if protocol.splits else ()
    shared = shared_patients(tuning, predictions, mapping=mapping, splits=judged)
    if shared.patients:
        who = "1 patient is" if shared.patients == 1 else f"{shared.patients:,} patients are"
        raise CohortError(
            f"{who} in this file and in {tuning.name}, which thresholds were tuned on; the first is in this row.",
            remedy="Take these patients out of one of the files, by patient and not by study; if out of the tuning "
            "file, tune the thresholds again.",
            file=predictions.name,
            column="patient_id",
            row=shared.row,
        )
    digest = sha256_file(tuning)[:12]
    named = any(label.threshold and digest in label.threshold.source for label in protocol.labels)
    told = "which the protocol names" if named else "given as the tuning file; the protocol's thresholds do not name it"
    return f"No audited patient is in {tuning.name} (SHA-256 {digest}), {told}."


def check_splits(protocol: Protocol, found: Mapping[str, int], *, n_studies: int, file: str) -> list[str]:
    """Whether there is something to judge in the splits of a file; what a reader must know of them.

    Args:
        found: Studies of each value of the column ``split``.
        n_studies: All studies, those without a value included.

    Raises:
        ProtocolError: when an audited split does not occur.
    """
    listed = ", ".join(f"'{name}'" for name in sorted(found)[:MAX_SHOWN]) or "no value"
    if protocol.splits is None:
        if len(found) < 2:
            return []
        return [
            f"The file has the splits {listed} and the protocol no 'splits': every study was judged, also those that "
            "the model or its thresholds may have been fitted to."
        ]
    absent = [name for name in protocol.splits.audited if name not in found]
    if absent:
        raise ProtocolError(
            f"No study is in the split {', '.join(repr(name) for name in absent)}, which is to be judged. "
            f"The column has {listed}.",
            remedy="Correct 'splits' in the protocol, or the column in the file.",
            file=file,
            column="split",
        )
    other = sorted(set(found) - set(protocol.splits.audited))[:MAX_SHOWN]
    other += ["studies without a split"] if sum(found.values()) < n_studies else []
    return [f"Left out: {', '.join(other)}."] if other else []


def check_contents(protocol: Protocol, sketch: AuditSketch, *, file: str) -> None:
    """Whether there is anything to judge in what was counted.

    Raises:
        ProtocolError: for an attribute that does not vary, or a label without any reference or prediction.
    """
    from evaluation.engine.suites.fairness.sketch import FairnessSketch

    part = sketch.parts.get("fairness")
    if not isinstance(part, FairnessSketch):
        return
    counts = part.counts
    problems: list[Gap] = [(item.column, text) for item in protocol.attributes if (text := _flat(item, counts))]
    for name in protocol.label_names:
        unread = counts.cells[name, OVERALL].silent.sum(axis=0)
        if int(unread[0]) == sketch.n_studies:
            problems.append((f"label.{name}", f"Column label.{name}: no study has a value, in {_rows(sketch)}."))
        elif int(unread.sum()) == sketch.n_studies:
            told = f"Label {name}: no study with a reference has a prediction: score.{name} or pred.{name} is empty"
            problems.append((f"score.{name}", f"{told} in {_rows(sketch)}."))
    problems += _silent_reports(part.reports, sketch)
    if problems:
        raise ProtocolError(
            "\n".join(text for _, text in problems),
            remedy="Correct the file, or take what it lacks out of the protocol.",
            file=file,
            column=problems[0][0] if len(problems) == 1 else None,
        )


def _silent_reports(reports: ClaimsSketch, sketch: AuditSketch) -> Iterator[Gap]:
    """Columns of reports without any report."""
    if OVERALL not in reports.cells:
        return
    totals = dict(zip(COLUMNS, reports.cells[OVERALL].totals.sum(axis=0).tolist(), strict=True))
    if totals["pairs"] == 0:
        yield "text.reference", f"Column text.reference: no study has a report, in {_rows(sketch)}."
    elif totals["written"] == 0:
        yield "text.generated", f"Column text.generated: the model wrote no report, in {_rows(sketch)}."


def _blank_reports(part: object) -> Iterator[Gap]:
    """Reports that are declared and of which there is none."""
    from evaluation.engine.sketches.claims import COLUMNS, ClaimsSketch

    reports = getattr(part, "reports", None)
    if not isinstance(reports, ClaimsSketch) or OVERALL not in reports.cells:
        return
    totals = dict(zip(COLUMNS, reports.cells[OVERALL].totals.sum(axis=0).tolist(), strict=True))
    if not totals["pairs"]:
        yield "text.reference", "Column text.reference: no study has an expert's report."
    elif not totals["written"]:
        yield "text.generated", "Column text.generated: the model wrote no report for a study that an expert reported."


def _rows(sketch: AuditSketch) -> str:
    return f"all {sketch.n_studies:,} rows that were judged"


def _flat(item: AttributeSpec, counts: CountsSketch) -> str:
    tally = counts.tallies[item.name]
    groups = [name for name in tally.groups if name != UNKNOWN]
    if len(groups) > 1:
        return ""
    whole = "every study" if UNKNOWN not in tally.groups else "every study with a usable value"
    told = f"{whole} is in the group {groups[0]}" if groups else "no study has a usable value"
    return f"Column {item.column}: {told}, so nothing can be compared by '{item.name}'."
