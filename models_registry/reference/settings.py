"""What decides a training besides the cohort, and what a training led to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import AdapterError

KINDS = ("joint", "backbone", "head")
METHODS = ("frozen", "lora", "full")
LISTS = ("categorical", "numeric", "labels")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything besides the cohort, and the backbone of a head, that decides the weights.

    What describes the network and the pretraining is not used for a head: its backbone has settled it.

    Attributes:
        kind: ``backbone``: pretrained without any label. ``head``: a head on a backbone that is there. ``joint``: a
            backbone and a head on it, from one cohort.
        labels: The labels to learn; none for every label of the cohort. Not used for a backbone.
        method: How a head is fitted: ``frozen`` trains the head alone, ``lora`` also small additions to the fusion
            layers (low-rank adaptation, Hu et al. 2021), ``full`` every weight, which makes another backbone.
        epochs: Of the pretraining; ``head_epochs``: of the head.
        learning_rate, head_learning_rate: The highest of a cycle that warms up and cools down.
        width, layers, image_layers, decoder_layers: Of the network. Without a report to learn there is no decoder.
        text: The text field that the model reads. report: the one that the decoder learns to write, and which is
            never read when a study is scored.
        rank: Of the low-rank additions.
        validation_share: Of the patients, by a hash of their id: for thresholds and figures, never for the weights.
        sensitivity: Each label's threshold is the score that reaches this sensitivity on the validation patients.
        modality_dropout: Chance that a head is shown a study without its image, text, series or demographics.
        threads: Of torch; part of the settings because sums are rounded in another order with another number. More
            than one helps on cores that are free; where another process wants them, each step waits for the slowest.
    """

    kind: str = "joint"
    labels: tuple[str, ...] = ()
    method: str = "frozen"
    epochs: int = 13
    head_epochs: int = 16
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.02
    width: int = 128
    layers: int = 3
    image_layers: int = 2
    decoder_layers: int = 1
    image_size: int = 64
    text: str = "indication"
    report: str = "reference"
    categorical: tuple[str, ...] = ("sex", "view")
    numeric: tuple[str, ...] = ("age",)
    rank: int = 8
    validation_share: float = 0.15
    sensitivity: float = 0.85
    modality_dropout: float = 0.1
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("method", METHODS)):
            if getattr(self, name) not in known:
                raise _wrong(name, getattr(self, name), f"one of {', '.join(known)}")
        for name in ("epochs", "head_epochs", "batch_size", "width", "layers", "rank", "threads"):
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "a whole number from 1")
        for name, unit in (("image_size", 16), ("width", 8)):
            if getattr(self, name) % unit:
                raise _wrong(name, getattr(self, name), f"a multiple of {unit}")

    @classmethod
    def small(cls, **changes: Any) -> TrainingSettings:
        """The setting of the demo: a third of the pretraining, which is enough to tell a planted defect from none."""
        return cls(**({"epochs": 5, "head_epochs": 5} | changes))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {name: list(getattr(self, name)) for name in LISTS}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> TrainingSettings:
        """Settings from JSON; what is left out keeps its default.

        Raises:
            AdapterError: for a setting that does not exist; the known ones are listed.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(body) - known):
            raise AdapterError(
                f"There is no training setting called {', '.join(unknown)}.",
                remedy=f"Use some of: {', '.join(sorted(known))}.",
            )
        values = dict(body)
        for name in LISTS:
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)


def _wrong(name: str, value: object, expected: str) -> AdapterError:
    return AdapterError(f"The training setting {name} is {value!r}.", remedy=f"Give {expected}.")


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training led to. ``auroc`` is on the validation patients; None where a label has one class there.

    Attributes:
        parameters: Of the whole model; trained: of those, how many this training moved.
        losses: The means of the last epoch of the pretraining, by objective.
        backbone_digest: SHA-256 of ``backbone.safetensors``.
        n_augmentation: Of the ``n_training`` studies, those of a cohort that was learnt from beside.
    """

    parameters: int
    trained: int
    seconds: float
    epochs: int
    n_training: int
    n_validation: int
    auroc: dict[str, float | None]
    thresholds: dict[str, float]
    losses: dict[str, float]
    backbone_digest: str
    n_augmentation: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
