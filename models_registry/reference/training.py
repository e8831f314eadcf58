"""Trains the reference model on a registered cohort: a backbone, a head on one, or both.

Equal cohort, backbone, settings, machine and number of threads give equal bytes: every draw is seeded, torch's
deterministic algorithms are on, and the number of threads is part of the settings. Another processor may round
differently.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import folder_manifest, manifest_digest, sha256_file
from core.errors import AdapterError
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.reference.cards import write_card
from models_registry.reference.checkpoint import (
    BACKBONE,
    CARD,
    THRESHOLDS,
    TRAINING,
    load_model,
    write_backbone_weights,
    write_head_weights,
    write_json,
)
from models_registry.reference.heads import FittedHead, fit_head, score
from models_registry.reference.preprocessing import Preprocessor
from models_registry.reference.pretraining import build_backbone, pretrain
from models_registry.reference.settings import TrainingResult, TrainingSettings
from models_registry.reference.studies import Progress, Studies, labels_of, read_augmentation, read_studies

__all__ = ["RECIPE", "TrainingResult", "TrainingSettings", "train_reference"]

RECIPE = "2"
"""Raised whenever equal settings would give other weights, so that an older training is not taken for an equal one."""

READ, PRETRAINED = 0.1, 0.8
"""How far a training is when the cohort has been read, and when the backbone has been pretrained."""


def train_reference(
    folder: Path,
    *,
    settings: TrainingSettings,
    destination: Path,
    backbone: Path | None = None,
    augmentation: Path | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train on the registered cohort in ``folder`` and write a checkpoint to ``destination``.

    The checkpoint is a folder, see :mod:`models_registry.reference.checkpoint`. It appears when it is complete.

    Args:
        backbone: The checkpoint that a head is put on; given where ``settings.kind`` is head, and nowhere else.
        augmentation: A second registered cohort whose studies are learnt from beside those of ``folder``. Words,
            scales, thresholds and figures of validation still come from the patients of ``folder`` alone.

    Raises:
        CohortError: a cohort lacks a label to learn, or has no patient for training or validation.
        AdapterError: the training was stopped; a backbone is missing, not wanted, or none.
    """
    started = time.monotonic()
    training = _Training(
        reader=open_cohort(folder),
        settings=settings,
        given=backbone,
        beside=open_cohort(augmentation) if augmentation else None,
        tell=_stoppable(progress, should_stop),
    )
    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _reproducible(settings):
            result = training.run(partial)
        partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return replace(result, seconds=round(time.monotonic() - started, 1))


