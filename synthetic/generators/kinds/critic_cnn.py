"""``critic:cnn``: a convolutional network that reads plans from images of patients whom nothing else learns from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.keeping import key_of, studies_digest
from synthetic.generators.kinds.critic_reading import (
    LEAST,
    Floats,
    PlanReader,
    agreement_of,
    learnt_states,
    learnt_words,
    reading_facts,
)
from synthetic.generators.parts import PARTS, Learning, Reading, refuse_privacy
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies, Pixels

SCHEMA = "auscult/critic-cnn/1"
STEPS = 500
LEAST_STEPS = 60


class CnnCritic:
    """A critic that was learnt. ``facts`` tell how well it reads held-out images, by finding."""

    def __init__(self, reader: PlanReader, facts: dict[str, Any]) -> None:
        self.facts, self._reader = facts, reader

    def read(self, images: Pixels) -> Reading:
        """What it sees in uint8 [n, size, size]; NaN for findings and words of which it saw too few to learn."""
        with fixed_threads():
            return self._reader.read(images)

    def agreement(self, images: Pixels, plans: Plans) -> Floats:
        """float32 [n]: mean log-probability of the plan's told parts (see ``critic_reading.agreement_of``).

        NaN where the plan tells nothing that it has learnt. The higher, the better the image shows its plan; at most 0.
        """
        return agreement_of(self.read(images), plans)

    def save(self, folder: Path) -> None:
        """``critic.safetensors`` and ``critic.json``."""
        from safetensors.numpy import save_file

        from synthetic.generators.networks.running import weights_of

        save_file(weights_of(self._reader.network), folder / "critic.safetensors")
        body = {"schema": SCHEMA, "reader": self._reader.body(), "facts": self.facts}
        (folder / "critic.json").write_text(json.dumps(body, sort_keys=True) + "\n")


class CnnCriticPart:
    """How it is learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        if studies.images is None or not studies.has_image.any():
            return "no study has an image"
        if not learnt_states(studies.plans.rows(studies.has_image)).any():
            return f"no finding is told to be there in {LEAST} studies with an image, and not to be in as many"
        return ""

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> CnnCritic:
        """Learn to read plans. An interrupted training goes on from its last state in ``learning.resume``.

        Args:
            others: ``held_out``: studies of other patients, for the figures in ``facts``.

        Raises:
            AuscultError: differential privacy is asked for.
        """
        refuse_privacy(learning, "critic:cnn")
        with fixed_threads():
            return _fit(studies.rows(studies.has_image), learning, others.get("held_out"))

    def load(self, folder: Path) -> CnnCritic:
        from safetensors.numpy import load_file

        file = folder / "critic.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no critic that this version can read.", remedy="Train it again.", file=folder.name
            )
        return CnnCritic(PlanReader.of(body["reader"], load_file(folder / "critic.safetensors")), body["facts"])


def _fit(studies: LinkedStudies, learning: Learning, held_out: LinkedStudies | None) -> CnnCritic:
    from synthetic.generators.networks.critics import Lesson, ReaderSize, channels_of, train_reader
    from synthetic.generators.networks.running import Training

    assert studies.images is not None
    settings, plans = learning.settings, studies.plans
    steps = max(LEAST_STEPS, settings.steps(STEPS))
    losses: list[float] = []

    def told(step: int, loss: float) -> None:
        losses.append(loss)
        learning.log("critic", step, loss)
        learning.tell(0.95 * step / steps, f"{step:,} of {steps:,} steps")

    training = Training(
        curve="critic", steps=steps, seed=int(generator(settings.seed, "critic").integers(2**31)),
        folder=None if learning.resume is None else learning.resume / "critic_cnn",
        key=key_of(schema=SCHEMA, settings=settings.to_dict(), data=studies_digest(studies)),
    )  # fmt: skip
    edge = studies.images.shape[1]
    size = ReaderSize(edge=edge, findings=len(plans.findings), channels=channels_of(edge))
    states, words = learnt_states(plans), learnt_words(plans)
    lesson = Lesson(images=studies.images, plans=plans, learnt=words, balanced=False)
    network = train_reader(lesson, size, training, told)
    reader = PlanReader(network, plans.findings, states, words)
    facts: dict[str, Any] = {
        "studies": len(studies), "patients": len(studies.patients), "steps": steps, "privacy": None,
        "weights": sum(int(value.numel()) for value in network.parameters()), "edge": edge,
        "loss": {"last": round(losses[-1], 4) if losses else None}, "held_out": None,
    }  # fmt: skip
    if held_out is not None and held_out.images is not None and held_out.has_image.any():
        other = held_out.rows(held_out.has_image)
        assert other.images is not None
        learning.tell(0.97, "reading held-out images")
        facts["held_out"] = reading_facts(reader.read(other.images), other)
    return CnnCritic(reader, facts)


PARTS.register("critic:cnn")(CnnCriticPart())
