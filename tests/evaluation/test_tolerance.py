"""What a protocol lets pass for the same number when an audit is run again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import ProtocolError
from evaluation.engine import Protocol as Rules
from evaluation.engine.protocol import bundled_names, load_protocol
from evaluation.execution import reproduction
from evaluation.execution.reproduction import Sameness, reproduce
from evaluation.models import AuditRun
from evaluation.services.runs import request_audit
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh
from tests.registry.scene import RULES, Files, make_cohort, make_protocol, make_version

pytestmark = pytest.mark.django_db


def with_tolerance(text: str) -> str:
    return f"{RULES}reproduction: {text}\n"


def test_a_protocol_at_the_default_keeps_its_digest() -> None:
    plain = Rules.from_yaml(RULES)
    assert plain.digest == Rules.from_yaml(with_tolerance("{tolerance: 0.000001}")).digest
    assert plain.digest == Rules.from_yaml(with_tolerance("{}")).digest
    assert "reproduction" not in plain.to_dict()
    for name in bundled_names():
        assert "reproduction" not in load_protocol(name).to_dict()


def test_another_tolerance_is_another_protocol_and_is_read_back() -> None:
    rules = Rules.from_yaml(with_tolerance("{tolerance: 0.001, metrics: {tpr: 0.01, fpr: 0}}"))
    assert rules.digest != Rules.from_yaml(RULES).digest
    assert rules.to_dict()["reproduction"] == {"tolerance": 0.001, "metrics": {"fpr": 0.0, "tpr": 0.01}}
    again = Rules.from_dict(rules.to_dict())
    assert again == rules and again.digest == rules.digest
    assert [rules.reproduction.of(name) for name in ("tpr", "fpr", "ppv")] == [0.01, 0.0, 0.001]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{tolerance: -1}", "less than the minimum"),
        ("{tolerance: 0.5}", "greater than the maximum"),
        ("{tolerance: .nan}", "must be finite"),
        ("{tolerence: 0.1}", "unknown key 'tolerence'"),
        ("{metrics: {speed: 0.1}}", "there is no metric 'speed'"),
        ("{metrics: {tpr: much}}", "not of type 'number'"),
    ],
)
def test_what_is_no_tolerance_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Rules.from_yaml(with_tolerance(text))
    assert told in str(caught.value) and "Line " in str(caught.value)


@pytest.fixture
def tolerant(people: SimpleNamespace, files: Files) -> AuditRun:
    protocol = make_protocol(people, with_tolerance("{tolerance: 0.0001, metrics: {tpr: 0.02}}"))
    run = request_audit(
        version=make_version(people, files.predictions), cohort=make_cohort(people, files.shards), protocol=protocol,
        by=people.amir,
    )  # fmt: skip
    return finish(run)


def shifted(run: AuditRun, metric: str, by: float) -> AuditRun:
    """The run as if one value of a metric had come out otherwise."""
    evidence = model_store().get_json(run.evidence_digest)
    row = next(item for item in evidence["result"]["measurements"] if item["metric"] == metric and item["value"])
    row["value"] += by
    AuditRun.objects.filter(pk=run.pk).update(evidence_digest=model_store().put_json(evidence))
    return fresh(run)


@pytest.mark.parametrize(
    ("metric", "by", "given", "reproduced"),
    [
        ("tpr", 0.01, None, True),
        ("tpr", 0.03, None, False),
        ("fpr", 0.01, None, False),
        ("fpr", 0.00005, None, True),
        ("tpr", 0.01, 1e-6, False),
        ("fpr", 0.01, 0.05, True),
    ],
)
def test_the_protocols_tolerance_counts_unless_another_is_given(
    tolerant: AuditRun, metric: str, by: float, given: float | None, reproduced: bool
) -> None:
    found = reproduce(shifted(tolerant, metric, by).pk, tolerance=given)
    assert found.reproduced is reproduced
    assert found.count(Sameness.WITHIN if reproduced else Sameness.DIFFERENT) == 1
    expected: tuple[float, dict[str, Any]] = (0.0001, {"tpr": 0.02}) if given is None else (given, {})
    assert (found.tolerance, found.tolerances) == expected


def test_an_audit_is_run_again_in_the_precision_in_which_it_ran(
    tolerant: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ``auto`` means on the device of today."""
    loaded: list[str] = []
    real = reproduction.load_adapter

    def load(version: Any, inference: Any) -> Any:
        loaded.append(inference.precision)
        return real(version, inference)

    monkeypatch.setattr(reproduction, "load_adapter", load)
    assert tolerant.settings["precision"] == "auto"
    assert reproduce(tolerant.pk).identical
    evidence = model_store().get_json(tolerant.evidence_digest)
    evidence["execution"]["hardware"]["precision"] = ["bfloat16"]
    AuditRun.objects.filter(pk=tolerant.pk).update(evidence_digest=model_store().put_json(evidence))
    reproduce(tolerant.pk)
    assert loaded == ["float32", "bfloat16"]
