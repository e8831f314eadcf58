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

import numpy as np
import numpy.typing as npt

from core.digests import sha256_file
from core.errors import AuscultError, CohortError, ProtocolError
from evaluation.engine.asking import Utterances
from evaluation.engine.assessment import assess
from evaluation.engine.columns import MAX_SHOWN, Gap, check_columns
from evaluation.engine.protocol import AttributeSpec, Protocol
from evaluation.engine.records import UNKNOWN, Assessment, ShardTable, StudyFacts
from evaluation.engine.sketch import DRIFT, NOT_WATCHED, AuditSketch, measured_suites, sketch_shard
from evaluation.engine.sketches.counts import OVERALL, CountsSketch
from evaluation.engine.sketches.tallies import TallySketch

if TYPE_CHECKING:
    from models_registry.cohorts import Mapping as FileMapping
    from models_registry.cohorts import PredictionTable

Progress = Callable[[float, str], None]
NOBODY = "a file of predictions answers no question"


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
        ProtocolError: where protocol and file do not fit each other; every missing column is named at once. Drift
            alone cannot be measured on a file.
    """
    from models_registry.cohorts import partition_by_patient, read_predictions

    for key in suites or ():
        if key not in protocol.suites:
            raise ProtocolError(
                f"The protocol has no suite '{key}'.", remedy=f"Use one of: {', '.join(protocol.suites)}."
            )
    used = _file_suites(protocol, suites)
    check_columns(protocol, prediction_columns(predictions, mapping=mapping), file=predictions.name)
    notes = [] if tuning is None else [check_tuning(protocol, tuning, predictions, mapping=mapping)]
    with TemporaryDirectory(prefix="auscult-audit-") as spool, _named(predictions.name):
        parts = partition_by_patient(
            predictions,
            columns=_needed(protocol),
            whole=protocol.reports is not None,
            spool=Path(spool),
            mapping=mapping,
            progress=progress,
        )
        notes += check_splits(
            protocol, parts.summary.get("splits") or {}, n_studies=parts.n_studies, file=predictions.name
        )
        sketch = merge_all(
            sketch_shard(protocol, table_of(protocol, read_predictions(part)), suites=used) for part in parts.parts
        )
    check_contents(protocol, sketch, file=predictions.name)
    cohort = {
        "file": predictions.name,
        "sha256": sha256_file(predictions),
        "n_studies": sketch.n_studies,
        "n_patients": sketch.n_patients,
        "warnings": [problem.to_dict() for problem in parts.warnings],
    }
    assessment = assess(protocol, sketch, suites=used, cross_check=cross_check)
    notes += [NOT_WATCHED] if DRIFT in protocol.suites and not suites else []
    assessment = replace(assessment, notes=(*assessment.notes, *notes))
    return AuditResult(protocol=protocol, cohort=cohort, assessment=assessment)


def _needed(protocol: Protocol) -> list[str]:
    """Columns of a file that are read whatever is measured."""
    needed = [*protocol.attribute_columns, *(f"label.{name}" for name in protocol.label_names)]
    needed += ["split"] if protocol.splits else []
    return needed + ([protocol.reports.prior] if protocol.reports and protocol.reports.prior else [])


def _file_suites(protocol: Protocol, suites: Sequence[str] | None) -> tuple[str, ...]:
    """The suites that a file is audited by. Drift is none of them: a file has no reference and no frame.

    Raises:
        ProtocolError: nothing is left to measure.
    """
    left = measured_suites(protocol, watched=False)
    if suites and not set(suites) - {DRIFT}:
        measured_suites(replace(protocol, suites=(DRIFT,)), watched=False)
    return tuple(key for key in suites or left if key != DRIFT)


def table_of(protocol: Protocol, found: PredictionTable) -> ShardTable:
    """Studies of a prediction file as a suite takes them. Nobody can be asked about them any more."""
    asked = [name for name in ("probing", "sampling", "perturbation") if getattr(protocol, name) is not None]
    return ShardTable(
        patient_ids=found.patient_ids,
        study_ids=found.study_ids,
        attributes=found.attributes,
        labels=found.labels,
        scores=found.scores,
        decisions=found.decisions,
        texts=found.texts,
        splits=found.splits,
        truncated=found.truncated,
        facts=_facts_of(protocol, found) if protocol.reports else None,
        utterances=Utterances.none(dict.fromkeys(asked, NOBODY)) if asked else None,
    )


def _facts_of(protocol: Protocol, found: PredictionTable) -> StudyFacts:
    """What the studies of a file hold beside the reports that are judged. Of images a file tells nothing."""
    texts = {f"text.{name}": values for name, values in found.texts.items() if name not in ("reference", "generated")}
    series = {f"series.{name}": values for name, values in found.series.items()}
    given = {name: _there(values) for name, values in (texts | series).items()}
    prior = np.zeros(len(found), dtype=np.bool_)
    rules = protocol.reports
    if rules and rules.prior:
        prior = given[rules.prior] if rules.prior in given else _there(found.attributes[rules.prior])
    numbers = {rule.analyte: found.series[rule.series] for rule in rules.numbers} if rules else {}
    return StudyFacts(prior=prior, given=given, series=numbers)


def _there(values: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    return np.array([value is not None for value in values], dtype=np.bool_)


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
    from evaluation.engine.suites.hallucination.sketch import HallucinationSketch

    problems: list[Gap] = []
    for part in sketch.parts.values():
        if isinstance(part, FairnessSketch):
            problems += _flat_attributes(protocol, part.counts)
            problems += [*_silent_labels(protocol, part.counts, sketch), *_silent_reports(part.reports, sketch)]
        elif isinstance(part, HallucinationSketch):
            problems += _silent_reports(part.report, sketch)
    if problems:
        raise ProtocolError(
            "\n".join(text for _, text in problems),
            remedy="Correct the file, or take what it lacks out of the protocol.",
            file=file,
            column=problems[0][0] if len(problems) == 1 else None,
        )


def _flat_attributes(protocol: Protocol, counts: CountsSketch) -> list[Gap]:
    """Attributes that do not vary."""
    return [(item.column, text) for item in protocol.attributes if (text := _flat(item, counts))]


def _silent_labels(protocol: Protocol, counts: CountsSketch, sketch: AuditSketch) -> Iterator[Gap]:
    """Labels without any reference or prediction."""
    for name in protocol.label_names:
        unread = counts.cells[name, OVERALL].silent.sum(axis=0)
        if int(unread[0]) == sketch.n_studies:
            yield f"label.{name}", f"Column label.{name}: no study has a value, in {_rows(sketch)}."
        elif int(unread.sum()) == sketch.n_studies:
            told = f"Label {name}: no study with a reference has a prediction: score.{name} or pred.{name} is empty"
            yield f"score.{name}", f"{told} in {_rows(sketch)}."


def _silent_reports(reports: TallySketch, sketch: AuditSketch) -> Iterator[Gap]:
    """Columns of reports without any report."""
    if OVERALL not in reports.cells:
        return
    totals = reports.sums(OVERALL)
    if totals["pairs"] == 0:
        yield "text.reference", f"Column text.reference: no study has a report, in {_rows(sketch)}."
    elif totals["written"] == 0:
        yield "text.generated", f"Column text.generated: the model wrote no report, in {_rows(sketch)}."


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
