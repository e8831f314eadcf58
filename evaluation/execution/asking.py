"""Asks a model what a plan says: questions, samples, changed studies, a bounded number of studies in memory at a time.

Rows that give a model the same in the same way are asked once. What is asked together never matters: a text depends on
its study and its question alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.asking import PARAPHRASE, PLAIN, REPORT, SAMPLED, SWAPPED, ProbeKind, Utterances
from evaluation.engine.planning import Plan
from evaluation.engine.questions import posed_of
from evaluation.execution.batches import Batches
from evaluation.execution.changed import Change, change, repeated, value_of
from evaluation.execution.telemetry import Meter
from models_registry.adapters.base import Draw, ModelAdapter, Recalls, Speaks
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ShardRef, StudyBatch

Ints = npt.NDArray[np.int64]
SILENT = "The model's adapter cannot be asked: it has no method 'say'."
NOT_RECORDED = "The recorded answers hold none of these."


def ask_share(
    adapter: ModelAdapter,
    reader: CohortReader,
    part: ShardRef,
    plan: Plan,
    *,
    batch_size: int,
    after_batch: Callable[[int], None] = lambda asked: None,
    meter: Meter | None = None,
) -> Utterances:
    """Everything that the model says to a plan.

    Args:
        batch_size: Studies that are held in memory and given to the model at once, at most.
        after_batch: Told how many texts there are. What it raises ends the asking.

    Raises:
        AdapterError: as the adapter's ``say``; or one study alone does not fit the device.
    """
    meter = meter or Meter()

    def told(texts: int) -> None:
        meter.texts = texts
        after_batch(texts)

    with meter.timed("ask"):
        if isinstance(adapter, Recalls):
            found = _recalled(adapter, reader, part, plan)
        elif isinstance(adapter, Speaks):
            asker = _Asker(adapter, reader, part, plan, batch_size=batch_size, after_batch=told)
            found = asker.run()
        else:
            found = _unasked(plan, SILENT)
    told(len(found))
    return found


def _unasked(plan: Plan, why: str) -> Utterances:
    """Nothing was asked."""
    sections = {
        _section(kind, condition) for kind, condition in zip(plan.asked.kind, plan.asked.condition, strict=True)
    }
    return Utterances.none(plan.why_not | dict.fromkeys(sorted(sections), why))


def _section(kind: str, condition: str) -> str:
    """The part of a protocol that a row belongs to, as ``why_not`` names it."""
    if condition == SAMPLED:
        return "sampling"
    return "probing" if condition == PLAIN or kind == ProbeKind.WRONG_IMAGE else "perturbation"


def _recalled(adapter: Recalls, reader: CohortReader, part: ShardRef, plan: Plan) -> Utterances:
    """What a log holds. A condition of which it holds nothing was not asked.

    That is a matter of the whole log: what is only lacking for the studies of one share was asked and not answered, or
    the figures would change with the number of shares.
    """
    said = adapter.recall(posed_of(plan, reader, part))
    rows = list(zip(plan.asked.kind.tolist(), plan.asked.condition.tolist(), strict=True))
    lacks = {row: not adapter.holds(row[1], report=row[0] == REPORT) for row in set(rows)}
    silent = sorted({_unit(*row) for row, lacking in lacks.items() if lacking})
    kept = np.flatnonzero([not lacks[row] for row in rows]).astype(np.int64)
    return Utterances(
        asked=plan.asked.rows(kept),
        text=said.text[kept],
        truncated=said.truncated[kept],
        why_not=plan.why_not | dict.fromkeys(silent, NOT_RECORDED),
    )


def _unit(kind: str, condition: str) -> str:
    """What is left out together where a log holds nothing of it: the probing, the sampling, or one condition."""
    if kind == ProbeKind.WRONG_IMAGE and condition == SWAPPED:
        return str(kind)
    return _section(kind, condition) if condition in (PLAIN, SAMPLED) else condition


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unit:
    """One thing that is asked of one study."""

    study: int
    report: bool
    question: str
    condition: str
    modality: str
    partner: int
    turn: int

    @property
    def draw(self) -> int:
        """The number of the sample; -1 where nothing is drawn."""
        return self.turn if self.condition == SAMPLED else -1


class _Asker:
    """Goes through a share's studies, some at a time, and asks everything about them before the next."""

    def __init__(
        self,
        adapter: ModelAdapter,
        reader: CohortReader,
        part: ShardRef,
        plan: Plan,
        *,
        batch_size: int,
        after_batch: Callable[[int], None],
    ) -> None:
        self.reader, self.part, self.plan, self.after_batch = reader, part, plan, after_batch
        self.batches = Batches(adapter, min(batch_size, getattr(adapter, "most_at_once", batch_size)))

    def run(self) -> Utterances:
        units, place = _units(self.plan)
        texts, cut = np.full(len(units), None, dtype=object), np.zeros(len(units), dtype=np.bool_)
        done = 0
        for numbers, batch in self._chunks(units):
            for piece in self._pieces(units, numbers):
                asked = [units[number] for number in piece]
                said = self._say(batch, asked)
                texts[piece], cut[piece] = said.text, said.truncated
                done += len(piece)
                self.after_batch(done)
        return Utterances(
            asked=self.plan.asked, text=texts[place], truncated=cut[place], why_not=dict(self.plan.why_not)
        )

    def _chunks(self, units: list[_Unit]) -> Iterator[tuple[Ints, dict[int, tuple[StudyBatch, int]]]]:
        """Numbers of the units about some studies, and where each of these studies is."""
        study = np.array([unit.study for unit in units], dtype=np.int64)
        wanted = np.unique(study)
        for start in range(0, len(wanted), self.batches.wanted):
            rows = wanted[start : start + self.batches.wanted]
            batch = self.reader.studies(self.part, rows.tolist())
            yield np.flatnonzero(np.isin(study, rows)), {int(row): (batch, k) for k, row in enumerate(rows)}

    def _pieces(self, units: list[_Unit], numbers: Ints) -> Iterator[Ints]:
        """Units that may be asked together: all for a report or none, all of one draw or none; at most a batch."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for number in numbers.tolist():
            groups.setdefault((units[number].report, units[number].draw), []).append(number)
        for _, found in sorted(groups.items()):
            # Partners lie anywhere in the share: together, their row groups are read once.
            together = sorted(found, key=lambda number: (units[number].partner >= 0, units[number].condition, number))
            for start in range(0, len(together), self.batches.wanted):
                yield np.array(together[start : start + self.batches.wanted], dtype=np.int64)

    def _say(self, held: dict[int, tuple[StudyBatch, int]], asked: list[_Unit]) -> Any:
        first = asked[0]
        batch = repeated(held[first.study][0], [held[unit.study][1] for unit in asked])
        partners = self._partners(asked)
        for row, unit in enumerate(asked):
            if unit.condition != PLAIN:
                how = Change(condition=unit.condition, modality=unit.modality)
                change(batch, row, how, seed=self.plan.seed, partner=partners.get((unit.partner, unit.modality)))
        draw = None if first.draw < 0 else Draw(temperature=self.plan.temperature, turn=first.draw)
        questions = None if first.report else [unit.question for unit in asked]
        return self.batches.say(batch, questions, draw=draw)

    def _partners(self, asked: Iterable[_Unit]) -> dict[tuple[int, str], Any]:
        """(row of the share, modality) -> what that study has of it."""
        found: dict[tuple[int, str], Any] = {}
        wanted = {(unit.partner, unit.modality) for unit in asked if unit.partner >= 0 and unit.condition == SWAPPED}
        for modality in {modality for _, modality in wanted}:
            rows = sorted(partner for partner, name in wanted if name == modality)
            batch = self.reader.studies(self.part, rows, columns=[modality])
            found |= {(row, modality): value_of(batch, k, modality) for k, row in enumerate(rows)}
        return found


def _units(plan: Plan) -> tuple[list[_Unit], Ints]:
    """What is asked, each once, and which of it answers each row of the plan."""
    asked, place = plan.asked, np.zeros(len(plan.asked), dtype=np.int64)
    known: dict[_Unit, int] = {}
    for row in range(len(asked)):
        condition = str(asked.condition[row])
        unit = _Unit(
            study=int(asked.study[row]),
            report=asked.kind[row] == REPORT,
            question=str(asked.question[row]),
            # A question in other words is a question like any other.
            condition=PLAIN if condition == PARAPHRASE else condition,
            modality=str(plan.modality[row]),
            partner=int(asked.partner[row]),
            turn=int(asked.turn[row]) if condition == SAMPLED else 0,
        )
        place[row] = known.setdefault(unit, len(known))
    return list(known), place
