"""What changed between two versions: planted changes are found, and nothing is found where nothing changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.standing.version_diff import Noise, compare


def verdict(**given: Any) -> dict[str, Any]:
    facts = {"criterion": "tpr-gap", "metric": "tpr_difference", "label": "effusion", "attribute": "sex"}
    return facts | {"outcome": "pass", "primary": True, "statement": "Passes: about equal."} | given


def measured(value: float | None, low: float | None, high: float | None, **given: Any) -> dict[str, Any]:
    facts = {"suite": "fairness", "metric": "tpr", "metric_version": "1", "label": "effusion", "attribute": "sex"}
    return facts | {"group": "F", "value": value, "low": low, "high": high, "level": 0.95, "n": 400} | given


def evidence(**given: Any) -> dict[str, Any]:
    return {
        "system": {"name": "Chest model", "intended_purpose": "Finds effusion.", "risk_class": "IIa"},
        "version": {
            "label": "1.0",
            "adapter": "fusion",
            "digest": "a" * 64,
            "manifest": {"model.safetensors": "1" * 64, "config.json": "2" * 64},
            "config": {
                "labels": ["effusion"],
                "modalities": ["image"],
                "runs_weights": True,
                "details": {"parameters": 1000, "preprocessing": {"size": 224, "normalise": "imagenet"}},
            },
            "card": {"licence": "Apache-2.0"},
            "origins": [{"relation": "Trained on", "source": "Ward 2023", "digest": "c" * 64, "told_by": "training"}],
        },
        "cohort": {"name": "Held out", "digest": "d" * 64},
        "protocol": {"name": "imaging-v1", "digest": "e" * 64},
        "execution": {"settings": {"batch_size": 64, "precision": "float32"}},
        "result": {
            "outcome": "pass",
            "verdicts": [verdict(), verdict(attribute="age")],
            "measurements": [measured(0.88, 0.84, 0.92), measured(0.90, 0.86, 0.94, group="M")],
        },
    } | given


def changed(**paths: Any) -> dict[str, Any]:
    """The evidence with some places changed: ``version__config__labels=[...]``."""
    made = copy.deepcopy(evidence())
    for path, value in paths.items():
        *above, last = path.split("__")
        place = made
        for name in above:
            place = place[int(name)] if isinstance(place, list) else place[name]  # type: ignore[index]
        place[last] = value
    return made


def test_identical_evidence_gives_no_change() -> None:
    found = compare(evidence(), evidence())
    assert not found.any and found.same_weights
    assert (found.facts, found.verdicts, found.beyond, found.not_comparable) == ((), (), (), "")
    assert (found.n_verdicts, found.n_within, found.n_compared, found.n_unknown) == (2, 2, 2, 0)


def test_a_measurement_beyond_its_interval_is_found_and_one_within_is_not() -> None:
    later = changed(
        result__measurements=[measured(0.70, 0.66, 0.74), measured(0.87, 0.83, 0.91, group="M")],
    )
    found = compare(evidence(), later)
    [fallen] = found.beyond
    assert (fallen.group, fallen.noise) == ("F", Noise.BEYOND)
    assert fallen.difference == pytest.approx(-0.18)
    assert (found.n_within, found.any) == (1, True)


def test_intervals_that_touch_are_within_noise() -> None:
    found = compare(evidence(), changed(result__measurements=[measured(0.80, 0.76, 0.84)]))
    assert (found.beyond, found.n_within, found.n_only_before) == ((), 1, 1)


bound = st.floats(0, 1, allow_nan=False)


@given(st.tuples(bound, bound, bound), st.tuples(bound, bound, bound))
def test_beyond_noise_is_no_common_point(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    """Against the definition: two closed intervals share a point if and only if one holds an end of the other."""
    (low, value, high), (low2, value2, high2) = sorted(one), sorted(other)
    share = low <= low2 <= high or low <= high2 <= high or low2 <= low <= high2 or low2 <= high <= high2
    before = changed(result__measurements=[measured(value, low, high)])
    found = compare(before, changed(result__measurements=[measured(value2, low2, high2)]))
    assert bool(found.beyond) is not share
    assert found.n_compared == 1


@pytest.mark.parametrize(
    "item",
    [
        measured(None, None, None),
        measured(0.7, None, None),
        measured(0.2, 0.1, 0.3, metric_version="2"),
        measured(0.2, 0.1, 0.3, level=0.99),
    ],
)
def test_what_cannot_be_compared_is_neither_within_nor_beyond(item: dict[str, Any]) -> None:
    found = compare(changed(result__measurements=[measured(0.88, 0.84, 0.92)]), changed(result__measurements=[item]))
    assert (found.beyond, found.n_within, found.n_unknown) == ((), 0, 1)


def test_undefined_on_both_sides_is_not_told_to_be_unchanged() -> None:
    nothing = changed(result__measurements=[measured(None, None, None)])
    assert (compare(nothing, nothing).n_within, compare(nothing, nothing).n_unknown) == (0, 1)


def test_equal_numbers_without_an_interval_are_unchanged() -> None:
    count = changed(result__measurements=[measured(41.0, None, None)])
    assert compare(count, count).n_within == 1


def test_measurements_of_one_name_are_told_apart() -> None:
    twice = [measured(0.5, 0.4, 0.6), measured(0.9, 0.8, 1.0)]
    found = compare(changed(result__measurements=twice), changed(result__measurements=twice))
    assert (found.n_within, found.beyond) == (2, ())


def test_verdicts_that_changed_come_worse_first() -> None:
    before = changed(result__verdicts=[verdict(), verdict(attribute="age", outcome="fail"), verdict(label="nodule")])
    later = changed(
        result__verdicts=[
            verdict(attribute="age", outcome="pass"),
            verdict(outcome="insufficient"),
            verdict(criterion="new", outcome="fail"),
        ]
    )
    found = compare(before, later)
    told = [
        (item.criterion, item.label, item.attribute, item.before, item.after, item.worse) for item in found.verdicts
    ]
    assert set(told[:3]) == {
        ("tpr-gap", "effusion", "sex", "pass", "insufficient", True),
        ("new", "effusion", "sex", "", "fail", True),
        ("tpr-gap", "nodule", "sex", "pass", "", True),
    }
    assert told[3:] == [("tpr-gap", "effusion", "age", "fail", "pass", False)]
    assert found.n_verdicts == 4


def test_a_new_verdict_that_passes_is_not_worse() -> None:
    later = changed(result__verdicts=[*evidence()["result"]["verdicts"], verdict(criterion="new")])
    [new] = compare(evidence(), later).verdicts
    assert (new.before, new.after, new.worse) == ("", "pass", False)


PLANTED = [
    ({"version__digest": "b" * 64}, "Weights, by the digest of their files", "b" * 64),
    ({"version__manifest": {"model.safetensors": "3" * 64, "config.json": "2" * 64}}, "Files changed", "model"),
    ({"version__adapter": "recorded"}, "Adapter", "recorded"),
    ({"version__config__labels": ["effusion", "nodule"]}, "Findings", "effusion, nodule"),
    ({"version__config__details__parameters": 2000}, "Parameters", "2000"),
    ({"version__config__details__preprocessing__size": 512}, "Preprocessing: size", "512"),
    ({"version__config__runs_weights": False}, "Weights are run here", "no"),
    ({"version__origins": [{"relation": "Trained on", "source": "Ward 2024", "digest": "f"}]}, "Trained on", "2024"),
    ({"version__card": {"licence": "MIT"}}, "Licence", "MIT"),
    ({"system__intended_purpose": "Finds everything."}, "Intended purpose", "Finds everything."),
    ({"execution__settings__precision": "float16"}, "Settings of inference", "float16"),
]


@pytest.mark.parametrize(("paths", "name", "now"), PLANTED)
def test_each_planted_change_is_named_alone(paths: dict[str, Any], name: str, now: str) -> None:
    found = compare(evidence(), changed(**paths))
    [fact] = found.facts
    assert fact.name == name and now in fact.after
    assert found.any
    assert found.same_weights == ("version__digest" not in paths)


def test_what_is_stated_no_more_is_a_change() -> None:
    [fact] = compare(evidence(), changed(version__card={})).facts
    assert (fact.name, fact.before, fact.after) == ("Licence", "Apache-2.0", "")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ({"protocol": {"name": "imaging-v2", "digest": "0" * 64}}, "by the protocol imaging-v2"),
        ({"protocol": {"name": "imaging-v1", "digest": "0" * 64}}, "imaging-v1 with other content"),
        ({"cohort": {"name": "Ward 9", "digest": "0" * 64}}, "on the cohort Ward 9, the approved one on Held out"),
    ],
)
def test_numbers_of_other_rules_or_patients_are_not_compared(paths: dict[str, Any], words: str) -> None:
    later = evidence(**paths) | {"result": {"verdicts": [verdict(outcome="fail")], "measurements": []}}
    later["version"] = later["version"] | {"adapter": "recorded"}
    found = compare(evidence(), later)
    assert words in found.not_comparable
    assert (found.verdicts, found.beyond, found.n_compared) == ((), (), 0)
    assert [fact.name for fact in found.facts] == ["Adapter"]


@pytest.mark.parametrize("broken", [{}, {"result": None}, {"version": [], "result": {"verdicts": None}}])
def test_evidence_without_a_part_is_read_all_the_same(broken: dict[str, Any]) -> None:
    assert not compare(broken, broken).any
    assert compare(evidence(), broken).not_comparable
