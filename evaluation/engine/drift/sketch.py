"""What is kept of a window or of a reference: the distribution of every stream in every joint group of patients.

One study of each patient counts, the one whose keyed hash is least, so that patients are the units of every comparison
and the choice is the same whoever makes it. Merging is exact: any order, any number of shares, the same bytes. A
comparison costs what the sketches hold and not what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import AuscultError, ProtocolError
from evaluation.engine.drift.cells import CellSketch, merged, sketch_rows
from evaluation.engine.drift.frame import in_name_order
from evaluation.engine.drift.records import StreamSpec
from evaluation.engine.drift.sample import one_study_each
from evaluation.engine.grouping import factorize, group_by
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable

MOST_CELLS = 5000
Group = tuple[str, ...]

__all__ = ["CellSketch", "Compared", "DriftSketch", "cell_attributes", "merged"]


def cell_attributes(protocol: Protocol) -> tuple[str, ...]:
    """Attributes by whose joint groups streams are kept: those of the case mix, and those watched group by group."""
    drift = protocol.drift
    if drift is None:
        return ()
    every = tuple(item.name for item in protocol.attributes)
    wanted = {*drift.case_mix, *(drift.groups or every)}
    return tuple(name for name in every if name in wanted)


@dataclass(frozen=True, kw_only=True)
class DriftSketch:
    """Streams of some patients by joint group.

    Attributes:
        frame_digest: Of the frame they were read through; "" where none was needed. Others are never compared.
        specs: Every stream, by name.
        attributes: What the parts of a cell's key are groups of.
        cells: Joint group -> its streams, in the order of the keys.
        why_not: Stream or family -> why it is not watched.
    """

    frame_digest: str
    specs: tuple[StreamSpec, ...]
    attributes: tuple[str, ...]
    cells: dict[Group, CellSketch]
    why_not: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specs", in_name_order(self.specs))
        object.__setattr__(self, "cells", dict(sorted(self.cells.items())))

    @classmethod
    def from_table(cls, protocol: Protocol, table: ShardTable) -> DriftSketch:
        """Sketch of one share. The share must hold every study of each of its patients.

        Raises:
            AuscultError: the studies were not read for drift, or have vectors and no frame to reduce them with.
            ProtocolError: the attributes make more than 5000 joint groups.
        """
        streams = table.streams
        if streams is None or protocol.drift is None:
            raise AuscultError("These studies were not read for drift.", remedy="Run them with a section 'drift'.")
        if streams.vectors and streams.frame is None:
            raise AuscultError("A vector cannot be sketched without a frame.", remedy="Fit a frame on the reference.")
        attributes = cell_attributes(protocol)
        rows = one_study_each(table.patient_ids, table.study_ids, seed=protocol.seed)
        keys, codes = _cells_of(protocol, table, attributes, rows)
        parts = sketch_rows(protocol, table, rows, codes, len(keys))
        return cls(
            frame_digest=streams.frame.digest if streams.frame else "",
            specs=streams.specs,
            attributes=attributes,
            cells=dict(zip(keys, parts, strict=True)),
            why_not=dict(sorted(streams.why_not.items())),
        )

    def merge(self, other: DriftSketch) -> DriftSketch:
        """Streams of the patients of both. Exact; the order does not matter.

        Raises:
            AuscultError: the two were read through different frames.
        """
        self.check_like(other)
        keys = {*self.cells, *other.cells}
        both = {key: [part.cells[key] for part in (self, other) if key in part.cells] for key in keys}
        return DriftSketch(
            frame_digest=self.frame_digest,
            specs=self.specs,
            attributes=self.attributes,
            cells={key: merged(parts) for key, parts in both.items()},
            why_not=_reasons(self.why_not, other.why_not),
        )

    def check_like(self, other: DriftSketch) -> None:
        """Whether the two can be merged and compared.

        Raises:
            AuscultError: they have other frames, streams or attributes, and the first that differs is named.
        """
        remedy = "Prepare the monitor's reference again, from data with the columns of the windows."
        ours, theirs = ({spec.name: spec for spec in part.specs} for part in (self, other))
        odd = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if odd:
            raise AuscultError(
                f"The stream '{odd[0]}' is not the same in the two sketches.", remedy=remedy, column=odd[0]
            )
        if self.frame_digest != other.frame_digest or self.attributes != other.attributes:
            what = "frames" if self.attributes == other.attributes else "attributes"
            raise AuscultError(f"Two drift sketches have different {what} and cannot be compared.", remedy=remedy)

    @property
    def n(self) -> int:
        """Patients, one study each."""
        return sum(cell.n for cell in self.cells.values())

    def spec(self, name: str) -> StreamSpec:
        """The stream called ``name``."""
        return next(item for item in self.specs if item.name == name)

    def total(self) -> CellSketch:
        """All patients together."""
        return merged(self.cells.values())

    def of_group(self, attribute: str, group: str) -> CellSketch:
        """Patients of one group of an attribute; an empty sketch where there is none."""
        place = self.attributes.index(attribute)
        return merged(cell for key, cell in self.cells.items() if key[place] == group)

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Groups of an attribute that occur, Unknown included, sorted."""
        place = self.attributes.index(attribute)
        return tuple(sorted({key[place] for key in self.cells}))

    def strata(self, case_mix: Sequence[str]) -> dict[Group, CellSketch]:
        """Patients by joint group of some attributes; all under ``()`` where none is named."""
        places = [self.attributes.index(name) for name in case_mix]
        found: dict[Group, list[CellSketch]] = {}
        for key, cell in self.cells.items():
            found.setdefault(tuple(key[place] for place in places), []).append(cell)
        return {key: merged(parts) for key, parts in sorted(found.items())}

    def against(self, reference: DriftSketch) -> Compared:
        """This window held against a reference.

        Raises:
            AuscultError: the two were read through different frames.
        """
        self.check_like(reference)
        return Compared(window=self, reference=reference)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal patients, in whatever order and shares they came."""
        from evaluation.engine.drift.packed import packed

        return packed(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        from evaluation.engine.drift.packed import unpacked

        return unpacked(data)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A window with what it is compared to: what the suite measures."""

    window: DriftSketch
    reference: DriftSketch

    @property
    def n(self) -> int:
        """Patients of the window."""
        return self.window.n

    def merge(self, other: Compared) -> Compared:
        """Both windows together, against the one reference.

        Raises:
            AuscultError: the references differ, or the frames.
        """
        if self.reference.to_bytes() != other.reference.to_bytes():
            raise AuscultError("Two windows have different references.", remedy="Compare both with one reference.")
        return Compared(window=self.window.merge(other.window), reference=self.reference)

    def to_bytes(self) -> bytes:
        """Those of the window: the reference is kept by itself."""
        return self.window.to_bytes()


