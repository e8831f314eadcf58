"""Tables by a Gaussian copula: who the patients are, when they come, and what is the matter with them each time.

Columns of patients are drawn in a chain, those of studies from latents that follow each other from visit to visit
(a Gaussian copula over a study and the one before it, fitted by SDV); groups of patients move thresholds, so that
every rate by group is kept. See ``tables_effects`` and ``tables_copula`` for the formulas, ``tables_drawing`` for how
patients with rare findings are drawn without trying for long.

What is not learnt: values that fewer than ``rare_below`` patients hold, columns that tell patients apart, studies after
the sixteenth of a patient. The facts name each.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AuscultError, CohortError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.kinds.tables_drawing import Demands, Drawn, draw
from synthetic.generators.kinds.tables_model import Model, learn_model, load_model, save_model
from synthetic.generators.kinds.tables_reading import MOST_VISITS, read_columns
from synthetic.generators.kinds.tables_wishes import demands_of
from synthetic.generators.kinds.tables_writing import fulfils, studies_of
from synthetic.generators.parts import PARTS, Learning, Wish, refuse_privacy
from synthetic.generators.studies import LinkedStudies

AT_ONCE = 2048
"""Patients that are drawn together."""
FRUITLESS, MOST_DRAWS = 40, 400
"""Draws without any patient after which a wish is held to be impossible, and draws in all."""


class CopulaTables:
    """Tables that were learnt.

    Attributes:
        facts: Patients and studies that were learnt from; columns; names of what is suppressed, left out, constant,
            empty, generalised.
    """

    def __init__(self, model: Model, facts: dict[str, Any]) -> None:
        self.model, self.facts = model, facts

    def save(self, folder: Path) -> None:
        save_model(self.model, folder, self.facts)

    def check(self, wish: Wish) -> None:
        """Nothing where every column, value and finding of a wish was learnt.

        Raises:
            AuscultError: one was never learnt, or bounds exclude one another.
        """
        demands_of(wish, self.model, self.facts["left_out"])

    def sample(self, wish: Wish, *, seed: int) -> LinkedStudies:
        """Patients as wished; their keys count from one.

        Raises:
            AuscultError: the wish names what was never learnt, or what no patient can have.
        """
        demands = demands_of(wish, self.model, self.facts["left_out"])
        rng = generator(seed, "tables")
        with fixed_threads():
            if not demands.any:
                return self._free(wish, rng)
            return self._chosen(wish, demands, rng)

    def _free(self, wish: Wish, rng: np.random.Generator) -> LinkedStudies:
        made = []
        for start in range(0, wish.patients, AT_ONCE):
            drawn = draw(self.model, Demands(), min(AT_ONCE, wish.patients - start), rng)
            made.append(studies_of(self.model, drawn, rng))
        return _numbered(made)

    def _chosen(self, wish: Wish, demands: Demands, rng: np.random.Generator) -> LinkedStudies:
        """Candidates are accepted in proportion to their weight; the heaviest weighs one."""
        pool: list[tuple[LinkedStudies, np.ndarray[Any, Any]]] = []
        heaviest = 0.0
        for number in range(MOST_DRAWS):
            drawn = draw(self.model, demands, AT_ONCE, rng)
            studies = studies_of(self.model, drawn, rng)
            weights = _weights(drawn, studies, wish)
            chances = np.divide(weights, rng.random(AT_ONCE), out=np.zeros(AT_ONCE), where=weights > 0)
            heaviest = max(heaviest, float(weights.max()))
            pool = [_kept(*item, heaviest) for item in [*pool, (studies, chances)]]
            if sum(len(item[1]) for item in pool) >= wish.patients:
                return _first_patients(_numbered([item[0] for item in pool if len(item[1])]), wish.patients)
            if heaviest == 0 and number + 1 >= FRUITLESS:
                break
        found = sum(len(item[1]) for item in pool)
        raise AuscultError(
            f"Only {found} of {wish.patients:,} patients could be made that have {_told(wish)} together."
            if found else f"No patient can have {_told(wish)} together, from what was learnt.",
            remedy="Ask for fewer of them at once, or for fewer patients.",
        )  # fmt: skip


def _weights(drawn: Drawn, studies: LinkedStudies, wish: Wish) -> np.ndarray[Any, Any]:
    owner = np.repeat(np.arange(len(drawn.visits)), drawn.visits)
    wrong = np.bincount(owner, weights=~fulfils(studies, wish), minlength=len(drawn.visits))
    return np.where(wrong > 0, 0.0, drawn.weights)


def _kept(
    studies: LinkedStudies, chances: np.ndarray[Any, Any], heaviest: float
) -> tuple[LinkedStudies, np.ndarray[Any, Any]]:
    """The candidates that are accepted at a chance of weight over the heaviest weight."""
    accepted = chances > heaviest if heaviest > 0 else np.zeros(len(chances), dtype=np.bool_)
    if accepted.all():
        return studies, chances
    owner = np.cumsum(studies.visits() == 0) - 1
    return studies.rows(accepted[owner] if len(owner) else np.zeros(0, dtype=np.bool_)), chances[accepted]


def _first_patients(studies: LinkedStudies, count: int) -> LinkedStudies:
    return studies.rows(np.cumsum(studies.visits() == 0) <= count)


def _numbered(parts: list[LinkedStudies]) -> LinkedStudies:
    """Parts joined, with keys that count on."""
    first, made = 0, []
    for part in parts:
        visits = part.visits()
        number = first + np.cumsum(visits == 0)
        names = np.array([f"P{one:06d}" for one in number.tolist()], dtype=object)
        keys = [f"{name}-{visit + 1}" for name, visit in zip(names, visits.tolist(), strict=True)]
        made.append(replace(part, patient_ids=names, study_ids=np.array(keys, dtype=object)))
        first = int(number[-1]) if len(number) else first
    return LinkedStudies.joined(made)


def _told(wish: Wish) -> str:
    told = [f"{name} {value}" for name, value in sorted(wish.attributes.items())]
    told += [f"{name} of at least {value:g}" for name, value in sorted(wish.least.items())]
    told += [f"{name} of at most {value:g}" for name, value in sorted(wish.most.items())]
    return ", ".join(told + [f"{name} {value}" for name, value in sorted(wish.findings.items())])


@PARTS.register("tables:copula")
class Copula:
    """How tables are learnt by a Gaussian copula."""

    @staticmethod
    def missing(studies: LinkedStudies) -> str:
        return "" if studies.attributes or studies.labels else "no study has an attribute or a label"

    @staticmethod
    def fit(studies: LinkedStudies, learning: Learning, **others: Any) -> CopulaTables:
        """Learn the tables.

        Raises:
            CohortError: nothing can be learnt, or there are too many columns.
            AuscultError: differential privacy is asked for.
        """
        if reason := Copula.missing(studies):
            raise CohortError(f"No table can be learnt: {reason}.", remedy="Give a cohort with an attribute or label.")
        refuse_privacy(learning, "tables:copula")
        with fixed_threads():
            read = read_columns(studies, rare_below=learning.settings.rare_below)
            learning.tell(0.2, "columns read")
            model, facts = learn_model(read, lambda share, message: learning.tell(0.2 + 0.8 * share, message))
        facts |= {"patients": len(studies.patients), "studies": len(read.owner), "most_visits": MOST_VISITS}
        facts |= {"patients_with_more_visits": read.layout["visits_cut"], **read.findings.to_dict()}
        return CopulaTables(model, facts)

    @staticmethod
    def load(folder: Path) -> CopulaTables:
        return CopulaTables(*load_model(folder))
