"""The peers of ``benchmarks.inference``: plain loops over a registered cohort's batches. Prints seconds by the clock,
then of processor time.

python -m benchmarks.inference_loop fusion|vit MODEL_FOLDER COHORT_FOLDER THREADS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.inference_subjects import PIXELS
from models_registry.adapters.base import InferenceSettings
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.cohorts.schema import StudyBatch

Step = Callable[[StudyBatch], Any]


def main() -> None:
    import torch

    kind, folder, cohort, threads = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if threads:
        torch.set_num_threads(threads)
    step, reader = LOOPS[kind](folder), open_cohort(cohort)
    with torch.inference_mode():
        for batch in list(reader.batches(reader.shards[0], batch_size=InferenceSettings().batch_size))[:3]:
            step(batch)  # warms up
        started, spent = time.perf_counter(), time.process_time()
        one_pass(step, reader)
    print(time.perf_counter() - started, time.process_time() - spent)


def one_pass(step: Step, reader: CohortReader) -> None:
    """Score every study of the cohort once, decoding each batch when it is needed."""
    for shard in reader.shards:
        for batch in reader.batches(shard, batch_size=InferenceSettings().batch_size):
            step(batch)


def fusion(folder: Path) -> Step:
    """The reference model as its own library loads it."""
    import torch

    from models_registry.reference.model import AuscultFusionModel
    from models_registry.reference.preprocessing import Preprocessor

    model = AuscultFusionModel.from_pretrained(folder, local_files_only=True).eval()
    preprocess = Preprocessor.load(folder)

    def step(batch: StudyBatch) -> Any:
        tensors = {name: torch.from_numpy(values) for name, values in preprocess(batch).items()}
        return torch.sigmoid(model(**tensors).logits).double().numpy()

    return step


def vit(folder: Path) -> Step:
    """A vision transformer as transformers loads it, run eagerly on the studies that have a picture."""
    import torch
    from transformers import ViTForImageClassification

    from models_registry.adapters.pixels import PixelPlan

    model = ViTForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    plan = PixelPlan.read(PIXELS)

    def step(batch: StudyBatch) -> Any:
        images = [image for image in batch.images if image is not None]
        return torch.sigmoid(model(pixel_values=torch.from_numpy(plan(images))).logits).double().numpy()

    return step


LOOPS: dict[str, Callable[[Path], Step]] = {"fusion": fusion, "vit": vit}

if __name__ == "__main__":
    main()
