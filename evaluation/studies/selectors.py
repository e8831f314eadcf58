"""Which studies of a run have what in their texts. For readers of patient-level content; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import numpy as np
import numpy.typing as npt

from core.errors import NotFoundError
from evaluation.models import AuditRun, Shard
from evaluation.studies.classes import ANY, CLASSES, ERROR_KINDS, NONE
from evaluation.studies.index import StudyIndex, StudyTexts, read_index, read_texts_of
from models_registry.services.versions import model_store

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
KEPT = 64
"""Indexes of shares that a process keeps in memory."""


@dataclass(frozen=True, kw_only=True)
class StudyFilter:
    """Which studies to show. An empty field does not narrow.

    Attributes:
        error: A key of ``error_classes.CLASSES``, ``any`` or ``none``; with ``finding``, both in one place.
        attribute, group: Group of the studies; both or neither.
    """

    finding: str = ""
    error: str = ""
    attribute: str = ""
    group: str = ""

    def apply(self, index: StudyIndex) -> Flags:
        """bool [n]: which studies of a share to show."""
        chosen = np.ones(len(index), dtype=np.bool_)
        if self.attribute:
            by = index.groups.get(self.attribute)
            chosen &= by.is_any([self.group]) if by is not None else False
        counts = np.ones(len(index.row), dtype=np.bool_)
        if self.finding:
            counts &= index.finding.is_any([self.finding])
        if self.error == NONE:
            wrong = _studies_with(index, counts & index.kind.is_any(ERROR_KINDS))
            return chosen & ~wrong & (_studies_with(index, counts) if self.finding else True)
        if self.error:
            counts &= index.kind.is_any(kinds_of(self.error))
        return chosen & _studies_with(index, counts) if self.finding or self.error else chosen


@dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where a study lies: number of the share, and row among the share's audited studies."""

    shard: int
    row: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Places(Sequence[StudyPlace]):
    """Many places in an order: ``shards`` and ``rows``, int64 of equal length."""

    shards: Ints
    rows: Ints

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, at: int) -> StudyPlace: ...

    @overload
    def __getitem__(self, at: slice) -> list[StudyPlace]: ...

    def __getitem__(self, at: int | slice) -> StudyPlace | list[StudyPlace]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        return StudyPlace(shard=int(self.shards[at]), row=int(self.rows[at]))

    def number_of(self, place: StudyPlace) -> int | None:
        """Where a place is in the order, from 0; None where it is not among them."""
        found = np.flatnonzero((self.shards == place.shard) & (self.rows == place.row))
        return int(found[0]) if len(found) else None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What was found in a study, for its line in the list."""

    kind: str
    finding: str
    times: int


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study in the list."""

    place: StudyPlace
    study_id: str
    patient_id: str
    groups: dict[str, str]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What there is to filter by, with the number of studies of the whole run."""

    errors: dict[str, int]
    findings: dict[str, int]
    groups: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Studies:
    """The studies of a run that can be looked at, and those that a filter chose.

    Attributes:
        places: The chosen ones, those with most errors first, then in the order of the cohort.
        total: All of them.
        missing: Shares that were sketched before studies were kept.
    """

    indexes: dict[int, StudyIndex]
    places: Places
    total: int
    missing: int

    def around(self, place: StudyPlace) -> tuple[int | None, StudyPlace | None, StudyPlace | None]:
        """Number of a study among the chosen, from 1, with the one before it and the one after it."""
        at = self.places.number_of(place)
        if at is None:
            return None, None, None
        return at + 1, self.places[at - 1] if at else None, self.places[at + 1] if at + 1 < len(self.places) else None

    def known(self, field: str) -> set[str]:
        """Every value of a field of :class:`StudyFilter` that occurs in the run, or could."""
        indexes = self.indexes.values()
        if field == "error":
            return {ANY, NONE, *CLASSES}
        if field == "finding":
            return {name for index in indexes for name in index.finding.names}
        if field == "attribute":
            return {name for index in indexes for name in index.groups}
        return {group for index in indexes for by in index.groups.values() for group in by.names}

    def why_not(self, place: StudyPlace) -> dict[str, str]:
        """What the model was not asked in a study's share -> why, in words."""
        return self.indexes[place.shard].why_not

    def line(self, place: StudyPlace) -> StudyLine:
        index = self.indexes[place.shard]
        start, end = np.searchsorted(index.row, [place.row, place.row + 1])
        return StudyLine(
            place=place,
            study_id=index.study_ids[place.row],
            patient_id=index.patient_ids[place.row],
            groups={name: by.names[by.codes[place.row]] for name, by in index.groups.items()},
            faults=tuple(
                Fault(
                    kind=index.kind.names[index.kind.codes[at]],
                    finding=index.finding.names[index.finding.codes[at]],
                    times=int(index.times[at]),
                )
                for at in range(start, end)
            ),
        )

    def choices(self) -> Choices:
        """Everything that occurs, the most frequent first within errors as declared, findings and groups."""
        errors = {key: self._count(StudyFilter(error=key)) for key in (ANY, *CLASSES, NONE)}
        findings: dict[str, int] = {}
        groups: dict[str, dict[str, int]] = {}
        for index in self.indexes.values():
            for name, number in _by_finding(index):
                findings[name] = findings.get(name, 0) + number
            for attribute, by in index.groups.items():
                counts = groups.setdefault(attribute, {})
                for code, number in enumerate(np.bincount(by.codes, minlength=len(by.names))):
                    counts[by.names[code]] = counts.get(by.names[code], 0) + int(number)
        return Choices(
            errors={key: number for key, number in errors.items() if number},
            findings=dict(sorted(findings.items())),
            groups=groups,
        )

    def _count(self, chosen: StudyFilter) -> int:
        return sum(int(chosen.apply(index).sum()) for index in self.indexes.values())


