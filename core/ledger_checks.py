"""Verifying the ledger: recompute every hash from the entries, and name everything that is not what it was.

Django-free: the rows come through :class:`Source`. They are read in chunks that are whole subtrees, so the memory that
it takes does not grow with the ledger. A chunk without fault costs a few comparisons of lists; only where these differ
is each entry and each hash looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from core import merkle
from core.ledger_columns import Columns, Row, place_in_body, seconds_between

CHUNK_LEVEL = 12
CHUNK = 1 << CHUNK_LEVEL
MOST_TOLD = 10
NOTHING = bytes(32)

T = TypeVar("T")
Progress = Callable[[int, int], None]
Stored = dict[int, bytes]
"""Position -> hexadecimal hash, as it is stored."""


@dataclass(frozen=True, kw_only=True)
class TreeHead:
    """The size of the ledger and the root hash that stands for all of it."""

    size: int
    root: str


@dataclass(frozen=True, kw_only=True)
class HeadToCheck:
    """A head that was signed. ``source`` says where it was found, in words: ``the database``, ``1200.json``."""

    size: int
    root: str
    signed_at: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The size that the head of the ledger says, and how many entries there are to check."""

    size: int
    total: int


class Source(Protocol):
    """Where the rows come from, in order; numbers outside of a range are left out."""

    def bounds(self) -> Bounds: ...

    def entries(self, start: int, stop: int) -> list[Row]: ...

    def nodes(self, level: int, start: int, stop: int) -> list[tuple[int, bytes]]: ...

    def strays(self, total: int) -> list[str]:
        """What is there and belongs nowhere, each in a sentence."""
        ...


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """What a verification found.

    Attributes:
        entries: How many entries were read.
        head: The size and the root that the entries themselves give.
        problems: What is not what it was, the first ten; ``faults`` counts all of them.
        marks: What is no fault but worth knowing: clocks that were set back.
        heads: How many signed heads were compared.
    """

    entries: int
    head: TreeHead
    problems: tuple[str, ...] = ()
    faults: int = 0
    marks: tuple[str, ...] = ()
    heads: int = 0

    @property
    def intact(self) -> bool:
        return self.faults == 0

    @property
    def problem(self) -> str | None:
        """The first thing that is not what it was."""
        return self.problems[0] if self.problems else None


@dataclass
class Told:
    """Sentences, the first few kept and all counted."""

    kept: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, sentence: str) -> None:
        self.count += 1
        if len(self.kept) < MOST_TOLD:
            self.kept.append(sentence)


@dataclass
class Tree:
    """What the entries give so far: the peaks of whole chunks, and the chunk at hand, level by level."""

    peaks: dict[merkle.Place, bytes] = field(default_factory=dict)
    start: int = 0
    levels: list[list[bytes]] = field(default_factory=list)

    def __call__(self, level: int, position: int) -> bytes:
        if level < len(self.levels) and position >= self.start >> level:
            return self.levels[level][position - (self.start >> level)]
        return self.peaks[level, position]

    def root(self, size: int) -> str:
        return merkle.subtree_root(0, size, self).hex()


def check_ledger(source: Source, *, heads: Sequence[HeadToCheck] = (), progress: Progress | None = None) -> LedgerCheck:
    """Verify everything, and go on after a problem, so that the reader sees how far it reaches.

    Args:
        heads: Heads that were signed; the tree of each size must have that root.
        progress: Called with the entries that are done and the entries in all.
    """
    return _Verification(source, sorted(heads, key=lambda head: head.size)).run(progress)


