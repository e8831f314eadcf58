"""``series:private``: readings by conditional flow matching, trained with differential privacy on public scales."""

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
from synthetic.generators.private.domain import SeriesBounds
from synthetic.generators.private.learning import allowance, domain_of, told
from synthetic.generators.private.series_rows import SeriesRows
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, Readings

if TYPE_CHECKING:
    from synthetic.generators.networks.flows_series import SeriesFlow

SCHEMA = "auscult/private-series/1"
STEPS, RATE = 400, 0.04
EXPLAINED = 16
"""Draws of noise of which the loss of series that are given is the mean."""


class PrivateSeries:
    """Series that were learnt."""

    def __init__(self, layout: SeriesRows, conditions: Conditions, flow: SeriesFlow, facts: dict[str, Any]) -> None:
        self.facts, self._layout, self._conditions, self._flow = facts, layout, conditions, flow

    def sample(self, studies: LinkedStudies, *, seed: int) -> dict[str, Readings]:
        """Readings for every study whose series holds an array; a series that was not learnt is None in every study."""
        from synthetic.generators.networks.flows_series import follow

        with fixed_threads():
            lengths = self._layout.lengths(studies)
            mask = self._layout.mask(lengths)
            noise = generator(seed, "private series").standard_normal(mask.shape)
            rows = follow(self._flow, mask, self._conditions.rows(studies), noise)
            made = {name: self._layout.readings(rows, lengths, name) for name in self._layout.bounds}
        return {name: made.get(name, [None] * len(studies)) for name in studies.series}

    def losses(self, studies: LinkedStudies, latents: Any, *, seed: int) -> npt.NDArray[np.float32]:
        """How badly the flow explains the series of each study: float32 [n], NaN where it has none."""
        from synthetic.generators.networks.flows_series import row_losses

        with fixed_threads():
            rows, there = self._layout.rows(studies)
            noises = generator(seed, "series losses, noise").standard_normal((EXPLAINED, rows.shape[1]))
            return row_losses(self._flow, rows, there, self._conditions.rows(studies), noises).astype(np.float32)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        from synthetic.generators.networks.running import weights_of

        save_file(weights_of(self._flow), folder / "flow.safetensors")
        body = {
            "schema": SCHEMA, "size": asdict(self._flow.size), "conditions": self._conditions.to_dict(),
            "bounds": {name: item.to_dict() for name, item in self._layout.bounds.items()}, "facts": self.facts,
        }  # fmt: skip
        (folder / "series.json").write_text(json.dumps(body, sort_keys=True) + "\n")


class PrivateSeriesPart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        return "" if studies.series else "the cohort has no series"

    def need(self, settings: GeneratorSettings) -> Need:
        return Need(rate=RATE, steps=settings.steps(STEPS))

    def lacks(self, settings: GeneratorSettings, studies: LinkedStudies) -> str:
        named = set(domain_of(settings).series) & set(studies.series)
        return "" if named else "the domain names no series of the cohort"

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> PrivateSeries:
        """Learn all series of the domain together.

        Raises:
            AuscultError: no domain is given, or no differential privacy is asked for.
        """
        from synthetic.generators.private.descent import Descent
        from synthetic.generators.private.flow_training import train_private_flow

        allowed, noise = allowance(learning, "series:private")
        tables, settings = others["tables"], learning.settings
        given = bounded(studies, domain_of(settings))
        layout = SeriesRows(bounds={name: tables.layout.domain.series[name] for name in sorted(tables.layout.series)})
        conditions = conditions_of(tables.layout)
        descent = Descent(
            allowed=allowed, noise=noise, patients=tables.patients,
            seed=int(generator(settings.seed, "private series").integers(2**31)),
        )  # fmt: skip

        def step(number: int) -> None:
            learning.tell(number / allowed.steps, f"series: {number:,} of {allowed.steps:,} steps")

        with fixed_threads():
            rows, there = layout.rows(given.studies)
            by_patient = rows_by_patient(given.owner, np.any(there > 0, axis=1))
            flow = train_private_flow(rows, there, conditions.rows(given.studies), by_patient, descent, step)
        facts = {
            "series": list(layout.bounds), "steps": allowed.steps, "privacy": told(allowed, settings),
            "weights": sum(int(value.numel()) for value in flow.parameters()),
        }  # fmt: skip
        return PrivateSeries(layout, conditions, flow, facts)

    def load(self, folder: Path) -> PrivateSeries:
        from safetensors.numpy import load_file

        from synthetic.generators.networks.flows_series import FlowSize, flow_of

        file = folder / "series.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no series that this version can read.", remedy="Train it again.", file=folder.name
            )
        layout = SeriesRows(bounds={name: SeriesBounds(**item) for name, item in sorted(body["bounds"].items())})
        flow = flow_of(FlowSize(**body["size"]), load_file(folder / "flow.safetensors"))
        return PrivateSeries(layout, Conditions.from_dict(body["conditions"]), flow, body["facts"])


PARTS.register("series:private")(PrivateSeriesPart())
