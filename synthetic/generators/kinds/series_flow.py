"""``series:flow``: laboratory values and vital signs by conditional flow matching, all series of a study at once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.kinds.conditions import Conditions, learn_conditions, patient_numbers
from synthetic.generators.kinds.series_calibration import Calibration, correct, learn_levels
from synthetic.generators.kinds.series_checking import series_facts
from synthetic.generators.kinds.series_grid import (
    LONGEST,
    Grid,
    SeriesScale,
    hours_of,
    known,
    learn_scale,
    lengths_of,
    to_grid,
    values_of,
)
from synthetic.generators.parts import PARTS, Learning, refuse_privacy
from synthetic.generators.studies import LinkedStudies, Readings

if TYPE_CHECKING:
    from synthetic.generators.networks.flows_series import SeriesFlow

Floats = npt.NDArray[np.float64]
STEPS = 900
"""Enough for the time structure; with 1,600 the losses told learnt patients from others a little better."""
PAIRS = 2
"""Pairs of draws that correct a flow."""
EXPLAINED = 16
"""Draws of noise of which the loss of series that are given is the mean."""
SCHEMA = "auscult/series-flow/1"


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What is needed besides the network to make series.

    Attributes:
        scales: Series that are learnt, sorted by name, with their scales.
        longest: Readings of a study that there may be, T.
    """

    conditions: Conditions
    scales: dict[str, SeriesScale]
    longest: int
    calibration: Calibration

    def rows_of(self, grid: Grid, rests: Floats) -> Floats:
        """[n, S + S + S T + S (T - 1)]: rests, last hours, deviations, gaps."""
        return _flat(rests, grid.last, grid.deviation, grid.gap)

    def mask_of(self, lengths: npt.NDArray[np.int64]) -> Floats:
        """Which entries of rows there are: 1 or 0."""
        there = np.arange(self.longest) < lengths[:, :, None]
        some = lengths > 0
        return _flat(some, some, there, there[:, :, 1:]).astype(np.float64)

    def grid_of(self, rows: Floats, lengths: npt.NDArray[np.int64]) -> tuple[Grid, Floats]:
        """The inverse of :meth:`rows_of`: a grid without levels, and rests."""
        many, longest, n = len(self.scales), self.longest, len(rows)
        rests, last, deviation, gap = np.split(rows, np.cumsum([many, many, many * longest]), axis=1)
        grid = Grid(
            lengths=lengths, level=np.zeros((n, many)), last=last, deviation=deviation.reshape(n, many, longest),
            gap=gap.reshape(n, many, longest - 1),
        )  # fmt: skip
        return grid, rests


