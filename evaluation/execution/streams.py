"""Reads what is watched for drift off the studies of a share, batch by batch, through the model where it is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams
from evaluation.engine.protocol import Drift
from evaluation.engine.protocol_drift import Contradiction
from evaluation.execution import stream_columns, stream_encoder, stream_images, stream_texts
from evaluation.execution.ahead import feed
from evaluation.execution.batches import Batches
from evaluation.execution.changed import alone
from evaluation.execution.devices import decodes_inline
from evaluation.execution.stream_columns import values_of
from evaluation.execution.stream_plan import GENERATED, VERSUS, StreamPlan, is_asked, plan_streams, watched_columns
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ShardRef, StudyBatch

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Told = Callable[[int], None]
CONTRADICTED, CONSISTENT = "contradicted", "consistent"
SERIES = {"median": stream_columns.medians, "count": stream_columns.counts, "rate": stream_columns.rates}


def read_streams(
    rules: Rules,
    reader: CohortReader,
    part: ShardRef,
    found: Predictions,
    *,
    adapter: Callable[[], ModelAdapter] | None,
    frame: DriftFrame | None,
    batch_size: int = 64,
    after_batch: Told = lambda done: None,
) -> StudyStreams:
    """What is watched of the studies of a share, in the order of the share. Memory is bounded by the batch.

    Args:
        found: The model's predictions for the share.
        adapter: Gives the model; called only where a stream is asked of it. None where there is none.
        frame: Of the reference, which says what is read; None to read what this share itself allows.
        batch_size: Studies with decoded images that are held at once, at most.
        after_batch: Told how many studies are done. What it raises ends the reading.

    Raises:
        AdapterError: as the adapter's ``embed`` and ``predict``; or one study alone does not fit the device.
    """
    plan = StreamPlan.of_frame(frame) if frame is not None else _plan_of(rules, reader, part, adapter)
    job = StreamJob(rules=rules, plan=plan, found=found, adapter=adapter, batch_size=batch_size)
    source = studies_of(reader, part, images=plan.needs_images, batch_size=batch_size)
    with feed(source, size=_bytes, inline=decodes_inline()) as ahead:
        return job.read(iter(ahead), after_batch)


def _bytes(batch: StudyBatch) -> int:
    return sum(image.nbytes for image in batch.images if image is not None)


def _plan_of(
    rules: Rules, reader: CohortReader, part: ShardRef, adapter: Callable[[], ModelAdapter] | None
) -> StreamPlan:
    columns = reader.manifest.columns
    wanted = [name for name in watched_columns(rules, columns) if name in columns]
    table = reader.table(part, wanted)
    covariates = {name: table.column(name).to_pylist() for name in wanted}
    declared = adapter().info.to_dict() if adapter is not None else {}
    return plan_streams(rules, columns, covariates, declared=declared)


def studies_of(
    reader: CohortReader, part: ShardRef, *, images: bool, batch_size: int, rows: Sequence[int] | None = None
) -> Generator[StudyBatch]:
    """Studies of a share in its order, images decoded only where they are wanted.

    Args:
        rows: Places of the studies, rising; all of them when None.
    """
    columns = reader.manifest.columns
    if images and "image" in columns:
        if rows is None:
            yield from reader.batches(part, batch_size=batch_size)
            return
        for start in range(0, len(rows), batch_size):
            yield reader.studies(part, rows[start : start + batch_size])
        return
    # Without images a share is small: it is read at once.
    some = range(part.n_studies) if rows is None else rows
    if len(some):
        yield reader.studies(part, some, columns=[name for name in columns if name != "image"])


@dataclass(frozen=True, kw_only=True)
class StreamJob:
    """Reads the streams of a plan. Use it once.

    Attributes:
        found: The model's predictions of at least these studies; of none while a frame is being fitted.
    """

    rules: Rules
    plan: StreamPlan
    found: Predictions
    adapter: Callable[[], ModelAdapter] | None
    batch_size: int
    _made: dict[str, list[Array]] = field(default_factory=lambda: defaultdict(list))

    def read(self, batches: Iterator[StudyBatch], after_batch: Told = lambda done: None) -> StudyStreams:
        """The streams of all batches together."""
        done = 0
        for batch in batches:
            for name, values in self._read(batch).items():
                self._made[name].append(values)
            done += len(batch)
            after_batch(done)
        shapes = {spec.name: spec.shape for spec in self.plan.read}
        joined = {name: np.concatenate(parts) for name, parts in self._made.items()}
        return StudyStreams(
            specs=self.plan.specs,
            numbers={name: values for name, values in joined.items() if shapes[name] is Shape.NUMBER},
            categories={name: values for name, values in joined.items() if shapes[name] is Shape.CATEGORY},
            vectors={name: values for name, values in joined.items() if shapes[name] is Shape.VECTOR},
            frame=self.plan.frame,
            why_not=dict(self.plan.why_not),
        )

    def _read(self, batch: StudyBatch) -> dict[str, Array]:
        made: dict[str, Array] = {}
        by_modality: dict[str, list[StreamSpec]] = defaultdict(list)
        for spec in self.plan.read:
            if is_asked(spec, self._drift):
                continue
            if spec.family is Family.MASK:
                made[spec.name] = stream_columns.masks(batch, spec.modality.split(stream_columns.JOIN))
            elif spec.family is not Family.CONCORDANCE:
                by_modality[spec.modality].append(spec)
        for modality, specs in by_modality.items():
            made |= self._of_modality(batch, modality, specs)
        for rule in self._drift.contradictions:
            name = f"concordance:{rule.finding}~{rule.series}"
            if any(spec.name == name for spec in self.plan.read):
                made[name] = self._contradicted(batch, rule)
        return made | self._asked(batch)

    def _of_modality(self, batch: StudyBatch, modality: str, specs: Sequence[StreamSpec]) -> dict[str, Array]:
        """Streams that need no model, of one modality or column."""
        head, _, name = modality.partition(".")
        if modality == "image":
            return self._of_images(batch, specs)
        if head == "text" and name:
            return self._of_texts(batch, modality, {spec.name.rpartition(":")[2] for spec in specs})
        values = values_of(batch, modality)
        if head == "series" and name:
            return {spec.name: SERIES[spec.name.rpartition(":")[2]](values) for spec in specs}
        numeric = specs[0].shape is Shape.NUMBER
        return {modality: stream_columns.numbers_of(values) if numeric else stream_columns.categories_of(values)}

    def _of_images(self, batch: StudyBatch, specs: Sequence[StreamSpec]) -> dict[str, Array]:
        made: dict[str, Array] = {}
        wanted = {spec.name.rpartition(":")[2] for spec in specs}
        if "thumbnail" in wanted:
            made["image:thumbnail"] = stream_images.likenesses(batch.images)
        quality = [stream_images.quality_of(image) for image in batch.images]
        for what in sorted(wanted - {"thumbnail"}):
            made[f"image:{what}"] = np.array([one[what] for one in quality], dtype=np.float64)
        return made

    def _of_texts(self, batch: StudyBatch, modality: str, wanted: set[str]) -> dict[str, Array]:
        from evaluation.engine.text.pairing import vocabulary_for

        texts = self._generated(batch) if modality == GENERATED else list(values_of(batch, modality))
        made: dict[str, Array] = {}
        if "length" in wanted:
            made["length"] = stream_texts.lengths(texts)
        if "oov" in wanted:
            patients, seed = np.array(batch.patient_ids, dtype=object), self.rules.seed
            made["oov"] = stream_texts.unknown_share(modality, texts, patients, self._known, seed=seed)
        if "sections" in wanted:
            made["sections"] = stream_texts.sections(texts, vocabulary_for(self.rules))
        if wanted & {"findings", "absent"}:
            made["findings"], made["absent"] = stream_texts.findings(texts, vocabulary_for(self.rules))
        if "embedding" in wanted:
            minilm = self._drift.text_encoder == "minilm"
            made["embedding"] = stream_encoder.encode(texts) if minilm else stream_texts.hashed_embedding(texts)
        return {f"{modality}:{what}": values for what, values in made.items() if what in wanted}

    def _asked(self, batch: StudyBatch) -> dict[str, Array]:
        """Streams that are asked of the model; each modality is embedded once."""
        specs = [spec for spec in self.plan.read if is_asked(spec, self._drift)]
        vectors: dict[str, Array] = {}

        def embedded(modality: str) -> Array:
            if modality not in vectors:
                vectors[modality] = self._model.embed(batch, modality)
            return vectors[modality]

        made: dict[str, Array] = {}
        for spec in specs:
            if spec.name == VERSUS:
                made[spec.name] = self._versus(batch)
            elif spec.shape is Shape.VECTOR:
                made[spec.name] = embedded(spec.modality)
            else:
                text = spec.name.removeprefix("concordance:image-")
                made[spec.name] = cosines(embedded("image"), embedded(text))
        return made

    def _versus(self, batch: StudyBatch) -> Floats:
        """Mean over the labels of |score with the image alone - score with texts alone|; NaN where a side is empty."""
        sides = [self._model.predict(alone(batch, kind)).scores for kind in ("image", "text")]
        labels = [name for name in self.rules.label_names if all(name in side for side in sides)]
        if not labels:
            return np.full(len(batch), np.nan)
        image, text = (np.stack([side[name] for name in labels]) for side in sides)
        gaps: Floats = np.abs(image - text).mean(axis=0)
        there = [image is not None for image in batch.images]
        said = [any(texts[row] for name, texts in batch.texts.items()) for row in range(len(batch))]
        return np.where(np.array(there) & np.array(said), gaps, np.nan)

    def _contradicted(self, batch: StudyBatch, rule: Contradiction) -> Array:
        """Whether the finding is predicted while the series lies out of range; None where either is missing."""
        predicted = self._predicted(batch, rule.finding)
        medians = stream_columns.medians(values_of(batch, f"series.{rule.series}"))
        low = rule.below if rule.below is not None else -np.inf
        high = rule.above if rule.above is not None else np.inf
        made = np.full(len(batch), None, dtype=object)
        known = (predicted >= 0) & ~np.isnan(medians)
        wrong = known & (predicted == 1) & ((medians < low) | (medians > high))
        made[known] = CONSISTENT
        made[wrong] = CONTRADICTED
        return made

    def _predicted(self, batch: StudyBatch, label: str) -> npt.NDArray[np.int8]:
        """1 predicted, 0 not, -1 unknown: by the protocol's threshold, else as the model decided."""
        rows = self._rows(batch)
        spec = next((item for item in self.rules.labels if item.name == label), None)
        threshold = spec.threshold if spec else None
        if threshold is not None and label in self.found.scores and len(rows):
            scores = self.found.scores[label][rows]
            return np.where(np.isnan(scores), -1, scores >= threshold.value).astype(np.int8)
        if label in self.found.decisions and len(rows):
            return self.found.decisions[label][rows]
        return np.full(len(batch), -1, dtype=np.int8)

    def _generated(self, batch: StudyBatch) -> list[str | None]:
        rows, texts = self._rows(batch), self.found.texts.get("generated")
        return [None] * len(batch) if texts is None or not len(rows) else list(texts[rows])

    def _rows(self, batch: StudyBatch) -> npt.NDArray[np.int64]:
        """Where the studies stand among the predictions; none where there are no predictions."""
        return np.array([self._place[study] for study in batch.study_ids] if self._place else [], dtype=np.int64)

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {study: row for row, study in enumerate(self.found.study_ids)}

    @cached_property
    def _known(self) -> Mapping[str, frozenset[int]]:
        return {name: frozenset(words) for name, words in self.plan.vocabularies.items()}

    @cached_property
    def _model(self) -> Batches:
        assert self.adapter is not None, "a stream is asked of a model, and there is none"
        model = self.adapter()
        return Batches(model, min(self.batch_size, getattr(model, "most_at_once", self.batch_size)))

    @property
    def _drift(self) -> Drift:
        return self.rules.drift or Drift()


def cosines(one: Array, two: Array) -> Floats:
    """Cosine of the angle between rows, float64 [n]; NaN where a row is missing or zero."""
    first, second = one.astype(np.float64), two.astype(np.float64)
    lengths = np.sqrt((first * first).sum(axis=1) * (second * second).sum(axis=1))
    return np.divide((first * second).sum(axis=1), lengths, out=np.full(len(first), np.nan), where=lengths > 0)
