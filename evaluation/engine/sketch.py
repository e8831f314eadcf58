"""What a worker returns instead of rows: the sketches of every suite of a protocol over one share of the patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError, CohortError, ProtocolError
from evaluation.engine.asking import Utterances
from evaluation.engine.grouping import factorize
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable, StudyFacts
from evaluation.engine.registry import SUITES, Sketch
from evaluation.engine.sketches.packing import pack, unpack

if TYPE_CHECKING:
    from evaluation.engine.drift.records import StudyStreams

DRIFT = "drift"
NOT_WATCHED = (
    "Drift was not measured: it is measured against a reference, and this audit has none. A monitor of the deployment "
    "has."
)
MAGIC = b"auscult-sketch-1\n"
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class AuditSketch:
    """Mergeable statistics of some patients. Merging is exact: any order, any number of shards, the same bytes.

    Attributes:
        protocol_digest: The protocol it was made for; sketches of different protocols do not merge.
        n_studies, n_patients: What it was made of. A patient must lie wholly within one shard.
        parts: Suite -> its sketch.
    """

    protocol_digest: str
    n_studies: int
    n_patients: int
    parts: dict[str, Sketch]

    def merge(self, other: AuditSketch) -> AuditSketch:
        """Statistics of the patients of both.

        Raises:
            AuscultError: when the two were made for different protocols.
        """
        if self.protocol_digest != other.protocol_digest:
            raise AuscultError(
                "Two sketches were made for different protocols and cannot be merged.",
                remedy="Run every shard again with the protocol that is to judge.",
            )
        return AuditSketch(
            protocol_digest=self.protocol_digest,
            n_studies=self.n_studies + other.n_studies,
            n_patients=self.n_patients + other.n_patients,
            parts={key: part.merge(other.parts[key]) for key, part in self.parts.items()},
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes, equal for equal content."""
        header: dict[str, Any] = {
            "protocol": self.protocol_digest,
            "n_studies": self.n_studies,
            "n_patients": self.n_patients,
            "suites": sorted(self.parts),
        }
        return pack(MAGIC, header, [self.parts[key].to_bytes() for key in sorted(self.parts)])

    @classmethod
    def from_bytes(cls, data: bytes) -> AuditSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        return cls(
            protocol_digest=header["protocol"],
            n_studies=header["n_studies"],
            n_patients=header["n_patients"],
            parts={key: SUITES.get(key).load(block) for key, block in zip(header["suites"], blocks, strict=True)},
        )


def sketch_shard(protocol: Protocol, table: ShardTable, *, suites: Sequence[str] | None = None) -> AuditSketch:
    """Reduce one shard to sketches. The shard must hold every study of each of its patients.

    Args:
        suites: Those of the protocol's suites to run; all of them unless told otherwise.

    Raises:
        ProtocolError: where the protocol does not fit the data, naming the column.
        CohortError: for a patient on whom a threshold was tuned and who is to be judged.
    """
    table = audited(protocol, table)
    return AuditSketch(
        protocol_digest=protocol.digest,
        n_studies=len(table),
        n_patients=len(factorize(table.patient_ids)[1]),
        parts={key: SUITES.get(key).sketch(protocol, table) for key in suites or protocol.suites},
    )


def measured_suites(protocol: Protocol, *, watched: bool) -> tuple[str, ...]:
    """The suites of a protocol that an audit measures: drift only where streams are read through a frame.

    Args:
        watched: Whether they are, as in the runs of a monitor.

    Raises:
        ProtocolError: nothing is left to measure.
    """
    suites = tuple(key for key in protocol.suites if watched or key != DRIFT)
    if not suites:
        raise ProtocolError(
            "The protocol measures drift alone, and there is no reference to measure it against.",
            remedy="Make a monitor of the deployment with this protocol; to audit the model once, use another one.",
        )
    return suites


def audited(protocol: Protocol, table: ShardTable) -> ShardTable:
    """The rows that are judged: those of the protocol's audited splits, or all where it declares none.

    Raises:
        ProtocolError: when the protocol declares splits and the data have none.
        CohortError: when a patient is in an audited split and in one that a threshold was tuned on.
    """
    if protocol.splits is None:
        return table
    if table.splits is None:
        raise ProtocolError(
            "The protocol judges only some splits, and the data do not say which study is in which.",
            remedy="Add the column 'split', or take 'splits' out of the protocol.",
            column="split",
        )
    judged = np.isin(table.splits.astype(str), protocol.splits.audited)
    tuned = np.isin(table.splits.astype(str), protocol.splits.tuning)
    both = set(table.patient_ids[judged]) & set(table.patient_ids[tuned])
    if both:
        raise CohortError(
            f"At least {len(both):,} patients are in a split that is audited and in one that thresholds were tuned on.",
            remedy="Split by patient, not by study, and tune the thresholds again.",
            column="split",
        )
    return table if judged.all() else _taken(table, judged)


def _taken(table: ShardTable, rows: npt.NDArray[np.bool_]) -> ShardTable:
    """The chosen rows of a table, and what was asked about them."""

    def pick(columns: dict[str, npt.NDArray[T]]) -> dict[str, npt.NDArray[T]]:
        return {name: values[rows] for name, values in columns.items()}

    return ShardTable(
        patient_ids=table.patient_ids[rows],
        study_ids=table.study_ids[rows],
        attributes=pick(table.attributes),
        labels=pick(table.labels),
        scores=pick(table.scores),
        decisions=pick(table.decisions),
        texts=pick(table.texts),
        splits=None if table.splits is None else table.splits[rows],
        truncated=pick(table.truncated),
        facts=None
        if table.facts is None
        else StudyFacts(prior=table.facts.prior[rows], given=pick(table.facts.given), series=pick(table.facts.series)),
        utterances=None if table.utterances is None else _asked_about(table.utterances, rows),
        judged_by=pick(table.judged_by),
        streams=None if table.streams is None else _streams_of(table.streams, rows),
    )


def _streams_of(streams: StudyStreams, rows: npt.NDArray[np.bool_]) -> StudyStreams:
    """The streams of the chosen studies."""
    kept: dict[str, Any] = {
        kind: {name: values[rows] for name, values in getattr(streams, kind).items()}
        for kind in ("numbers", "categories", "vectors")
    }
    return replace(streams, **kept)


def _asked_about(said: Utterances, rows: npt.NDArray[np.bool_]) -> Utterances:
    """What was asked about the chosen studies, by their places among them; a partner left out becomes none."""
    place = np.where(rows, np.cumsum(rows) - 1, -1)
    kept = said.rows(np.flatnonzero(rows[said.asked.study]))
    asked = kept.asked
    partner = np.where(asked.partner >= 0, place[asked.partner], -1)
    return replace(kept, asked=replace(asked, study=place[asked.study], partner=partner))
