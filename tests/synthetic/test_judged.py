"""Figures become measurements and verdicts: what passes, what fails, and what blocks a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.errors import AuscultError, ProtocolError
from evaluation.engine import AuditSketch, Protocol
from evaluation.engine.assessment import assess
from evaluation.engine.protocol import bundled_names, load_protocol
from evaluation.engine.records import Assessment, Outcome
from evaluation.engine.registry import SUITES
from evaluation.engine.runner import run_audit
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.judged import Figures
from synthetic.suites.privacy_meanings import GATES

RULES = """
auscult_protocol: 1
name: small
title: Nobody is linked, and nothing is copied
suites: [privacy]
labels: []
linked: {attacks: 500}
criteria:
  - {id: linked, metric: linkability, direction: at_most, margin: 0.09}
  - {id: copies, metric: copies, direction: at_most, margin: 0.01}
"""
LINKED = Figure(metric="linkability", value=0.02, error=0.01, n=500, counted="attacks", null=0.01)
COPIES = Figure(metric="copies", of="images", value=0.0, error=0.0, n=400, counted="patients")


def judged(figures: Sequence[Figure], text: str = RULES) -> Assessment:
    rules = Protocol.from_yaml(text)
    part = Figures(suite="privacy", figures=tuple(figures))
    sketch = AuditSketch(protocol_digest=rules.digest, n_studies=40, n_patients=20, parts={"privacy": part})
    return assess(rules, AuditSketch.from_bytes(sketch.to_bytes()))


def test_all_within_their_margins_pass_and_say_what_real_patients_give() -> None:
    found = judged([LINKED, COPIES])
    assert found.outcome == Outcome.PASS and {item.outcome for item in found.verdicts} == {Outcome.PASS}
    [said] = [item.statement for item in found.verdicts if item.metric == "linkability"]
    assert "with real patients in their place .01" in said and "500 attacks" in said
    row = next(item for item in found.measurements if item.metric == "linkability")
    assert (row.value, row.n, row.detail["null"]) == (0.02, 500, 0.01)
    assert row.low is not None and row.high is not None and row.low < 0.02 < row.high < 0.09


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        (Figure(metric="linkability", value=0.4, error=0.02, n=500), Outcome.FAIL),
        (Figure(metric="linkability", value=0.07, error=0.02, n=500), Outcome.INSUFFICIENT),
        (Figure(metric="linkability", value=0.1, hits=50, n=500), Outcome.INSUFFICIENT),
        (Figure(metric="linkability", value=0.2, hits=100, n=500), Outcome.FAIL),
        (not_computed("linkability", "the cohort has no attributes"), Outcome.INSUFFICIENT),
    ],
)
def test_what_lies_beyond_fails_and_what_is_unclear_or_missing_blocks(changed: Figure, outcome: Outcome) -> None:
    found = judged([changed, COPIES])
    assert found.outcome == outcome
    [said] = [item.statement for item in found.verdicts if item.metric == "linkability"]
    assert changed.reason in said


def test_an_exact_copy_is_a_fail_and_a_metric_without_any_figure_blocks() -> None:
    assert judged([LINKED, Figure(metric="copies", value=0.3, error=0.0, n=400)]).outcome == Outcome.FAIL
    found = judged([LINKED])
    assert found.outcome == Outcome.INSUFFICIENT
    assert any("no figure tells of exact copies" in item.statement for item in found.verdicts)


def test_every_figure_of_a_metric_counts() -> None:
    other = Figure(metric="copies", of="records", value=0.5, error=0.01, n=400)
    found = judged([LINKED, COPIES, other])
    [verdict] = [item for item in found.verdicts if item.metric == "copies"]
    assert verdict.outcome == Outcome.FAIL and verdict.groups == ("records",)


def test_figures_do_not_merge_and_no_file_of_predictions_has_them(tmp_path: Any) -> None:
    one = Figures(suite="privacy", figures=(LINKED,))
    assert Figures.from_bytes(one.to_bytes()) == one
    with pytest.raises(AuscultError, match="cannot be merged"):
        one.merge(one)
    file = tmp_path / "p.csv"
    file.write_text("patient_id,study_id,label.a,pred.a\np,s,1,1\n")
    with pytest.raises(AuscultError, match="neither is a file of predictions"):
        run_audit(protocol=Protocol.from_yaml(RULES), predictions=file)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"linked": None}, "'privacy' need the section 'linked'"),
        ({"suites": ["fairness"], "labels": [{"name": "a"}]}, "no suite holds synthetic patients"),
        ({"suites": ["privacy", "fairness"]}, "'fairness' judges what a model predicts"),
        ({"labels": [{"name": "a"}]}, "labels: a generator of patients predicts nothing"),
        ({"linked": {"attacks": 5}}, "5 is less than the minimum of 100"),
    ],
)
def test_a_protocol_for_generators_judges_nothing_else(changes: dict[str, Any], match: str) -> None:
    body = Protocol.from_yaml(RULES).to_dict() | changes
    with pytest.raises(ProtocolError, match=match):
        Protocol.from_dict(body)


def test_only_differences_may_have_a_margin_below_0() -> None:
    body = Protocol.from_yaml(RULES.replace("margin: 0.09", "margin: -0.05")).to_dict()
    assert body["criteria"][0]["margin"] == -0.05
    fair = load_protocol("nih-labels-v1").to_dict()
    fair["criteria"][0]["margin"] = -0.05
    with pytest.raises(ProtocolError, match=r"-0\.05 is less than the minimum of 0"):
        Protocol.from_dict(fair)


def test_bundled_protocols_gate_every_metric_that_has_a_gate() -> None:
    from synthetic.suites import crossmodal_metrics, fidelity_metrics, utility_metrics

    gates = GATES | crossmodal_metrics.GATES | fidelity_metrics.GATES | utility_metrics.GATES
    whole, privacy = (load_protocol(name) for name in ("synthetic-patients-v1", "synthetic-privacy-v1"))
    assert {"synthetic-patients-v1", "synthetic-privacy-v1"} <= set(bundled_names())
    assert {item.metric: (item.direction, item.margin) for item in whole.criteria} == gates
    assert {item.metric: (item.direction, item.margin) for item in privacy.criteria} == GATES
    assert all(item.primary for item in privacy.criteria)
    for name in whole.suites:
        assert {metric for metric in gates if metric in SUITES.get(name).metrics}
