"""From a batch of studies to arrays of fixed shapes. What is learned from training data is kept in one JSON file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.cohorts.schema import StudyBatch

FILE = "preprocessing.json"
WORD = re.compile(r"[a-z]+|[0-9]+")
REPORT_WORD = re.compile(r"[a-z]+|[0-9]+|[.,:;]")
LARGEST_VOCABULARY = 8000
UNKNOWN_WORD = 1
FIRST_WORD = 2
HOURS = 72.0
"""Times are divided by this, so that three days before the study is -1."""

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """Everything that decides how a study becomes numbers.

    Attributes:
        text: Name of the text field that the model reads; never a report, which would tell the findings.
        report: Name of the text field that the decoder learned to write; empty where there was none. It is never read
            when a study is scored.
        vocabulary: Words of both in the order of their numbers, which begin at 2 (0 is no word, 1 an unknown one);
            punctuation of reports is among them.
        series: Name -> mean and standard deviation of its values in training.
        categorical: Covariate -> its categories in the order of their numbers, which begin at 1 (0 is unknown).
        numeric: Covariate -> mean, standard deviation, and the lowest and highest value that is believed.
    """

    image_size: int
    text: str
    text_length: int
    report: str
    report_length: int
    vocabulary: tuple[str, ...]
    series: dict[str, tuple[float, float]]
    series_length: int
    categorical: dict[str, tuple[str, ...]]
    numeric: dict[str, tuple[float, float, float, float]]

    def __call__(self, batch: StudyBatch) -> Arrays:
        """Arrays of a batch of n studies.

        Returns:
            ``pixels`` float32 [n, 1, size, size], ``has_image`` bool [n], ``words`` int64 [n, text_length],
            ``points`` float32 [n, series, series_length, 3] of (time, value, change), ``has_points`` bool,
            ``categories`` int64 [n, categorical], ``numbers`` float32 and ``has_numbers`` bool [n, numeric].
        """
        return {**self._images(batch), **self._words(batch), **self._points(batch), **self._covariates(batch)}

    @classmethod
    def learn(
        cls, batches: Iterable[StudyBatch], *, image_size: int, text: str, report: str, series: Sequence[str],
        categorical: Sequence[str], numeric: Sequence[str], text_length: int = 32, report_length: int = 48,
        series_length: int = 12,
    ) -> Preprocessor:  # fmt: skip
        """Collect words, categories and scales from training batches. Words seen once are left out, and so are the
        rarest of more than 8,000.

        Names are kept in alphabetical order: it is their place that the model learns, and JSON files do not
        promise any other order.
        """
        series, categorical, numeric = sorted(series), sorted(categorical), sorted(numeric)
        words: Counter[str] = Counter()
        categories: dict[str, set[str]] = {name: set() for name in categorical}
        values: dict[str, list[float]] = {name: [] for name in (*series, *numeric)}
        for batch in batches:
            for name, pattern in ((text, WORD), (report, REPORT_WORD)):
                words.update(
                    word for note in batch.texts.get(name, []) if note for word in pattern.findall(note.lower())
                )
            for name in categorical:
                categories[name] |= {str(value) for value in batch.covariates.get(name, []) if value is not None}
            for name in numeric:
                values[name] += [float(value) for value in batch.covariates.get(name, []) if value is not None]
            for name in series:
                for points in batch.series.get(name, []):
                    values[name] += [] if points is None else points[:, 1].tolist()
        return cls(
            image_size=image_size,
            text=text,
            text_length=text_length,
            report=report,
            report_length=report_length if report else 0,
            vocabulary=_vocabulary(words),
            series={name: _scale(values[name]) for name in series},
            series_length=series_length,
            categorical={name: tuple(sorted(categories[name])) for name in categorical},
            numeric={name: (*_scale(values[name]), 0.0, 120.0) for name in numeric},
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads, as column names of a cohort."""
        return (
            "image",
            f"text.{self.text}",
            *(f"series.{name}" for name in self.series),
            *self.categorical,
            *self.numeric,
        )

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Preprocessor:
        """Read ``preprocessing.json``.

        Raises:
            AdapterError: it is missing or not what it should be.
        """
        try:
            body = json.loads((folder / FILE).read_text())
            body["vocabulary"] = tuple(body["vocabulary"])
            for name in ("series", "categorical", "numeric"):
                body[name] = {key: tuple(value) for key, value in body[name].items()}
            return cls(**body)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AdapterError(
                f"{FILE} is missing or cannot be read: {error}.",
                remedy="Register the folder as the training wrote it.",
                file=str(folder / FILE),
            ) from error

    def _images(self, batch: StudyBatch) -> Arrays:
        present = np.array([image is not None for image in batch.images], bool)
        return {"pixels": scaled_pixels(grey_pixels(batch, self.image_size), present), "has_image": present}

    def _words(self, batch: StudyBatch) -> Arrays:
        return {"words": self._numbers(batch.texts.get(self.text, [None] * len(batch)), WORD, self.text_length)}

    def read_reports(self, batch: StudyBatch) -> npt.NDArray[np.int64]:
        """Word numbers of the reports of a training batch, int64 [n, report_length]; all 0 where there is none."""
        return self._numbers(batch.texts.get(self.report, [None] * len(batch)), REPORT_WORD, self.report_length)

    def spell(self, words: npt.NDArray[np.int64]) -> str:
        """Word numbers as a text: sentences begin with a capital, and nothing stands before a full stop."""
        said = [self.vocabulary[word - FIRST_WORD] for word in words.tolist() if word >= FIRST_WORD]
        text = "".join(word if word in ".,:;" else f" {word}" for word in said).strip()
        return re.sub(r"(^|\. )([a-z])", lambda found: found[1] + found[2].upper(), text)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.vocabulary, start=FIRST_WORD)}

    def _numbers(self, notes: Sequence[str | None], pattern: re.Pattern[str], length: int) -> npt.NDArray[np.int64]:
        found = np.zeros((len(notes), length), np.int64)
        for place, note in enumerate(notes):
            known = [self._places.get(word, UNKNOWN_WORD) for word in pattern.findall((note or "").lower())][:length]
            found[place, : len(known)] = known
        return found

    def _points(self, batch: StudyBatch) -> Arrays:
        points = np.zeros((len(batch), len(self.series), self.series_length, 3), np.float32)
        present = np.zeros(points.shape[:3], bool)
        for column, (name, (mean, deviation)) in enumerate(self.series.items()):
            for row, values in enumerate(batch.series.get(name, [None] * len(batch))):
                if values is None or not len(values):
                    continue
                kept = values[-self.series_length :]
                scaled = (kept[:, 1] - mean) / deviation
                points[row, column, : len(kept), 0] = kept[:, 0] / HOURS
                points[row, column, : len(kept), 1] = scaled
                points[row, column, 1 : len(kept), 2] = np.diff(scaled)
                present[row, column, : len(kept)] = True
        return {"points": points, "has_points": present}

    def _covariates(self, batch: StudyBatch) -> Arrays:
        categories = np.zeros((len(batch), len(self.categorical)), np.int64)
        numbers = np.zeros((len(batch), len(self.numeric)), np.float32)
        present = np.zeros(numbers.shape, bool)
        for column, (name, known) in enumerate(self.categorical.items()):
            places = {value: place for place, value in enumerate(known, start=1)}
            for row, value in enumerate(batch.covariates.get(name, [None] * len(batch))):
                categories[row, column] = places.get(str(value), 0)
        for column, (name, (mean, deviation, low, high)) in enumerate(self.numeric.items()):
            for row, value in enumerate(batch.covariates.get(name, [None] * len(batch))):
                if value is not None and low <= float(value) <= high:
                    numbers[row, column] = (float(value) - mean) / deviation
                    present[row, column] = True
        return {"categories": categories, "numbers": numbers, "has_numbers": present}


