"""Fits a monitor's frame on its reference: what is watched, and how vectors and words are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.frame import DriftFrame, fit_frame
from evaluation.engine.drift.records import Shape, StudyStreams
from evaluation.engine.drift.sample import hashes_of, one_study_each
from evaluation.engine.planning import reference_table
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import audited
from evaluation.execution.loading import inference_of, load_adapter
from evaluation.execution.stream_plan import StreamPlan, plan_streams, watched_columns
from evaluation.execution.stream_texts import vocabularies_of
from evaluation.execution.streams import StreamJob, studies_of
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts import CohortReader
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

MOST_STUDIES = 5000
_frames: dict[str, DriftFrame] = {}
_KEPT = 4
Rows = npt.NDArray[np.int64]


def frame_of(digest: str) -> DriftFrame:
    """A frame of the store, read once in a process.

    Raises:
        NotFoundError, DigestMismatchError: it is not in the store, or was changed there.
    """
    if digest not in _frames:
        while len(_frames) >= _KEPT:
            del _frames[next(iter(_frames))]
        _frames[digest] = DriftFrame.from_bytes(model_store().get_bytes(digest))
    return _frames[digest]


def fit_reference_frame(
    version: ModelVersion,
    rules: Rules,
    reader: CohortReader,
    settings: Mapping[str, Any],
    *,
    after_batch: Callable[[int], None] = lambda done: None,
) -> DriftFrame:
    """The frame of a reference: a function of model, protocol and cohort, whoever fits it.

    It rests on the 5,000 patients of the audited splits whose keyed hash is least, one study of each.

    Args:
        settings: Fields of ``InferenceSettings`` that differ from the defaults, as of a run.
        after_batch: Told how many studies are done, for a lease to be renewed. What it raises ends the fitting.

    Raises:
        ProtocolError: the protocol watches nothing, or nothing that it watches is in this cohort.
        AdapterError, DigestMismatchError: as when a model is loaded and run.
    """
    inference = inference_of(version, {"precision": "auto"} | dict(settings))
    chosen = chosen_rows(rules, reader)
    plan = reference_plan(rules, reader, chosen, declared=version.config)
    job = StreamJob(
        rules=rules,
        plan=replace(plan, specs=tuple(spec for spec in plan.specs if spec.shape is Shape.VECTOR)),
        found=Predictions(study_ids=()),
        adapter=lambda: _loaded(version, inference),
        batch_size=inference.batch_size,
    )
    images = job.plan.needs_images

    def batches() -> Iterator[Any]:
        for index, rows in chosen.items():
            part = reader.shards[index]
            yield from studies_of(reader, part, images=images, batch_size=inference.batch_size, rows=rows.tolist())

    streams = job.read(batches(), after_batch)
    table = _table_of(rules, reader, chosen)
    words = reference_words(rules, reader, chosen, plan)
    return fit_frame(rules, _with(streams, plan), table, vocabularies=words)


def chosen_rows(rules: Rules, reader: CohortReader, *, most: int = MOST_STUDIES) -> dict[int, Rows]:
    """Share -> rows of the studies that a frame rests on, rising; shares without one are left out.

    Raises:
        ProtocolError: no study of the cohort is audited.
    """
    found: list[tuple[npt.NDArray[np.uint64], Rows, int]] = []
    for part in reader.shards:
        table = reference_table(rules, reader, part)
        judged = np.isin(table.study_ids, audited(rules, table).study_ids).nonzero()[0]
        one = one_study_each(table.patient_ids[judged], table.study_ids[judged], seed=rules.seed)
        rows = judged[one].astype(np.int64)
        found.append((hashes_of(table.patient_ids[rows], seed=rules.seed), rows, part.index))
    keys = np.concatenate([hashes for hashes, _, _ in found]) if found else np.zeros(0, dtype=np.uint64)
    if not len(keys):
        raise ProtocolError(
            "No study of the reference is in a split that the protocol audits.",
            remedy="Choose another reference, or correct 'splits' in the protocol.",
            column="split",
        )
    limit = np.sort(keys)[min(most, len(keys)) - 1]
    kept = {index: rows[hashes <= limit] for hashes, rows, index in found}
    return {index: rows for index, rows in kept.items() if len(rows)}


def reference_plan(
    rules: Rules, reader: CohortReader, chosen: Mapping[int, Rows], *, declared: Mapping[str, Any]
) -> StreamPlan:
    """What is watched, by the studies that the frame rests on.

    Raises:
        ProtocolError: nothing is, and the reasons are listed.
    """
    columns = reader.manifest.columns
    wanted = [name for name in watched_columns(rules, columns) if name in columns]
    covariates: dict[str, list[Any]] = {name: [] for name in wanted}
    for index, rows in chosen.items() if wanted else ():
        table = reader.table(index, wanted).take(rows)
        for name in wanted:
            covariates[name] += table.column(name).to_pylist()
    plan = plan_streams(rules, columns, covariates, declared=declared)
    if not plan.specs:
        told = " ".join(f"{name}: {reason}" for name, reason in sorted(plan.why_not.items()))
        raise ProtocolError(
            f"Nothing that the protocol watches is in this cohort and model. {told}".strip(),
            remedy="Choose another reference, or watch other families under drift.watch.",
        )
    return plan


def reference_words(
    rules: Rules, reader: CohortReader, chosen: Mapping[int, Rows], plan: StreamPlan
) -> dict[str, tuple[int, ...]]:
    """Known words of every text whose unknown words are watched."""
    known: dict[str, tuple[int, ...]] = {}
    for spec in plan.specs:
        if not spec.name.endswith(":oov") or not spec.modality.startswith("text."):
            continue
        texts: list[str | None] = []
        patients: list[str] = []
        for index, rows in chosen.items():
            table = reader.table(index, [spec.modality, "patient_id"]).take(rows)
            texts += table.column(spec.modality).to_pylist()
            patients += table.column("patient_id").to_pylist()
        known |= vocabularies_of(spec.modality, texts, np.array(patients, dtype=object), seed=rules.seed)
    return known


def _with(streams: StudyStreams, plan: StreamPlan) -> StudyStreams:
    """Every stream of the plan with the vectors that were read; other figures need no fitting."""
    return replace(streams, specs=plan.specs, why_not=dict(plan.why_not))


def _table_of(rules: Rules, reader: CohortReader, chosen: Mapping[int, Rows]) -> ShardTable:
    """Who the chosen studies are of."""
    parts = [reference_table(rules, reader, reader.shards[index]) for index in chosen]
    tables = [
        ShardTable(patient_ids=table.patient_ids[rows], study_ids=table.study_ids[rows], attributes={}, labels={})
        for table, rows in zip(parts, chosen.values(), strict=True)
    ]
    return ShardTable(
        patient_ids=np.concatenate([table.patient_ids for table in tables]),
        study_ids=np.concatenate([table.study_ids for table in tables]),
        attributes={},
        labels={},
    )


def _loaded(version: ModelVersion, inference: Any) -> ModelAdapter:
    return load_adapter(version, inference)
