"""Audits in which the model is asked: with real tiny weights or recorded answers; stopped, repeated, cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from core.errors import ProtocolError
from evaluation import execution
from evaluation.engine import run_audit
from evaluation.engine.questions import write_questions
from evaluation.execution import answers, reproduction, shards
from evaluation.execution.reproduction import reproduce
from evaluation.models import AuditRun, CachedPredictions, RunStatus, ShardStatus
from evaluation.services.runs import cancel_run, request_audit, resume_run
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store, register_version
from tests.adapters.generator_steps import edit
from tests.adapters.models_g2 import save_llava, save_vision_encoder_decoder
from tests.evaluation.asked import RULES, cohort, rules
from tests.evaluation.steps import finish, fresh, work
from tests.registry.scene import copy_into_home, make_cohort, make_protocol, make_system

pytestmark = pytest.mark.django_db
Order = Callable[..., AuditRun]
PER_SHARD = 8


@pytest.fixture(scope="module")
def home_of_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    cohort(folder, patients=8, per_shard=PER_SHARD)
    return folder


@pytest.fixture
def version(people: SimpleNamespace, tmp_path: Path) -> ModelVersion:
    """LLaVA of two layers with random weights, and of few words."""
    folder = save_llava(tmp_path / "speaker")
    edit(folder, generation={"max_new_tokens": 3})
    return registered(people, "image_text_to_text", folder)


def registered(people: SimpleNamespace, adapter: str, folder: Path) -> ModelVersion:
    return register_version(
        system=make_system(people, folder.name), label="1", adapter=adapter,
        folder=copy_into_home(folder, folder.name), by=people.elena,
    )  # fmt: skip


FEW: dict[str, Any] = {
    "probing": yaml.safe_load(RULES)["probing"] | {"studies": 1000, "per_study": 1},
    "sampling": {"of": "reports", "samples": 3, "temperature": 0.7, "studies": 1000},
    "perturbation": {"of": "answers", "kinds": ["blank", "swapped"], "dropped": ["series.crp"], "studies": 1000},
}
"""Less to ask: weights are run for every row."""


def written(**changes: Any) -> str:
    body = yaml.safe_load(RULES) | FEW | changes
    return yaml.safe_dump({name: value for name, value in body.items() if value is not None})


@pytest.fixture
def order(people: SimpleNamespace, home_of_cohort: Path, version: ModelVersion) -> Order:
    held = make_cohort(people, home_of_cohort / "shards")
    made: dict[str, Any] = {}

    def request(model: ModelVersion = version, **changes: Any) -> AuditRun:
        text = written(**changes)
        if text not in made:
            made[text] = make_protocol(people, text)
        return request_audit(version=model, cohort=held, protocol=made[text], by=people.amir)

    return request


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every share that a model was asked about."""
    seen: list[int] = []
    real = answers.ask_share

    def counted(adapter: Any, reader: Any, part: Any, plan: Any, **more: Any) -> Any:
        seen.append(len(plan.asked))
        return real(adapter, reader, part, plan, **more)

    monkeypatch.setattr(answers, "ask_share", counted)
    return seen


def evidence_of(run: AuditRun) -> Any:
    return model_store().get_json(run.evidence_digest)


def test_a_model_with_weights_is_asked_and_judged(order: Order, asked: list[int]) -> None:
    run = order()
    assert run.shards.count() > 1
    done = finish(run)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    names = set(done.measurements.values_list("metric", flat=True))
    assert {
        "pope_f1_random",
        "refusal_rate",
        "unparseable_rate",
        "chair_i",
        "omission",
        "mirage",
        "entropy_auroc",
    } <= names
    # Random weights say neither yes nor no: whatever is not understood is counted, and nothing passes.
    unread = done.measurements.get(metric="unparseable_rate", label="answers", attribute="")
    cut = done.measurements.get(metric="truncated_rate", label="answers", attribute="")
    assert unread.value is not None and cut.value is not None and unread.value + cut.value > 0.5
    assert done.outcome != "pass"
    told = evidence_of(done)["execution"]["asking"]
    assert told["texts"] == sum(asked) == sum(told["rows"].values()) > 50
    assert told["rows"]["report sampled"] % 3 == 0 and told["rows"]["report sampled"] >= 3
    assert told["sampling"] == {"of": "reports", "samples": 3, "temperature": 0.7}
    assert told["why_not"]["dropped:series.crp"], "the model reads no series"
    assert told["judges"] and all(status.startswith("absent") for status in told["judges"].values())
    assert len(told["vocabulary"]) == 64
    spent = evidence_of(done)["execution"]["hardware"]["seconds"]
    assert spent["ask"] > 0 and spent["sketch"] > 0


