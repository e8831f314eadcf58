"""``tables:private``: who comes, when and with what, from tables that were counted with noise.

One- and two-way tables over public bins, counted in one Gaussian mechanism; columns are drawn along a forest that the
domain names, findings change from study to study by a table of their own. Each patient counts alike, with the first
studies. See ``private.tables_layout`` for the tables.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.kinds.tables_writing import fulfils
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.private.accounting import Mechanism, Need
from synthetic.generators.private.bounded import bounded
from synthetic.generators.private.domain import Domain, check_domain
from synthetic.generators.private.learning import allowance, domain_of, told
from synthetic.generators.private.tables_counting import Floats, noisy
from synthetic.generators.private.tables_drawing import (
    Asked,
    Chances,
    draft,
    matches,
    possible,
    share_inside,
    studies_of,
)
from synthetic.generators.private.tables_layout import Layout
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies

SCHEMA = "auscult/private-tables/1"
AT_ONCE, MOST_DRAWS, FRUITLESS = 2048, 400, 40
"""Patients that are drawn together; draws in all, and draws without any patient after which a wish is impossible."""


class PrivateTables:
    """Tables that were counted.

    Attributes:
        patients: How many there were, from noisy counts.
        facts: Numbers of tables and cells, the mechanism, what is left out. All of it is public.
    """

    def __init__(self, layout: Layout, tables: dict[str, Floats], spread: float, facts: dict[str, Any]) -> None:
        self.facts, self.layout, self.tables, self.spread = facts, layout, tables, spread
        self._chances = Chances(layout, tables, spread)

    @property
    def patients(self) -> float:
        return self._chances.patients

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(values) for name, values in self.tables.items()},
                  folder / "tables.safetensors")  # fmt: skip
        body = {"schema": SCHEMA, "layout": self.layout.to_dict(), "spread": self.spread, "facts": self.facts}
        (folder / "tables.json").write_text(json.dumps(body, sort_keys=True) + "\n")

    def sample(self, wish: Wish, *, seed: int) -> LinkedStudies:
        """Patients as wished; their keys count from one.

        Raises:
            AuscultError: the wish names what was never learnt, or what no patient can have.
        """
        asked = self._asked(wish)
        rng = generator(seed, "private tables")
        with fixed_threads():
            if not possible(self._chances, asked):
                raise _impossible(wish, 0)
            made: list[LinkedStudies] = []
            found = 0
            for number in range(MOST_DRAWS):
                studies = self._drawn(wish, asked, rng)
                made.append(studies)
                found += len(studies.patients)
                if found >= wish.patients:
                    return _first(made, wish.patients)
                if not found and number + 1 >= FRUITLESS:
                    break
        raise _impossible(wish, found)

    def _drawn(self, wish: Wish, asked: Asked, rng: np.random.Generator) -> LinkedStudies:
        """Patients of one draw who are as wished."""
        drawn = draft(self._chances, asked, AT_ONCE, rng)
        studies = studies_of(self._chances, asked, drawn, rng)
        good = np.bincount(drawn.owner, ~fulfils(studies, wish), minlength=AT_ONCE) == 0
        good &= np.bincount(drawn.owner, matches(studies.plans, wish.findings), minlength=AT_ONCE) > 0
        return studies.rows(good[drawn.owner])

    def _asked(self, wish: Wish) -> Asked:
        domain = self.layout.domain
        known = {"attributes": self.layout.attributes, "findings": self.layout.findings}
        numbers = [name for name in self.layout.attributes if not domain.attributes[name].values]
        for kind, given, names in (
            ("attribute", wish.attributes, known["attributes"]), ("number", wish.least, numbers),
            ("number", wish.most, numbers), ("finding", wish.findings, known["findings"]),
        ):  # fmt: skip
            for name in given:
                if name not in names:
                    raise AuscultError(
                        f"The generator learnt no {kind} called '{name}'.",
                        remedy=f"Ask for one of: {', '.join(sorted(names)) or 'none'}.", column=name,
                    )  # fmt: skip
        exact = {name: float(value) for name, value in wish.attributes.items() if name in numbers and _number(value)}
        least = {name: max(bound, exact.get(name, bound)) for name, bound in wish.least.items()}
        most = {name: min(bound, exact.get(name, bound)) for name, bound in wish.most.items()}
        least, most = exact | least, exact | most
        chances = {}
        for name in {*wish.attributes, *least, *most}:
            chances[name] = self._shares(name, wish, (least.get(name, -np.inf), most.get(name, np.inf)))
        return Asked(chances=chances, least=least, most=most)

    def _shares(self, name: str, wish: Wish, limits: tuple[float, float]) -> Floats:
        attribute = self.layout.domain.attributes[name]
        found = np.zeros(attribute.size + 1)
        if attribute.values:
            if wish.attributes[name] not in attribute.values:
                raise AuscultError(
                    f"The generator learnt no {name} '{wish.attributes[name]}'.",
                    remedy=f"Ask for one of: {', '.join(map(str, attribute.values))}.", column=name,
                )  # fmt: skip
            found[attribute.values.index(wish.attributes[name])] = 1.0
        elif name not in wish.attributes or _number(wish.attributes[name]):
            found[:-1] = [share_inside(attribute, place, limits) for place in range(attribute.size)]
        return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first(made: list[LinkedStudies], count: int) -> LinkedStudies:
    """The first patients, with keys that count on."""
    joined = LinkedStudies.joined(made)
    kept = joined.rows(np.cumsum(joined.visits() == 0) <= count) if len(made) == 1 else None
    if kept is None:
        starts = np.concatenate([part.visits() == 0 for part in made])
        numbers = np.cumsum(starts)
        visits = np.concatenate([part.visits() for part in made])
        names = np.array([f"P{number:06d}" for number in numbers.tolist()], dtype=object)
        keys = [f"{name}-{visit + 1}" for name, visit in zip(names, visits.tolist(), strict=True)]
        joined = replace(joined, patient_ids=names, study_ids=np.array(keys, dtype=object))
        kept = joined.rows(numbers <= count)
    return kept


def _impossible(wish: Wish, found: int) -> AuscultError:
    told_of = [f"{name} {value}" for name, value in sorted({**wish.attributes, **wish.findings}.items())]
    told_of += [f"{name} of at least {value:g}" for name, value in sorted(wish.least.items())]
    told_of += [f"{name} of at most {value:g}" for name, value in sorted(wish.most.items())]
    words = ", ".join(told_of)
    return AuscultError(
        f"Only {found} of {wish.patients:,} patients could be made that have {words} together."
        if found else f"No patient can have {words} together, from what was learnt.",
        remedy="Ask for fewer of them at once, or for fewer patients.",
    )  # fmt: skip


def layout_of(domain: Domain, studies: LinkedStudies) -> Layout:
    """What of a domain the cohort has columns for. Their contents are not looked at."""
    return Layout(
        domain=domain,
        attributes=tuple(name for name in domain.attributes if name in studies.attributes),
        findings=tuple(name for name in domain.findings if name in studies.plans.findings),
        series=tuple(name for name in domain.series if name in studies.series),
        texts=tuple(name for name in domain.texts if name in studies.texts),
        image=domain.image and studies.images is not None,
        times=domain.times is not None,
    )


class PrivateTablesPart:
    """How they are counted."""

    def missing(self, studies: LinkedStudies) -> str:
        return "" if studies.attributes or studies.plans.findings else "the cohort has no attribute and no label"

    def need(self, settings: GeneratorSettings) -> Need:
        return Need()

    def lacks(self, settings: GeneratorSettings, studies: LinkedStudies) -> str:
        layout = layout_of(domain_of(settings), studies)
        return "" if layout.attributes or layout.findings else "the domain names no column of the cohort"

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> PrivateTables:
        """Count.

        Raises:
            AuscultError: no domain is given, or no differential privacy is asked for.
        """
        allowed, noise = allowance(learning, "tables:private")
        domain = domain_of(learning.settings)
        layout = layout_of(domain, studies)
        tables = noisy(layout, bounded(studies, domain), allowed, noise)
        spread = _spread(layout, allowed)
        facts: dict[str, Any] = {
            "tables": len(layout.tables()), "cells": sum(table.cells for table in layout.tables()),
            "noise_in_patients": round(spread / layout.units, 2), "most_visits": domain.visits,
            "left_out": _left_out(layout, studies), "privacy": told(allowed, learning.settings),
        }  # fmt: skip
        learning.tell(1.0, "tables counted")
        return PrivateTables(layout, tables, spread, facts)

    def load(self, folder: Path) -> PrivateTables:
        from safetensors.numpy import load_file

        file = folder / "tables.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no tables that this version can read.", remedy="Train it again.", file=folder.name
            )
        given = body["layout"]
        names = {name: tuple(given[name]) for name in ("attributes", "findings", "series", "texts")}
        layout = Layout(domain=check_domain(given["domain"]), image=given["image"], times=given["times"], **names)
        return PrivateTables(layout, load_file(folder / "tables.safetensors"), body["spread"], body["facts"])


def _spread(layout: Layout, allowed: Mechanism) -> float:
    return allowed.noise * layout.units * float(np.sqrt(len(layout.tables())))


def _left_out(layout: Layout, studies: LinkedStudies) -> dict[str, str]:
    """Columns that the domain does not name, and names of the domain that are no columns. Names alone are public."""
    domain, why, none = layout.domain, "the domain does not name it", "the cohort has no such column"
    columns = [*studies.attributes, *studies.labels, *(f"series.{name}" for name in studies.series),
               *(f"text.{name}" for name in studies.texts)]  # fmt: skip
    named = {*domain.attributes, *domain.findings, *(f"series.{name}" for name in domain.series),
             *(f"text.{name}" for name in domain.texts)}  # fmt: skip
    found = {name: why for name in columns if name not in named}
    return dict(sorted((found | {name: none for name in named if name not in columns}).items()))


PARTS.register("tables:private")(PrivateTablesPart())
