"""A judged audit that is run again gives the same numbers, and a changed one is told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from config import cli
from core.errors import AuscultError, ConflictError
from evaluation.execution import loading, reproduction
from evaluation.execution.reproduction import Sameness, reproduce
from evaluation.models import AuditRun, CachedPredictions
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh

pytestmark = pytest.mark.django_db


def rewritten(run: AuditRun, change: Any) -> AuditRun:
    """The run with another evidence document, as if it had been judged so."""
    evidence = model_store().get_json(run.evidence_digest)
    change(evidence)
    AuditRun.objects.filter(pk=run.pk).update(evidence_digest=model_store().put_json(evidence))
    return fresh(run)


def test_the_same_model_on_the_same_patients_gives_the_same_result(run: AuditRun) -> None:
    done = finish(run)
    loading._loaded.clear()
    before, told = CachedPredictions.objects.count(), []
    found = reproduce(done.pk, tolerance=0, progress=lambda studies, total: told.append((studies, total)))
    assert found.identical and found.reproduced
    assert found.count(Sameness.EQUAL) == len(found.measurements) == done.measurements.count()
    assert told[-1] == (done.n_studies, done.n_studies)
    assert (found.verdicts, found.environment) == ((), ())
    assert CachedPredictions.objects.count() == before


def test_a_small_difference_is_within_and_a_large_one_is_named(run: AuditRun) -> None:
    done = finish(run)

    def shift(evidence: dict[str, Any]) -> None:
        rows = [
            row for row in evidence["result"]["measurements"] if row["value"] is not None and row["low"] is not None
        ]
        rows[0]["value"] += 1e-8
        rows[1]["low"] -= 0.01
        rows[2]["n"] += 1
        first = evidence["result"]["verdicts"][0]
        first["outcome"] = "pass" if first["outcome"] == "fail" else "fail"
        evidence["execution"]["environment"]["packages"]["numpy"] = "0.1"
        gone = dict(rows[3], metric="no_longer_measured")
        evidence["result"]["measurements"].append(gone)

    found = reproduce(rewritten(done, shift).pk, tolerance=1e-6)
    assert not found.reproduced
    assert (found.count(Sameness.WITHIN), found.count(Sameness.DIFFERENT), found.count(Sameness.GONE)) == (1, 2, 1)
    assert len(found.verdicts) == 1 and ", now " in found.verdicts[0]
    assert any(item.startswith("packages.numpy: 0.1, now ") for item in found.environment)


def test_a_model_that_answers_otherwise_is_not_reproduced(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    done = finish(run)
    real = reproduction.predict_share

    def turned(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        for values in found.decisions.values():
            values[: len(values) // 3] = np.int8(1)
        for values in found.scores.values():
            values[: len(values) // 3] = 1.0
        return found

    monkeypatch.setattr(reproduction, "predict_share", turned)
    found = reproduce(done.pk, tolerance=1e-6)
    assert not found.reproduced
    assert found.count(Sameness.DIFFERENT) > 0


def test_a_run_that_was_not_judged_has_nothing_to_compare_with(run: AuditRun) -> None:
    with pytest.raises(ConflictError, match="queued"):
        reproduce(run.pk, tolerance=0)
    with pytest.raises(ConflictError, match="does not exist"):
        reproduce(987654, tolerance=0)


def test_evidence_that_was_changed_in_the_store_is_not_compared_with(run: AuditRun) -> None:
    done = finish(run)
    path = next(path for path in (model_store().root).rglob(f"*{done.evidence_digest[-20:]}*") if path.is_file())
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"outcome"', b'"outcomf"', 1))
    with pytest.raises(AuscultError):
        reproduce(done.pk, tolerance=0)


def test_the_command_tells_what_came_out(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    done = finish(run)
    monkeypatch.setattr(cli, "open_installation", lambda: None)
    shown = CliRunner().invoke(cli.auscult, ["reproduce", str(done.pk)])
    assert shown.exit_code == 0, shown.output
    assert "The result is the same to the last digit." in shown.output and "Reproduced." in shown.output
    missing = CliRunner().invoke(cli.auscult, ["reproduce", "987654"])
    assert missing.exit_code == 3
