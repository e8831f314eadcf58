"""``image:private``: blurred images by flow matching over cosine waves, trained with differential privacy.

The basis is the same for all data. A learnt one would have to be paid for, and its gate would look at patients.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.kinds.conditions import Conditions
from synthetic.generators.parts import PARTS, Learning
from synthetic.generators.private.accounting import Need
from synthetic.generators.private.bounded import bounded, rows_by_patient
from synthetic.generators.private.conditions import conditions_of
from synthetic.generators.private.learning import allowance, domain_of, told
from synthetic.generators.private.waves import Waves, kept_of
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, Pixels

if TYPE_CHECKING:
    from synthetic.generators.networks.flows_series import SeriesFlow

Floats = npt.NDArray[np.float32]
SCHEMA = "auscult/private-images/1"
STEPS, RATE = 400, 0.04
EXPLAINED = 8
"""Draws of noise of which the loss of an image that is given is the mean."""


class PrivateImages:
    """Images that were learnt."""

    def __init__(self, waves: Waves, conditions: Conditions, flow: SeriesFlow, facts: dict[str, Any]) -> None:
        self.facts, self._waves, self._conditions, self._flow = facts, waves, conditions, flow

    def sample(self, studies: LinkedStudies, *, seed: int) -> Pixels:
        """uint8 [n, size, size]; zeros where ``has_image`` is False. Studies of a patient are made on their own."""
        from synthetic.generators.networks.flows_series import follow

        edge, kept = self._waves.edge, self._waves.kept
        made = np.zeros((len(studies), edge, edge), dtype=np.uint8)
        rows = np.flatnonzero(studies.has_image)
        if not len(rows):
            return made
        with fixed_threads():
            noise = generator(seed, "private images").standard_normal((len(studies), kept**2))[rows]
            given = self._conditions.rows(studies)[rows]
            made[rows] = self._waves.images(follow(self._flow, np.ones_like(noise), given, noise))
        return made

    def encode(self, images: Pixels) -> Floats:
        """Thumbnails float32 [n, 1, K, K].

        Raises:
            AuscultError: the images are of another size than those that were learnt from.
        """
        if images.ndim != 3 or images.shape[1:] != (self._waves.edge, self._waves.edge):
            raise AuscultError(
                f"The images are of the shape {images.shape[1:]}; the part learnt from {self._waves.edge} x"
                f" {self._waves.edge} pixels.",
                remedy=f"Bring the images to {self._waves.edge} pixels, or train the generator on this size.",
                column="image",
            )
        return self._waves.thumbnails(images)

    def losses(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> Floats:
        """How badly the flow explains the image of each study: float32 [n], NaN where there is none."""
        from synthetic.generators.networks.flows_series import row_losses

        found = np.full(len(studies), np.nan, dtype=np.float32)
        if studies.images is None or not studies.has_image.any():
            return found
        with fixed_threads():
            rows = np.flatnonzero(studies.has_image)
            numbers = self._waves.numbers(studies.images[rows])
            noises = generator(seed, "image losses, noise").standard_normal((EXPLAINED, numbers.shape[1]))
            given = self._conditions.rows(studies)[rows]
            found[rows] = row_losses(self._flow, numbers, np.ones_like(numbers), given, noises)
        return found

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        from synthetic.generators.networks.running import weights_of

        save_file(weights_of(self._flow), folder / "flow.safetensors")
        body = {
            "schema": SCHEMA, "size": asdict(self._flow.size), "conditions": self._conditions.to_dict(),
            "edge": self._waves.edge, "kept": self._waves.kept, "facts": self.facts,
        }  # fmt: skip
        (folder / "images.json").write_text(json.dumps(body, sort_keys=True) + "\n")


class PrivateImagePart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        return "" if studies.images is not None else "the cohort has no images"

    def need(self, settings: GeneratorSettings) -> Need:
        return Need(rate=RATE, steps=settings.steps(STEPS))

    def lacks(self, settings: GeneratorSettings, studies: LinkedStudies) -> str:
        return "" if domain_of(settings).image else "the domain says that no images are learnt"

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> PrivateImages:
        """Learn.

        Raises:
            AuscultError: no domain is given, or no differential privacy is asked for.
        """
        from synthetic.generators.private.descent import Descent
        from synthetic.generators.private.flow_training import train_private_flow

        allowed, noise = allowance(learning, "image:private")
        tables, settings = others["tables"], learning.settings
        given = bounded(studies, domain_of(settings))
        assert given.studies.images is not None
        edge = given.studies.images.shape[1]
        waves, conditions = Waves(edge=edge, kept=kept_of(edge)), conditions_of(tables.layout)
        descent = Descent(
            allowed=allowed, noise=noise, patients=tables.patients,
            seed=int(generator(settings.seed, "private images").integers(2**31)),
        )  # fmt: skip

        def step(number: int) -> None:
            learning.tell(number / allowed.steps, f"images: {number:,} of {allowed.steps:,} steps")

        with fixed_threads():
            numbers = waves.numbers(given.studies.images)
            by_patient = rows_by_patient(given.owner, given.studies.has_image)
            flow = train_private_flow(
                numbers, np.ones_like(numbers), conditions.rows(given.studies), by_patient, descent, step
            )
        facts = {
            "edge": edge, "waves": waves.kept, "steps": allowed.steps, "privacy": told(allowed, settings),
            "weights": sum(int(value.numel()) for value in flow.parameters()),
        }  # fmt: skip
        return PrivateImages(waves, conditions, flow, facts)

    def load(self, folder: Path) -> PrivateImages:
        from safetensors.numpy import load_file

        from synthetic.generators.networks.flows_series import FlowSize, flow_of

        file = folder / "images.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no images part that this version can read.", remedy="Train it again.",
                file=folder.name,
            )  # fmt: skip
        flow = flow_of(FlowSize(**body["size"]), load_file(folder / "flow.safetensors"))
        waves = Waves(edge=body["edge"], kept=body["kept"])
        return PrivateImages(waves, Conditions.from_dict(body["conditions"]), flow, body["facts"])


PARTS.register("image:private")(PrivateImagePart())