def _flat(*items: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([item.reshape(len(item), -1) for item in items], axis=1)


class FlowSeries:
    """Series that were learnt."""

    def __init__(self, frame: _Frame, flow: SeriesFlow, facts: dict[str, Any]) -> None:
        self.facts = facts
        self._frame, self._flow = frame, flow

    def sample(self, studies: LinkedStudies, *, seed: int) -> dict[str, Readings]:
        """Readings for every study whose series holds an array: as many as it has rows, at most as many as
        were learnt of a study (``facts["longest"]``).

        Hours strictly increase. A series that was not learnt (see ``facts``) is None in every study. Studies of a
        patient are made in the order of time, each knowing the levels of those before.
        """
        from synthetic.generators.fixed_threads import fixed_threads

        with fixed_threads():
            lengths = self._wanted(studies)
            grid, _ = _made(self._frame, self._flow, studies, lengths, seed)
            made = {name: _readings(self._frame, grid, name) for name in self._frame.scales if name in studies.series}
        return {name: made.get(name, [None] * len(studies)) for name in studies.series}

    def losses(self, studies: LinkedStudies, latents: Any, *, seed: int) -> npt.NDArray[np.float32]:
        """How badly the flow explains the series of each study: float32 [n], NaN where it has none.

        Readings are told apart within their rounding at random, so that a study's loss moves a little with the others.
        """
        from synthetic.generators.fixed_threads import fixed_threads
        from synthetic.generators.networks.flows_series import row_losses

        frame, rng = self._frame, generator(seed, "series losses")
        with fixed_threads():
            given = frame.conditions.rows(studies)
            grid = to_grid(studies, frame.scales, frame.longest, rng)
            rests = np.where(grid.lengths > 0, frame.calibration.rests(grid.level, given), 0.0)
            inputs = np.concatenate([given, _earlier(studies, rests, grid.lengths)], axis=1)
            rows, mask = frame.rows_of(grid, rests), frame.mask_of(grid.lengths)
            noises = generator(seed, "series losses, noise").standard_normal((EXPLAINED, rows.shape[1]))
            return row_losses(self._flow, rows, mask, inputs, noises).astype(np.float32)

    def _wanted(self, studies: LinkedStudies) -> npt.NDArray[np.int64]:
        nothing: Readings = [None] * len(studies)
        columns = [lengths_of(studies.series.get(name, nothing), self._frame.longest) for name in self._frame.scales]
        return np.stack(columns, axis=1)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        from synthetic.generators.networks.flows_series import weights_of

        save_file(weights_of(self._flow), folder / "flow.safetensors")
        frame = self._frame
        body = {
            "schema": SCHEMA, "size": asdict(self._flow.size), "longest": frame.longest,
            "conditions": frame.conditions.to_dict(), "calibration": frame.calibration.to_dict(), "facts": self.facts,
            "scales": {name: scale.to_dict() for name, scale in frame.scales.items()},
        }  # fmt: skip
        (folder / "series.json").write_text(json.dumps(body, sort_keys=True) + "\n")


def _made(
    frame: _Frame, flow: SeriesFlow, studies: LinkedStudies, lengths: npt.NDArray[np.int64], seed: int, sign: int = 1
) -> tuple[Grid, Floats]:
    """Series of studies on a grid, and the rests as the flow made them, in its own units.

    Args:
        sign: -1 for the noise of the seed with all signs changed.
    """
    from synthetic.generators.networks.flows_series import follow

    conditions, mask = frame.conditions.rows(studies), frame.mask_of(lengths)
    noise = sign * generator(seed, "series").standard_normal(mask.shape)
    visits, order = studies.visits(), np.arange(len(studies))
    rows = np.zeros_like(mask)
    plain = np.zeros((len(studies), len(frame.scales)))
    before, seen = np.zeros_like(plain), np.zeros_like(plain)
    for visit in range(int(visits.max(initial=-1)) + 1):
        now = order[visits == visit]
        if visit:
            earlier = now - 1
            there = lengths[earlier] > 0
            before[now] = np.where(there, rows[earlier, : plain.shape[1]], before[earlier])
            seen[now] = np.maximum(seen[earlier], there)
        given = np.concatenate([conditions[now], before[now], seen[now]], axis=1)
        found = follow(flow, mask[now], given, noise[now])
        plain[now] = found[:, : plain.shape[1]]
        found[:, : plain.shape[1]] = frame.calibration.corrected(plain[now], conditions[now])
        rows[now] = found
    grid, rests = frame.grid_of(rows, lengths)
    levels = np.where(lengths > 0, frame.calibration.levels(rests, conditions), 0.0)
    return replace(grid, level=levels), plain


def _readings(frame: _Frame, grid: Grid, name: str) -> Readings:
    """Readings of one series in the order of time."""
    at = list(frame.scales).index(name)
    scale = frame.scales[name]
    values = values_of(grid, at, scale, stretch=float(frame.calibration.stretch[at]))
    hours = hours_of(grid, at, scale)
    pairs = np.stack([hours, values], axis=2)
    counts = grid.lengths[:, at].tolist()
    return [np.ascontiguousarray(pair[:count][::-1]) if count else None
            for pair, count in zip(pairs, counts, strict=True)]  # fmt: skip


def _earlier(studies: LinkedStudies, rests: Floats, lengths: npt.NDArray[np.int64]) -> Floats:
    """[n, 2 S]: the rests of the last earlier study of the patient that has the series, and whether there is one."""
    visits = studies.visits()
    before, seen = np.zeros_like(rests), np.zeros_like(rests)
    for visit in range(1, int(visits.max(initial=0)) + 1):
        now = np.flatnonzero(visits == visit)
        there = lengths[now - 1] > 0
        before[now] = np.where(there, rests[now - 1], before[now - 1])
        seen[now] = np.maximum(seen[now - 1], there)
    return np.concatenate([before, seen], axis=1)


class SeriesFlowPart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        if not studies.series:
            return "the cohort has no series"
        if not any(item is not None and np.isfinite(item).all(axis=1).any() for values in studies.series.values()
                   for item in values):  # fmt: skip
            return "no study has a reading"
        return ""

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> FlowSeries:
        """Learn all series of the studies together.

        Raises:
            AuscultError: differential privacy is asked for, or no series is held by enough patients.
        """
        from synthetic.generators.fixed_threads import fixed_threads

        refuse_privacy(learning, "series:flow")
        with fixed_threads():
            return _fit(studies, learning)

    def load(self, folder: Path) -> FlowSeries:
        from safetensors.numpy import load_file

        from synthetic.generators.networks.flows_series import FlowSize, flow_of

        file = folder / "series.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no series that this version can read.", remedy="Train it again.", file=folder.name
            )
        frame = _Frame(
            conditions=Conditions.from_dict(body["conditions"]),
            scales={name: SeriesScale.from_dict(scale) for name, scale in sorted(body["scales"].items())},
            longest=body["longest"],
            calibration=Calibration.from_dict(body["calibration"]),
        )
        return FlowSeries(
            frame, flow_of(FlowSize(**body["size"]), load_file(folder / "flow.safetensors")), body["facts"]
        )