class _Training:
    """One training, from the cohort to the folder of the checkpoint."""

    def __init__(
        self,
        *,
        reader: CohortReader,
        settings: TrainingSettings,
        given: Path | None,
        beside: CohortReader | None = None,
        tell: Progress,
    ) -> None:
        if (settings.kind == "head") != (given is not None):
            raise AdapterError(
                "A head is put on a backbone, and nothing else is.",
                remedy="Give a backbone for a training of the kind head, and none for another kind.",
            )
        self.reader, self.settings, self.given, self.tell = reader, settings, given, tell
        self.beside = beside
        self.labels = [] if settings.kind == "backbone" else labels_of(reader, settings.labels)

    def run(self, folder: Path) -> TrainingResult:
        """Train and write; the seconds are for the caller to fill."""
        preprocess = None if self.given is None else Preprocessor.load(self.given)
        preprocess, training, validation = read_studies(
            self.reader,
            labels=self.labels,
            settings=self.settings,
            preprocess=preprocess,
            tell=lambda share, message: self.tell(READ * share, message),
        )
        extra = self._augmentation(preprocess)
        training = training.joined(extra) if extra else training
        model, losses = self._backbone(preprocess, training)
        head = self._head(model, training)
        whole = head.model if head else model
        scores = score(whole, validation) if head else np.zeros((len(validation), 0))
        truth, named = validation.labels, list(enumerate(self.labels))
        folder.mkdir(parents=True)
        result = TrainingResult(
            parameters=_size(whole),
            trained=head.trained if head and self.given else _size(whole),
            seconds=0.0,
            epochs=self.settings.head_epochs if self.given else self.settings.epochs,
            n_training=len(training),
            n_validation=len(validation),
            n_augmentation=len(extra) if extra else 0,
            auroc={label: _auroc(scores[:, k], truth[:, k]) for k, label in named},
            thresholds={label: _threshold(scores[:, k], truth[:, k], self.settings) for k, label in named},
            losses=losses,
            backbone_digest=self._write_weights(model, head, folder),
        )
        self._describe(whole, preprocess, result, folder)
        return result

    def _augmentation(self, preprocess: Preprocessor) -> Studies | None:
        if self.beside is None:
            return None
        return read_augmentation(
            self.beside, labels=self.labels, preprocess=preprocess, tell=lambda share, message: self.tell(READ, message)
        )

    def _backbone(self, preprocess: Preprocessor, data: Studies) -> tuple[Any, dict[str, float]]:
        """The backbone that was given, or one that is pretrained now, with its losses."""
        if self.given is not None:
            model = load_model(self.given)
            if model.config.labels:
                raise AdapterError(
                    "A head is put on a backbone, and this checkpoint has a head already.",
                    remedy="Give the backbone itself: a version that a training of the kind backbone made.",
                )
            return model, {}
        model = build_backbone(preprocess, self.settings)
        end = 1.0 if self.settings.kind == "backbone" else PRETRAINED
        losses = pretrain(
            model, data, self.settings, tell=lambda share, message: self.tell(READ + (end - READ) * share, message)
        )
        return model, losses

    def _head(self, model: Any, data: Studies) -> FittedHead | None:
        if not self.labels:
            return None
        start = READ if self.given else PRETRAINED
        return fit_head(
            model,
            self.labels,
            data,
            self.settings,
            tell=lambda share, message: self.tell(start + (1 - start) * share, message),
        )

    def _write_weights(self, model: Any, head: FittedHead | None, folder: Path) -> str:
        """The files of weights; returns the digest of the backbone's, whose bytes stay those of the one given."""
        if head is not None:
            write_head_weights(head.model, head.additions, folder)
        if head is not None and self.settings.method == "full":
            return write_backbone_weights(head.model, folder)
        if self.given is None:
            return write_backbone_weights(model, folder)
        shutil.copyfile(self.given / BACKBONE, folder / BACKBONE)
        return sha256_file(folder / BACKBONE)

    def _describe(self, whole: Any, preprocess: Preprocessor, result: TrainingResult, folder: Path) -> None:
        """Everything but the weights. Nothing in it depends on when or where it was trained."""
        cohort = manifest_digest(folder_manifest(self.reader.folder))
        built_on = sha256_file(self.given / BACKBONE) if self.given else ""
        beside = manifest_digest(folder_manifest(self.beside.folder)) if self.beside else ""
        added = {"augmentation_digest": beside, "n_augmentation": result.n_augmentation} if beside else {}
        whole.config.save_pretrained(folder)
        preprocess.save(folder)
        if self.labels:
            source = (
                f"sensitivity {self.settings.sensitivity} on {result.n_validation} validation studies of other patients"
            )
            write_json(folder / THRESHOLDS, {"source": source, "values": result.thresholds})
        write_json(
            folder / TRAINING,
            {
                "settings": self.settings.to_dict(),
                "cohort_digest": cohort,
                "cohort_source_digest": self.reader.manifest.source_digest,
                "built_on": built_on,
                "n_training": result.n_training,
                "n_validation": result.n_validation,
                "parameters_trained": result.trained,
                "losses": result.losses,
                "auroc_validation": result.auroc,
                **added,
            },
        )
        card = write_card(
            result=result,
            preprocess=preprocess,
            settings=self.settings,
            cohort_digest=cohort,
            augmentation_digest=beside,
            built_on=built_on,
        )
        (folder / CARD).write_text(card)


def _stoppable(progress: Progress | None, should_stop: Callable[[], bool]) -> Progress:
    """Progress that raises as soon as the training is to stop: it is told at every step."""

    def tell(share: float, message: str) -> None:
        if should_stop():
            raise AdapterError("The training was stopped.", remedy="Request it again.")
        if progress is not None:
            progress(share, message)

    return tell


@contextmanager
def _reproducible(settings: TrainingSettings) -> Iterator[None]:
    """Seeds, threads and deterministic algorithms of one training, and what was before it afterwards.

    A worker that trains goes on to run audits in the same process: those must not depend on it.
    """
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(settings.threads)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(settings.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def _size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _threshold(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float32], settings: TrainingSettings) -> float:
    """The highest score at which at least ``sensitivity`` of the validation positives are called; .5 without any."""
    positives = np.sort(scores[truth == 1])[::-1]
    if not len(positives):
        return 0.5
    return float(positives[int(np.ceil(settings.sensitivity * len(positives))) - 1])


def _auroc(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float32]) -> float | None:
    """Area under the ROC curve by ranks, ties at half: Mann and Whitney (1947)."""
    from scipy.stats import rankdata

    known = ~np.isnan(truth)
    ranks, hits = rankdata(scores[known]), truth[known] == 1
    n1, n0 = int(hits.sum()), int((~hits).sum())
    if not n1 or not n0:
        return None
    return round(float((ranks[hits].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)), 4)