def _cells_of(
    protocol: Protocol, table: ShardTable, attributes: tuple[str, ...], rows: Any
) -> tuple[list[Group], np.ndarray[Any, np.dtype[np.int64]]]:
    """Joint groups that occur among ``rows``, and the place of each row's among them."""
    if not attributes:
        return ([()] if len(rows) else []), np.zeros(len(rows), dtype=np.int64)
    by_name = {item.name: item for item in group_by(protocol, table)}
    found = [by_name[name] for name in attributes]
    sizes = [len(item.groups) for item in found]
    joint = np.ravel_multi_index([item.codes[rows] for item in found], sizes) if len(rows) else np.zeros(0, np.int64)
    codes, present = factorize(np.asarray(joint, dtype=np.int64))
    if len(present) > MOST_CELLS:
        raise ProtocolError(
            f"The attributes of the section 'drift' make {len(present):,} joint groups; at most {MOST_CELLS:,} can be "
            "kept.",
            remedy="Name fewer attributes under 'case_mix' and 'groups', or band them more coarsely.",
        )
    places = [np.unravel_index(int(code), sizes) for code in present]
    keys = [tuple(item.groups[int(i)] for item, i in zip(found, place, strict=True)) for place in places]
    return keys, codes


def _reasons(one: Mapping[str, str], two: Mapping[str, str]) -> dict[str, str]:
    """Reasons of both; where they differ the lesser text, so that the order of merging does not matter."""
    names: Iterable[str] = sorted({*one, *two})
    return {name: min(part[name] for part in (one, two) if name in part) for name in names}
