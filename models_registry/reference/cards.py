"""The model card that a training writes: what was trained, on what, how well it did, and what it is not for."""

from __future__ import annotations

from models_registry.reference.preprocessing import Preprocessor
from models_registry.reference.settings import TrainingResult, TrainingSettings

NOT_FOR_PATIENTS = (
    "A test subject of the Auscult platform. It is not a medical device and must not be used on patients."
)


def write_card(
    *,
    result: TrainingResult,
    preprocess: Preprocessor,
    settings: TrainingSettings,
    cohort_digest: str,
    augmentation_digest: str = "",
    built_on: str,
) -> str:
    """README.md: front matter that other tools read, then words.

    Args:
        cohort_digest: Of the registered cohort that it was trained on.
        augmentation_digest: Of the cohort that was learnt from beside; empty where there was none.
        built_on: SHA-256 of the weights of the backbone that a head was put on; empty where there was none before.
    """
    matter = [
        "library_name: transformers",
        "license: apache-2.0",
        "language: en",
        "tags: [medical, multimodal, auscult]",
    ]
    matter += [f"base_model: sha256:{built_on}"] if built_on else []
    data = ", ".join(f"sha256:{digest}" for digest in (cohort_digest, augmentation_digest) if digest)
    matter += [f"datasets: [{data}]", f"training_cohort: {cohort_digest}"]
    matter += [f"augmentation_cohort: {augmentation_digest}"] if augmentation_digest else []
    matter += [f"compute: CPU, {settings.threads} thread{'s' if settings.threads > 1 else ''}, float32"]
    body = (
        _backbone(result, preprocess, settings) if settings.kind == "backbone" else _head(result, preprocess, settings)
    )
    said = _augmented(result) if augmentation_digest else []
    parts = ["---", *matter, "---", *body, *said, "## Limits", NOT_FOR_PATIENTS]
    return "\n".join(parts) + "\n"


def _backbone(result: TrainingResult, preprocess: Preprocessor, settings: TrainingSettings) -> list[str]:
    writes = f"It writes a report, learned from text.{preprocess.report}." if preprocess.report else ""
    return [
        "# Auscult reference backbone",
        f"{result.parameters:,} parameters. Reads {', '.join(preprocess.modalities)}; any of them may be missing.",
        f"Pretrained without labels on {result.n_training:,} studies for {result.epochs} epochs. {writes}".strip(),
        "",
        "## Intended use",
        "Light heads are put on it, each for a task of its own. By itself it scores nothing.",
        "",
        "## Training",
        f"Cohort: as named by digest above. Objectives in the last epoch: {_listed(result.losses)}.",
        "",
    ]


def _head(result: TrainingResult, preprocess: Preprocessor, settings: TrainingSettings) -> list[str]:
    rows = [
        f"| {label} | {'-' if area is None else f'{area:.3f}'} | {result.thresholds[label]:.3f} |"
        for label, area in result.auroc.items()
    ]
    return [
        "# Auscult reference multimodal model",
        f"{result.parameters:,} parameters, of which {result.trained:,} were trained for these labels"
        f" (method {settings.method}). Reads {', '.join(preprocess.modalities)}; any of them may be missing.",
        "",
        "## Intended use",
        f"Scores {', '.join(result.auroc)}, to try out audits of multimodal models.",
        "",
        "## Training",
        f"{result.n_training:,} studies, {settings.head_epochs} epochs; validated on {result.n_validation:,} studies of"
        f" other patients, on which each threshold reaches a sensitivity of {settings.sensitivity:g}.",
        "",
        "| Label | AUROC (validation) | Threshold |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _augmented(result: TrainingResult) -> list[str]:
    return [
        "## Synthetic patients",
        f"{result.n_augmentation:,} of the {result.n_training:,} studies for training are of synthetic patients, of the"
        " cohort named by digest above as its augmentation. Thresholds and validation rest on real studies alone.",
        "",
    ]


def _listed(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
