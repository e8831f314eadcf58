"""What each modality gives the reference model, and what low-rank adaptation gives a head, on simulated patients.

One backbone is pretrained on a cohort without its labels; then a light head is put on it for each of three tasks. Each
is asked about other patients with everything shown, with each modality alone, and with each left out. Fusion is set
beside a head that was trained on the image alone. Intervals are percentiles of bootstrap replicates that draw patients.

python -m benchmarks.modalities [--json] [--patients 2000] [--held-out 2200] [--small] [--threads 1]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.result import Target, publish
from models_registry.reference.settings import TrainingSettings
from models_registry.reference.studies import Studies, read_studies

GROUPS = ("image", "text", "series", "demographics")
REPLICATES = 500
TRAINING_SEED, HELD_OUT_SEED = 31, 32
Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=2200)
    parser.add_argument("--small", action="store_true", help="the setting of the demo: a third of the pretraining")
    parser.add_argument("--threads", type=int, default=TrainingSettings().threads)
    arguments = parser.parse_args()
    settings = TrainingSettings.small() if arguments.small else TrainingSettings()
    settings = replace(settings, kind="backbone", threads=arguments.threads)
    with tempfile.TemporaryDirectory() as home:
        targets, facts = measure(
            Path(home), settings=settings, patients=arguments.patients, held_out=arguments.held_out
        )
    publish(targets, as_json=arguments.json, facts=facts)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task with its labels, and the studies to train on and to ask about."""

    name: str
    labels: list[str]
    training: Studies
    held_out: Studies
    patients: npt.NDArray[np.int64]


def measure(
    home: Path, *, settings: TrainingSettings, patients: int, held_out: int
) -> tuple[list[Target], dict[str, Any]]:
    """Pretrain once, fit heads, and compare."""
    import torch

    from models_registry.reference.pretraining import build_backbone, pretrain

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tell(f"Simulating {patients} and {held_out} patients")
    preprocess, tasks = simulated_tasks(home, settings, patients=patients, held_out=held_out)
    backbone = build_backbone(preprocess, settings)
    (losses, cost) = timed(lambda: pretrain(backbone, tasks[0].training, settings, tell=silent))
    tell(f"Pretraining: {cost}")
    facts: dict[str, Any] = {
        "studies_training": len(tasks[0].training),
        "studies_held_out": len(tasks[0].held_out),
        "parameters": sum(value.numel() for value in backbone.parameters()),
        "pretraining": cost | {"epochs": settings.epochs, "losses": losses},
    }
    targets = []
    for task in tasks:
        facts[task.name], gain = contributions(backbone, task, replace(settings, kind="head"))
        tell(f"{task.name}: {facts[task.name]}")
        targets.append(
            Target(
                name=f"AUROC of fusion less that of a head trained on the image alone, {task.name}: lower end (95 %)",
                value=gain,
                unit="",
                op=">=",
                goal=0.0,
                peer="the same backbone and head, image alone",
            )
        )
    return targets, facts


def simulated_tasks(home: Path, settings: TrainingSettings, *, patients: int, held_out: int) -> tuple[Any, list[Task]]:
    """A training cohort and a held-out one of other patients, with the labels of all tasks."""
    from models_registry.cohorts import convert_cohort, open_cohort
    from models_registry.reference.studies import labels_of
    from synthetic.simulator import TASKS, SimulatorSettings, simulate_cohort

    readers = []
    for seed, count in ((TRAINING_SEED, patients), (HELD_OUT_SEED, held_out)):
        file = simulate_cohort(
            SimulatorSettings(patients=count, seed=seed, tasks=tuple(TASKS)), home / f"{seed}.parquet"
        )
        convert_cohort(file, mapping=None, destination=home / str(seed))
        readers.append(open_cohort(home / str(seed)))
    labels = labels_of(readers[0], ())
    preprocess, training, _ = read_studies(readers[0], labels=labels, settings=settings, preprocess=None, tell=silent)
    _, *parts = read_studies(readers[1], labels=labels, settings=settings, preprocess=preprocess, tell=silent)
    asked = joined(*parts)  # nothing is chosen on held-out patients, so none are set aside
    return preprocess, [
        Task(
            name=name,
            labels=list(names),
            training=with_labels(training, labels, names),
            held_out=with_labels(asked, labels, names),
            patients=patients_of(readers[1], settings),
        )
        for name, names in TASKS.items()
    ]


