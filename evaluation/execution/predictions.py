"""Predictions of one share of patients, as bytes for the store, and their join with the reference standard."""

from __future__ import annotations

import io
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.engine.records import ShardTable
from models_registry.adapters.base import Predictions
from models_registry.cohorts import ReferenceTable

T = TypeVar("T", bound=np.generic)


def join_batches(batches: list[Predictions]) -> Predictions:
    """One record from the records of consecutive batches."""
    return Predictions(
        study_ids=tuple(study for batch in batches for study in batch.study_ids),
        scores=_join([batch.scores for batch in batches]),
        decisions=_join([batch.decisions for batch in batches]),
        texts=_join([batch.texts for batch in batches]),
        truncated=_join([batch.truncated for batch in batches]),
    )


def _join(parts: list[dict[str, npt.NDArray[T]]]) -> dict[str, npt.NDArray[T]]:
    names = parts[0].keys() if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def to_bytes(predictions: Predictions) -> bytes:
    """Arrow IPC file. Equal predictions give equal bytes."""
    columns: dict[str, pa.Array] = {"study_id": pa.array(predictions.study_ids, pa.string())}
    for name, scores in sorted(predictions.scores.items()):
        columns[f"score.{name}"] = pa.array(scores, pa.float64())
    for name, decisions in sorted(predictions.decisions.items()):
        columns[f"pred.{name}"] = pa.array(decisions, pa.int8())
    for name, texts in sorted(predictions.texts.items()):
        columns[f"text.{name}"] = pa.array(texts.tolist(), pa.string())
    for name, truncated in sorted(predictions.truncated.items()):
        columns[f"truncated.{name}"] = pa.array(truncated, pa.bool_())
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(data: bytes) -> Predictions:
    """The inverse of :func:`to_bytes`."""
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    found: dict[str, dict[str, npt.NDArray[Any]]] = {"score": {}, "pred": {}, "text": {}, "truncated": {}}
    for column in table.column_names[1:]:
        kind, name = column.split(".", 1)
        values = table[column]
        found[kind][name] = (
            np.array(values.to_pylist(), dtype=object)
            if kind == "text"
            else values.combine_chunks().to_numpy(zero_copy_only=False)
        )
    return Predictions(
        study_ids=tuple(table["study_id"].to_pylist()),
        scores=found["score"],
        decisions=found["pred"],
        texts=found["text"],
        truncated=found["truncated"],
    )


def join_reference(reference: ReferenceTable, predictions: Predictions) -> ShardTable:
    """What the engine is given: reference standard and predictions of the same studies, in the reference's order.

    Texts of the reference standard stand beside those of the model; where both have one of a name, that of the
    reference standard counts. The attribute ``split``, if it was read, says which split each study is in.
    """
    place = {study: index for index, study in enumerate(predictions.study_ids)}
    order = np.array([place[study] for study in reference.study_ids], dtype=np.int64)
    return ShardTable(
        patient_ids=reference.patient_ids,
        study_ids=reference.study_ids,
        attributes=reference.attributes,
        labels=reference.labels,
        scores={name: values[order] for name, values in predictions.scores.items()},
        decisions={name: values[order] for name, values in predictions.decisions.items()},
        texts={name: values[order] for name, values in predictions.texts.items()} | reference.texts,
        splits=reference.attributes.get("split"),
        truncated={
            name: values[order] for name, values in predictions.truncated.items() if name not in reference.texts
        },
    )
