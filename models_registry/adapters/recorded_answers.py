"""What a model said elsewhere to the questions of an audit, under every condition. Registers no adapter.

``auscult audit questions`` writes the questions. Whoever runs the model fills in ``text``, and 1 in ``truncated`` where
an answer ended at the limit of tokens; the columns that come back must be those that went out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.adapters.base import Posed, Said
from models_registry.adapters.recorded_files import bad_file, read_table

ANSWER_FILES = ("answers.parquet", "answers.csv")
TEXTS = ("study_id", "question", "condition", "modality", "partner", "text")
NUMBERS = ("turn", "truncated")
PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class RecordedAnswers:
    """The answers by what was asked, each with whether it was cut off."""

    known: dict[Posed, tuple[str | None, bool]]

    def __len__(self) -> int:
        return len(self.known)

    @property
    def questions(self) -> int:
        """Answers to questions; the others are reports."""
        return sum(bool(posed.question) for posed in self.known)

    def recall(self, posed: Sequence[Posed]) -> Said:
        """The text of each; None where the log holds none."""
        found = [self.known.get(item, (None, False)) for item in posed]
        texts = np.empty(len(found), dtype=object)
        texts[:] = [text for text, _ in found]
        return Said(text=texts, truncated=np.array([cut for _, cut in found], dtype=np.bool_))

    def holds(self, condition: str, *, report: bool) -> bool:
        """Whether any text was said under a condition: a report, or an answer to a question."""
        return (condition, report) in self._said

    @cached_property
    def _said(self) -> frozenset[tuple[str, bool]]:
        return frozenset(
            (posed.condition, not posed.question) for posed, (text, _) in self.known.items() if text is not None
        )

    @classmethod
    def read(cls, path: Path) -> RecordedAnswers:
        """Read a file of answers; every row is checked.

        Raises:
            AdapterError: a column is missing or of the wrong kind, a study has no identifier, one question was
                answered twice; file, column and row are named.
        """
        table = read_table(path, texts=TEXTS, blank=[""])
        for name in ("study_id", "text"):
            if name not in table.column_names:
                raise bad_file(
                    path,
                    f"The column {name} is missing.",
                    "Fill in the file that 'auscult audit questions' wrote, and keep its columns.",
                    name,
                )
        columns = {name: _strings(path, table, name) for name in TEXTS}
        turns, cut = (_whole(path, table, name) for name in NUMBERS)
        known: dict[Posed, tuple[str | None, bool]] = {}
        for row, study in enumerate(columns["study_id"]):
            if not study:
                raise bad_file(path, "A study has no identifier.", "Fill in study_id.", "study_id", row + 1)
            if cut[row] not in (0, 1):
                raise bad_file(
                    path, "The value is neither 0 nor 1.", "Write 1 where the text was cut off.", "truncated", row + 1
                )
            posed = Posed(
                study_id=study,
                question=columns["question"][row] or "",
                condition=columns["condition"][row] or PLAIN,
                turn=turns[row],
                modality=columns["modality"][row] or "",
                partner=columns["partner"][row] or "",
            )
            if posed in known:
                raise bad_file(
                    path,
                    "The same question is answered twice: every column but the answer is equal.",
                    "Keep one row for each.",
                    "question",
                    row + 1,
                )
            known[posed] = (columns["text"][row], bool(cut[row]))
        return cls(known=known)


def _strings(path: Path, table: Any, name: str) -> list[str | None]:
    import pyarrow as pa

    if name not in table.column_names:
        return [None] * len(table)
    column = table.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
        raise bad_file(path, f"The column has the type {column.type}.", "Write text.", name)
    values: list[str | None] = column.to_pylist()
    return values


def _whole(path: Path, table: Any, name: str) -> list[int]:
    """Whole numbers; 0 where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in table.column_names:
        return [0] * len(table)
    try:
        values: list[int] = pc.fill_null(table.column(name).cast(pa.int64()), 0).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise bad_file(path, "The column does not hold whole numbers.", "Write 0, 1, 2, ...", name) from error
    return values