def contributions(backbone: Any, task: Task, settings: TrainingSettings) -> tuple[dict[str, Any], float]:
    """AUROC of a task by what is shown, of an image-only head, and of the other way to fit a head."""
    from models_registry.reference.heads import fit_head

    def fitted(data: Studies, **changes: Any) -> tuple[Any, dict[str, Any]]:
        head, cost = timed(lambda: fit_head(backbone, task.labels, data, replace(settings, **changes), tell=silent))
        return head.model, cost | {"trained": head.trained}

    frozen, cost = fitted(task.training)
    shown = {"all": frozenset(GROUPS)}
    shown |= {f"{name} alone": frozenset({name}) for name in GROUPS}
    shown |= {f"without {name}": frozenset(GROUPS) - {name} for name in GROUPS}
    scores = {name: asked(frozen, task.held_out, kept) for name, kept in shown.items()}
    alone, _ = fitted(keeping(task.training, {"image"}), modality_dropout=0.0)
    image = asked(alone, task.held_out, {"image"})
    adapted, lora_cost = fitted(task.training, method="lora")
    lora = asked(adapted, task.held_out, GROUPS)
    gain = interval(task, scores["all"], image)
    facts = {
        "auroc": {name: rounded(macro(values, task.held_out.labels)) for name, values in scores.items()},
        "auroc_by_label": dict(zip(task.labels, map(rounded, areas(scores["all"], task.held_out.labels)), strict=True)),
        "image_trained_alone": rounded(macro(image, task.held_out.labels)),
        "fusion_less_image": {"estimate": rounded(gain[0]), "interval": [rounded(gain[1]), rounded(gain[2])]},
        "frozen": cost,
        "lora": lora_cost
        | {"auroc": rounded(macro(lora, task.held_out.labels))}
        | {"less_frozen": [rounded(value) for value in interval(task, lora, scores["all"])]},
    }
    return facts, gain[1]


def keeping(data: Studies, groups: Collection[str]) -> Studies:
    """The studies with these groups of modalities alone."""
    arrays = dict(data.arrays)
    if "image" not in groups:
        arrays["has_image"] = np.zeros_like(arrays["has_image"])
    if "text" not in groups:
        arrays["words"] = np.zeros_like(arrays["words"])
    if "series" not in groups:
        arrays["has_points"] = np.zeros_like(arrays["has_points"])
    if "demographics" not in groups:
        arrays["categories"] = np.zeros_like(arrays["categories"])
        arrays["has_numbers"] = np.zeros_like(arrays["has_numbers"])
    return replace(data, arrays=arrays)


def with_labels(data: Studies, labels: list[str], wanted: Collection[str]) -> Studies:
    return replace(data, labels=data.labels[:, [labels.index(name) for name in wanted]])


def patients_of(reader: Any, settings: TrainingSettings) -> npt.NDArray[np.int64]:
    """Numbers of the patients of the studies that are asked about, in their order."""
    from models_registry.reference.studies import in_validation

    names = [str(name) for shard in reader.shards for name in reader.reference(shard).patient_ids]
    names.sort(key=lambda name: in_validation(name, settings.validation_share))  # stable, as the studies were joined
    return np.unique(names, return_inverse=True)[1]


def joined(one: Studies, other: Studies) -> Studies:
    """The studies of both."""
    return Studies(
        arrays={name: np.concatenate([values, other.arrays[name]]) for name, values in one.arrays.items()},
        pictures=np.concatenate([one.pictures, other.pictures]),
        reports=np.concatenate([one.reports, other.reports]),
        labels=np.concatenate([one.labels, other.labels]),
    )


def asked(model: Any, data: Studies, groups: Collection[str]) -> Floats:
    """Scores [n, labels] with these groups shown."""
    from models_registry.reference.heads import score

    return score(model, keeping(data, groups))


def interval(task: Task, one: Floats, other: Floats) -> tuple[float, float, float]:
    """Difference of the macro AUROCs of two models, with the 95 % percentile interval over patients."""
    rng = np.random.default_rng(20)
    truth, count = task.held_out.labels, int(task.patients.max()) + 1
    found = []
    for _ in range(REPLICATES):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[task.patients].astype(float)
        found.append(macro(one, truth, weight) - macro(other, truth, weight))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return macro(one, truth) - macro(other, truth), float(low), float(high)


def macro(scores: Floats, truth: npt.NDArray[np.float32], weight: Floats | None = None) -> float:
    """Mean of the area under the ROC curve over the labels that have one; NaN where none has."""
    found = [area for area in areas(scores, truth, weight) if area == area]
    return float(np.mean(found)) if found else float("nan")


def areas(scores: Floats, truth: npt.NDArray[np.float32], weight: Floats | None = None) -> list[float]:
    """Area under the ROC curve of each label: the share of weighted pairs in the right order, ties at half.

    NaN for a label of which there are no positives or no negatives: a replicate may draw none of a rare disease.
    """
    weight = np.ones(len(scores)) if weight is None else weight
    found = []
    for column in range(scores.shape[1]):
        order = np.argsort(scores[:, column], kind="stable")
        values, hit = scores[order, column], truth[order, column] == 1
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        positive = np.add.reduceat(weight[order] * hit, starts)
        negative = np.add.reduceat(weight[order] * ~hit, starts)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        found.append(float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan"))
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What a function gives, and its seconds: of the clock, and of the processor over all threads."""
    clock, cpu = time.monotonic(), cpu_seconds()
    result = work()
    return result, {"seconds": round(time.monotonic() - clock, 1), "cpu_seconds": round(cpu_seconds() - cpu, 1)}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rounded(value: float) -> float | None:
    return round(value, 4) if value == value else None


def silent(_share: float, _message: str) -> None:
    return None


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
