"""Advice comes after the verdicts, once, and is what the engine says in one go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evaluation import execution
from evaluation.engine import AuditSketch, assess
from evaluation.engine import Protocol as Rules
from evaluation.engine.runner import merge_all
from evaluation.execution.judging import runs_without_advice
from evaluation.models import AuditRun
from evaluation.selectors import advice_of, evidence_in_short
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh, work
from tests.registry.scene import acts

pytestmark = pytest.mark.django_db


def test_advice_is_what_the_engine_says_in_one_go_and_no_part_of_the_evidence(run: AuditRun) -> None:
    judged = finish(run)
    evidence, _ = evidence_in_short(judged)
    assert judged.outcome == "fail" and evidence["result"]["advice"] == []
    assert advice_of(judged, evidence) is None and list(runs_without_advice()) == [judged]
    execution.work_out_advice(run.pk)
    store, judged = model_store(), fresh(run)
    sketch = merge_all(AuditSketch.from_bytes(store.get_bytes(shard.sketch_digest)) for shard in run.shards.all())
    whole = assess(Rules.from_dict(run.protocol.body), sketch)
    assert whole.advice and advice_of(judged, evidence) == [item.to_dict() for item in whole.advice]
    assert not runs_without_advice().exists()


def test_a_task_delivered_twice_writes_once(run: AuditRun) -> None:
    finish(run)
    for _ in range(2):
        execution.work_out_advice(run.pk)
    assert acts().count("run.advised") == 1


def test_a_run_that_is_not_judged_has_no_advice(run: AuditRun) -> None:
    work(run)
    execution.work_out_advice(run.pk)
    assert fresh(run).advice_digest == "" and "run.advised" not in acts()


def test_a_judge_hands_a_failed_run_on(
    run: AuditRun, sent: list[tuple[str, int]], django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        finish(run)
    assert ("evaluation.tasks.advise", run.pk) in sent
