"""The peer of ``benchmarks.inference``: a plain loop over a registered cohort's batches. Prints studies per second.

python -m benchmarks.inference_loop MODEL_FOLDER COHORT_FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from models_registry.adapters.base import InferenceSettings
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.reference.preprocessing import Preprocessor


def main() -> None:
    import torch

    from models_registry.reference.model import AuscultFusionModel

    folder, reader = Path(sys.argv[1]), open_cohort(Path(sys.argv[2]))
    model = AuscultFusionModel.from_pretrained(folder, local_files_only=True).eval()
    preprocess = Preprocessor.load(folder)
    with torch.inference_mode():
        one_pass(model, preprocess, reader)  # warms up
        started = time.perf_counter()
        studies = one_pass(model, preprocess, reader)
    print(studies / (time.perf_counter() - started))


def one_pass(model: Any, preprocess: Preprocessor, reader: CohortReader) -> int:
    """Score every study of the cohort once; returns how many there were."""
    import torch

    studies = 0
    for shard in reader.shards:
        for batch in reader.batches(shard, batch_size=InferenceSettings().batch_size):
            tensors = {name: torch.from_numpy(values) for name, values in preprocess(batch).items()}
            torch.sigmoid(model(**tensors).logits).double().numpy()
            studies += len(batch)
    return studies


if __name__ == "__main__":
    main()
