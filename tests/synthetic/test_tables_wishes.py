"""Patients that are asked for have what was wished and are else as such patients are; what cannot be is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.parts import PARTS, Learning, Wish, Wishable
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.tables_scene import SECRET, indicators, owners, share, studies_of


@pytest.fixture(scope="module")
def fitted() -> Any:
    return PARTS.get("tables:copula").fit(studies_of(1000), Learning(settings=GeneratorSettings(seed=1)))


@pytest.fixture(scope="module")
def many(fitted: Any) -> LinkedStudies:
    found: LinkedStudies = fitted.sample(Wish(patients=30_000), seed=2)
    return found


def with_all(studies: LinkedStudies, words: dict[str, str]) -> Any:
    """Whether each study has all findings."""
    told = studies.plans.words()
    found = np.ones(len(studies), dtype=bool)
    for name, word in words.items():
        wanted = set(word.split()) - {"present"}
        found &= np.array([text not in ("none", "unknown") and wanted <= set(text.split()) for text in told[name]])
    return found


def holding(studies: LinkedStudies, wish: Wish) -> LinkedStudies:
    """Patients who happen to be as wished."""
    good = np.ones(len(studies), dtype=bool)
    for name, value in wish.attributes.items():
        good &= studies.attributes[name] == value
    for name, least in wish.least.items():
        good &= np.array([one is not None and one >= least for one in studies.attributes[name]])
    for name, most in wish.most.items():
        good &= np.array([one is not None and one <= most for one in studies.attributes[name]])
    owner = owners(studies)
    able = np.bincount(owner, weights=~good) == 0
    able &= np.bincount(owner, weights=with_all(studies, dict(wish.findings))) > 0
    return studies.rows(able[owner])


WISHES = [
    Wish(patients=2000, attributes={"sex": "F"}, least={"age": 75}, findings={"pneumothorax": "present"}),
    Wish(patients=2000, attributes={"view": "AP"}, most={"weight": 80.0}),
    Wish(patients=2000, findings={"effusion": "left", "cardiomegaly": "small"}),
]


@pytest.mark.parametrize("wish", WISHES, ids=["women over 75", "every view", "two plans"])
def test_wished_patients_are_as_those_who_happen_to_be_so(fitted: Any, many: LinkedStudies, wish: Wish) -> None:
    asked = fitted.sample(wish, seed=3)
    assert len(asked.patients) == wish.patients and len(holding(asked, wish)) == len(asked)
    found = holding(many, wish)
    assert len(found.patients) > 300
    one, two = indicators(found), indicators(asked)
    for name in one:
        (wanted, error), (seen, own) = share(found, one[name]), share(asked, two[name])
        assert abs(wanted - seen) <= 4 * np.hypot(error, own) + 0.01, name
    visits = [len(studies) / len(studies.patients) for studies in (found, asked)]
    assert visits[0] == pytest.approx(visits[1], abs=0.15)


def test_what_hardly_anybody_has_is_made(fitted: Any, many: LinkedStudies) -> None:
    wish = Wish(
        patients=200, attributes={"sex": "M", "group": "C", "ward": "east"}, least={"age": 85},
        findings={"effusion": "both small", "pneumothorax": "both small", "cardiomegaly": "small"},
    )  # fmt: skip
    assert len(holding(many, wish).patients) <= 1
    asked = fitted.sample(wish, seed=3)
    assert len(asked.patients) == 200 and len(holding(asked, wish)) == len(asked)
    assert len({*zip(asked.times.tolist(), asked.attributes["weight"], strict=True)}) > 150, "no copies of one patient"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"attributes": {"ward": SECRET}}, "'ward' was never learnt to be"),
        ({"attributes": {"sex": "X"}}, r"'sex' was never learnt to be 'X'. What to do: Ask for one of: [FM], [FM]\."),
        ({"attributes": {"blood": "0"}}, "The attribute 'blood' was never learnt"),
        ({"attributes": {"record": "MRN-000001"}}, "'record' was never learnt: it holds so many different values"),
        ({"attributes": {"country": "there"}}, "'country' was never learnt to be 'there'"),
        ({"least": {"age": 200}}, "No 'age' between 200 and inf was learnt|together"),
        ({"most": {"age": 5}}, "No 'age' between -inf and 5 was learnt"),
        ({"least": {"age": 70}, "most": {"age": 60}}, "No 'age' is at least 70 and at most 60"),
        ({"least": {"sex": 1}}, "'sex' has no bounds"),
        ({"findings": {"effusion": "left upper"}}, "'effusion' was never learnt to be 'left upper'"),
        ({"findings": {"cardiomegaly": "left"}}, "'cardiomegaly' was never learnt to be 'left'"),
        ({"findings": {"effusion": "enormous"}}, "'effusion' was never learnt to be 'enormous'"),
        ({"findings": {"hernia": "present"}}, "The finding 'hernia' was never learnt"),
        ({"findings": {"ghost": "present"}}, "The finding 'ghost' was never learnt: fewer than 11"),
    ],
)
def test_what_was_never_learnt_is_refused_by_name(fitted: Any, wish: dict[str, Any], told: str) -> None:
    with pytest.raises(AuscultError, match=told) as caught:
        fitted.sample(Wish(patients=10, **wish), seed=1)
    assert caught.value.remedy and (caught.value.column in told or "together" in told)


def test_a_wish_is_understood_or_refused_before_anybody_is_made(fitted: Any) -> None:
    assert isinstance(fitted, Wishable)
    fitted.check(Wish(patients=5, attributes={"sex": "F"}))
    with pytest.raises(AuscultError, match="'sex' was never learnt to be 'X'"):
        fitted.check(Wish(patients=5, attributes={"sex": "X"}))


def test_a_finding_can_be_wished_absent_and_a_constant_be_named(fitted: Any) -> None:
    asked = fitted.sample(
        Wish(patients=300, attributes={"country": "here", "visits_last_year": 2}, findings={"effusion": "none"}), seed=1
    )  # fmt: skip
    owner = owners(asked)
    assert (np.bincount(owner, weights=asked.plans.present[:, 0] == 0) > 0).all()
    assert set(asked.attributes["visits_last_year"].tolist()) == {2}
    with pytest.raises(AuscultError, match="0 patients are asked for"):
        fitted.sample(Wish(patients=0), seed=1)
