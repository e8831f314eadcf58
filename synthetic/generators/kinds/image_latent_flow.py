"""``image:latent_flow``: images from plans, by flow matching over the latents of an autoencoder.

Three networks learn in turn, each from the same patients: a reader of plans, whose maps tell the autoencoder what
matters; the autoencoder, which must pass the gate of :mod:`image_gate`; and the flow over its latents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.keeping import key_of, studies_digest
from synthetic.generators.kinds.conditions import Conditions, learn_conditions
from synthetic.generators.kinds.critic_reading import PlanReader, agreement_of, learnt_states, learnt_words
from synthetic.generators.kinds.image_gate import check_reconstructions
from synthetic.generators.kinds.image_rows import balanced_weights, noise_of, with_image_before
from synthetic.generators.parts import PARTS, Learning, refuse_privacy
from synthetic.generators.studies import LinkedStudies, Pixels

if TYPE_CHECKING:
    from synthetic.generators.networks.autoencoders import Autoencoder
    from synthetic.generators.networks.flows_images import FlowRows, ImageFlow
    from synthetic.generators.networks.running import Training

Floats = npt.NDArray[np.float32]
SCHEMA = "auscult/image-latent-flow/1"
STEPS = {"reader": 500, "autoencoder": 700, "flow": 3600}
LEAST_STEPS = {"reader": 60, "autoencoder": 150, "flow": 60}
"""However little the effort: with fewer, no finding survives the autoencoder."""
HALVED = ("autoencoder", "flow")
"""Networks whose steps two threads share."""
SHARES = {"reader": 0.16, "autoencoder": 0.12, "flow": 0.68}
FOLLOWED = 8
"""Steps in which latents are made, of two evaluations each."""
GUIDANCES = (1.0, 1.5, 2.0)
"""Of which the smallest is taken that shows plans as clearly as real images do: more makes images alike."""
CLEARLY = 0.1
"""By how much the mean log-probability of plans may be lower than in real images: a critic that refuses some makes up
for it, and findings that are clearer than real ones teach other models too little."""
TRIED = 128
EXPLAINED = 6
"""Draws of noise of which the loss of an image that is given is the mean."""
LATENTS_AT_LEAST = 20
"""Images without which nothing can be learnt."""


@dataclass(frozen=True, kw_only=True)
class _Networks:
    """All that makes images."""

    autoencoder: Autoencoder
    flow: ImageFlow
    conditions: Conditions
    guidance: float


class LatentFlowImages:
    """Images that were learnt. ``facts``: sizes, losses, areas by finding and reader, guidance."""

    def __init__(self, networks: _Networks, facts: dict[str, Any]) -> None:
        self.facts, self._networks = facts, networks

    def sample(self, studies: LinkedStudies, *, seed: int) -> Pixels:
        """uint8 [n, size, size]; zeros where ``has_image`` is False.

        The noise of a study follows from the seed and its place among the studies given. Visits of a patient are made
        in their order, each from a blurred view of the one before, so that anatomy stays; of some of the studies alone,
        other images are made: places differ, and the visit before may not be there.
        """
        with fixed_threads():
            return _made(self._networks, studies, seed)

    def encode(self, images: Pixels) -> Floats:
        """Latents float32 [n, 4, size / 4, size / 4], of mean 0 and spread 1 over the images learnt from."""
        with fixed_threads():
            return _latents(self._networks.autoencoder, images)

    def losses(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> Floats:
        """How badly the flow explains the image of each study: float32 [n], NaN where there is none."""
        from synthetic.generators.networks.flows_images import row_losses

        found = np.full(len(studies), np.nan, dtype=np.float32)
        if studies.images is None or not studies.has_image.any():
            return found
        with fixed_threads():
            told = latents if latents is not None else _latents(self._networks.autoencoder, studies.images)
            rows = studies.rows(studies.has_image)
            size = self._networks.flow.size
            noises = noise_of(seed, "losses", np.arange(EXPLAINED), (size.latents, size.edge, size.edge))
            given = _flow_rows(rows, told[studies.has_image], self._networks.conditions)
            found[studies.has_image] = row_losses(self._networks.flow, given, noises)
        return found

    def save(self, folder: Path) -> None:
        """``autoencoder.safetensors``, ``flow.safetensors`` and ``images.json``."""
        from safetensors.numpy import save_file

        from synthetic.generators.networks.running import weights_of

        own = self._networks
        save_file(weights_of(own.autoencoder), folder / "autoencoder.safetensors")
        save_file(weights_of(own.flow), folder / "flow.safetensors")
        body = {
            "schema": SCHEMA, "autoencoder": asdict(own.autoencoder.size), "flow": asdict(own.flow.size),
            "conditions": own.conditions.to_dict(), "guidance": own.guidance, "facts": self.facts,
        }  # fmt: skip
        (folder / "images.json").write_text(json.dumps(body, sort_keys=True) + "\n")


class LatentFlowPart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        if studies.images is None or not studies.has_image.any():
            return "no study has an image"
        if (count := int(studies.has_image.sum())) < LATENTS_AT_LEAST:
            return f"only {count} studies have an image; at least {LATENTS_AT_LEAST} are needed"
        return ""

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> LatentFlowImages:
        """Learn. An interrupted training goes on from its last state in ``learning.resume``, to the same weights.

        Args:
            others: ``held_out``: studies of other patients, on which the autoencoder is judged; ``critic``, where there
                is one: it judges besides the reader that the autoencoder was taught by.

        Raises:
            AuscultError: the autoencoder erases a finding, which is named; or differential privacy is asked for.
        """
        refuse_privacy(learning, "image:latent_flow")
        with fixed_threads():
            return _Fit(studies, learning, others).learnt()

    def load(self, folder: Path) -> LatentFlowImages:
        from safetensors.numpy import load_file

        from synthetic.generators.networks.autoencoders import Autoencoder, AutoencoderSize
        from synthetic.generators.networks.flows_images import FlowSize, ImageFlow
        from synthetic.generators.networks.running import with_weights

        file = folder / "images.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no images part that this version can read.",
                remedy="Train it again.", file=folder.name,
            )  # fmt: skip
        encoder = Autoencoder(AutoencoderSize(**body["autoencoder"]))
        networks = _Networks(
            autoencoder=with_weights(encoder, load_file(folder / "autoencoder.safetensors")),
            flow=with_weights(ImageFlow(FlowSize(**body["flow"])), load_file(folder / "flow.safetensors")),
            conditions=Conditions.from_dict(body["conditions"]), guidance=body["guidance"],
        )  # fmt: skip
        return LatentFlowImages(networks, body["facts"])


def _latents(autoencoder: Autoencoder, images: Pixels) -> Floats:
    from synthetic.generators.networks.running import in_batches

    edge = autoencoder.size.edge
    if images.ndim != 3 or images.shape[1:] != (edge, edge):
        raise AuscultError(
            f"The images are of the shape {images.shape[1:]}; the part learnt from {edge} x {edge} pixels.",
            remedy=f"Bring the images to {edge} pixels, or train the generator on this size.", column="image",
        )  # fmt: skip
    return in_batches(lambda batch: autoencoder.encode(batch[:, None].float() / 255), images)


def _flow_rows(studies: LinkedStudies, latents: Floats, conditions: Conditions) -> FlowRows:
    """What the flow is told of studies that all have an image."""
    from synthetic.generators.networks import flows_images

    before = with_image_before(studies)
    seen = (before >= 0).astype(np.float32)
    return flows_images.FlowRows(
        latents=latents, conditions=conditions.rows(studies).astype(np.float32), seen=seen,
        before=flows_images.blurred(latents[np.maximum(before, 0)]) * seen[:, None, None, None],
    )  # fmt: skip


def _pixels(autoencoder: Autoencoder, latents: Floats, noise: Floats) -> Pixels:
    """Images uint8 [n, e, e]; ``noise`` [n, e, e]."""
    from synthetic.generators.networks.running import in_batches

    made = in_batches(lambda one, two: autoencoder.decode(one, two[:, None])[:, 0], latents, noise)
    return np.rint(255 * made).astype(np.uint8)


def _made(networks: _Networks, studies: LinkedStudies, seed: int) -> Pixels:
    from synthetic.generators.networks.flows_images import FlowRows, blurred, follow

    size, edge = networks.flow.size, networks.autoencoder.size.edge
    shape = (size.latents, size.edge, size.edge)
    latents = np.zeros((len(studies), *shape), dtype=np.float32)
    images = np.zeros((len(studies), edge, edge), dtype=np.uint8)
    conditions = networks.conditions.rows(studies).astype(np.float32)
    before, visits = with_image_before(studies), studies.visits()
    for visit in range(int(visits.max(initial=-1)) + 1):
        now = np.flatnonzero((visits == visit) & studies.has_image)
        if not len(now):
            continue
        seen = (before[now] >= 0).astype(np.float32)
        earlier = blurred(latents[np.maximum(before[now], 0)]) * seen[:, None, None, None]
        rows = FlowRows(
            latents=noise_of(seed, "image latents", now, shape), conditions=conditions[now], before=earlier, seen=seen
        )
        latents[now] = follow(networks.flow, rows, steps=FOLLOWED, guidance=networks.guidance)
        images[now] = _pixels(networks.autoencoder, latents[now], noise_of(seed, "image grain", now, (edge, edge)))
    return images


class _Fit:
    """One training of the three networks."""

    def __init__(self, studies: LinkedStudies, learning: Learning, others: dict[str, Any]) -> None:
        self.learning, self.settings = learning, learning.settings
        self.studies = studies.rows(studies.has_image)
        assert self.studies.images is not None
        self.images: Pixels = self.studies.images
        held_out: LinkedStudies | None = others.get("held_out")
        self.held_out = None
        if held_out is not None and held_out.images is not None and held_out.has_image.any():
            self.held_out = held_out.rows(held_out.has_image)
        self.critic = others.get("critic")
        self.data = studies_digest(self.studies)
        self.losses: dict[str, list[float]] = {name: [] for name in STEPS}

    def learnt(self) -> LatentFlowImages:
        reader = self._reader()
        autoencoder = self._autoencoder(reader)
        gates = self._gates(reader, autoencoder)
        conditions = learn_conditions(self.studies, rare_below=self.settings.rare_below)
        flow = self._flow(autoencoder, conditions)
        self.learning.tell(0.96, "choosing the guidance")
        guidance, tried = self._guided(autoencoder, flow, conditions, reader)
        networks = _Networks(autoencoder=autoencoder, flow=flow, conditions=conditions, guidance=guidance)
        facts = {
            "studies": len(self.studies), "patients": len(self.studies.patients), "edge": self.images.shape[1],
            "latents": [flow.size.latents, flow.size.edge, flow.size.edge], "privacy": None,
            "steps": {name: self._steps(name) for name in STEPS},
            "weights": {"autoencoder": _count(autoencoder), "flow": _count(flow)},
            "loss": {name: round(values[-1], 4) if values else None for name, values in self.losses.items()},
            "gates": gates, "guidance": guidance, "guidances_tried": tried, "followed": FOLLOWED,
        }  # fmt: skip
        return LatentFlowImages(networks, facts)

    def _steps(self, name: str) -> int:
        return max(LEAST_STEPS[name], self.settings.steps(STEPS[name]))

    def _training(self, name: str, rate: float) -> Training:
        from synthetic.generators.networks.running import Training

        folder = self.learning.resume
        return Training(
            curve=name, steps=self._steps(name), rate=rate,
            seed=int(generator(self.settings.seed, "image", name).integers(2**31)),
            folder=None if folder is None else folder / "image_latent_flow",
            key=key_of(schema=SCHEMA, settings=self.settings.to_dict(), data=self.data, network=name),
            halves=name in HALVED,
        )  # fmt: skip

    def _told(self, name: str) -> Callable[[int, float], None]:
        names = list(STEPS)
        start, steps = sum(SHARES[other] for other in names[: names.index(name)]), self._steps(name)

        def told(step: int, loss: float) -> None:
            self.losses[name].append(loss)
            self.learning.log(f"image.{name}", step, loss)
            self.learning.tell(start + SHARES[name] * step / steps, f"{name}: {step:,} of {steps:,} steps")

        return told

    def _reader(self) -> PlanReader:
        from synthetic.generators.networks.critics import Lesson, ReaderSize, channels_of, train_reader

        plans, edge = self.studies.plans, self.images.shape[1]
        states, words = learnt_states(plans), learnt_words(plans)
        size = ReaderSize(edge=edge, findings=len(plans.findings), channels=channels_of(edge))
        lesson = Lesson(images=self.images, plans=plans, learnt=words, balanced=True)
        network = train_reader(lesson, size, self._training("reader", 2e-3), self._told("reader"))
        return PlanReader(network, plans.findings, states, words)

    def _autoencoder(self, reader: PlanReader) -> Autoencoder:
        from synthetic.generators.networks.autoencoders import AutoencoderSize, train_autoencoder

        return train_autoencoder(
            self.images, balanced_weights(self.studies.plans), reader.network,
            AutoencoderSize(edge=self.images.shape[1]), self._training("autoencoder", 3e-3), self._told("autoencoder"),
        )  # fmt: skip

    def _gates(self, reader: PlanReader, autoencoder: Autoencoder) -> dict[str, Any]:
        """By reader, what becomes of each finding; see :func:`check_reconstructions`."""
        if self.held_out is None:
            return {"reason": "no held-out study has an image"}
        real = self.held_out.images
        assert real is not None
        grain = noise_of(self.settings.seed, "gate", np.arange(len(real)), real.shape[1:])
        made = _pixels(autoencoder, _latents(autoencoder, real), grain)
        readers: dict[str, Any] = {"reader": reader} | ({} if self.critic is None else {"critic": self.critic})
        return {
            name: check_reconstructions(item.read(real), item.read(made), self.held_out)
            for name, item in readers.items()
        }

    def _flow(self, autoencoder: Autoencoder, conditions: Conditions) -> ImageFlow:
        from synthetic.generators.networks.flows_images import FlowSize, train_flow

        latents = _latents(autoencoder, self.images)
        rows = _flow_rows(self.studies, latents, conditions)
        size = FlowSize(edge=latents.shape[2], latents=latents.shape[1], conditions=rows.conditions.shape[1])
        return train_flow(rows, size, self._training("flow", 2e-3), self._told("flow"))

    def _guided(
        self, autoencoder: Autoencoder, flow: ImageFlow, conditions: Conditions, reader: PlanReader
    ) -> tuple[float, dict[str, Any]]:
        """The guidance, and the mean log-probability of plans in real images and with each guidance that was tried."""
        real = self.held_out if self.held_out is not None else self.studies
        real = real.rows(np.arange(min(TRIED, len(real))))
        assert real.images is not None
        wanted = _mean(agreement_of(reader.read(real.images), real.plans))
        tried: dict[str, Any] = {"real": wanted}
        for guidance in GUIDANCES:
            networks = _Networks(autoencoder=autoencoder, flow=flow, conditions=conditions, guidance=guidance)
            made = _made(networks, real, int(generator(self.settings.seed, "guidance").integers(2**32)))
            tried[str(guidance)] = found = _mean(agreement_of(reader.read(made), real.plans))
            if wanted is None or found is None or found >= wanted - CLEARLY:
                return guidance, tried
        return GUIDANCES[-1], tried


def _mean(values: Floats) -> float | None:
    there = values[np.isfinite(values)]
    return round(float(there.mean()), 4) if len(there) else None


def _count(network: Any) -> int:
    return sum(int(value.numel()) for value in network.parameters())


PARTS.register("image:latent_flow")(LatentFlowPart())
