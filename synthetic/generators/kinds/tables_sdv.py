"""Tables by SDV as it is: a Gaussian copula over patients, and one over studies joined with their patients.

Every column is one number in (0, 1): the middle of its rank, or an even draw within the share of its value, as SDV
codes categories; what is not told is an even draw. Studies of a patient are drawn independently given the columns of
the patient (irregular children of a parent, as many as were learnt). So rates and relations between columns are kept
about, but nothing persists from visit to visit beyond what patients' columns carry: the part is there to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AuscultError, CohortError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.kinds.tables_columns import Column, Floats, Ints
from synthetic.generators.kinds.tables_copula import DIGITS, Latents, sdv_copula
from synthetic.generators.kinds.tables_drawing import Demands, Drawn, has_plans, told_of
from synthetic.generators.kinds.tables_effects import Effects, Groups
from synthetic.generators.kinds.tables_model import Model, load_model, save_model
from synthetic.generators.kinds.tables_reading import MOST_VISITS, VISITS, read_columns
from synthetic.generators.kinds.tables_wishes import demands_of
from synthetic.generators.kinds.tables_writing import fulfils, studies_of
from synthetic.generators.parts import PARTS, Learning, Wish, refuse_privacy
from synthetic.generators.studies import LinkedStudies

AT_ONCE, MOST_DRAWS = 2048, 400
SOLID = 1e-6


class SdvTables:
    """Tables that were learnt.

    Attributes:
        model: Thresholds of each column in ``base``; of ``latents``, ``within`` is the correlation of the columns of
            patients and studies over studies, ``step`` that of the columns of patients over patients.
    """

    def __init__(self, model: Model, facts: dict[str, Any]) -> None:
        self.model, self.facts = model, facts

    def save(self, folder: Path) -> None:
        save_model(self.model, folder, self.facts)

    def sample(self, wish: Wish, *, seed: int) -> LinkedStudies:
        """Patients as wished, by trying: those who are not as wished are thrown away.

        Raises:
            AuscultError: the wish names what was never learnt, or what hardly any patient has.
        """
        demands = demands_of(wish, self.model, self.facts["left_out"])
        rng, made, found = generator(seed, "tables sdv"), [], 0
        with fixed_threads():
            for _ in range(MOST_DRAWS):
                count = AT_ONCE if demands.any else min(AT_ONCE, wish.patients - found)
                drawn = self._draw(demands, count, rng)
                studies = studies_of(self.model, drawn, rng)
                owner = np.repeat(np.arange(count), drawn.visits)
                good = np.bincount(owner, weights=~fulfils(studies, wish), minlength=count) == 0
                good &= np.bincount(owner, weights=drawn.fulfilled, minlength=count) > 0
                kept = np.flatnonzero(good)[: wish.patients - found]
                made.append(_renamed(studies.rows(np.isin(owner, kept)), found))
                found += len(kept)
                if found == wish.patients:
                    return LinkedStudies.joined(made)
        raise AuscultError(
            f"Only {found} of {wish.patients:,} patients could be made as they are asked for.",
            remedy="Ask for fewer conditions at once, or train with the part tables:copula.",
        )

    def _draw(self, demands: Demands, count: int, rng: np.random.Generator) -> Drawn:
        model, patients = self.model, len(self.model.patient)
        own, joint = model.latents.step, model.latents.within
        z = rng.standard_normal((count, patients)) @ _root(own).T
        patient = _decoded(model.patient, z, {})
        visits = patient.get(VISITS, np.full(count, float(model.layout["fixed"].get(VISITS, 1)))).astype(np.int64)
        rows = np.repeat(np.arange(count), visits)
        carry = np.linalg.solve(joint[:patients, :patients], joint[:patients, patients:]).T
        left = joint[patients:, patients:] - carry @ joint[:patients, patients:]
        latents = z[rows] @ carry.T + rng.standard_normal((len(rows), len(left))) @ _root(left).T
        study = _decoded(model.study, latents, {name: values[rows] for name, values in patient.items()})
        fulfilled = has_plans(demands, study, len(rows))
        return Drawn(patient=patient, study=study, visits=visits, weights=np.ones(count), fulfilled=fulfilled)


def _root(covariance: Floats) -> Floats:
    even = (covariance + covariance.T) / 2 + SOLID * np.eye(len(covariance))
    return np.asarray(np.linalg.cholesky(even), dtype=np.float64)


def _decoded(items: Sequence[Effects], z: Floats, known: dict[str, Floats]) -> dict[str, Floats]:
    seen = dict(known)
    for column, item in enumerate(items):
        told = told_of(item, seen, len(z))
        if item.variable.numbers is not None:
            seen[item.variable.name] = np.where(told, item.variable.numbers.at(z[:, column]), np.nan)
        else:
            place = np.searchsorted(item.base[0], z[:, column]).astype(np.float64)
            seen[item.variable.name] = np.where(told, place, -1.0)
    return {item.variable.name: seen[item.variable.name] for item in items}


def _renamed(studies: LinkedStudies, first: int) -> LinkedStudies:
    from dataclasses import replace

    visits = studies.visits()
    names = [f"P{first + number:06d}" for number in np.cumsum(visits == 0).tolist()]
    keys = [f"{name}-{visit + 1}" for name, visit in zip(names, visits.tolist(), strict=True)]
    return replace(studies, patient_ids=np.array(names, dtype=object), study_ids=np.array(keys, dtype=object))


def _coded(column: Column, rng: np.random.Generator) -> tuple[Effects, Floats]:
    """Thresholds of a column, and its even numbers."""
    from scipy.special import ndtr, ndtri

    n, variable = len(column.seen), column.variable
    even = rng.random(n)
    if variable.numbers is not None:
        told = ~np.isnan(column.seen)
        even[told] = ndtr(variable.numbers.scores(column.seen[told]))
        return Effects(variable=variable, base=np.zeros((1, 1)), moves=np.zeros((1, 0))), even
    told = column.seen >= 0
    places = column.seen[told].astype(np.int64)
    ends = np.cumsum(np.bincount(places, minlength=len(variable.values))) / told.sum()
    starts = np.concatenate([[0.0], ends[:-1]])
    even[told] = starts[places] + even[told] * (ends - starts)[places]
    thresholds = ndtri(np.clip(ends[:-1], 1e-9, 1 - 1e-9))[None]
    return Effects(variable=variable, base=thresholds, moves=np.zeros((len(variable.values) - 1, 0))), even


def _correlation(columns: Sequence[Floats]) -> Floats:
    """Correlation of normal scores, by SDV's synthesizer."""
    if not columns:
        return np.empty((0, 0))
    model, names = sdv_copula(np.stack(columns, axis=1), "uniform")
    found: Floats = model.correlation.loc[names, names].to_numpy()
    return np.round((found + found.T) / 2, DIGITS) + 0.0


