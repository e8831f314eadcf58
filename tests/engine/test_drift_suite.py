"""The suite: measurements and verdicts of one window, and protocols that make sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ProtocolError
from evaluation.engine.assessment import assess
from evaluation.engine.drift.records import Family, StreamShift
from evaluation.engine.judging import judge
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import Outcome
from evaluation.engine.registry import SUITES
from evaluation.engine.sketch import AuditSketch
from evaluation.engine.suites.drift.testing import shift_test
from tests.engine.drift_builders import sketched, watching

RULES = [
    {"id": "numbers", "metric": "numeric_shift", "direction": "at_most", "margin": 0.25},
    {"id": "by-sex", "metric": "numeric_shift", "attribute": "sex", "direction": "at_most", "margin": 0.3},
    {"id": "mask", "metric": "mask_shift", "direction": "at_most", "margin": 0.1, "primary": False},
]


def patients(protocol: Protocol, n: int, seed: int, *, men: float = 0.0, no_text: float = 0.1) -> Any:
    """Age and CRP, men's CRP moved by ``men``; ``no_text`` lack the text."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], n)
    numbers = {"age": rng.normal(60, 15, n), "marker": rng.normal(0, 1, n) + men * (sex == "M")}
    mask = np.where(rng.random(n) < no_text, "image", "image+text")
    return sketched(protocol, numbers, {"mask": mask}, sex=sex)


def judged(protocol: Protocol, part: Any) -> Any:
    sketch = AuditSketch(protocol_digest=protocol.digest, n_studies=part.n, n_patients=part.n, parts={"drift": part})
    return assess(protocol, sketch, with_advice=False)


def test_a_window_like_the_reference_passes_and_one_that_moved_fails_with_the_stream_named() -> None:
    protocol = watching("sex", criteria=RULES)
    reference = patients(protocol, 6000, 1)
    quiet = judged_of(protocol, patients(protocol, 1500, 2), reference)
    assert quiet.outcome is Outcome.PASS
    assert {item.outcome for item in quiet.verdicts} == {Outcome.PASS}
    numbers = next(item for item in quiet.measurements if item.label == "age" and item.group == "All")
    assert (numbers.n, numbers.patients, numbers.seed, numbers.metric_version) == (1500, 1500, protocol.seed, "1")
    assert numbers.method
    assert numbers.detail["n_reference"] == 6000
    loud = judged_of(protocol, patients(protocol, 1500, 3, men=0.8, no_text=0.4), reference)
    outcomes = {item.criterion: item for item in loud.verdicts}
    assert outcomes["by-sex"].outcome is Outcome.FAIL
    assert "male patients: marker moved" in outcomes["by-sex"].statement
    assert "robust standard deviations (95% interval" in outcomes["by-sex"].statement
    assert outcomes["mask"].outcome is Outcome.FAIL
    assert outcomes["mask"].p_adjusted <= 0.05
    assert loud.outcome is Outcome.FAIL


def judged_of(protocol: Protocol, window: Any, reference: Any) -> Any:
    found = judged(protocol, window.against(reference))
    assert all(item.reason for item in found.measurements if item.value is None)
    return found


def test_a_sketch_without_a_reference_measures_nothing_and_says_so() -> None:
    protocol = watching("sex", criteria=RULES)
    found = judged(protocol, patients(protocol, 300, 1))
    assert found.measurements == ()
    assert "no reference" in found.notes[0]
    assert found.outcome is Outcome.INSUFFICIENT
    assert all("no reference" in item.statement for item in found.verdicts)