def _vocabulary(words: Counter[str]) -> tuple[str, ...]:
    often = sorted((word for word, count in words.items() if count > 1), key=lambda word: (-words[word], word))
    return tuple(sorted(often[:LARGEST_VOCABULARY]))


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; 0 and 1 where there is nothing to scale by."""
    finite = np.asarray([value for value in values if np.isfinite(value)])
    if not len(finite):
        return 0.0, 1.0
    return float(finite.mean()), float(finite.std()) or 1.0


def grey_pixels(batch: StudyBatch, size: int) -> npt.NDArray[np.uint8]:
    """The pictures of a batch, uint8 [n, 1, size, size]; 0 where there is none."""
    pixels = np.zeros((len(batch), 1, size, size), np.uint8)
    for place, image in enumerate(batch.images):
        if image is not None:
            pixels[place, 0] = _grey(image, size)
    return pixels


def scaled_pixels(pixels: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Grey values as the model takes them, about -2 to 2; exactly 0 for a study without a picture."""
    scaled = (pixels.astype(np.float32) - 127.5) / 64.0
    scaled[~present] = 0.0
    return scaled


def _grey(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """One channel, ``size`` by ``size``. A picture that has this size already is taken as it is."""
    if image.ndim == 2 and image.shape == (size, size):
        return image
    from PIL import Image

    picture = Image.fromarray(image).convert("L").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8)
