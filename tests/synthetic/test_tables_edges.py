"""Tables at their edges: files, other processes, columns that are not as usual."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError, CohortError
from synthetic.generators.keeping import studies_digest
from synthetic.generators.kinds.tables_marginals import Numbers
from synthetic.generators.linked import load_generator, train_generator
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.plans import Plans
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.tables_scene import SECRET, studies_of

SETTINGS = GeneratorSettings(seed=1, parts={"tables": "copula"})
WISH = Wish(patients=300, attributes={"sex": "F"}, findings={"effusion": "left small"})
ELSEWHERE = """
import sys
from pathlib import Path
from synthetic.generators.keeping import studies_digest
from synthetic.generators.parts import PARTS, Wish
folder = Path(sys.argv[1])
loaded = PARTS.get("tables:copula").load(folder)
wish = Wish(patients=300, attributes={"sex": "F"}, findings={"effusion": "left small"})
print(studies_digest(loaded.sample(wish, seed=4)), studies_digest(loaded.sample(Wish(patients=3000), seed=4)))
"""


def learn(studies: LinkedStudies, settings: GeneratorSettings = SETTINGS) -> Any:
    return PARTS.get("tables:copula").fit(studies, Learning(settings=settings))


def plain_of(n: int, **changes: Any) -> LinkedStudies:
    """One study for each of n patients, with nothing but what is given."""
    ids = np.array([f"p{row}" for row in range(n)], dtype=object)
    body: dict[str, Any] = {
        "patient_ids": ids, "study_ids": ids, "times": np.full(n, np.datetime64("NaT", "s")),
        "plans": Plans.empty((), n), "has_image": np.zeros(n, dtype=np.bool_),
    }  # fmt: skip
    return LinkedStudies(**(body | changes))


def test_equal_seeds_give_equal_files_and_patients_in_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    fitted = learn(studies_of(300))
    fitted.save(here)
    learn(studies_of(300)).save(there)
    told = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(there)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    ).stdout.split()  # fmt: skip
    again = PARTS.get("tables:copula").load(here).sample(WISH, seed=4)
    assert (
        again.plans.findings
        == fitted.sample(WISH, seed=4).plans.findings
        == ("effusion", "pneumothorax", "cardiomegaly")
    )
    names = sorted(file.name for file in here.iterdir())
    assert names == ["tables.json", "tables.safetensors"]
    assert all((here / name).read_bytes() == (there / name).read_bytes() for name in names)
    assert told == [studies_digest(fitted.sample(wish, seed=4)) for wish in (WISH, Wish(patients=3000))]
    assert studies_digest(fitted.sample(WISH, seed=5)) != told[0]


def test_no_value_of_one_patient_is_in_the_files(tmp_path: Path) -> None:
    real = studies_of(600)
    values = np.exp(np.random.default_rng(1).normal(0, 2, len(real)))
    real = replace(real, attributes=real.attributes | {"marker": values.astype(object)})
    fitted = learn(real)
    fitted.save(tmp_path)
    told = (tmp_path / "tables.json").read_text()
    assert SECRET not in told and "REAL-" not in told and "MRN-" not in told
    from safetensors.numpy import load_file

    kept = np.concatenate([array.ravel() for array in load_file(tmp_path / "tables.safetensors").values()])
    assert not np.isin(kept, values).any(), "quantiles are means over patients"
    made = np.array(fitted.sample(Wish(patients=3000), seed=1).attributes["marker"].tolist())
    assert not np.isin(made, values).any() and values.min() < made.min() and made.max() < values.max()
    assert np.median(made) == pytest.approx(np.median(values), rel=0.15)


def test_the_part_joins_a_generator(tmp_path: Path) -> None:
    train_generator(studies_of(300), tmp_path / "g", SETTINGS, resume=tmp_path / "w")
    loaded = load_generator(tmp_path / "g")
    made = loaded.sample(Wish(patients=400), seed=3).studies
    assert len(made.patients) == 400 and loaded.body["facts"]["tables"]["patients"] == 210
    assert json.dumps(loaded.body["facts"]["tables"])


def test_one_class_no_attribute_no_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    present = (rng.random(400) < 0.3).astype(np.int8)
    bare = learn(plain_of(400, labels={"nodule": present, "never": np.zeros(400, dtype=np.int8)}))
    made = bare.sample(Wish(patients=2000), seed=1)
    assert abs(made.labels["nodule"].mean() - present.mean()) < 0.05 and not made.labels["never"].any()
    assert np.isnat(made.times).all() and len(made) == 2000 and made.attributes == {}
    assert bare.facts["constant"] == ["image", "never"]
    with pytest.raises(AuscultError, match="The attribute 'nodule' was never learnt"):
        bare.sample(Wish(patients=10, least={"nodule": 1}), seed=1)
    only = learn(plain_of(400, labels={"never": np.zeros(400, dtype=np.int8)}))
    assert not only.sample(Wish(patients=50), seed=1).labels["never"].any()
    unknown = np.where(rng.random(400) < 0.4, -1, present).astype(np.int8)
    plans = replace(Plans.empty(("nodule",), 400), present=unknown[:, None])
    silent = learn(plain_of(400, labels={"nodule": unknown}, plans=plans)).sample(Wish(patients=3000), seed=1)
    assert abs((silent.labels["nodule"] == -1).mean() - 0.4) < 0.05
    assert abs((silent.labels["nodule"] == 1).mean() - (unknown == 1).mean()) < 0.05


def test_columns_that_cannot_be_learnt_are_refused(tmp_path: Path) -> None:
    part = PARTS.get("tables:copula")
    assert part.missing(plain_of(300)) == "no study has an attribute or a label"
    with pytest.raises(CohortError, match="no study has an attribute or a label"):
        learn(plain_of(300))
    names = np.array([f"name {row}" for row in range(300)], dtype=object)
    with pytest.raises(CohortError, match=r"No attribute and no label can be learnt \('who': it holds so many"):
        learn(plain_of(300, attributes={"who": names}))
    rng = np.random.default_rng(1)
    wide = {f"label {number}": (rng.random(300) < 0.5).astype(np.int8) for number in range(401)}
    with pytest.raises(CohortError, match="have 401 values and numbers to learn; at most 400"):
        learn(plain_of(300, labels=wide))
    private = replace(SETTINGS, privacy=Privacy(epsilon=3, delta=1e-5))
    with pytest.raises(AuscultError, match="differential privacy") as caught:
        learn(studies_of(300), private)
    assert caught.value.column == "privacy"


def test_many_studies_of_one_patient_are_cut_and_named() -> None:
    real = studies_of(220, most_visits=22)
    fitted = learn(real)
    assert fitted.facts["patients_with_more_visits"] > 30
    made = fitted.sample(Wish(patients=500), seed=1)
    assert np.bincount(np.bincount(np.cumsum(made.visits() == 0) - 1)).size <= 17


def test_what_is_missing_now_and_then_stays_so() -> None:
    real = studies_of(300)
    rng = np.random.default_rng(1)
    gone = {"age": 0.2, "view": 0.3}
    changed = {name: real.attributes[name].copy() for name in gone}
    for name, part in gone.items():
        changed[name][rng.random(len(real)) < part] = None
    times = np.where(rng.random(len(real)) < 0.15, np.datetime64("NaT", "s"), real.times)
    made = learn(replace(real, attributes=real.attributes | changed, times=times)).sample(Wish(patients=3000), seed=2)
    for name, part in gone.items():
        assert np.mean([value is None for value in made.attributes[name]]) == pytest.approx(part, abs=0.05), name
    assert np.isnat(made.times).mean() == pytest.approx(0.15, abs=0.05)
    told = [value for value in made.attributes["age"] if value is not None]
    assert np.mean(told) == pytest.approx(np.mean([one for one in changed["age"] if one is not None]), abs=3)


def test_studies_at_one_time_and_series_without_readings_can_be_learnt() -> None:
    real = studies_of(250)
    still = replace(
        real, times=np.full(len(real), np.datetime64(10**9, "s")),
        series={"none": [None] * len(real), "empty": [np.zeros((0, 2)) for _ in range(len(real))]},
    )  # fmt: skip
    made = learn(still).sample(Wish(patients=100), seed=1)
    assert (made.times == np.datetime64(10**9, "s")).all() and set(made.series["none"]) == {None}
    assert all(item is not None and item.shape == (0, 2) for item in made.series["empty"])
    assert abs((made.labels["effusion"] == 1).mean() - (real.labels["effusion"] == 1).mean()) < 0.12


@pytest.mark.parametrize("kind", ["spiked", "skewed", "few", "codes"])
def test_numbers_are_spread_as_they_were(kind: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "spiked": np.where(rng.random(2000) < 0.7, 0.0, rng.exponential(5, 2000)),
        "skewed": np.round(np.exp(rng.normal(3, 1.5, 2000)), 2),
        "few": rng.choice([1.0, 2.0, 7.0], 2000),
        "codes": rng.integers(10_000, 99_999, 2000).astype(float),
    }[kind]
    learnt = Numbers.learn(values, np.arange(2000), rare_below=11, whole=kind == "codes")
    made = learnt.at(rng.standard_normal(20_000))
    shares = [np.searchsorted(np.sort(one), np.quantile(values, [0.1, 0.5, 0.75, 0.9]), side="right") / len(one)
              for one in (values, made)]  # fmt: skip
    assert np.abs(np.subtract(*shares)).max() < 0.03
    assert learnt.bounds[0] >= values.min() and learnt.bounds[1] <= values.max()
    low, high = learnt.span(*np.quantile(values, [0.2, 0.8]))
    from scipy.special import ndtr

    inside = learnt.at(np.linspace(max(low, -6), min(high, 6), 50))
    wide = np.quantile(values, [0.15, 0.85])
    assert inside.min() >= min(wide[0], inside.max()) and ndtr(high) - ndtr(low) > 0.2
