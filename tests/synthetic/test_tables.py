"""Tables: what is made has the rates, relations and persistence of what was learnt, and nothing that few hold."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.plans import PARTS as PLAN_PARTS
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.tables_scene import FINDINGS, SECRET, indicators, owners, share, studies_of

SETTINGS = GeneratorSettings(seed=1)
MARGIN = 0.012
"""Share beyond three standard errors that a model may be off."""


@pytest.fixture(scope="module")
def real() -> LinkedStudies:
    return studies_of(1500)


@pytest.fixture(scope="module")
def fitted(real: LinkedStudies) -> Any:
    return PARTS.get("tables:copula").fit(real, Learning(settings=SETTINGS))


@pytest.fixture(scope="module")
def made(fitted: Any) -> LinkedStudies:
    found: LinkedStudies = fitted.sample(Wish(patients=6000), seed=5)
    return found


def off(real: LinkedStudies, made: LinkedStudies, pairs: bool) -> dict[str, float]:
    """What is further from the real share than three standard errors of both and the margin."""
    one, two = indicators(real), indicators(made)
    # Between what is the matter, and everything: attributes among each other are few.
    names = [pair for pair in itertools.combinations(one, 2) if pair[0].split()[0] in ("finding", "sex", "group")]
    names = names if pairs else [(name, name) for name in one]
    found = {}
    for first, second in names:
        wanted, error = share(real, one[first] * one[second])
        seen, own = share(made, two[first] * two[second])
        if abs(seen - wanted) > 3 * np.hypot(error, own) + MARGIN:
            found[f"{first} and {second}"] = seen - wanted
    return found


def test_every_rate_and_every_pair_is_as_in_what_was_learnt(real: LinkedStudies, made: LinkedStudies) -> None:
    assert off(real, made, pairs=False) == {}
    assert off(real, made, pairs=True) == {}
    # Rates alone are no relations: with patients' attributes shuffled, pairs are off.
    order = np.argsort(made.plans.present[:, 0], kind="stable")[::-1]
    shuffled = {name: values[order] for name, values in made.attributes.items()}
    broken = LinkedStudies(**{**vars(made), "attributes": shuffled})
    assert off(real, broken, pairs=False) == {} and len(off(real, broken, pairs=True)) >= 3


def test_correlations_between_findings_and_attributes_are_kept(real: LinkedStudies, made: LinkedStudies) -> None:
    one, two = indicators(real), indicators(made)
    first, second = (np.corrcoef(np.stack([item[name] for name in one])) for item in (one, two))
    assert np.abs(first - second).max() < 0.08
    names = list(one)
    at = names.index("finding effusion"), names.index("finding cardiomegaly")
    assert first[at] > 0.25 and second[at] == pytest.approx(first[at], abs=0.04)


def test_findings_persist_from_visit_to_visit(real: LinkedStudies, made: LinkedStudies) -> None:
    for place, name in enumerate(FINDINGS):
        lags, sides = [], []
        for studies in (real, made):
            later = np.flatnonzero(studies.visits() > 0)
            present, side = studies.plans.present[:, place], studies.plans.side[:, place]
            lags.append(np.corrcoef(present[later], present[later - 1])[0, 1])
            both = later[(present[later] == 1) & (present[later - 1] == 1)]
            sides.append(np.mean(side[both] == side[both - 1]))
        assert lags[1] == pytest.approx(lags[0], abs=0.1) and lags[0] > 0.3, name
        assert sides == [1.0, 1.0], "a finding does not change sides"


def test_visits_times_and_ages_go_on_as_they_do(real: LinkedStudies, made: LinkedStudies) -> None:
    counts = [
        np.bincount(np.bincount(owners(studies)), minlength=5) / len(studies.patients) for studies in (real, made)
    ]
    assert np.abs(counts[0] - counts[1]).max() < 0.03
    later = [np.flatnonzero(studies.visits() > 0) for studies in (real, made)]
    gaps = [(studies.times[rows] - studies.times[rows - 1]).astype(float) for studies, rows in zip((real, made), later,
            strict=True)]  # fmt: skip
    assert gaps[1].min() >= 1, "a patient's studies are apart in time"
    assert np.median(gaps[1]) == pytest.approx(np.median(gaps[0]), rel=0.1)
    ages = np.array(made.attributes["age"].tolist())
    steps, years = ages[later[1]] - ages[later[1] - 1], gaps[1] / (365.25 * 86_400)
    assert (np.abs(steps - years) <= 1).all() and (steps >= 0).all()
    assert all(type(value) is int for value in made.attributes["age"]) and ages.min() >= 30


def test_labels_agree_with_plans_and_what_is_absent_has_no_place(real: LinkedStudies, made: LinkedStudies) -> None:
    for place, name in enumerate(FINDINGS):
        assert (made.labels[name] == made.plans.present[:, place]).all()
        absent = made.plans.present[:, place] != 1
        assert all((made.plans.part(part)[absent, place] == -1).all() for part in PLAN_PARTS)
    words = made.plans.words()
    assert (made.plans.side[:, 2] == -1).all() and (made.plans.zone == -1).all(), "the heart has no side"
    for place, name in enumerate(FINDINGS):
        seen = real.plans.words()[name]
        holders = Counter(word for _, word in {*zip(owners(real).tolist(), seen.tolist(), strict=True)})
        for word in set(words[name].tolist()):
            # A plan of few patients is told without its size: as often as there are plans that tell the rest of it.
            telling = [held for other, held in holders.items() if set(word.split()) <= set(other.split())]
            assert holders[word] >= 11 or sum(telling) >= 11, (place, word)
            assert word == "none" or not {"upper", "mid", "lower"} & set(word.split())


def test_what_few_hold_never_appears(fitted: Any, real: LinkedStudies, made: LinkedStudies) -> None:
    facts = fitted.facts
    assert facts["suppressed"]["ward"] == 1 and set(made.attributes["ward"].tolist()) == {"east", "west"}
    assert (made.labels["ghost"] == -1).all() and "positive" in facts["left_out"]["ghost"]
    assert "record" in facts["left_out"] and "record" not in made.attributes
    assert facts["constant"] == ["country"] and set(made.attributes["country"].tolist()) == {"here"}
    assert facts["empty"] == ["note"] and set(made.attributes["note"].tolist()) == {None}
    assert facts["generalised"]["effusion"] > 0
    assert SECRET not in str(facts)


def test_modalities_are_where_they_would_be(real: LinkedStudies, made: LinkedStudies) -> None:
    assert made.images is None and abs(made.has_image.mean() - 0.9) < 0.02
    assert set(made.texts["reference"].tolist()) == {None, ""} and made.units == real.units
    readings = [item for item in made.series["crp"] if item is not None]
    assert all(item.shape[1] == 2 and np.isnan(item).all() for item in readings)
    means = []
    for studies in (real, made):
        ill = studies.plans.present[:, 0] == 1
        lengths = np.array([np.nan if item is None else len(item) for item in studies.series["crp"]])
        means.append([np.nanmean(lengths[ill]), np.nanmean(lengths[~ill])])
    assert means[0][0] - means[0][1] > 1.5 and np.abs(np.subtract(*means)).max() < 0.2, (
        "the ill are measured more often"
    )
    assert set(made.attributes["visits_last_year"].tolist()) <= set(real.attributes["visits_last_year"].tolist())
    told = [value for value in made.attributes["weight"] if value is not None]
    assert all(round(value, 1) == value for value in told)
    sexes = [np.mean([w for w, s in zip(studies.attributes["weight"], studies.attributes["sex"], strict=True)
                      if w is not None and s == "M"]) for studies in (real, made)]  # fmt: skip
    assert sexes[1] == pytest.approx(sexes[0], abs=0.8)


def test_patients_are_those_of_one_table(made: LinkedStudies, fitted: Any) -> None:
    assert len(made.patients) == 6000 and len(set(made.study_ids.tolist())) == len(made)
    assert not any("REAL" in name for name in made.patients)
    for name in ("sex", "group", "ward", "weight"):
        assert len({*zip(made.patient_ids, made.attributes[name], strict=True)}) == 6000, (
            "of the patient, not the visit"
        )
    assert fitted.facts["patients"] == 1500 and fitted.facts["correlation_changed_at_most"] < 0.2
