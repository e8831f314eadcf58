"""Which tables are counted with noise, and in which order columns are drawn from them: a function of what is public."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

from synthetic.generators.plans import SIDES, SIZES, ZONES
from synthetic.generators.private.domain import PATIENT, Domain

STATES = 3
"""Of a finding: absent, present, not told."""
FIRSTS, DAY = 12, 86_400
"""Bins of the day of a first study."""
GAPS = (3_600, DAY, 3 * DAY, 10 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 5 * 365 * DAY)
"""Ends of the bins of seconds between two studies of a patient."""
MOST_LENGTHS = 16
"""Bins of the number of readings."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of counts.

    Attributes:
        shape: Cells; the last axis is what is drawn, the one before what it depends on.
        whole: Whether every patient counts as one in it, so that its total is the number of patients.
    """

    name: str
    shape: tuple[int, ...]
    whole: bool = False

    @property
    def cells(self) -> int:
        found = 1
        for size in self.shape:
            found *= size
        return found


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is counted.

    Attributes:
        texts, series, image: Which of the domain the cohort has columns for.
    """

    domain: Domain
    attributes: tuple[str, ...]
    findings: tuple[str, ...]
    series: tuple[str, ...]
    texts: tuple[str, ...]
    image: bool
    times: bool

    @property
    def units(self) -> int:
        """What a patient counts in each table at most: a whole number that all numbers of studies divide."""
        return lcm(*range(1, self.domain.visits + 1))

    def size(self, name: str) -> int:
        """Values of a column, with the one for missing, or not told."""
        return STATES if name in self.findings else self.domain.attributes[name].size + 1

    def parent(self, name: str) -> str | None:
        given = self.domain.pairs.get(name)
        return given if given in self.attributes or given in self.findings else None

    def of_patient(self) -> tuple[str, ...]:
        """Columns that are drawn once for a patient, or for the first study: parents before their children."""
        names = [name for name in self.attributes if self.domain.attributes[name].each == PATIENT]
        return self._in_order([*names, *self.findings])

    def of_study(self) -> tuple[str, ...]:
        return tuple(name for name in self.attributes if self.domain.attributes[name].each != PATIENT)

    def _in_order(self, names: Sequence[str]) -> tuple[str, ...]:
        done: list[str] = []
        while len(done) < len(names):
            done += [name for name in names if name not in done and self.parent(name) in (None, *done)]
        return tuple(done)

    def tables(self) -> tuple[Table, ...]:
        made = [Table(name="visits", shape=(self.domain.visits,), whole=True)]
        for name in (*self.of_patient(), *self.of_study()):
            given = self.parent(name)
            shape = (self.size(given) if given else 1, self.size(name))
            made.append(Table(name=f"column {name}", shape=shape, whole=name not in self.of_study()))
        for name in self.findings:
            if self.domain.visits > 1:
                made.append(Table(name=f"change {name}", shape=(STATES, STATES)))
            made.append(Table(name=f"place {name}", shape=(len(SIDES) + 1, len(ZONES) + 1)))
            made.append(Table(name=f"size {name}", shape=(len(SIZES) + 1,)))
        made += [Table(name=f"series {name}", shape=(len(self.lengths(name)) + 1,)) for name in self.series]
        made += [Table(name=f"text {name}", shape=(2,)) for name in self.texts]
        made += [Table(name="image", shape=(2,))] if self.image else []
        if self.times:
            made.append(Table(name="first", shape=(FIRSTS,), whole=True))
            if self.domain.visits > 1:
                made.append(Table(name="gap", shape=(len(GAPS),)))
        return tuple(made)

    def lengths(self, name: str) -> tuple[int, ...]:
        """The largest number of readings of each bin."""
        most = self.domain.series[name].readings
        bins = min(most, MOST_LENGTHS)
        return tuple(most * (place + 1) // bins for place in range(bins))

    def to_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain.to_dict(), "attributes": list(self.attributes), "findings": list(self.findings),
            "series": list(self.series), "texts": list(self.texts), "image": self.image, "times": self.times,
        }  # fmt: skip
