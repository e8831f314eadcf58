"""Generators of real tables that packages carry: what is not there is left out by name, and nothing is invented."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from core.errors import AuscultError
from models_registry.cohorts import convert_cohort
from models_registry.cohorts.reader import open_cohort
from models_registry.cohorts.real_tables import TABLES, write_real_table
from synthetic.generators.linked import train_generator
from synthetic.generators.parts import Wish
from synthetic.generators.reading import read_linked
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, split_patients

HOLDS = {"nih-metadata": (112_120, 30_805), "actg175": (2139, 2139), "nhefs": (1629, 1629)}


def studies_of(key: str, folder: Path) -> LinkedStudies:
    table = write_real_table(key, folder)
    convert_cohort(table.file, mapping=None, destination=folder / "registered")
    return read_linked(open_cohort(folder / "registered"))


@pytest.mark.parametrize("key", TABLES)
def test_a_generator_learns_what_a_real_table_holds(key: str, tmp_path: Path) -> None:
    if key == "nhefs" and importlib.util.find_spec("causaldata") is None:
        pytest.skip("the package causaldata, which carries the table, is not installed")
    real = studies_of(key, tmp_path)
    assert (len(real), len(real.patients)) == HOLDS[key]
    few = split_patients(real, [min(1.0, 2500 / len(real.patients))], seed=1)[0]
    generator = train_generator(few, tmp_path / "generator", GeneratorSettings(seed=1), resume=tmp_path / "work")
    assert set(generator.parts) == {"tables"} and set(generator.body["left_out"]) == {
        "series", "critic", "image", "report",
    }  # fmt: skip
    assert all(generator.body["left_out"].values())
    made = generator.sample(Wish(patients=2000), seed=3).studies
    assert made.images is None and not made.series and not made.texts and set(made.labels) == set(real.labels)
    women, real_women = ((one.attributes["sex"] == "F").mean() for one in (made, few))
    assert abs(women - real_women) < 0.06
    for name, values in made.labels.items():
        known = few.labels[name] >= 0
        if (values >= 0).any() and known.any():
            assert abs((values[values >= 0] == 1).mean() - (few.labels[name][known] == 1).mean()) < 0.06, name
    ages = [np.array([age for age in one.attributes["age"] if age is not None], dtype=float) for one in (made, few)]
    assert abs(np.median(ages[0]) - np.median(ages[1])) < 4


def test_a_table_that_is_not_there_is_told() -> None:
    with pytest.raises(AuscultError, match="no real table called 'mimic'"):
        write_real_table("mimic", Path())