class _Verification:
    """One pass over the ledger.

    ``possible`` holds, where a fault was found, the hashes that a subtree may have had when it was whole: a stored
    hash that fits one of them was not changed, so one fault is told once and not again at every level above it.
    """

    def __init__(self, source: Source, heads: Sequence[HeadToCheck]) -> None:
        self.source, self.heads = source, heads
        self.problems, self.marks, self.columns = Told(), Told(), Columns()
        self.tree, self.latest, self.found = Tree(), b"", 0
        self.roots: dict[int, str] = {}
        self.above: dict[merkle.Place, set[bytes]] = {}

    def run(self, progress: Progress | None) -> LedgerCheck:
        bounds = self.source.bounds()
        total = bounds.total
        sizes = sorted({head.size for head in self.heads if head.size <= total} | {total}, reverse=True)
        for start in range(0, total, CHUNK):
            stop = min(start + CHUNK, total)
            possible = self._check_chunk(start, stop)
            while sizes and sizes[-1] < start + CHUNK:
                size = sizes.pop()
                self.roots[size] = self.tree.root(size)
            if stop - start == CHUNK:
                self._close_chunk(start >> CHUNK_LEVEL, possible)
            if progress is not None:
                progress(stop, total)
        for size in sizes:
            self.roots[size] = self.tree.root(size)
        if bounds.size != total:
            self.problems.add(f"The ledger says it has {bounds.size} entries; {total} are there.")
        for sentence in self.source.strays(total):
            self.problems.add(sentence)
        self._compare_heads(total)
        return LedgerCheck(
            entries=self.found, head=TreeHead(size=total, root=self.roots[total]), problems=tuple(self.problems.kept),
            faults=self.problems.count, marks=tuple(self.marks.kept), heads=len(self.heads),
        )  # fmt: skip

    def _check_chunk(self, start: int, stop: int) -> list[set[bytes]] | None:
        """Check the entries of a chunk, and the hash of every full subtree in it."""
        rows = self.source.entries(start, stop)
        stored = self.source.nodes(0, start, stop)
        self.found += len(rows)
        leaves = [hashlib.sha256(b"\x00" + row[6]).digest() for row in rows]
        texts = [leaf.hex().encode() for leaf in leaves]
        possible, changed = None, frozenset[int]()
        if len(rows) != stop - start or [value for _, value in stored] != texts or [row[7] for row in rows] != texts:
            leaves, possible, changed = self._leaves_apart(start, stop, {row[0]: row for row in rows}, dict(stored))
        self._check_columns(rows, changed)
        self.tree.start, self.tree.levels = start, [leaves]
        for level in range(1, CHUNK_LEVEL + 1):
            if len(self.tree.levels[-1]) < 2:
                break
            possible = self._check_level(level, start >> level, possible)
        return possible

    def _leaves_apart(
        self, start: int, stop: int, rows: dict[int, Row], stored: Stored
    ) -> tuple[list[bytes], list[set[bytes]], frozenset[int]]:
        """Each leaf of a chunk that has a fault, the hashes that it may have had, and which entries are not theirs."""
        leaves: list[bytes] = []
        possible: list[set[bytes]] = []
        changed = set()
        for index in range(start, stop):
            row, kept = rows.get(index), _hash(stored.get(index))
            body = merkle.leaf_hash(row[6]) if row else None
            if row is None or kept is None or body != kept or row[7] != kept.hex().encode():
                self.problems.add(_leaf_problem(index, row, body, kept))
            if row is not None and body != kept and kept is not None:
                changed.add(index)
            leaves.append(body or kept or NOTHING)
            possible.append({value for value in (body, kept) if value} or {NOTHING})
        return leaves, possible, frozenset(changed)

    def _check_columns(self, rows: Sequence[Row], changed: frozenset[int]) -> None:
        """Compare the columns with the body, and each moment with the latest before it."""
        for row in self.columns.suspects(rows):
            if row[0] in changed:
                continue
            for name in self.columns.differences(row):
                self.problems.add(f"Entry {row[0]}: its {name} was changed after it was written.")
        for row in rows:
            if row[1] >= self.latest:
                self.latest = row[1]
            elif (behind := seconds_between(row[1], self.latest)) >= 1:
                self.marks.add(f"Entry {row[0]} was recorded {behind} s before an earlier one: a clock was set back.")

    def _check_level(self, level: int, first: int, possible: list[set[bytes]] | None) -> list[set[bytes]] | None:
        """One level of a chunk: compute it, and compare it with what is stored."""
        below = self.tree.levels[-1]
        computed = [merkle.node_hash(left, right) for left, right in _pairs(below)]
        self.tree.levels.append(computed)
        stored = self.source.nodes(level, first, first + len(computed))
        if possible is None:
            if [value for _, value in stored] == [value.hex().encode() for value in computed]:
                return None
            possible = [{value} for value in below]
        kept = dict(stored)
        return [
            self._check_node((level, first + place), node, kept.get(first + place), left, right)
            for place, (node, (left, right)) in enumerate(zip(computed, _pairs(possible), strict=True))
        ]

    def _check_node(
        self, place: merkle.Place, computed: bytes, stored: bytes | None, left: set[bytes], right: set[bytes]
    ) -> set[bytes]:
        """Compare one stored hash with what may be below it; the hashes that this subtree may have had."""
        level, position = place
        kept, possible = _hash(stored), {merkle.node_hash(one, other) for one in left for other in right}
        if kept is not None and kept in possible:
            return {kept, computed}
        what = "is missing" if kept is None else "was changed"
        span = f"entries {position << level} to {((position + 1) << level) - 1}"
        self.problems.add(f"The hash that the tree keeps for {span} (level {level}, position {position}) {what}.")
        return {computed, min(possible)}

    def _close_chunk(self, position: int, possible: list[set[bytes]] | None) -> None:
        """Keep the hash of a whole chunk, and join it with what is beside it, as the tree does."""
        place = (CHUNK_LEVEL, position)
        peak = self.tree.levels[CHUNK_LEVEL][0]
        self.tree.peaks[place], self.above[place] = peak, possible[0] if possible else {peak}
        while place[1] % 2 == 1:
            level, position = place[0] + 1, place[1] >> 1
            beside = (place[0], place[1] - 1)
            joined = merkle.node_hash(self.tree.peaks.pop(beside), self.tree.peaks.pop(place))
            stored = dict(self.source.nodes(level, position, position + 1)).get(position)
            sides = self.above.pop(beside), self.above.pop(place)
            place = (level, position)
            self.tree.peaks[place], self.above[place] = joined, self._check_node(place, joined, stored, *sides)

    def _compare_heads(self, total: int) -> None:
        """Compare the roots with the signed ones; say between which two heads the change lies."""
        broken = [head for head in self.heads if self.roots.get(head.size) != head.root]
        if not broken:
            return
        first = broken[0]
        what = f"the head of {first.size} entries, signed {first.signed_at} ({first.source})"
        if first.size > total:
            self.problems.add(
                f"The ledger has {total} entries and does not reach {what}: entries were removed from its end."
            )
        else:
            fitting = max((head.size for head in self.heads if head.size < first.size), default=0)
            before = f"It fits the head of {fitting} entries" if fitting else "No signed head lies before it"
            self.problems.add(
                f"The ledger does not fit {what}. {before}, so an entry from {fitting} to {first.size - 1} was changed."
            )
        for head in broken[1:]:
            self.problems.add(f"Nor does it fit the head of {head.size} entries ({head.source}).")


def _leaf_problem(index: int, row: Row | None, body: bytes | None, kept: bytes | None) -> str:
    """Which of the three hashes of an entry is another one: that of its body, its own column, that in the tree."""
    if row is None or body is None:
        return f"Entry {index} is missing."
    if kept is None:
        return f"The hash that the tree keeps for entry {index} is missing."
    if body == kept:
        return f"Entry {index}: its leaf_hash was changed after it was written."
    if row[7] != body.hex().encode():
        return f"Entry {index} was changed after it was written."
    if (place := place_in_body(row)) != index and place is not None:
        return f"Entry {index} was written as entry {place}: entries were put into another order."
    return (
        f"Entry {index} does not have the hash that the tree keeps for it: it was replaced together with its own "
        "hash, or that of the tree was changed."
    )


def _pairs(items: Sequence[T]) -> Iterator[tuple[T, T]]:
    return zip(items[::2], items[1::2], strict=False)


def _hash(text: bytes | None) -> bytes | None:
    """A stored hash. What is no hash at all is none that anything has."""
    if text is None:
        return None
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b"?" + text
