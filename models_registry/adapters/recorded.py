"""A prediction log: what a model said elsewhere. Every report on it says that no weights were run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, InferenceSettings, Predictions
from models_registry.cohorts.schema import ColumnRole, StudyBatch, role_of

FILES = ("predictions.parquet", "predictions.csv")
ANSWERS = (ColumnRole.SCORE, ColumnRole.PRED)
GENERATED = "text.generated"


class RecordedFactory:
    """Checks and loads a folder with one ``predictions.parquet`` or ``predictions.csv``."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the log holds, after every value in it was checked.

        Raises:
            AdapterError: no such file, no study ids, a study twice, no predictions, or a value out of range.
        """
        log = _Log.read(_find(folder))
        labels = sorted({name.partition(".")[2] for name in (*log.scores, *log.decisions)})
        capabilities = {Capability.CLASSIFY} if labels else set()
        return AdapterInfo(
            capabilities=frozenset(capabilities | ({Capability.GENERATE} if log.generated is not None else set())),
            labels=tuple(labels),
            outputs=(*sorted((*log.scores, *log.decisions)), *([GENERATED] if log.generated is not None else [])),
            modalities=(),
            required=(),
            runs_weights=False,
            details={"recorded_studies": len(log.places)},
        )

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> RecordedAdapter:
        return RecordedAdapter(info=self.inspect(folder), log=_Log.read(_find(folder)))


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
        )


ADAPTERS.register("recorded")(RecordedFactory())


@dataclass(frozen=True, kw_only=True)
class _Log:
    """Columns of a log, and the row of each study."""

    places: dict[str, int]
    scores: dict[str, npt.NDArray[np.float64]]
    decisions: dict[str, npt.NDArray[np.int8]]
    generated: npt.NDArray[np.object_] | None

    @classmethod
    def read(cls, path: Path) -> _Log:
        table = _table(path)
        names = table.column_names
        if "study_id" not in names:
            raise _bad(
                path,
                "The column study_id is missing.",
                "Name the column with the study's identifier study_id.",
                "study_id",
            )
        places: dict[str, int] = {}
        for row, study in enumerate(table.column("study_id").to_pylist()):
            if study is None or study == "":
                raise _bad(path, "A study has no identifier.", "Fill in study_id.", "study_id", row + 1)
            if study in places:
                raise _bad(path, "A study is in the log twice.", "Keep one row for each study.", "study_id", row + 1)
            places[study] = row
        answers = [name for name in names if role_of(name) in ANSWERS]
        if not answers and GENERATED not in names:
            raise _bad(
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
        )


def _find(folder: Path) -> Path:
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if len(found) != 1:
        raise AdapterError(
            f"The folder must hold one of {' and '.join(FILES)}; it holds {len(found)} of them.",
            remedy="Put the prediction log into a folder of its own under one of these names.",
            file=str(folder),
        )
    return found[0]


def _table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            with pa.parquet.ParquetFile(path) as file:
                table = file.read()
        else:
            texts = {"study_id": pa.string(), GENERATED: pa.string()}
            options = pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
            table = pa.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        told = str(error).splitlines()[0].replace(str(path), path.name)
        raise _bad(
            path, f"The file cannot be read: {told}", "Write it again as Parquet, or as CSV in UTF-8.", None
        ) from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise _bad(path, f"There are several columns {', '.join(twice)}.", "Keep one of each.", twice[0])
    if len(table) == 0:
        raise _bad(path, "The log has no study.", "Write it again with its rows.", None)
    return _with_text_ids(path, table)


def _with_text_ids(path: Path, table: Any) -> Any:
    import pyarrow as pa

    place = table.schema.get_field_index("study_id")
    if place < 0 or pa.types.is_string(table.schema.field(place).type):
        return table
    try:
        return table.set_column(place, "study_id", table.column(place).cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = table.schema.field(place).type
        raise _bad(
            path, f"The column has the type {kind}.", "Write identifiers as text or whole numbers.", "study_id"
        ) from error


def _numbers(path: Path, name: str, column: Any) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _bad(
            path, "The column is not numeric.", "Write numbers, and nothing where there is no prediction.", name
        ) from error


def _scores(path: Path, name: str, column: Any) -> npt.NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _numbers(path, name, column)
    if pa.types.is_floating(column.type):
        undefined = np.flatnonzero(pc.fill_null(pc.is_nan(column), False).to_numpy())
        if len(undefined):
            raise _bad(
                path,
                "A score is NaN.",
                "Leave the cell empty where the model gave no score.",
                name,
                int(undefined[0]) + 1,
            )
    wrong = np.flatnonzero((values < 0) | (values > 1) | np.isinf(values))
    if len(wrong):
        raise _bad(
            path,
            "A score lies outside 0 to 1.",
            "Write probabilities, not logits or per cent.",
            name,
            int(wrong[0]) + 1,
        )
    if np.isnan(values).all():
        raise _bad(path, "Every score is missing.", "Remove the column, or fill it in.", name)
    return values


def _decisions(path: Path, name: str, column: Any) -> npt.NDArray[np.int8]:
    values = _numbers(path, name, column)
    wrong = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
    if len(wrong):
        raise _bad(
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


def _bad(path: Path, message: str, remedy: str, column: str | None, row: int | None = None) -> AdapterError:
    return AdapterError(message, remedy=remedy, file=path.name, column=column, row=row)
