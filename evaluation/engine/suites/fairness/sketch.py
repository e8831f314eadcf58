"""What the fairness suite keeps of some patients: counts of decisions, scores, and claims of reports."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import CountsSketch, all_groupings
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.engine.sketches.scores import ScoresSketch
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.fairness.report_metrics import FAMILY
from evaluation.engine.suites.fairness.reports import parity_sketch

MAGIC = b"auscult-fairness-1\n"


@dataclass(frozen=True, kw_only=True)
class FairnessSketch:
    """Mergeable statistics of every label and grouping of a protocol. Merging is exact, in any order."""

    counts: CountsSketch
    scores: ScoresSketch
    reports: TallySketch

    @classmethod
    def from_table(cls, protocol: Protocol, table: ShardTable) -> FairnessSketch:
        """Sketch of one shard.

        Raises:
            ProtocolError: where the protocol does not fit the table.
        """
        groupings = all_groupings(protocol, table)
        return cls(
            counts=CountsSketch.from_table(protocol, table, groupings),
            scores=ScoresSketch.from_table(protocol, table, groupings),
            reports=parity_sketch(protocol, table, groupings),
        )

    def update(self, protocol: Protocol, batch: ShardTable) -> FairnessSketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(FairnessSketch.from_table(protocol, batch))

    def merge(self, other: FairnessSketch) -> FairnessSketch:
        """Statistics of the patients of both.

        Raises:
            AuscultError: for sketches of different labels, attributes or vocabularies.
        """
        return FairnessSketch(
            counts=self.counts.merge(other.counts),
            scores=self.scores.merge(other.scores),
            reports=self.reports.merge(other.reports),
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes, equal for equal content."""
        return pack(MAGIC, {}, [part.to_bytes() for part in (self.counts, self.scores, self.reports)])

    @classmethod
    def from_bytes(cls, data: bytes) -> FairnessSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        _, (counts, scores, reports) = unpack(MAGIC, data)
        return cls(
            counts=CountsSketch.from_bytes(counts),
            scores=ScoresSketch.from_bytes(scores),
            reports=TallySketch.from_bytes(reports, FAMILY),
        )