@PARTS.register("tables:sdv")
class Sdv:
    """How tables are learnt by SDV alone."""

    @staticmethod
    def missing(studies: LinkedStudies) -> str:
        return "" if studies.attributes or studies.labels else "no study has an attribute or a label"

    @staticmethod
    def fit(studies: LinkedStudies, learning: Learning, **others: Any) -> SdvTables:
        """Learn the tables.

        Raises:
            CohortError: nothing can be learnt, or there are too many columns.
            AuscultError: differential privacy is asked for.
        """
        if reason := Sdv.missing(studies):
            raise CohortError(f"No table can be learnt: {reason}.", remedy="Give a cohort with an attribute or label.")
        refuse_privacy(learning, "tables:sdv")
        rng = generator(learning.settings.seed, "tables sdv codes")
        with fixed_threads():
            read = read_columns(studies, rare_below=learning.settings.rare_below, steady=False)
            learning.tell(0.3, "columns read")
            of_patients = [_coded(column, rng) for column in read.patient]
            of_studies = [_coded(column, rng) for column in read.study]
            own = _correlation([even for _, even in of_patients])
            joint = _correlation([*(even[read.owner] for _, even in of_patients), *(even for _, even in of_studies)])
            learning.tell(1.0, "correlations between columns")
        return SdvTables(_model(of_patients, of_studies, own, joint, read.layout), _facts(studies, read.owner, read))

    @staticmethod
    def load(folder: Path) -> SdvTables:
        return SdvTables(*load_model(folder))


def _model(
    of_patients: Sequence[tuple[Effects, Floats]], of_studies: Sequence[tuple[Effects, Floats]], own: Floats,
    joint: Floats, layout: dict[str, Any],
) -> Model:  # fmt: skip
    return Model(
        patient=tuple(effects for effects, _ in of_patients),
        study=tuple(effects for effects, _ in of_studies),
        groups=Groups(names=(), cuts=(), sizes=()),
        latents=Latents(within=joint, step=own),
        layout=layout,
    )


def _facts(studies: LinkedStudies, owner: Ints, read: Any) -> dict[str, Any]:
    return {
        "patients": len(studies.patients), "studies": len(owner), "most_visits": MOST_VISITS,
        "columns": {"patients": len(read.patient), "studies": len(read.study)},
        "patients_with_more_visits": read.layout["visits_cut"], **read.findings.to_dict(),
    }  # fmt: skip
