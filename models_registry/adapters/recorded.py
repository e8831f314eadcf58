"""A prediction log: what a model said elsewhere. Every report on it says that no weights were run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_registry.adapters.base import (
    ADAPTERS,
    AdapterInfo,
    Capability,
    Draw,
    InferenceSettings,
    Posed,
    Predictions,
    Said,
)
from models_registry.adapters.recorded_answers import ANSWER_FILES, RecordedAnswers
from models_registry.adapters.recorded_files import bad_file, find_one, read_table
from models_registry.cohorts.schema import ColumnRole, StudyBatch, role_of

FILES = ("predictions.parquet", "predictions.csv")
ANSWERS = (ColumnRole.SCORE, ColumnRole.PRED)
GENERATED = "text.generated"
TRUNCATED = "truncated.generated"


class RecordedFactory:
    """Checks and loads a folder with one ``predictions.parquet`` or ``predictions.csv``.

    Beside it, or alone, there may be one ``answers.parquet`` or ``answers.csv``: what the model said to the questions
    of an audit, see :mod:`models_registry.adapters.recorded_answers`.
    """

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the log holds, after every value in it was checked.

        Raises:
            AdapterError: no such file, no study ids, a study twice, no predictions, or a value out of range.
        """
        log, answers = _both(folder)
        labels = sorted({name.partition(".")[2] for name in (*log.scores, *log.decisions)})
        able = {
            Capability.CLASSIFY: bool(labels),
            Capability.GENERATE: log.generated is not None,
            Capability.ANSWER: answers is not None and answers.questions > 0,
        }
        return AdapterInfo(
            capabilities=frozenset(name for name, can in able.items() if can),
            labels=tuple(labels),
            outputs=(*sorted((*log.scores, *log.decisions)), *([GENERATED] if log.generated is not None else [])),
            modalities=(),
            required=(),
            runs_weights=False,
            details={"recorded_studies": len(log.places)}
            | ({} if answers is None else {"recorded_answers": len(answers), "recorded_questions": answers.questions}),
        )

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> RecordedAdapter:
        info, (log, answers) = self.inspect(folder), _both(folder)
        if answers is None:
            return RecordedAdapter(info=info, log=log)
        kind = RecordedSpeaker if Capability.ANSWER in info.capabilities else RecordedTexts
        return kind(info=info, log=log, answers=answers)


class RecordedAdapter:
    """Looks predictions up by study. A study that the log does not know has none (NaN, -1, None)."""

    def __init__(self, *, info: AdapterInfo, log: _Log) -> None:
        self.info = info
        self.log = log

    def predict(self, batch: StudyBatch) -> Predictions:
        log = self.log
        rows = np.array([log.places.get(study, -1) for study in batch.study_ids], dtype=np.int64)
        texts = {} if log.generated is None else {"generated": _pick(log.generated, rows, None)}
        return Predictions(
            study_ids=batch.study_ids,
            scores={name[6:]: _pick(values, rows, np.nan) for name, values in log.scores.items()},
            decisions={name[5:]: _pick(values, rows, -1) for name, values in log.decisions.items()},
            texts=texts,
            truncated={} if log.truncated is None else {"generated": _pick(log.truncated, rows, False)},
        )


class RecordedTexts(RecordedAdapter):
    """A log with further texts: reports that were drawn, or written of a changed study."""

    def __init__(self, *, info: AdapterInfo, log: _Log, answers: RecordedAnswers) -> None:
        super().__init__(info=info, log=log)
        self.answers = answers

    def recall(self, posed: Sequence[Posed]) -> Said:
        """What the log holds for each; None where it holds nothing."""
        return self.answers.recall(posed)

    def holds(self, condition: str, *, report: bool) -> bool:
        """Whether the log holds any text under a condition."""
        return self.answers.holds(condition, report=report)

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """What was said of the studies as they are; a log does not know in what way a batch was changed."""
        asked = [""] * len(batch) if questions is None else questions
        condition, turn = ("plain", 0) if draw is None else ("sampled", draw.turn)
        return self.recall(
            [
                Posed(study_id=study, question=question, condition=condition, turn=turn)
                for study, question in zip(batch.study_ids, asked, strict=True)
            ]
        )


