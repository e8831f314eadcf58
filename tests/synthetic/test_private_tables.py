"""Tables that were counted with noise: what is counted, what is drawn, and what a patient can do to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.keeping import studies_digest
from synthetic.generators.kinds.private_tables import PrivateTables, layout_of
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.private.accounting import Mechanism
from synthetic.generators.private.bounded import bounded
from synthetic.generators.private.tables_counting import counted as cells_of
from synthetic.generators.private.tables_counting import projected
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.private_scene import FINDINGS, KEY, counted, domain_of, settings_of, ward, without

PART = PARTS.get("tables:private")
FAINT = 1e-9


@pytest.fixture(scope="module")
def real() -> LinkedStudies:
    return ward(1500)


@pytest.fixture(scope="module")
def tables(real: LinkedStudies) -> PrivateTables:
    return counted(real, settings_of(), noise=0.5)  # type: ignore[no-any-return]


def effusions(studies: LinkedStudies, sex: str) -> float:
    rows = studies.attributes["sex"] == sex
    return float((studies.labels["effusion"][rows] == 1).mean())


def test_what_is_drawn_is_like_what_was_counted(tables: PrivateTables, real: LinkedStudies) -> None:
    made = tables.sample(Wish(patients=4000), seed=3)
    assert len(made.patients) == 4000 and tables.patients == pytest.approx(1500, rel=0.02)
    assert len(made) / 4000 == pytest.approx(len(real) / 1500, rel=0.03)
    for sex in ("F", "M"):
        assert effusions(made, sex) == pytest.approx(effusions(real, sex), abs=0.05), "also after the first study"
    for studies in (made, real):
        ill = studies.labels["effusion"] == 1
        assert (studies.attributes["view"][ill] == "AP").mean() > 0.7 > 0.4 > (
            studies.attributes["view"][~ill] == "AP").mean()  # fmt: skip
        assert (studies.plans.side[ill, 0] == 0).mean() == pytest.approx(0.8, abs=0.05)
        assert (studies.plans.zone[ill, 0] == 2).mean() > 0.97
        old = np.array(studies.attributes["age"].tolist(), dtype=float) >= 60
        hearts = studies.labels["cardiomegaly"] == 1
        assert hearts[old].mean() - hearts[~old].mean() > 0.15
    assert (made.labels["effusion"] == made.plans.present[:, 0]).all()
    assert set(made.attributes) == {"sex", "age", "view"} and made.times.min() >= np.datetime64("2020-01-01")
    lengths = [len(item) for item in made.series["crp"] if item is not None]
    assert set(lengths) == {1, 2, 3} and 0.7 < len(lengths) / len(made) < 0.9
    own = made.rows(made.patient_ids == made.patient_ids[0])
    assert len(set(own.attributes["sex"])) == 1 and (np.diff(own.times.astype(int)) > 0).all()


def test_what_the_domain_does_not_name_is_left_out_by_name(tables: PrivateTables) -> None:
    assert tables.facts["left_out"] == {
        "ward": "the domain does not name it", "series.unknown": "the domain does not name it",
    }  # fmt: skip
    more = counted(ward(50), settings_of(domain=domain_of(texts=["reference", "impression"])), noise=1.0)
    assert more.facts["left_out"]["text.impression"] == "the cohort has no such column"
    told = str(tables.facts) + str(tables.sample(Wish(patients=300), seed=1).attributes)
    assert "Rare Ones" not in told


def test_one_patient_moves_the_tables_by_no_more_than_the_bound() -> None:
    """Brute force: tables with and without each patient, some of whom have far more studies than count."""
    real = ward(40, seed=8)
    many = np.concatenate([np.arange(len(real)), np.repeat(np.arange(5), 30)])
    real = real.rows(np.sort(many))
    domain = domain_of(visits=3)
    layout = layout_of(domain, real)

    def exact(studies: LinkedStudies) -> np.ndarray[Any, Any]:
        found = cells_of(layout, bounded(studies, domain))
        return np.concatenate([
            np.bincount(found[table.name].cell, found[table.name].weight, minlength=table.cells)
            for table in layout.tables()
        ])  # fmt: skip

    whole = exact(real)
    bound = layout.units * np.sqrt(len(layout.tables()))
    moves = [float(np.linalg.norm(whole - exact(without(real, patient)))) for patient in real.patients]
    assert layout.units == 6 and 0.4 * bound < max(moves) <= bound


def test_the_noise_has_the_size_that_was_paid_for(real: LinkedStudies) -> None:
    settings = settings_of()
    exact, noisy = (counted(real, settings, noise) for noise in (FAINT, 3.0))
    away = np.concatenate([(noisy.tables[name] - exact.tables[name]).ravel() for name in exact.tables])
    spread = 3.0 * exact.layout.units * np.sqrt(len(exact.layout.tables()))
    assert away.std() == pytest.approx(spread, rel=0.2) and (away == np.rint(away)).all()
    assert noisy.facts["noise_in_patients"] == pytest.approx(spread / exact.layout.units, abs=0.01)
    assert noisy.facts["privacy"] | {"epsilon": 0} == {
        "mechanism": "Gaussian", "noise": 3.0, "rate": 1.0, "steps": 1, "epsilon": 0, "delta": 1e-4,
        "unit": "one patient with all studies",
    }  # fmt: skip


def test_values_beyond_public_bounds_count_as_the_bound_and_unknown_ones_as_missing() -> None:
    real = ward(60, seed=2)
    ages = real.attributes["age"].copy()
    ages[:6] = [1e9, -5, None, float("nan"), True, "old"]
    sexes = real.attributes["sex"].copy()
    sexes[:2] = ["somebody's own", None]
    odd = replace(real, attributes=real.attributes | {"age": ages, "sex": sexes})
    layout = layout_of(domain_of(pairs=[], visits=1), odd)
    rows = bounded(odd.rows(np.arange(6)), domain_of(visits=8))
    cells = cells_of(layout, replace(rows, visit=np.zeros(6, dtype=np.int64), owner=np.arange(6),
                                     visits=np.ones(6, dtype=np.int64)))  # fmt: skip
    assert cells["column age"].cell.tolist() == [4, 0, 5, 5, 5, 5]
    assert cells["column sex"].cell[:2].tolist() == [2, 2]


@pytest.mark.parametrize(
    "wish",
    [
        Wish(patients=60, attributes={"sex": "F"}, least={"age": 81}, findings={"cardiomegaly": "present"}),
        Wish(patients=60, attributes={"age": 44, "view": "AP"}),
        Wish(patients=60, most={"age": 30}, findings={"effusion": "right lower", "cardiomegaly": "none"}),
    ],
)
def test_wishes_are_met(tables: PrivateTables, wish: Wish) -> None:
    made = tables.sample(wish, seed=4)
    assert len(made.patients) == 60 and len(set(made.study_ids)) == len(made)
    for name, value in wish.attributes.items():
        assert set(made.attributes[name]) == {value}
    ages = np.array(made.attributes["age"].tolist(), dtype=float)
    assert ages.min() >= wish.least.get("age", 0) and ages.max() <= wish.most.get("age", 100)
    words = made.plans.words()
    for finding, word in wish.findings.items():
        there = words[finding] == "none" if word == "none" else words[finding] != "none"
        assert set(made.patient_ids[there]) == set(made.patients), finding


def test_conditions_move_what_depends_on_them(tables: PrivateTables) -> None:
    """Who is old has a large heart more often: it is drawn given the age, and not on its own."""
    shares = [
        (tables.sample(Wish(patients=1500, **limits), seed=2).labels["cardiomegaly"] == 1).mean()
        for limits in ({"least": {"age": 80}}, {"most": {"age": 39}})
    ]  # fmt: skip
    assert shares[0] - shares[1] > 0.2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"attributes": {"ward": "x"}}, "no attribute called 'ward'"),
        ({"attributes": {"sex": "X"}}, "no sex 'X'"),
        ({"least": {"sex": 3}}, "no number called 'sex'"),
        ({"findings": {"nodule": "present"}}, "no finding called 'nodule'"),
        ({"least": {"age": 500}}, "No patient can have age of at least 500"),
        ({"attributes": {"age": 30}, "least": {"age": 60}}, "No patient can have"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(tables: PrivateTables, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(AuscultError, match=match) as caught:
        tables.sample(Wish(patients=5, **changes), seed=1)
    assert caught.value.remedy


def test_it_is_kept_and_makes_the_same_patients_again(tables: PrivateTables, tmp_path: Path) -> None:
    tables.save(tmp_path)
    again = PART.load(tmp_path)
    wish = Wish(patients=30)
    assert studies_digest(again.sample(wish, seed=2)) == studies_digest(tables.sample(wish, seed=2))
    assert studies_digest(again.sample(wish, seed=3)) != studies_digest(tables.sample(wish, seed=2))
    (tmp_path / "tables.json").write_text("{}")
    with pytest.raises(AuscultError, match="no tables that this version can read"):
        PART.load(tmp_path)


def test_without_privacy_or_without_a_domain_it_learns_nothing() -> None:
    real = ward(20)
    with pytest.raises(AuscultError, match="differential privacy alone"):
        PART.fit(real, Learning(settings=GeneratorSettings(seed=1)))
    bare = Learning(settings=settings_of(domain=None), allowed=Mechanism(noise=1.0), noise=KEY.of("x"))
    with pytest.raises(AuscultError, match="needs a domain") as caught:
        PART.fit(real, bare)
    assert caught.value.column == "privacy.domain"


def test_even_drowned_in_noise_it_draws_patients() -> None:
    made = counted(ward(200), settings_of(), noise=500.0).sample(Wish(patients=50), seed=1)
    assert len(made.patients) == 50 and set(made.labels) == set(FINDINGS)


def test_a_table_is_projected_to_the_nearest_without_negative_cells() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0, 10, 30)
    found = projected(values, 25.0)
    assert found.min() >= 0 and found.sum() == pytest.approx(25)
    others = rng.dirichlet(np.ones(30), 2000) * 25
    assert ((others - values) ** 2).sum(axis=1).min() >= ((found - values) ** 2).sum()
