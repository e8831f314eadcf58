"""What is fixed on the reference before anything is compared: which streams there are, and how vectors are reduced.

A frame is made once for a monitor and never changes; every window and the reference itself are sketched through it. So
the bandwidth of a kernel, the directions of an embedding and the words that count as known never depend on the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from core.digests import sha256_bytes
from core.errors import AuscultError
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams
from evaluation.engine.drift.sample import one_study_each
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.packing import pack, unpack

if TYPE_CHECKING:
    from evaluation.engine.drift.vectors import VectorFrame

MAGIC = b"auscult-drift-frame-1\n"


@dataclass(frozen=True, kw_only=True)
class DriftFrame:
    """How studies are reduced to what is compared.

    Attributes:
        specs: Every stream, sorted by name; no two alike.
        vectors: Stream -> centre, scale, directions and random features, of the streams that are vectors.
        vocabularies: Text -> hashes of the words that the reference knows, ascending.
        why_not: Stream -> why it is not watched, where the reference did not allow it.
    """

    specs: tuple[StreamSpec, ...]
    vectors: Mapping[str, VectorFrame] = field(default_factory=dict)
    vocabularies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specs", in_name_order(self.specs))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes. Sketches of different frames are never compared."""
        return sha256_bytes(self.to_bytes())

    def spec(self, name: str) -> StreamSpec:
        """The stream called ``name``."""
        return next(item for item in self.specs if item.name == name)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal frames."""
        words = {name: np.array(sorted(self.vocabularies[name]), dtype=np.uint64) for name in sorted(self.vocabularies)}
        header = {
            "specs": [spec.to_dict() for spec in self.specs],
            "vectors": sorted(self.vectors),
            "vocabularies": list(words),
            "why_not": dict(sorted(self.why_not.items())),
        }
        blocks = [self.vectors[name].to_bytes() for name in sorted(self.vectors)]
        return pack(MAGIC, header, [*blocks, *(values.astype("<u8").tobytes() for values in words.values())])

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftFrame:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            made = _read(header, blocks)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged() from error
        if made.to_bytes() != data:
            raise _damaged()
        return made


def fit_frame(
    protocol: Protocol,
    streams: StudyStreams,
    table: ShardTable,
    *,
    vocabularies: Mapping[str, tuple[int, ...]] | None = None,
) -> DriftFrame:
    """The frame of a reference. One study of each patient counts, so that nobody weighs more than another.

    A vector stream that allows no frame, because too few studies have it or all are alike, is left out, and
    ``why_not`` says so.

    Args:
        streams: Of studies of the reference; some thousands do.
        table: The same studies: who they are of.
        vocabularies: Text -> hashes of known words.
    """
    rows = one_study_each(table.patient_ids, table.study_ids, seed=protocol.seed)
    fitted, why = {}, dict(streams.why_not)
    for name in sorted(streams.vectors):
        values = streams.vectors[name][rows]
        try:
            fitted[name] = _fitted(values, seed=protocol.seed)
        except ValueError as error:
            why[name] = f"The reference allows no comparison: {error}."
    kept = [spec for spec in streams.specs if spec.shape is not Shape.VECTOR or spec.name in fitted]
    return DriftFrame(specs=tuple(kept), vectors=fitted, vocabularies=dict(vocabularies or {}), why_not=why)


def spec_of(body: Mapping[str, Any]) -> StreamSpec:
    """Read what ``StreamSpec.to_dict`` wrote."""
    return StreamSpec(**{**body, "family": Family(body["family"]), "shape": Shape(body["shape"])})


def in_name_order(specs: tuple[StreamSpec, ...]) -> tuple[StreamSpec, ...]:
    """Sorted by name.

    Raises:
        AuscultError: two streams have one name.
    """
    ordered = tuple(sorted(specs, key=lambda spec: spec.name))
    names = [spec.name for spec in ordered]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AuscultError(f"Two streams are called '{twice}'.", remedy="Rename one of the two columns.", column=twice)
    return ordered


def _fitted(values: Any, *, seed: int) -> VectorFrame:
    from evaluation.engine.drift.vectors import VectorFrame

    return VectorFrame.fit(values[np.isfinite(values).all(axis=1)], seed=seed)


def _read(header: dict[str, Any], blocks: list[bytes]) -> DriftFrame:
    vectors, words = header["vectors"], header["vocabularies"]
    fitted = {}
    if vectors:
        from evaluation.engine.drift.vectors import VectorFrame

        fitted = {name: VectorFrame.from_bytes(block) for name, block in zip(vectors, blocks, strict=False)}
    known = {
        name: tuple(np.frombuffer(block, dtype="<u8").tolist())
        for name, block in zip(words, blocks[len(vectors) :], strict=True)
    }
    specs = tuple(spec_of(item) for item in header["specs"])
    return DriftFrame(specs=specs, vectors=fitted, vocabularies=known, why_not=header["why_not"])


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a frame that this version can read.", remedy="Prepare the monitor's reference again."
    )