class RecordedSpeaker(RecordedTexts):
    """A log with answers to questions."""

    def answer(self, batch: StudyBatch, questions: Sequence[str]) -> npt.NDArray[np.object_]:
        """The recorded answer to each study's question, object [n]; None where there is none."""
        return self.say(batch, questions).text


ADAPTERS.register("recorded")(RecordedFactory())


@dataclass(frozen=True, kw_only=True)
class _Log:
    """Columns of a log, and the row of each study."""

    places: dict[str, int]
    scores: dict[str, npt.NDArray[np.float64]]
    decisions: dict[str, npt.NDArray[np.int8]]
    generated: npt.NDArray[np.object_] | None
    truncated: npt.NDArray[np.bool_] | None = None

    @classmethod
    def read(cls, path: Path) -> _Log:
        table = read_table(path, texts=("study_id", GENERATED))
        names = table.column_names
        if "study_id" not in names:
            raise bad_file(
                path,
                "The column study_id is missing.",
                "Name the column with the study's identifier study_id.",
                "study_id",
            )
        places: dict[str, int] = {}
        for row, study in enumerate(table.column("study_id").to_pylist()):
            if study is None or study == "":
                raise bad_file(path, "A study has no identifier.", "Fill in study_id.", "study_id", row + 1)
            if study in places:
                raise bad_file(
                    path, "A study is in the log twice.", "Keep one row for each study.", "study_id", row + 1
                )
            places[study] = row
        answers = [name for name in names if role_of(name) in ANSWERS]
        if not answers and GENERATED not in names:
            raise bad_file(
                path,
                "The log has no predictions.",
                "Name its columns score.<finding>, pred.<finding> or text.generated.",
                None,
            )
        return cls(
            places=places,
            scores={name: _scores(path, name, table.column(name)) for name in answers if name.startswith("score.")},
            decisions={
                name: _decisions(path, name, table.column(name)) for name in answers if name.startswith("pred.")
            },
            generated=np.array(table.column(GENERATED).to_pylist(), dtype=object) if GENERATED in names else None,
            truncated=_decisions(path, TRUNCATED, table.column(TRUNCATED)) == 1 if TRUNCATED in names else None,
        )


def _both(folder: Path) -> tuple[_Log, RecordedAnswers | None]:
    """The predictions and the answers of a folder; it must hold one of them at least."""
    file = find_one(folder, ANSWER_FILES, needed=False)
    answers = None if file is None else RecordedAnswers.read(file)
    predictions = find_one(folder, FILES, needed=answers is None)
    if predictions is None:
        return _Log(places={}, scores={}, decisions={}, generated=None), answers
    return _Log.read(predictions), answers


def _numbers(path: Path, name: str, column: Any) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise bad_file(
            path, "The column is not numeric.", "Write numbers, and nothing where there is no prediction.", name
        ) from error


def _scores(path: Path, name: str, column: Any) -> npt.NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _numbers(path, name, column)
    if pa.types.is_floating(column.type):
        undefined = np.flatnonzero(pc.fill_null(pc.is_nan(column), False).to_numpy())
        if len(undefined):
            raise bad_file(
                path,
                "A score is NaN.",
                "Leave the cell empty where the model gave no score.",
                name,
                int(undefined[0]) + 1,
            )
    wrong = np.flatnonzero((values < 0) | (values > 1) | np.isinf(values))
    if len(wrong):
        raise bad_file(
            path,
            "A score lies outside 0 to 1.",
            "Write probabilities, not logits or per cent.",
            name,
            int(wrong[0]) + 1,
        )
    if np.isnan(values).all():
        raise bad_file(path, "Every score is missing.", "Remove the column, or fill it in.", name)
    return values


def _decisions(path: Path, name: str, column: Any) -> npt.NDArray[np.int8]:
    values = _numbers(path, name, column)
    wrong = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
    if len(wrong):
        raise bad_file(
            path,
            "A decision is neither 0 nor 1.",
            "Write 1 for present, 0 for absent, nothing for none.",
            name,
            int(wrong[0]) + 1,
        )
    return np.where(np.isnan(values), -1, values).astype(np.int8)


def _pick(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], missing: Any) -> npt.NDArray[Any]:
    found = values[rows]
    found[rows < 0] = missing
    return found
