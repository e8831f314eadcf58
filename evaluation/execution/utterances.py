"""What a model was asked about a share, with its answers, as bytes for the store."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import numpy as np
import pyarrow as pa

from evaluation.engine.asking import Asking, Utterances

WHY_NOT = b"why_not"
NUMBERS = {"study", "pair", "turn", "partner"}


def to_bytes(said: Utterances) -> bytes:
    """Arrow IPC file. Equal utterances give equal bytes."""
    columns: dict[str, pa.Array] = {
        item.name: pa.array(
            getattr(said.asked, item.name).tolist(), pa.int64() if item.name in NUMBERS else pa.string()
        )
        for item in fields(Asking)
    }
    columns["text"] = pa.array(said.text.tolist(), pa.string())
    columns["truncated"] = pa.array(said.truncated, pa.bool_())
    why = json.dumps(said.why_not, sort_keys=True, ensure_ascii=False).encode()
    table = pa.table(columns).replace_schema_metadata({WHY_NOT: why})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(data: bytes) -> Utterances:
    """The inverse of :func:`to_bytes`."""
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    asked = {}
    for item in fields(Asking):
        column = np.empty(len(table), dtype=np.int64 if item.name in NUMBERS else object)
        column[:] = table[item.name].to_pylist()
        asked[item.name] = column
    text = np.empty(len(table), dtype=object)
    text[:] = table["text"].to_pylist()
    return Utterances(
        asked=Asking(**asked),
        text=text,
        truncated=np.array(table["truncated"].to_pylist(), dtype=np.bool_),
        why_not=json.loads((table.schema.metadata or {})[WHY_NOT]),
    )
