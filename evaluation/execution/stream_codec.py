"""Streams of one share, as bytes for the store."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import StudyStreams

WHY_NOT = b"why_not"


def to_bytes(streams: StudyStreams) -> bytes:
    """Arrow IPC file. Equal streams give equal bytes; of the frame and its specs nothing is kept."""
    columns: dict[str, pa.Array] = {}
    for name, values in sorted(streams.numbers.items()):
        columns[f"number.{name}"] = pa.array(values, pa.float64())
    for name, categories in sorted(streams.categories.items()):
        columns[f"category.{name}"] = pa.array(categories.tolist(), pa.string())
    for name, vectors in sorted(streams.vectors.items()):
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel(), pa.float32())
        columns[f"vector.{name}"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    why = json.dumps(streams.why_not, sort_keys=True, ensure_ascii=False).encode()
    table = pa.table(columns).replace_schema_metadata({WHY_NOT: why})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(data: bytes, frame: DriftFrame) -> StudyStreams:
    """The inverse of :func:`to_bytes`, read through the frame that it was made with."""
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    found: dict[str, dict[str, Any]] = {"number": {}, "category": {}, "vector": {}}
    for column in table.column_names:
        kind, name = column.split(".", 1)
        values = table[column].combine_chunks()
        if kind == "category":
            made = np.empty(len(table), dtype=object)
            made[:] = values.to_pylist()
            found[kind][name] = made
        elif kind == "vector":
            found[kind][name] = values.flatten().to_numpy().reshape(len(table), values.type.list_size)
        else:
            found[kind][name] = values.to_numpy(zero_copy_only=False)
    return StudyStreams(
        specs=frame.specs,
        numbers=found["number"],
        categories=found["category"],
        vectors=found["vector"],
        frame=frame,
        why_not=json.loads((table.schema.metadata or {})[WHY_NOT]),
    )
