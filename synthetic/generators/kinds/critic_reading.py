"""What a plan reader tells of images: probabilities, how well they agree with a plan, and how often they are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from synthetic.generators.kinds.conditions import aligned, patient_numbers
from synthetic.generators.parts import Reading
from synthetic.generators.plans import PARTS, Plans
from synthetic.generators.studies import LinkedStudies, Pixels

if TYPE_CHECKING:
    from synthetic.generators.networks.critics import PlanNetwork

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
LEAST = 5
"""Studies of a state or a word from which it is learnt; and studies on which a figure is told."""
LEAST_CHANCE = 1e-4
"""Probabilities below count as this: one part that is far off does not outweigh all others."""


def learnt_states(plans: Plans) -> Bools:
    """bool [F]: findings of which there are enough studies with and without."""
    counts = np.stack([(plans.present == state).sum(axis=0) for state in (0, 1)])
    found: Bools = counts.min(axis=0) >= LEAST
    return found


def learnt_words(plans: Plans) -> Bools:
    """bool [F, 9]: words of sides, zones and sizes of which there are enough, where at least two of a part are."""
    columns = []
    for name, words in PARTS.items():
        enough = np.stack([(plans.part(name) == at).sum(axis=0) >= LEAST for at in range(len(words))], axis=1)
        columns.append(enough & (enough.sum(axis=1, keepdims=True) >= 2))
    return np.concatenate(columns, axis=1)


class PlanReader:
    """A network that reads plans, and what it has learnt to tell.

    Attributes:
        findings: In the order of the network's outputs.
        states: bool [F]; ``words``: bool [F, 9].
    """

    def __init__(self, network: PlanNetwork, findings: tuple[str, ...], states: Bools, words: Bools) -> None:
        self.network, self.findings, self.states, self.words = network, findings, states, words

    def read(self, images: Pixels) -> Reading:
        """What it sees in uint8 [n, size, size].

        Raises:
            AuscultError: the images are of another size than those that were learnt from.
        """
        import torch

        from synthetic.generators.networks.running import in_batches

        edge = self.network.size.edge
        if images.ndim != 3 or images.shape[1:] != (edge, edge):
            raise AuscultError(
                f"The images are of the shape {images.shape[1:]}; the part learnt from {edge} x {edge} pixels.",
                remedy=f"Bring the images to {edge} pixels, or train the generator on this size.",
                column="image",
            )
        logits = in_batches(lambda batch: self.network(batch[:, None].float() / 255), images)
        given = torch.from_numpy(logits)
        present = torch.sigmoid(given[:, :, 0]).numpy()
        present[:, ~self.states] = np.nan
        parts: dict[str, Floats] = {}
        start = 1
        for name, words in PARTS.items():
            allowed = self.words[:, start - 1 : start - 1 + len(words)]
            chances = given[:, :, start : start + len(words)].masked_fill(~torch.from_numpy(allowed), -1e4)
            parts[name] = np.where(allowed, chances.softmax(dim=2).numpy(), np.nan).astype(np.float32)
            start += len(words)
        return Reading(findings=self.findings, present=present, **parts)

    def body(self) -> dict[str, Any]:
        """What it is besides weights, as JSON."""
        size = self.network.size
        return {
            "edge": size.edge, "channels": list(size.channels), "findings": list(self.findings),
            "states": self.states.tolist(), "words": self.words.tolist(),
        }  # fmt: skip

    @classmethod
    def of(cls, body: Mapping[str, Any], weights: dict[str, npt.NDArray[Any]]) -> PlanReader:
        """The inverse of :meth:`body`, with the network's weights."""
        from synthetic.generators.networks.critics import PlanNetwork, ReaderSize
        from synthetic.generators.networks.running import with_weights

        findings = tuple(body["findings"])
        size = ReaderSize(edge=body["edge"], findings=len(findings), channels=tuple(body["channels"]))
        words = np.array(body["words"], dtype=np.bool_).reshape(len(findings), -1)
        network = with_weights(PlanNetwork(size), weights)
        return cls(network, findings, np.array(body["states"], dtype=np.bool_), words)


def agreement_of(reading: Reading, plans: Plans) -> Floats:
    """float32 [n]: mean log-probability of what plans tell and the reading can tell; NaN where there is nothing.

    A finding that is told to be there, on a side, in a zone and of a size, has four parts; one that is absent has one.
    """
    told = aligned(plans, reading.findings)
    present = np.where(told.present == 1, reading.present, 1 - reading.present)
    chances = [np.where(told.present >= 0, present, np.nan)]
    for name in PARTS:
        codes = told.part(name)
        seen = np.take_along_axis(getattr(reading, name), np.maximum(codes, 0)[:, :, None].astype(np.int64), axis=2)
        chances.append(np.where((codes >= 0) & (told.present == 1), seen[:, :, 0], np.nan))
    logs = np.log(np.clip(np.concatenate(chances, axis=1), LEAST_CHANCE, 1))
    there = np.isfinite(logs)
    counts = there.sum(axis=1)
    total = np.where(there, logs, 0).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan).astype(np.float32)


def reading_facts(reading: Reading, studies: LinkedStudies) -> dict[str, Any]:
    """By finding: AUROC with its 95 % interval over patients (DeLong, Obuchowski), and how often side, zone and size
    of present findings are read as told. None with a reason where there is too little to tell."""
    from evaluation.engine.statistics.auroc import delong

    plans, patients = aligned(studies.plans, reading.findings), patient_numbers(studies)
    found: dict[str, Any] = {}
    for column, name in enumerate(reading.findings):
        state, seen = plans.present[:, column], reading.present[:, column]
        rows = (state >= 0) & np.isfinite(seen)
        cases = [int((state[rows] == value).sum()) for value in (1, 0)]
        body: dict[str, Any] = {"with": cases[0], "without": cases[1], "auroc": None}
        if min(cases) >= LEAST:
            area = delong(seen[rows], state[rows], clusters=patients[rows])
            limits = area.interval(0.05)
            body["auroc"] = round(area.value or 0.0, 4)
            body["interval"] = None if limits is None else [round(end, 4) for end in limits]
        else:
            body["reason"] = "too few studies with or without it to learn from, or to check on"
        found[name] = body | {part: _right(getattr(reading, part)[:, column], plans.part(part)[:, column])
                              for part in PARTS}  # fmt: skip
    return found


def _right(chances: Floats, codes: npt.NDArray[np.int8]) -> dict[str, Any]:
    """Share of studies whose most probable word is the told one, of words that were learnt."""
    rows = np.flatnonzero(codes >= 0)
    rows = rows[np.isfinite(chances[rows, codes[rows]])]
    if len(rows) < LEAST:
        return {"right": None, "studies": len(rows), "reason": "it is told in too few studies"}
    best = np.nan_to_num(chances[rows], nan=-1.0).argmax(axis=1)
    return {"right": round(float((best == codes[rows]).mean()), 4), "studies": len(rows)}
