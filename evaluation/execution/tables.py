"""What the engine is given of one share: reference standard, predictions, what was asked, and what the studies hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine import AuditSketch, sketch_shard
from evaluation.engine import Protocol as Rules
from evaluation.engine.asking import Utterances
from evaluation.engine.drift.records import StudyStreams
from evaluation.engine.records import ShardTable, StudyFacts
from evaluation.engine.sketch import audited, measured_suites
from evaluation.execution import predictions as codec
from evaluation.execution.devices import device
from models_registry.adapters.base import Predictions
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ColumnRole, ShardRef, role_of
from models_registry.cohorts.series import series_arrays

WRITTEN = frozenset({"text.reference", "text.generated"})
"""What is judged, and what it is judged by: neither is given to a model."""


def sketch_share(
    rules: Rules,
    reader: CohortReader,
    part: ShardRef,
    found: Predictions,
    said: Utterances | None = None,
    streams: StudyStreams | None = None,
) -> AuditSketch:
    """The sketches of one share."""
    table = share_table(rules, reader, part, found, said, streams=streams)
    return sketch_shard(rules, table, suites=measured_suites(rules, watched=streams is not None))


def share_table(
    rules: Rules,
    reader: CohortReader,
    part: ShardRef,
    found: Predictions,
    said: Utterances | None = None,
    *,
    streams: StudyStreams | None = None,
    told: Callable[[int], None] | None = None,
) -> ShardTable:
    """One share as the engine sees it.

    Args:
        found: The model's predictions.
        said: What it was asked beside, with its answers; None where the protocol asks nothing.
        streams: What is watched for drift; None where nothing is.
        told: Called by judges with the reports that are judged so far.
    """
    attributes = [*rules.attribute_columns, *(["split"] if rules.splits else [])]
    reference = reader.reference(part, attributes=attributes, texts=["reference"] if rules.reports else [])
    table = codec.join_reference(reference, found)
    if streams is not None:
        # Labels come late: a window has none yet, or not all.
        silent = np.full(len(table), -1, dtype=np.int8)
        table = replace(table, labels=dict.fromkeys(rules.label_names, silent) | table.labels, streams=streams)
    facts = facts_of(rules, reader, part) if rules.reports else None
    return replace(table, facts=facts, utterances=said, judged_by=_judged_by(rules, table, told))


def nothing(reader: CohortReader, part: ShardRef) -> Predictions:
    """The predictions of a model that is asked questions alone."""
    studies = reader.table(part, ["study_id"]).column("study_id").to_pylist()
    return Predictions(study_ids=tuple(studies))


def facts_of(rules: Rules, reader: CohortReader, part: ShardRef) -> StudyFacts:
    """What the studies of a share hold that a report may speak of; images are not decoded."""
    columns, reports = reader.manifest.columns, rules.reports
    spoken = {role: [name for name in columns if role_of(name) is role] for role in ColumnRole}
    given = {
        name: _given(reader, part, name)
        for name in (*spoken[ColumnRole.IMAGE], *spoken[ColumnRole.TEXT], *spoken[ColumnRole.SERIES])
        if name not in WRITTEN
    }
    prior = np.zeros(part.n_studies, dtype=np.bool_)
    if reports and reports.prior:
        prior = given[reports.prior] if reports.prior in given else _given(reader, part, reports.prior)
    series: dict[str, npt.NDArray[np.object_]] = {}
    for rule in reports.numbers if reports else ():
        cells = reader.table(part, [f"series.{rule.series}"]).column(0).combine_chunks()
        series[rule.analyte] = _objects(series_arrays(cells))
    return StudyFacts(prior=prior, given=given, series=series)


def _given(reader: CohortReader, part: ShardRef, column: str) -> npt.NDArray[np.bool_]:
    """Which studies have a column. Where every study of the cohort has it, it is not read."""
    if reader.manifest.summary.get("modalities", {}).get(column) == 1.0:
        return np.ones(part.n_studies, dtype=np.bool_)
    there: npt.NDArray[np.bool_] = ~reader.missing(part, column)
    return there


def _judged_by(
    rules: Rules, table: ShardTable, told: Callable[[int], None] | None
) -> dict[str, npt.NDArray[np.float64]]:
    """What further judges say of the audited studies' reports; NaN elsewhere."""
    if not rules.judges:
        return {}
    from evaluation.engine.judges import judge_share

    judged = set(audited(rules, table).study_ids)
    silent = [None] * len(table)
    references, generated = (
        [text if study in judged else None for study, text in zip(table.study_ids, texts, strict=True)]
        for texts in (table.texts.get(side, silent) for side in ("reference", "generated"))
    )
    return judge_share(rules.judges, references, generated, device=device(), told=told)


def _objects(values: list[Any]) -> npt.NDArray[np.object_]:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