def test_small_groups_are_not_judged_and_not_counted_out() -> None:
    protocol = watching("sex", criteria=RULES)
    reference = patients(protocol, 3000, 1)
    window = sketched(
        protocol,
        {"age": np.full(120, 60.0) + np.arange(120) % 30, "marker": np.linspace(-2, 2, 120)},
        {"mask": ["image+text"] * 120},
        sex=["F"] * 112 + ["M"] * 8,
    )
    found = judged_of(protocol, window, reference)
    men = [item for item in found.measurements if item.group == "M"]
    assert men
    assert all((item.value, item.n, item.patients) == (None, None, None) for item in men)
    assert all(set(item.detail) == {"effect", "margin"} for item in men)
    by_sex = next(item for item in found.verdicts if item.criterion == "by-sex")
    assert by_sex.outcome is not Outcome.PASS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"suites": ["fairness"]}, "name it in 'suites'"),
        ({"drift": None}, "without the section 'drift'"),
        ({"drift": {"case_mix": ["site"]}}, "'site' is not an attribute"),
        ({"drift": {"groups": ["site"]}}, "'site' is not an attribute"),
        ({"drift": {"case_mix": ["sex"], "columns": ["sex"]}}, "cannot drift within itself"),
        ({"drift": {"columns": ["score.effusion"]}}, "is no covariate"),
        ({"drift": {"watch": ["text"]}}, "'numeric' is not watched"),
        ({"drift": {"watch": ["numeric"], "critical": ["label"]}}, "cannot alarm"),
        ({"drift": {"watch": ["numeric"], "margins": {"mask": 0.1}}}, "margin has no use"),
        ({"drift": {"watch": ["numeric", "case_mix"]}}, "no case mix to watch"),
        ({"drift": {"embed": ["series.crp"]}}, "is not embedded"),
        ({"drift": {"contradictions": [{"finding": "x", "series": "crp", "below": 1}]}}, "'x' is not a label"),
        ({"drift": {"groups": ["age"]}}, "not watched group by group"),
        ({"direction": "at_least"}, "judged 'at_most'"),
        ({"labels": []}, "name at least one label"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_by_key(change: dict[str, Any], told: str) -> None:
    body: dict[str, Any] = {
        "auscult_protocol": 1,
        "name": "watch",
        "title": "Watch",
        "suites": ["drift"],
        "labels": [{"name": "effusion", "threshold": {"value": 0.5, "source": "tuning"}}],
        "attributes": [{"name": "sex"}, {"name": "age", "bands": [0, 40]}],
        "criteria": [
            {
                "id": "a",
                "title": "a",
                "metric": "numeric_shift",
                "attribute": "sex",
                "direction": "at_most",
                "margin": 0.2,
            }
        ],
        "drift": {"case_mix": ["sex"]},
    }
    Protocol.from_dict(body)
    rule = body["criteria"][0] | {"direction": change.pop("direction", "at_most")}
    if change.get("labels") == []:
        change["drift"] = None
    with pytest.raises(ProtocolError, match=told):
        Protocol.from_dict(
            {name: value for name, value in (body | {"criteria": [rule]} | change).items() if value is not None}
        )


def test_every_family_has_a_metric() -> None:
    metrics = SUITES.get("drift").metrics
    from evaluation.engine.protocol_drift import FAMILIES

    assert set(metrics) == {f"{family}_shift" for family in FAMILIES}


def test_the_benchmark_s_own_side_finds_the_column_that_moved(tmp_path: Path) -> None:
    from benchmarks import drift

    drift.write(drift.QUICK, tmp_path)
    drift.SIDES["reference"](drift.QUICK, tmp_path)
    found = drift.SIDES["ours"](drift.QUICK, tmp_path)
    assert found["over_margin"] == ["c1"]
    assert found["shifts"] == drift.QUICK.columns


def test_a_prevalence_that_fell_is_a_shift_too() -> None:
    rule = {"id": "few", "title": "Few", "metric": "label_shift", "direction": "at_most", "margin": 0.1}
    protocol = watching("sex", criteria=[*RULES, rule])
    fallen = StreamShift(
        stream="label.effusion", family=Family.LABEL, attribute="", group="All", effect="prevalence_change",
        value=-0.3, low=-0.36, high=-0.24, margin=0.05, p_value=1e-9, n=900, n_reference=4000,
    )  # fmt: skip
    criterion = next(item for item in protocol.criteria if item.id == "few")
    test = shift_test(protocol, criterion, [fallen], {"label.effusion": "effusion"}, why_none="")
    verdict = judge([test], alpha=protocol.alpha)[0]
    assert verdict.outcome is Outcome.FAIL
    assert "effusion moved by -.30 in prevalence" in verdict.statement
