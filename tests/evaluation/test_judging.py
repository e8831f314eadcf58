"""A run is judged once, from what its shares left, or it fails with words."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import AuscultError, TransientError
from evaluation import execution
from evaluation.execution import judging
from evaluation.models import AuditRun, Measurement, RunStatus, Verdict
from evaluation.services.runs import resume_run
from tests.evaluation.steps import finish, fresh, work
from tests.registry.scene import Files, acts, make_protocol, make_version, snapshot

Order = Callable[..., AuditRun]


@pytest.mark.parametrize("step", ["_assess", "build_evidence"])
def test_an_unexpected_error_while_judging_is_told(
    run: AuditRun, step: str, monkeypatch: pytest.MonkeyPatch, people: SimpleNamespace
) -> None:
    work(run)
    with monkeypatch.context() as patched:
        patched.setattr(judging, step, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            execution.judge(run.pk)
    failed = fresh(run)
    assert (failed.status, failed.judge_token, failed.outcome) == (RunStatus.FAILED, "", "")
    assert "Unexpected ZeroDivisionError" in failed.error
    resume_run(run=failed, by=people.amir)
    execution.finish_run(run.pk)
    execution.judge(run.pk)
    assert fresh(run).status == RunStatus.DONE


def test_without_its_entry_in_the_ledger_nothing_is_judged(run: AuditRun, request: pytest.FixtureRequest) -> None:
    work(run)
    request.getfixturevalue("broken_ledger")
    with pytest.raises(RuntimeError, match="the ledger is broken"):
        execution.judge(run.pk)
    judged = fresh(run)
    assert judged.status == RunStatus.FAILED
    assert (judged.outcome, judged.result_digest, judged.evidence_digest) == ("", "", "")
    assert not Measurement.objects.exists() and not Verdict.objects.exists()


def test_a_judge_that_was_taken_for_dead_writes_nothing(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    work(run)
    assess = judging._assess

    def overtaken(slow: AuditRun) -> Any:
        monkeypatch.setattr(judging, "_assess", assess)
        AuditRun.objects.update(judge_expires=timezone.now() - timedelta(seconds=1))
        execution.judge(run.pk)
        overtaken.after = snapshot()  # type: ignore[attr-defined]
        return assess(slow)

    monkeypatch.setattr(judging, "_assess", overtaken)
    execution.judge(run.pk)
    assert snapshot() == overtaken.after  # type: ignore[attr-defined]
    assert fresh(run).status == RunStatus.DONE and acts().count("run.judged") == 1


def test_a_judge_whose_run_is_in_other_hands_writes_nothing(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another judge took the run over and is still at work."""
    work(run)
    assess = judging._assess

    def overtaken(slow: AuditRun) -> Any:
        AuditRun.objects.update(judge_token="another")
        return assess(slow)

    def broken(slow: AuditRun) -> Any:
        AuditRun.objects.update(judge_token="another")
        raise AuscultError("It is too late to fail.")

    for step in (overtaken, broken):
        AuditRun.objects.update(judge_token="")
        monkeypatch.setattr(judging, "_assess", step)
        execution.judge(run.pk)
        left = fresh(run)
        assert (left.status, left.judge_token, left.error) == (RunStatus.JUDGING, "another", "")
        assert not Measurement.objects.exists() and "run.judged" not in acts()


def test_a_cohort_in_which_nothing_can_be_compared_is_no_pass(
    people: SimpleNamespace, files: Files, order: Order, home: Path
) -> None:
    """The log knows no study of the cohort: there is nothing to judge, and the message says so."""
    folder = home / "strange"
    folder.mkdir(parents=True)
    strange = files.frame[["study_id", "pred.effusion"]].assign(study_id=[f"x{i}" for i in range(len(files.frame))])
    strange.to_parquet(folder / "predictions.parquet", index=False)
    run = order(version=make_version(people, folder, "2.0"))
    failed = finish(run)
    assert failed.status == RunStatus.FAILED
    assert "no study with a reference has a prediction" in failed.error


def test_a_protocol_with_too_few_patients_is_no_pass(order: Order, people: SimpleNamespace) -> None:
    from tests.registry.scene import RULES

    source = RULES.replace("rate_denominator: 20", "rate_denominator: 1000")
    done = finish(order(protocol=make_protocol(people, source)))
    assert (done.status, done.outcome) == (RunStatus.DONE, "insufficient")
    assert all(item.value is None or math.isfinite(item.value) for item in done.measurements.all())


def test_a_fault_that_may_pass_leaves_the_run_to_be_judged_again(
    run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any) -> None:
        raise TransientError("The disk is away.")

    work(run)
    with monkeypatch.context() as patched:
        patched.setattr(judging, "_assess", fault)
        with pytest.raises(TransientError):
            execution.judge(run.pk)
    assert (fresh(run).status, fresh(run).judge_token) == (RunStatus.JUDGING, "")
    execution.judge(run.pk)
    assert fresh(run).status == RunStatus.DONE
