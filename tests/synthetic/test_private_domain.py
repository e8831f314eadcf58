"""What is public, read from JSON; and settings that ask for differential privacy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.plan_reading import read_plans
from synthetic.generators.plans import Plans
from synthetic.generators.private.domain import check_domain
from synthetic.generators.private.proposal import KNOWN_ATTRIBUTES, KNOWN_SERIES, propose_domain
from synthetic.generators.private.words import public_canaries, reports_of, vocabulary_of, words_of
from synthetic.generators.settings import PLAIN, PRIVATE, GeneratorSettings, Privacy
from tests.synthetic.private_scene import BODY, FINDINGS, domain_of, settings_of


def test_a_domain_is_read_in_short_and_in_full_and_written_back() -> None:
    domain = domain_of()
    assert domain.attributes["sex"].values == ("F", "M")
    assert domain.attributes["age"].edges() == [0, 20, 40, 60, 80, 100] and domain.attributes["age"].whole
    assert domain.attributes["view"].each == "study" and domain.series["crp"].readings == 3
    assert domain.pairs == {"effusion": "sex", "view": "effusion", "cardiomegaly": "age"}
    assert check_domain(domain.to_dict()) == domain
    plain = check_domain({"findings": ["effusion"], "attributes": {"age": [0, 100, 10]}, "series": {"crp": [0, 400]}})
    assert plain.pairs == {"effusion": "age"} and plain.series["crp"].high == 400 and not plain.image


@pytest.mark.parametrize(
    ("changes", "entry"),
    [
        ({"nonsense": 1}, "domain.nonsense"),
        ({"findings": [], "attributes": {}}, "domain.findings"),
        ({"findings": "effusion"}, "domain.findings"),
        ({"findings": ["sex"]}, "domain.findings"),
        ({"attributes": {"age": [0, 100]}}, "domain.attributes.age"),
        ({"attributes": {"age": [100, 0, 5]}}, "domain.attributes.age.high"),
        ({"attributes": {"age": [0, float("nan"), 5]}}, "domain.attributes.age"),
        ({"attributes": {"age": [0, 3, 5]}}, "domain.attributes.age.bins"),
        ({"attributes": {"age": {"low": 0, "high": 9}}}, "domain.attributes.age.bins"),
        ({"attributes": {"age": {"low": 0, "high": 9, "bins": 3, "median": 4}}}, "domain.attributes.age.median"),
        ({"attributes": {"sex": ["F", "F"]}}, "domain.attributes.sex.values"),
        ({"attributes": {"sex": {"values": ["F"], "each": "ward"}}}, "domain.attributes.sex.each"),
        ({"series": {"crp": [400, 0]}}, "domain.series.crp.high"),
        ({"series": {"crp": "all"}}, "domain.series.crp"),
        ({"series": {"crp": {"low": 0, "high": 9, "readings": 99}}}, "domain.series.crp.readings"),
        ({"image": "yes"}, "domain.image"),
        ({"visits": 0}, "domain.visits"),
        ({"times": ["2024-01-01", "2020-01-01"]}, "domain.times"),
        ({"words": ["two words"]}, "domain.words"),
        ({"pairs": [["age", "ward"]]}, "domain.pairs"),
        ({"pairs": [["age", "effusion"], ["sex", "effusion"]]}, "domain.pairs"),
        ({"pairs": [["effusion", "age"]]}, "domain.pairs"),
        ({"pairs": [["view", "effusion"]]}, "domain.pairs"),
        ({"pairs": [["effusion", "cardiomegaly"], ["cardiomegaly", "effusion"]]}, "domain.pairs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], entry: str) -> None:
    with pytest.raises(AuscultError) as caught:
        check_domain(BODY | changes)
    assert caught.value.column == f"privacy.{entry}" and caught.value.remedy


def test_settings_with_privacy_name_parts_that_can_hold_it() -> None:
    assert GeneratorSettings(seed=1).parts == PLAIN
    settings = settings_of()
    assert settings.parts == PRIVATE and GeneratorSettings.from_dict(settings.to_dict()) == settings
    named = GeneratorSettings(seed=1, parts={"tables": "copula"}, privacy=settings.privacy)
    assert named.parts == {"tables": "copula"}
    plain = GeneratorSettings(seed=1)
    assert GeneratorSettings.from_dict(plain.to_dict()) == plain


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ({"epsilon": 0, "delta": 1e-6}, "privacy.epsilon"),
        ({"epsilon": float("nan"), "delta": 1e-6}, "privacy.epsilon"),
        ({"epsilon": True, "delta": 1e-6}, "privacy.epsilon"),
        ({"epsilon": 1}, "privacy.delta"),
        ({"epsilon": 1, "delta": 0.5}, "privacy.delta"),
        ({"epsilon": 1, "delta": 1e-6, "gamma": 1}, "privacy.gamma"),
        ({"epsilon": 1, "delta": 1e-6, "domain": {"x": 1}}, "privacy.domain.x"),
    ],
)
def test_privacy_that_cannot_be_is_refused_by_name(body: dict[str, Any], column: str) -> None:
    with pytest.raises(AuscultError) as caught:
        GeneratorSettings.from_dict({"seed": 1, "privacy": body})
    assert caught.value.column == column
    assert Privacy(epsilon=1, delta=1e-6).domain is None


def test_public_reports_tell_their_plans_in_words_of_the_vocabulary() -> None:
    rng = np.random.default_rng(3)
    plans = Plans.empty(FINDINGS, 200)
    plans.present[:] = rng.integers(-1, 2, plans.present.shape)
    there = plans.present[:, 0] == 1
    for part in ("side", "zone", "size"):
        plans.part(part)[there, 0] = rng.integers(-1, 3, 200)[there]
    texts = reports_of(plans, rng)
    read = read_plans({name: plans.present[:, place] for place, name in enumerate(FINDINGS)}, texts)
    for part in ("side", "zone", "size"):
        assert (read.part(part) == plans.part(part)).mean() > 0.99, part
    vocabulary = vocabulary_of(domain_of())
    assert all(vocabulary.decode(vocabulary.encode(text)[:-1]) == text for text in texts)


def test_the_vocabulary_grows_by_what_the_domain_adds_and_by_nothing_else() -> None:
    domain, wider = domain_of(), domain_of(words=["sarcoidosis"])
    assert set(words_of(wider)) - set(words_of(domain)) == {"sarcoidosis"}
    assert vocabulary_of(domain).encode("No sarcoidosis.") == () != vocabulary_of(wider).encode("No sarcoidosis.")
    planted, others = (public_canaries(domain, 20, seed=1, purpose=name) for name in ("canaries", "decoys"))
    assert len({*planted, *others}) == 40 and all(vocabulary_of(domain).encode(text) for text in planted)


def test_a_proposal_knows_names_of_columns_and_nothing_of_what_is_in_them() -> None:
    columns = ["patient_id", "study_id", "study_time", "sex", "age", "ward", "label.effusion", "label.ghost",
               "series.crp", "series.odd", "text.reference", "image"]  # fmt: skip
    found = propose_domain(columns)
    domain = check_domain(found.body)
    assert found.unknown == ("ward", "series.odd") and domain.findings == ("effusion", "ghost") and domain.image
    assert set(domain.attributes) == {"sex", "age"} and domain.series["crp"].log and domain.texts == ("reference",)
    assert propose_domain(columns, findings=["effusion"]).body["findings"] == ["effusion"]
    everything = [*KNOWN_ATTRIBUTES, *(f"series.{name}" for name in KNOWN_SERIES)]
    assert check_domain(propose_domain(everything).body).series.keys() == KNOWN_SERIES.keys()
