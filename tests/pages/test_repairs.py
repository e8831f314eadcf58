"""Pages of repairs: the button at failed findings alone, the order, the steps, and the comparison."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from evaluation.models import AuditRun, Outcome, Verdict
from models_registry.models import JobStatus, TrainingJob
from synthetic.models import Generation, GeneratorTraining, Repair, RepairStatus
from tests.evaluation.steps import finish
from tests.pages.test_synthetic import SignIn, sign_in, text_of
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.generator_scene import calm, cohort, order, trained
from tests.synthetic.repair_scene import (
    Order,
    advance,
    failed,
    group_of,
    learnt,
    make,
    others,
    repair,
    train,
    trainings,
    warm,
)

__all__ = [
    "calm", "cohort", "failed", "files", "home", "learnt", "order", "others", "people", "repair", "sent", "sign_in",
    "trained", "trainings", "warm",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
BUTTON = "Generate for this group"


def position_of(run: AuditRun, criterion: str = "sex-tpr") -> int:
    return int(run.verdicts.get(criterion=criterion).position)


def test_the_button_stands_at_failed_findings_of_fairness_and_nowhere_else(
    sign_in: SignIn, failed: AuditRun, trained: GeneratorTraining, learnt: TrainingJob
) -> None:
    elena, page = sign_in("elena"), reverse("audit", args=[failed.pk])
    address = reverse("repair-new", args=[failed.pk, position_of(failed)])
    shown = text_of(elena.get(page))
    assert shown.count(BUTTON) == 1 and address in shown
    assert reverse("repair-new", args=[failed.pk, position_of(failed, "sex-gap")]) not in shown
    assert elena.get(reverse("repair-new", args=[failed.pk, position_of(failed, "sex-gap")])).status_code == 404
    other = text_of(sign_in("amir").get(page))
    assert BUTTON in other and "Only people with the role ML engineer" in other and address not in other
    TrainingJob.objects.filter(pk=learnt.pk).update(result=None)
    assert "was not trained here" in text_of(sign_in("elena").get(page))
    Verdict.objects.filter(run=failed).update(outcome=Outcome.PASS)
    assert BUTTON not in text_of(elena.get(page))
    assert elena.get(address).status_code == 404


def test_an_order_is_sent_from_the_page_and_refused_for_others(
    sign_in: SignIn, failed: AuditRun, trained: GeneratorTraining
) -> None:
    address = reverse("repair-new", args=[failed.pk, position_of(failed)])
    elena = sign_in("elena")
    page = text_of(elena.get(address))
    assert "Ward A" in page and str(trained.result) in page and "beside the very cohort" in page
    typed = {"group": group_of(failed), "generator": trained.result_id, "patients": "40", "version_label": "1.1",
             "seed": "0"}  # fmt: skip
    assert "Fill in or choose: Label of the new version." in text_of(
        elena.post(address, typed | {"version_label": ""}), 422
    )
    assert "already has a version" in text_of(elena.post(address, typed | {"version_label": "1.0"}), 409)
    assert sign_in("amir").post(address, typed).status_code == 403 and not Repair.objects.exists()
    response = sign_in("elena").post(address, typed)
    job = Repair.objects.get()
    assert response.status_code == 302 and response.url == reverse("repair", args=[job.pk])
    assert "Repair" in text_of(elena.get(reverse("audit", args=[failed.pk])))
    whom = text_of(elena.get(reverse("patients-order", args=[job.generation_id])))
    assert "20 patients and 20 more" in whom and "effusion: none" in whom


def test_a_model_whose_cohort_taught_no_generator_says_so(sign_in: SignIn, failed: AuditRun) -> None:
    page = text_of(sign_in("elena").get(reverse("repair-new", args=[failed.pk, position_of(failed)])))
    assert "No generator learnt from this cohort" in page and reverse("generator-new") in page


def test_the_steps_are_watched_stopped_and_resumed(sign_in: SignIn, repair: Order) -> None:
    job, elena = repair(), sign_in("elena")
    page, progress = (reverse(name, args=[job.pk]) for name in ("repair", "repair-progress"))
    shown = text_of(elena.get(page))
    assert "waits for a worker" in shown and 'hx-trigger="every' in shown and "half" not in shown
    same = elena.get(progress, {"step": "making"}, headers={"hx-request": "true"})
    assert "HX-Refresh" not in same
    assert sign_in("amir").post(reverse("repair-cancel", args=[job.pk])).status_code == 302
    assert Repair.objects.get().status == RepairStatus.MAKING, "amir may not"
    elena = sign_in("elena")
    elena.post(reverse("repair-cancel", args=[job.pk]))
    assert elena.get(progress, {"step": "making"}, headers={"hx-request": "true"})["HX-Refresh"] == "true"
    assert "Resume where it stopped" in text_of(elena.get(page)) and "disabled" in text_of(sign_in("amir").get(page))
    sign_in("elena").post(reverse("repair-resume", args=[job.pk]), {"version_label": "1.3"})
    job = Repair.objects.get()
    assert (job.status, job.version_label, job.attempts) == (RepairStatus.MAKING, "1.3", 2)
    Generation.objects.filter(pk=job.generation_id).update(status=JobStatus.FAILED, error="The disk is full.")
    advance(job)
    assert "The disk is full." in text_of(elena.get(page))
    assert "failed" in text_of(elena.get("/")) and "The disk is full." not in text_of(sign_in("clara").get("/"))
    assert elena.get(reverse("repair", args=[999])).status_code == 404


def test_an_auditor_starts_the_audit_and_the_comparison_is_read(
    sign_in: SignIn, repair: Order, people: SimpleNamespace
) -> None:
    job = train(make(repair()))
    page = reverse("repair", args=[job.pk])
    mine = text_of(sign_in("elena").get(page))
    assert "Waits for an auditor" in mine and "disabled" in mine
    amir = sign_in("amir")
    assert "It was trained to repair" in text_of(amir.get("/")) and page in text_of(amir.get("/"))
    assert "It was trained to repair" not in text_of(sign_in("elena").get("/"))
    amir = sign_in("amir")
    amir.post(reverse("repair-audit", args=[job.pk]))
    run = Repair.objects.get().audit
    assert run is not None and "It was trained to repair" not in text_of(amir.get("/"))
    finish(run)
    advance(job)
    with CaptureQueriesContext(connection) as asked:
        shown = text_of(amir.get(page))
    assert len(asked) <= 20
    assert "What became of the gap" in shown and "Every verdict before and after" in shown
    assert any(word in shown for word in ("Improved", "Not shown to improve", "Worse"))
    assert "6 rates that were looked at" in shown
    assert reverse("audit", args=[run.pk]) in shown
    assert page in text_of(amir.get(reverse("audit", args=[run.pk]))), "the new audit leads back"


def test_answers_are_told_as_they_are(sign_in: SignIn, repair: Order) -> None:
    job, elena = repair(), sign_in("elena")
    rate: dict[str, Any] = {
        "metric": "fpr", "title": "false positive rate", "label": "effusion", "attribute": "sex", "group": "F",
        "before": 0.1, "after": 0.3, "value": 0.2, "low": 0.15, "high": 0.25, "n": 500, "patients": 300,
        "different": 90, "reason": "",
    }  # fmt: skip
    verdict = {"outcome": "pass", "value": 0.01, "low": 0.0, "high": 0.02, "groups": ["F", "M"]}
    row = {"criterion": "sex-fpr", "label": "effusion", "attribute": "sex", "before": verdict,
           "after": verdict | {"outcome": "fail"}}  # fmt: skip
    found = {
        "answer": "worse", "gap": rate | {"groups": ["F", "M"]}, "levelled_down": True, "rates": [rate],
        "worse": [rate], "looked_at": 40, "verdicts": [row], "fallen": [row], "level": 0.95,
    }  # fmt: skip
    Repair.objects.update(status=RepairStatus.COMPARED, comparison=found)
    shown = text_of(elena.get(reverse("repair", args=[job.pk])))
    assert (
        "Levelled down" in shown
        and "Smaller, because others are served worse" in shown
        and "about 1.0 would look so by chance" in shown
    )
    assert "1 of the 40 rates" in shown and "1 verdict is judged worse" in shown and "sex-fpr (effusion)" in shown
    assert "Improved" not in shown
    for answer, worse, word in (
        ("improved", [rate] * 9, "Improved, with harm elsewhere"), ("improved", [], "Improved<"),
        ("not_shown", [], "Not shown to improve<"), ("worse", [rate], "Worse<"),
    ):  # fmt: skip
        changed = found | {"answer": answer, "worse": worse, "fallen": [], "levelled_down": False}
        Repair.objects.update(comparison=changed)
        shown = text_of(elena.get(reverse("repair", args=[job.pk])))
        assert word in shown and ("Show 1 more" in shown) == (len(worse) == 9)