def _fit(studies: LinkedStudies, learning: Learning) -> FlowSeries:
    from synthetic.generators.networks.flows_series import FlowTraining, train_flow

    settings = learning.settings
    rng = generator(settings.seed, "series scales")
    learning.tell(0.0, "scales of the series")
    scales, left_out = _learn_scales(studies, settings.rare_below, rng)
    conditions = learn_conditions(studies, rare_below=settings.rare_below)
    longest = max(int(lengths_of(known(studies.series[name]), LONGEST).max()) for name in scales)
    given = conditions.rows(studies)
    grid = to_grid(studies, scales, longest, rng)
    frame = _Frame(conditions=conditions, scales=scales, longest=longest, calibration=learn_levels(grid, given))
    rests = np.where(grid.lengths > 0, frame.calibration.rests(grid.level, given), 0.0)
    some = np.flatnonzero(grid.lengths.any(axis=1))
    inputs = np.concatenate([given, _earlier(studies, rests, grid.lengths)], axis=1)
    steps = settings.steps(STEPS)
    losses: list[float] = []

    def told(step: int, loss: float) -> None:
        losses.append(loss)
        learning.log("series.flow", step, loss)
        learning.tell(0.05 + 0.85 * step / steps, f"series: {step:,} of {steps:,} steps")

    training = FlowTraining(steps=steps, seed=int(rng.integers(2**62)))
    flow = train_flow(frame.rows_of(grid, rests)[some], frame.mask_of(grid.lengths)[some], inputs[some], training, told)
    frame = replace(frame, calibration=_calibrated(frame, flow, studies, grid, given, rng))
    learning.tell(0.95, "series: figures")
    checked, _ = _made(frame, flow, studies, grid.lengths, int(rng.integers(2**32)))
    figures = {
        name: series_facts(known(studies.series[name]), _readings(frame, checked, name), studies.plans)
        for name in scales
    }
    facts = {
        "studies": len(some), "patients": len(set(studies.patient_ids[some].tolist())), "steps": steps,
        "loss": {"first": round(losses[0], 4), "last": round(losses[-1], 4)}, "longest": longest,
        "left_out": left_out, "cut": _cut(studies, scales), "privacy": None, "by_series": figures,
        "stretch": dict(zip(scales, np.round(frame.calibration.stretch, 4).tolist(), strict=True)),
        "spread": dict(zip(scales, np.round(frame.calibration.spread, 4).tolist(), strict=True)),
    }  # fmt: skip
    return FlowSeries(frame, flow, facts)


def _calibrated(
    frame: _Frame, flow: SeriesFlow, studies: LinkedStudies, grid: Grid, conditions: Floats, rng: np.random.Generator
) -> Calibration:
    """Corrected by draws in pairs of opposite noise, whose chance in means cancels."""
    seeds = [int(seed) for seed in rng.integers(2**32, size=PAIRS)]
    draws = [_made(frame, flow, studies, grid.lengths, seed, sign) for seed in seeds for sign in (1, -1)]
    rests = np.stack([plain for _, plain in draws])
    return correct(frame.calibration, grid, draws[0][0], rests, conditions, frame.scales)


def _learn_scales(
    studies: LinkedStudies, rare_below: int, rng: np.random.Generator
) -> tuple[dict[str, SeriesScale], dict[str, str]]:
    """The scales of series that enough patients have, and why others have none."""
    patients = patient_numbers(studies)
    scales: dict[str, SeriesScale] = {}
    left_out: dict[str, str] = {}
    for name in sorted(studies.series):
        readings = known(studies.series[name])
        holders = len({int(patient) for patient, item in zip(patients, readings, strict=True) if item is not None})
        if not holders:
            left_out[name] = "no study has a reading"
        elif holders < rare_below:
            left_out[name] = f"fewer than {rare_below} patients have a reading"
        else:
            scales[name] = learn_scale(readings, patients, rare_below=rare_below, rng=rng)
    if not scales:
        raise AuscultError(
            "No series can be learnt: " + "; ".join(f"{name}: {why}" for name, why in left_out.items()) + ".",
            remedy="Leave the series out of the setting parts, or give a cohort in which more patients have readings.",
        )
    return scales, left_out


def _cut(studies: LinkedStudies, scales: dict[str, SeriesScale]) -> dict[str, int]:
    """Series -> studies with more readings than are learnt; of these the first ones were left out."""
    counts = {name: sum(item is not None and len(item) > LONGEST for item in studies.series[name]) for name in scales}
    return {name: count for name, count in counts.items() if count}


PARTS.register("series:flow")(SeriesFlowPart())