def kinds_of(error: str) -> frozenset[str]:
    """The kinds of marks of a class of errors; of ``any``, all that are errors; none for a class that is not known."""
    if error == ANY:
        return ERROR_KINDS
    return frozenset(CLASSES[error].kinds) if error in CLASSES else frozenset()


def studies_of(run: AuditRun, chosen: StudyFilter) -> Studies:
    """The studies of a run, and those that a filter chooses, in one query.

    Raises:
        NotFoundError, DigestMismatchError: the store lost an index, or it was changed on disk.
    """
    rows = list(run.shards.order_by("index").values_list("index", "index_digest"))
    indexes = {number: _index(model_store().root.as_posix(), digest) for number, digest in rows if digest}
    return Studies(
        indexes=indexes,
        places=_ordered(indexes, chosen),
        total=sum(len(index) for index in indexes.values()),
        missing=len(rows) - len(indexes),
    )


def _ordered(indexes: Mapping[int, StudyIndex], chosen: StudyFilter) -> Places:
    """The chosen studies, those with most errors first, then in the order of the cohort."""
    shards, rows, errors = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for number, index in indexes.items():
        wrong = index.kind.is_any(ERROR_KINDS)
        counts = np.bincount(index.row[wrong], weights=index.times[wrong], minlength=len(index)).astype(np.int64)
        found = np.flatnonzero(chosen.apply(index))
        shards.append(np.full(len(found), number, dtype=np.int64))
        rows.append(found)
        errors.append(counts[found])
    place, row = np.concatenate(shards), np.concatenate(rows)
    order = np.lexsort((row, place, -np.concatenate(errors)))
    return Places(shards=place[order], rows=row[order])


def texts_of(run: AuditRun, place: StudyPlace) -> StudyTexts:
    """What was said of one study.

    Raises:
        NotFoundError: the run has no such study.
    """
    shard: Shard | None = run.shards.filter(index=place.shard).first()
    if shard is None or not shard.index_digest:
        raise NotFoundError("This audit has no such study.", remedy="Begin at the list of studies.")
    try:
        return read_texts_of(model_store().get_bytes(shard.index_digest), place.row)
    except IndexError as error:
        raise NotFoundError("This audit has no such study.", remedy="Begin at the list of studies.") from error


def _studies_with(index: StudyIndex, counts: Flags) -> Flags:
    """bool [n]: studies that have one of the chosen counts."""
    found = np.zeros(len(index), dtype=np.bool_)
    found[index.row[counts]] = True
    return found


def _by_finding(index: StudyIndex) -> Iterator[tuple[str, int]]:
    """Number of studies with each finding; a study may have several counts of one."""
    width = max(len(index.finding.names), 1)
    pairs = np.unique(index.row * width + index.finding.codes)
    for code, number in enumerate(np.bincount(pairs % width, minlength=len(index.finding.names))):
        if number and index.finding.names[code]:
            yield index.finding.names[code], int(number)


@lru_cache(maxsize=KEPT)
def _index(_root: str, digest: str) -> StudyIndex:
    """The index with a digest, read and checked once in a process: a digest names one content for ever."""
    return read_index(model_store().get_bytes(digest))
