"""Bytes of a drift sketch. Equal content gives equal bytes; no pickle.

Quantiles of a stream are written for all cells together, because a cell of a few patients is smaller than a header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import AuscultError
from evaluation.engine.drift.cells import CellSketch
from evaluation.engine.drift.frame import spec_of
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen
from evaluation.engine.sketches.quantiles import QuantileSketch

if TYPE_CHECKING:
    from evaluation.engine.drift.sketch import DriftSketch

MAGIC = b"auscult-drift-1\n"


def packed(sketch: DriftSketch) -> bytes:
    """Canonical bytes of a sketch."""
    cells = list(sketch.cells.values())
    names = sorted({name for cell in cells for name in cell.numbers})
    numbers = [_numbers(cells, name) for name in names]
    header = {
        "frame": sketch.frame_digest,
        "specs": [spec.to_dict() for spec in sketch.specs],
        "attributes": list(sketch.attributes),
        "why_not": dict(sorted(sketch.why_not.items())),
        "cells": [list(key) for key in sketch.cells],
        "n": [cell.n for cell in cells],
        "numbers": [{"stream": name, **head} for name, (head, _) in zip(names, numbers, strict=True)],
        "categories": [
            {name: sorted(counts.items()) for name, counts in sorted(cell.categories.items())} for cell in cells
        ],
        "vectors": [sorted(cell.vectors) for cell in cells],
        "scored": [sorted(cell.scored) for cell in cells],
    }
    blocks = [block for _, parts in numbers for block in parts]
    blocks += [cell.vectors[name].to_bytes() for cell in cells for name in sorted(cell.vectors)]
    blocks += [cell.scored[name].to_bytes() for cell in cells for name in sorted(cell.scored)]
    return pack(MAGIC, header, blocks)


def unpacked(data: bytes) -> DriftSketch:
    """The inverse of :func:`packed`.

    Raises:
        AuscultError: for bytes that are damaged or of another kind.
    """
    header, blocks = unpack(MAGIC, data)
    try:
        made = _read(header, iter(blocks))
    except (KeyError, TypeError, ValueError, OverflowError, StopIteration) as error:
        raise _damaged() from error
    if made.to_bytes() != data:
        raise _damaged()
    return made


def _numbers(cells: Sequence[CellSketch], name: str) -> tuple[dict[str, Any], list[bytes]]:
    """Header and blocks of one stream's quantiles in every cell that has them."""
    places = [place for place, cell in enumerate(cells) if name in cell.numbers]
    parts = [cells[place].numbers[name] for place in places]
    key_width, keys = narrow(np.concatenate([_steps(part) for part in parts]))
    count_width, counts = narrow(np.concatenate([part.counts for part in parts]))
    ends = np.array([[_or_nan(part.least), _or_nan(part.most)] for part in parts], dtype="<f8")
    head = {
        "cells": places,
        "bins": [len(part.keys) for part in parts],
        "starts": [int(part.keys[0]) if len(part.keys) else 0 for part in parts],
        "missing": [part.missing for part in parts],
        "infinite": [part.infinite for part in parts],
        "widths": [key_width, count_width],
    }
    return head, [keys, counts, ends.tobytes()]


def _steps(part: QuantileSketch) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Steps from bin to bin: small where numbers are many."""
    return np.diff(part.keys, prepend=part.keys[0] if len(part.keys) else 0)


def _read(header: dict[str, Any], blocks: Iterator[bytes]) -> DriftSketch:
    from evaluation.engine.drift.sketch import DriftSketch

    cells = [
        CellSketch(
            n=int(n),
            categories={name: {str(key): int(value) for key, value in counts} for name, counts in found.items()},
        )
        for n, found in zip(header["n"], header["categories"], strict=True)
    ]
    for head in header["numbers"]:
        _read_numbers(head, blocks, cells)
    _read_modal(header, blocks, cells)
    return DriftSketch(
        frame_digest=header["frame"],
        specs=tuple(spec_of(item) for item in header["specs"]),
        attributes=tuple(header["attributes"]),
        cells={tuple(key): cell for key, cell in zip(header["cells"], cells, strict=True)},
        why_not=header["why_not"],
    )


def _read_numbers(head: dict[str, Any], blocks: Iterator[bytes], cells: list[CellSketch]) -> None:
    bins = head["bins"]
    total = (sum(bins),)
    steps = widen(head["widths"][0], next(blocks), total)
    counts = widen(head["widths"][1], next(blocks), total)
    ends = np.frombuffer(next(blocks), dtype="<f8").reshape(len(bins), 2)
    at = np.cumsum(bins)[:-1]
    for place, start, own, number, (least, most), missing, infinite in zip(
        head["cells"], head["starts"], np.split(steps, at), np.split(counts, at), ends, head["missing"],
        head["infinite"], strict=True,
    ):  # fmt: skip
        found = QuantileSketch(
            keys=start + np.cumsum(own),
            counts=number,
            least=None if np.isnan(least) else float(least),
            most=None if np.isnan(most) else float(most),
            missing=int(missing),
            infinite=int(infinite),
        )
        if not found.sound():
            raise ValueError("these bins come from no numbers")
        cells[place].numbers[head["stream"]] = found


def _read_modal(header: dict[str, Any], blocks: Iterator[bytes], cells: list[CellSketch]) -> None:
    if any(header["vectors"]):
        from evaluation.engine.drift.vectors import VectorSketch

        for cell, names in zip(cells, header["vectors"], strict=True):
            cell.vectors.update({name: VectorSketch.from_bytes(next(blocks)) for name in names})
    if any(header["scored"]):
        from evaluation.engine.drift.scored import ScoredCounts

        for cell, names in zip(cells, header["scored"], strict=True):
            cell.scored.update({name: ScoredCounts.from_bytes(next(blocks)) for name in names})


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a drift sketch that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
