"""What the hallucination suite keeps of some patients: counts of reports, answers and perturbations, and of doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.errors import AuscultError
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import CountsSketch, all_groupings
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.hallucination import reports
from evaluation.engine.suites.hallucination.parts import family_like, parts_of
from evaluation.engine.suites.hallucination.uncertainty import UncertaintySketch

MAGIC = b"auscult-hallucination-1\n"


@dataclass(frozen=True, kw_only=True)
class HallucinationSketch:
    """Mergeable statistics of every part that a protocol asks for. Merging is exact, in any order.

    Attributes:
        groups: Sizes of the groups alone.
        tallies: Part -> its counts.
        uncertainty: None where nothing is sampled.
    """

    groups: CountsSketch
    tallies: Mapping[str, TallySketch]
    uncertainty: UncertaintySketch | None

    @property
    def report(self) -> TallySketch:
        """Counts of the written reports; without cells where the protocol compares none."""
        return self.tallies.get(reports.FAMILY.key) or TallySketch.empty(reports.FAMILY)

    @classmethod
    def from_table(cls, protocol: Protocol, table: ShardTable) -> HallucinationSketch:
        """Sketch of one shard.

        Raises:
            ProtocolError: where the protocol does not fit the table.
        """
        groupings = all_groupings(protocol, table)
        # Groups are counted by labels elsewhere; here their sizes are enough.
        unlabelled = replace(protocol, labels=(), underdiagnosis=None)
        sampled = protocol.sampling is not None
        return cls(
            groups=CountsSketch.from_table(unlabelled, table, groupings),
            tallies={
                key: TallySketch.from_rows(part.family, part.rows(protocol, table), table.patient_ids, groupings)
                for key, part in parts_of(protocol).items()
            },
            uncertainty=UncertaintySketch.from_table(protocol, table, groupings) if sampled else None,
        )

    def update(self, protocol: Protocol, batch: ShardTable) -> HallucinationSketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(HallucinationSketch.from_table(protocol, batch))

    def merge(self, other: HallucinationSketch) -> HallucinationSketch:
        """Statistics of the patients of both.

        Raises:
            AuscultError: for sketches of different attributes, parts or vocabularies.
        """
        mine, theirs = self.uncertainty, other.uncertainty
        if self.tallies.keys() != other.tallies.keys() or (mine is None) != (theirs is None):
            raise AuscultError(
                "These sketches were made of different parts of the hallucination suite.",
                remedy="Run every shard again with one protocol.",
            )
        return HallucinationSketch(
            groups=self.groups.merge(other.groups),
            tallies={key: item.merge(other.tallies[key]) for key, item in self.tallies.items()},
            uncertainty=None if mine is None or theirs is None else mine.merge(theirs),
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes, equal for equal content."""
        keys = sorted(self.tallies)
        blocks = [self.groups.to_bytes(), *(self.tallies[key].to_bytes() for key in keys)]
        doubt = [] if self.uncertainty is None else [self.uncertainty.to_bytes()]
        return pack(MAGIC, {"parts": keys, "sampled": bool(doubt)}, [*blocks, *doubt])

    @classmethod
    def from_bytes(cls, data: bytes) -> HallucinationSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        keys, sampled = [str(key) for key in header["parts"]], bool(header["sampled"])
        if len(blocks) != 1 + len(keys) + sampled:
            raise AuscultError(
                "These bytes are not a sketch of the hallucination suite that this version can read.",
                remedy="Run the shard again; the sketch was damaged or made by another version.",
            )
        return cls(
            groups=CountsSketch.from_bytes(blocks[0]),
            tallies={
                key: TallySketch.from_bytes(block, family_like(key))
                for key, block in zip(keys, blocks[1 : 1 + len(keys)], strict=True)
            },
            uncertainty=UncertaintySketch.from_bytes(blocks[-1]) if sampled else None,
        )
