"""Scores and truths of one label in a window, as counts that merge exactly.

Scores fall into 64 bins with fixed edges, half as fine as an even grid near .5 and ever finer towards 0 and 1, so that
scores of rare findings are told apart too. The threshold of the protocol is an edge of its own: what is decided at it
is counted exactly. Sums of the scores in each bin are kept as whole numbers, for Brier score and log loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAGIC = b"auscult-scored-1\n"
BINS = 64
POSITIVE, NEGATIVE, SILENT = 0, 1, 2
"""Columns of the counts: with the finding, without it, reference standard silent."""
SCALE = 1 << 30
FARTHEST = 9.2
"""Logit beyond which scores are not told apart: .0001."""


@lru_cache(maxsize=64)
def edges_of(threshold: float | None) -> Floats:
    """Edges of the bins, float64 [65] from 0 to 1, or [66] with the threshold among them.

    The edge at share g of the bins is where ``p/2 + (logit p + 9.2) / 36.8 = g``, the logit kept within 9.2 of 0. A
    score lies in the last bin whose lower edge it reaches.
    """
    grid = np.linspace(0, 1, 1 << 16)[1:-1]
    spread = 1 / (1 + np.exp(-np.linspace(-FARTHEST, FARTHEST, 1 << 16)))
    points = np.unique(np.concatenate([grid, spread]))
    reached = points / 2 + (np.clip(np.log(points / (1 - points)), -FARTHEST, FARTHEST) + FARTHEST) / (4 * FARTHEST)
    inner = np.round(np.interp(np.arange(1, BINS) / BINS, reached, points), 9)
    parts = [[0.0], inner, [1.0], [] if threshold is None else [threshold]]
    edges = np.sort(np.concatenate(parts))
    edges.setflags(write=False)
    return edges


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredCounts:
    """Studies of one label by score and truth. Start from ``ScoredCounts.of``; ``merge`` adds.

    Attributes:
        threshold: From which the finding is decided to be there; None where nothing is decided.
        counts: int64 [K + 1, 3], studies by bin and truth (with, without, silent); the last row has no score.
        sums: int64 [K, 3], sums of their scores in units of 2^-30.
    """

    threshold: float | None
    counts: Ints
    sums: Ints

    @classmethod
    def of(
        cls,
        scores: npt.ArrayLike = (),
        truth: npt.ArrayLike = (),
        *,
        threshold: float | None = None,
    ) -> ScoredCounts:
        """Counts of n studies.

        Args:
            scores: float [n] in [0, 1]; NaN where there is none. Decisions alone come as 0 and 1, threshold .5.
            truth: [n], 1, 0, or -1 where the reference standard is silent.

        Raises:
            ValueError: for a score or threshold outside [0, 1], another truth, or arrays of different lengths.
        """
        score, label = np.asarray(scores, dtype=np.float64), np.asarray(truth)
        if score.ndim != 1 or score.shape != label.shape or not np.isin(label, (-1, 0, 1)).all():
            raise ValueError("scores and truths must be vectors of one length, truths 1, 0 or -1")
        known = ~np.isnan(score)
        outside = ((score[known] < 0) | (score[known] > 1)).any()
        if outside or (threshold is not None and not 0 <= threshold <= 1):
            raise ValueError("a score or threshold lies outside 0 to 1")
        edges = edges_of(threshold)
        size = len(edges) - 1
        place = np.where(known, np.clip(np.searchsorted(edges, score, side="right") - 1, 0, size - 1), size)
        cell = place * 3 + np.where(label == 1, POSITIVE, np.where(label == 0, NEGATIVE, SILENT))
        length = (size + 1) * 3
        amounts = np.bincount(cell[known], weights=np.rint(score[known] * SCALE), minlength=length)
        return cls(
            threshold=threshold,
            counts=np.bincount(cell, minlength=length).astype(np.int64).reshape(-1, 3),
            sums=amounts.astype(np.int64).reshape(-1, 3)[:-1],
        )

    @property
    def n(self) -> int:
        """Studies with a score."""
        return int(self.counts[:-1].sum())

    @property
    def missing(self) -> int:
        """Studies without one."""
        return int(self.counts[-1].sum())

    @property
    def labelled(self) -> int:
        """Studies with a score and a truth."""
        return int(self.counts[:-1, :SILENT].sum())

    @property
    def positives(self) -> int:
        """Studies with a score and the finding."""
        return int(self.counts[:-1, POSITIVE].sum())

    @property
    def from_bin(self) -> int | None:
        """First bin whose scores decide that the finding is there; None without a threshold."""
        if self.threshold is None:
            return None
        edges = edges_of(self.threshold)
        return min(len(edges) - 2, int(np.searchsorted(edges, self.threshold, side="right")) - 1)

    def merge(self, other: ScoredCounts) -> ScoredCounts:
        """The studies of both. Exact; the order does not matter.

        Raises:
            AuscultError: for counts with another threshold.
        """
        if self.threshold != other.threshold:
            raise AuscultError(
                f"Scores were counted with different thresholds: {self.threshold} and {other.threshold}.",
                remedy="Compare windows and a reference that were read by one protocol.",
            )
        return ScoredCounts(threshold=self.threshold, counts=self.counts + other.counts, sums=self.sums + other.sums)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal studies, in whatever order they came."""
        used = np.flatnonzero(self.counts)
        widths, blocks = [], []
        for array in (used, self.counts.reshape(-1)[used], self.sums.reshape(-1)[used[used < self.sums.size]]):
            width, block = narrow(array.astype(np.int64))
            widths.append(width)
            blocks.append(block)
        return pack(MAGIC, {"threshold": self.threshold, "used": len(used), "widths": widths}, blocks)

    @classmethod
    def from_bytes(cls, data: bytes) -> ScoredCounts:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            made = cls._read(header, blocks)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _damaged() from error
        inside = made.threshold is None or 0 <= made.threshold <= 1
        if not inside or made.counts.min() < 0 or made.to_bytes() != data:
            raise _damaged()
        return made

    @classmethod
    def _read(cls, header: dict[str, Any], blocks: list[bytes]) -> ScoredCounts:
        threshold = None if header["threshold"] is None else float(header["threshold"])
        size = len(edges_of(threshold)) - 1
        places, counts, sums = zip(header["widths"], blocks, strict=True)
        used = widen(*places, (int(header["used"]),))
        scored = used[used < size * 3]
        made = cls(
            threshold=threshold,
            counts=np.zeros((size + 1, 3), dtype=np.int64),
            sums=np.zeros((size, 3), dtype=np.int64),
        )
        made.counts.reshape(-1)[used] = widen(*counts, (len(used),))
        made.sums.reshape(-1)[scored] = widen(*sums, (len(scored),))
        return made


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not scores that this version can read.",
        remedy="Run the window again; the bytes were damaged or made by another version.",
    )
