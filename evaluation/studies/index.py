"""What readers of patient-level content see of a share: its texts with their marks, and an index to filter them by.

It is made when the share is sketched, from the same table, and kept in the store by digest. So the page shows what was
counted, even after the vocabulary has changed, needs no model, and works where no predictions are cached. It is no part
of a result: no evidence, no report and no bundle names it.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.engine.asking import BLANK, NOISE, PARAPHRASE, PLAIN, SWAPPED, ProbeKind
from evaluation.engine.grouping import group_by
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.studies.rows import REFUSED, UNCLEAR, SpokenRow, StudyMarks, TextMark

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
MAGIC = b"auscult-studies-1\n"
GROUP = "group."
GENERATED, REFERENCE = "generated", "reference"


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A column of names: ``codes`` int64, indices into ``names``."""

    names: tuple[str, ...]
    codes: Ints

    def is_any(self, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which rows have one of these names."""
        chosen = set(wanted)
        known = np.array([name in chosen for name in self.names], dtype=np.bool_)
        return known[self.codes] if len(known) else np.zeros(len(self.codes), dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class StudyIndex:
    """What the list of studies filters by: n studies, and m counts of what was found in them.

    Attributes:
        study_ids, patient_ids: str [n].
        groups: Attribute, or attributes joined as in the protocol -> the group of each study.
        row: int64 [m], the study.
        kind: A kind of mark, or what kept the study from being scored, of each count.
        finding: What each count is about, "" where it is about no finding.
        times: int64 [m].
        why_not: What the model was not asked -> why, in words.
    """

    study_ids: Objects
    patient_ids: Objects
    groups: dict[str, Coded]
    row: Ints
    kind: Coded
    finding: Coded
    times: Ints
    why_not: dict[str, str]

    def __len__(self) -> int:
        return len(self.study_ids)


@dataclass(frozen=True, kw_only=True)
class StudyTexts:
    """What was said of one study: expert's report and model's report with their marks, then questions and answers.

    Attributes:
        texts: ``reference``, ``generated`` -> the text; None where there is none.
        truncated: The model's report ended at its limit of tokens.
    """

    texts: dict[str, str | None]
    truncated: bool
    marks: tuple[TextMark, ...]
    spoken: tuple[SpokenRow, ...]

    def of(self, side: str) -> tuple[TextMark, ...]:
        """The marks of one text, in its order."""
        return tuple(mark for mark in self.marks if mark.side == side)


def pack_share(
    rules: Protocol, table: ShardTable, marked: Sequence[StudyMarks], spoken: Sequence[tuple[int, SpokenRow]]
) -> bytes:
    """The bytes of an index.

    Args:
        marked: One for each study of the table.
        spoken: Row of a study, ascending, with what was asked of it.
    """
    blocks = [_studies(rules, table), _counts(marked, spoken), _texts(table), _marks(marked), _spoken(spoken)]
    header = {"why_not": dict(table.utterances.why_not) if table.utterances else {}}
    return pack(MAGIC, header, blocks)


def read_index(data: bytes) -> StudyIndex:
    """The list's part of what :func:`pack_share` wrote; texts are not touched.

    Raises:
        AuscultError: for bytes of another kind, or damaged.
    """
    header, blocks = unpack(MAGIC, data)
    studies, counts = _frame(blocks[0]), _frame(blocks[1])
    by = [name for name in studies.column_names if name.startswith(GROUP)]
    return StudyIndex(
        study_ids=_objects(studies, "study_id"),
        patient_ids=_objects(studies, "patient_id"),
        groups={name.removeprefix(GROUP): _coded(studies, name) for name in by},
        row=_ints(counts, "row"),
        kind=_coded(counts, "kind"),
        finding=_coded(counts, "finding"),
        times=_ints(counts, "times"),
        why_not=header["why_not"],
    )


def read_texts_of(data: bytes, row: int) -> StudyTexts:
    """What was said of the study in one row. Raises like :func:`read_index`, and IndexError for no such row."""
    _, blocks = unpack(MAGIC, data)
    texts, marks, spoken = (_frame(block) for block in blocks[2:5])
    if not 0 <= row < len(texts):
        raise IndexError(row)
    said = texts.slice(row, 1).to_pylist()[0]
    return StudyTexts(
        texts={REFERENCE: said[REFERENCE], GENERATED: said[GENERATED]},
        truncated=bool(said["truncated"]),
        marks=tuple(TextMark(**item) for item in _rows_of(marks, row)),
        spoken=tuple(SpokenRow(**item) for item in _rows_of(spoken, row)),
    )


def _studies(rules: Protocol, table: ShardTable) -> bytes:
    columns: dict[str, Any] = {
        "study_id": pa.array(table.study_ids.tolist(), pa.string()),
        "patient_id": pa.array(table.patient_ids.tolist(), pa.string()),
    }
    for by in group_by(rules, table):
        codes = pa.array(by.codes, pa.int32())
        columns[GROUP + by.name] = pa.DictionaryArray.from_arrays(codes, pa.array(by.groups, pa.string()))
    return _bytes(pa.table(columns))


def _counts(marked: Sequence[StudyMarks], spoken: Sequence[tuple[int, SpokenRow]]) -> bytes:
    """One row for each study, kind and finding."""
    found: Counter[tuple[int, str, str]] = Counter()
    for row, study in enumerate(marked):
        found.update((row, mark.kind, mark.finding) for mark in study.marks if study.counts(mark))
        found.update((row, flag, "") for flag in study.flags)
    found.update((row, item.fault, _about(item)) for row, item in spoken if item.counted)
    found.update(_changes(spoken))
    rows = sorted(found.items())
    return _bytes(
        pa.table(
            {
                "row": pa.array([row for (row, _, _), _ in rows], pa.int64()),
                "kind": pa.array([kind for (_, kind, _), _ in rows], pa.string()).dictionary_encode(),
                "finding": pa.array([finding for (_, _, finding), _ in rows], pa.string()).dictionary_encode(),
                "times": pa.array([times for _, times in rows], pa.int64()),
            }
        )
    )


def _changes(spoken: Iterable[tuple[int, SpokenRow]]) -> Iterator[tuple[int, str, str]]:
    """Questions whose settled answer stays when the study is taken away, or whose answer changes with the words."""
    asked: dict[tuple[int, str, str, str], list[SpokenRow]] = {}
    for row, item in spoken:
        asked.setdefault((row, item.kind, item.finding, item.expected), []).append(item)
    for (row, *_), items in asked.items():
        plain = next((item.state for item in items if item.condition == PLAIN), "")
        if not plain:
            continue
        taken = {item.state for item in items if item.condition in {BLANK, NOISE, SWAPPED}}
        reworded = {item.state for item in items if item.condition == PARAPHRASE}
        if reworded - {plain}:
            yield row, "answer_reworded", _about(items[0])
        if taken == {plain} and plain not in {REFUSED, UNCLEAR}:
            yield row, "answer_unmoved", _about(items[0])


def _about(item: SpokenRow) -> str:
    """The finding that a question is about; a choice among several is about none of them."""
    return "" if item.kind == ProbeKind.NONE_OF_ABOVE else item.finding


def _texts(table: ShardTable) -> bytes:
    missing = np.full(len(table), None, dtype=object)
    cut = table.truncated.get(GENERATED, np.zeros(len(table), dtype=np.bool_))
    said = {
        side: pa.array([text if isinstance(text, str) else None for text in table.texts.get(side, missing)])
        for side in (REFERENCE, GENERATED)
    }
    return _bytes(pa.table({name: cells.cast(pa.string()) for name, cells in said.items()} | {"truncated": cut}))


def _marks(marked: Sequence[StudyMarks]) -> bytes:
    pairs = [(row, mark.to_dict()) for row, study in enumerate(marked) for mark in study.marks]
    return _bytes(_of_rows(pairs, TextMark.SCHEMA))


def _spoken(spoken: Sequence[tuple[int, SpokenRow]]) -> bytes:
    return _bytes(_of_rows([(row, item.to_dict()) for row, item in spoken], SpokenRow.SCHEMA))


def _of_rows(pairs: list[tuple[int, dict[str, Any]]], schema: Mapping[str, Any]) -> pa.Table:
    columns = {"row": pa.array([row for row, _ in pairs], pa.int64())}
    columns |= {name: pa.array([item[name] for _, item in pairs], kind) for name, kind in schema.items()}
    return pa.table(columns)


def _rows_of(frame: pa.Table, row: int) -> list[dict[str, Any]]:
    """The rows of one study; they lie together, in order."""
    start, end = np.searchsorted(_ints(frame, "row"), [row, row + 1])
    found: list[dict[str, Any]] = frame.slice(int(start), int(end - start)).drop_columns("row").to_pylist()
    return found


def _bytes(frame: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, frame.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(frame)
    return sink.getvalue()


def _frame(block: bytes) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(block)).read_all()


def _objects(frame: pa.Table, name: str) -> Objects:
    made = np.empty(len(frame), dtype=object)
    made[:] = frame[name].to_pylist()
    return made


def _coded(frame: pa.Table, name: str) -> Coded:
    column = frame[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # a column without rows has no chunk to combine
        return Coded(names=(), codes=np.zeros(0, dtype=np.int64))
    codes = column.indices.to_numpy(zero_copy_only=False)
    return Coded(names=tuple(column.dictionary.to_pylist()), codes=np.asarray(codes, dtype=np.int64))


def _ints(frame: pa.Table, name: str) -> Ints:
    return np.asarray(frame[name].combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int64)