def test_a_second_audit_asks_nothing_and_finds_the_same(
    order: Order, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(order())
    before = list(asked)
    assert before

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was loaded again")

    monkeypatch.setattr(shards, "load_adapter", never)
    second = finish(order())
    assert (second.status, second.error, asked) == (RunStatus.DONE, "", before)
    assert second.result_digest == first.result_digest
    assert all(shard.from_cache for shard in second.shards.all())
    told = [evidence_of(run)["execution"]["asking"] for run in (first, second)]
    assert told[0] == told[1]


def test_other_questions_are_asked_and_the_reports_are_kept(order: Order, asked: list[int]) -> None:
    finish(order())
    kept, before = CachedPredictions.objects.count(), len(asked)
    finish(order(seed=99))
    assert len(asked) == 2 * before, "other questions"
    # One entry for the answers of each share, and one for the cohort's sums; no predictions.
    finish(order(criteria=[{"id": "s", "metric": "chair_s", "direction": "at_most", "margin": 0.2}]))
    assert len(asked) == 2 * before, "other criteria are no other questions"
    assert CachedPredictions.objects.count() == kept + before


def test_a_share_that_is_delivered_twice_is_asked_once(order: Order, asked: list[int]) -> None:
    run = order()
    for shard in run.shards.all():
        execution.execute_shard(shard.pk)
        execution.execute_shard(shard.pk)
    execution.judge(run.pk)
    execution.judge(run.pk)
    assert fresh(run).status == RunStatus.DONE
    assert len(asked) == run.shards.count()


def test_a_run_is_cancelled_while_the_model_is_asked_and_goes_on_later(
    order: Order, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "RENEW_SECONDS", 0.0)
    run, real, calls = order(), answers.ask_share, []

    def stopped(adapter: Any, reader: Any, part: Any, plan: Any, *, after_batch: Any, **more: Any) -> Any:
        def after(done: int) -> None:
            calls.append(done)
            if len(calls) == 2:
                cancel_run(run=fresh(run), by=people.amir)
            after_batch(done)

        return real(adapter, reader, part, plan, after_batch=after, **more)

    with monkeypatch.context() as patch:
        patch.setattr(answers, "ask_share", stopped)
        work(run)
    assert fresh(run).status == RunStatus.CANCELLED
    assert len(calls) == 2, "nothing more was asked"
    assert set(run.shards.values_list("status", flat=True)) == {ShardStatus.CANCELLED}
    assert not CachedPredictions.objects.filter(n_studies=0).exists()
    resume_run(run=fresh(run), by=people.amir)
    done = finish(run)
    assert done.status == RunStatus.DONE
    assert done.result_digest == finish(order()).result_digest


def test_a_worker_that_dies_while_it_asks_leaves_nothing_that_counts_twice(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = order(), answers.ask_share

    def killed(adapter: Any, reader: Any, part: Any, plan: Any, *, after_batch: Any, **more: Any) -> Any:
        def after(done: int) -> None:
            raise KeyboardInterrupt

        return real(adapter, reader, part, plan, after_batch=after, **more)

    shard = run.shards.get(index=0)
    with monkeypatch.context() as patch:
        patch.setattr(answers, "ask_share", killed)
        with pytest.raises(KeyboardInterrupt):
            execution.execute_shard(shard.pk)
    run.shards.filter(pk=shard.pk).update(lease_expires="2020-01-01T00:00:00Z")
    assert finish(run).status == RunStatus.DONE
    assert finish(order()).result_digest == fresh(run).result_digest


def test_an_audit_with_questions_is_reproduced(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    done = finish(order())
    kept = CachedPredictions.objects.count()
    found = reproduce(done.pk)
    assert found.identical and found.reproduced
    assert CachedPredictions.objects.count() == kept, "nothing is written"
    real = reproduction.ask_share

    def turned(*args: Any, **more: Any) -> Any:
        said = real(*args, **more)
        said.text[:] = "Yes."
        said.truncated[:] = False
        return said

    monkeypatch.setattr(reproduction, "ask_share", turned)
    assert not reproduce(done.pk).reproduced


ALL = {name: yaml.safe_load(RULES)[name] for name in FEW}


@pytest.fixture
def log(home_of_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answers of a model that ran elsewhere: "Yes" to every question, and a report that denies."""
    folder = tmp_path / "log"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD_WITH_IMAGES", PER_SHARD)
        told = write_questions(rules(), home_of_cohort / "cohort.parquet", folder / "answers.csv")
    frame = pd.read_csv(folder / "answers.csv", dtype=str, keep_default_na=False)
    assert len(frame) == told.rows
    frame["text"] = np.where(frame["question"] == "", "No effusion. The heart is of normal size.", "Yes, there is.")
    frame.to_csv(folder / "answers.csv", index=False)
    studies = pq.read_table(home_of_cohort / "cohort.parquet", columns=["study_id"])["study_id"].to_pylist()
    pd.DataFrame({"study_id": studies, "text.generated": "No effusion."}).to_csv(
        folder / "predictions.csv", index=False
    )
    return folder


def test_answers_from_elsewhere_are_judged_as_if_they_were_asked_here(
    order: Order, people: SimpleNamespace, log: Path
) -> None:
    """Line 19: whoever always says yes has a yes ratio of 1, an F1 of 2/3, and fails."""
    done = finish(order(registered(people, "recorded", log), **ALL))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    told = evidence_of(done)["execution"]["asking"]
    assert (told["unanswered"], told["why_not"]) == (0, {}), "the file has every question that the audit asks"
    ratio = done.measurements.get(metric="yes_ratio", label="answers", attribute="")
    assert ratio.value == 1.0
    f1 = done.measurements.get(metric="pope_f1_random", label="answers", attribute="")
    assert f1.value == pytest.approx(2 / 3, abs=1e-12)
    assert done.verdicts.get(criterion="f1").outcome != "pass"


def test_a_registered_cohort_has_the_questions_of_its_file(home_of_cohort: Path, log: Path, tmp_path: Path) -> None:
    write_questions(rules(), home_of_cohort / "shards", tmp_path / "questions.parquet")
    keys = ["study_id", "question", "condition", "turn", "modality", "partner"]
    ours = pd.read_parquet(tmp_path / "questions.parquet")[keys].astype(str)
    assert ours.equals(pd.read_csv(log / "answers.csv", dtype=str, keep_default_na=False)[keys])


def test_the_questions_tell_no_answer(log: Path) -> None:
    table = pyarrow.csv.read_csv(log / "answers.csv")
    assert table.column_names == [
        "study_id", "question", "condition", "turn", "modality", "partner", "temperature", "text", "truncated",
    ]  # fmt: skip


def test_answers_that_are_missing_are_not_asked_and_the_criterion_is_left_open(
    order: Order, people: SimpleNamespace, log: Path
) -> None:
    frame = pd.read_csv(log / "answers.csv", dtype=str, keep_default_na=False)
    frame[frame["condition"] != "plain"].to_csv(log / "answers.csv", index=False)
    done = finish(order(registered(people, "recorded", log), **ALL))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    assert "probing" in evidence_of(done)["execution"]["asking"]["why_not"]
    verdict = done.verdicts.get(criterion="f1")
    assert verdict.outcome == "insufficient"
    f1 = done.measurements.filter(metric="pope_f1_random", label="answers", attribute="").first()
    assert f1 is not None and f1.value is None and f1.reason


def test_a_model_that_only_writes_is_refused_where_it_would_be_asked(
    order: Order, people: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "writer").mkdir()
    writer = registered(people, "vision_encoder_decoder", save_vision_encoder_decoder(tmp_path / "writer"))
    with pytest.raises(ProtocolError, match="lacks the capability 'answer'") as caught:
        order(writer)
    assert "probing, perturbation" in caught.value.message
    run = order(writer, probing=None, perturbation=None, criteria=[CHAIR])
    assert finish(run).status == RunStatus.DONE


CHAIR = {"id": "chair", "metric": "chair_i", "direction": "at_most", "margin": 0.1}


def test_findings_without_a_truth_are_refused_by_name(order: Order, people: SimpleNamespace) -> None:
    with pytest.raises(ProtocolError, match=r"label\.shoe size"):
        order(probing={"findings": ["effusion", "shoe size"]})


def test_a_model_that_is_asked_questions_alone_writes_no_report(
    order: Order, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = order(
        reports=None, sampling=None, perturbation=None,
        criteria=[{"id": "f1", "metric": "pope_f1_random", "direction": "at_least", "margin": 0.7}],
    )  # fmt: skip
    done = finish(run)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    assert sum(asked) > 0
    assert all(shard.telemetry["seconds"]["inference"] == 0 for shard in done.shards.all())
    second = finish(order(
        reports=None, sampling=None, perturbation=None,
        criteria=[{"id": "f1", "metric": "pope_f1_random", "direction": "at_least", "margin": 0.7}],
    ))  # fmt: skip
    assert all(shard.from_cache for shard in second.shards.all())

    def predicts(*_: Any, **__: Any) -> None:
        raise AssertionError("it is run again for reports that nobody judges")

    monkeypatch.setattr(reproduction, "predict_share", predicts)
    assert reproduce(second.pk).identical


def test_a_file_of_predictions_answers_no_question(home_of_cohort: Path, tmp_path: Path) -> None:
    columns = ["patient_id", "study_id", "sex", "text.reference", "text.indication", "series.crp"]
    frame = pq.read_table(home_of_cohort / "cohort.parquet", columns=columns)
    said = ["No effusion."] * len(frame)
    path = tmp_path / "reports.parquet"
    pq.write_table(frame.append_column("text.generated", [said]), path)
    found = run_audit(protocol=rules(), predictions=path, cross_check=False).assessment
    open_ones = {item.criterion: item.outcome.value for item in found.verdicts}
    assert open_ones["f1"] == "insufficient"
    reasons = {item.reason for item in found.measurements if item.metric == "pope_f1_random"}
    assert any("file of predictions answers no question" in reason for reason in reasons)
