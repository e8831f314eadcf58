"""Pages of generators and of the patients that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from core.digests import sha256_json
from evaluation.charts.curves import plan_curve
from evaluation.charts.drawing import NothingToDrawError
from evaluation.models import AuditRun
from evaluation.services.runs import cancel_run
from models_registry.models import CohortVersion, JobStatus
from synthetic import execution_generators as work
from synthetic.models import Generation, GeneratorTraining
from synthetic.selectors_training import time_left
from tests.registry.fixtures import files, home, people, sent
from tests.registry.scene import make_protocol, make_system
from tests.synthetic.generator_scene import calm, cohort, made, order, patients, trained
from tests.synthetic.test_audits import audit, control, result

__all__ = ["audit", "calm", "cohort", "control", "files", "home", "order", "people", "result", "sent", "trained"]
SignIn = Callable[[str], Any]


@pytest.fixture
def sign_in(client: Any, people: SimpleNamespace) -> SignIn:
    def enter(name: str) -> Any:
        client.force_login(getattr(people, name))
        return client

    return enter


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.status_code
    return response.content.decode()


def sending(page: str) -> dict[str, str]:
    """What the button sends that stands on a page once the order was checked."""
    [value] = re.findall(r'name="send" value="([0-9a-f]{64})"', page)
    return {"send": value}


def test_the_empty_room_says_what_to_do_and_who_may(sign_in: SignIn) -> None:
    page = text_of(sign_in("elena").get(reverse("synthetic")))
    assert "No generator yet" in page and reverse("generator-new") in page
    assert "disabled" in text_of(sign_in("clara").get(reverse("synthetic")))
    assert reverse("synthetic") in text_of(sign_in("elena").get(reverse("cohorts")))


def test_an_order_is_checked_kept_and_sent(sign_in: SignIn, people: SimpleNamespace, cohort: CohortVersion) -> None:
    system, address = make_system(people, "Ward patients"), reverse("generator-new")
    typed = {
        "cohort": cohort.pk, "system": system.pk, "version_label": "1.0.0", "effort": "0.05", "image_size": "32",
        "rare_below": "11", "canaries": "5", "seed": "7",
    }  # fmt: skip
    elena = sign_in("elena")
    empty = text_of(elena.post(address, {"seed": "7"}), 422)
    assert "Fill in or choose: Cohort." in empty and 'value="7"' in empty
    page = text_of(elena.post(address, typed))
    assert "What it will learn from Ward A" in page and "series: the cohort has none" in page
    assert "1.0.0" in page and not GeneratorTraining.objects.exists()
    other = text_of(elena.post(address, typed | {"seed": "8"} | sending(page)))
    assert sending(other) != sending(page) and not GeneratorTraining.objects.exists(), "what was changed is shown again"
    response = elena.post(address, typed | sending(page))
    job = GeneratorTraining.objects.get()
    assert response.url == reverse("generator-training", args=[job.pk])
    assert (job.settings["effort"], job.settings["canaries"], job.settings["seed"]) == (0.05, 5, 7)
    again = text_of(elena.post(address, typed | sending(page)), 409)
    assert "is being trained already" in again and "1.0.0" in again
    clara = sign_in("clara")
    changed = typed | {"version_label": "2"}
    refused = text_of(clara.post(address, changed))
    assert "You can read this form, but not send it" in refused
    forced = changed | {"send": sha256_json({name: [str(value)] for name, value in changed.items()})}
    assert clara.post(address, forced).status_code == 403 and GeneratorTraining.objects.count() == 1


def test_a_training_is_watched_cancelled_and_resumed(
    sign_in: SignIn, order: Callable[..., GeneratorTraining], django_assert_max_num_queries: Any
) -> None:
    job, elena = order(), sign_in("elena")
    page, progress = (reverse(name, args=[job.pk]) for name in ("generator-training", "generator-training-progress"))
    assert "waits for a worker" in text_of(elena.get(page)) and 'hx-trigger="every' in text_of(elena.get(page))
    elena.post(reverse("generator-training-cancel", args=[job.pk]))
    assert elena.get(progress, headers={"hx-request": "true"})["HX-Refresh"] == "true"
    assert "Resume" in text_of(elena.get(page))
    elena.post(reverse("generator-training-resume", args=[job.pk]))
    work.train_generator(job.pk)
    with django_assert_max_num_queries(25):
        done = text_of(elena.get(page))
    assert "Tables, loss: 0.5 at step 1" in done and "the settings name no part for it" in done
    assert "What each part tells of itself" in done and reverse("patients-new") in done
    drawn = elena.get(reverse("generator-curve", args=[job.pk, "tables.loss"]))
    assert drawn["Content-Type"] == "image/svg+xml" and "sandbox" in drawn["Content-Security-Policy"]
    assert elena.get(reverse("generator-curve", args=[job.pk, "nothing"])).status_code == 404
    assert elena.get(reverse("generator-training", args=[999])).status_code == 404


def test_a_training_that_failed_says_why_here_and_at_home(
    sign_in: SignIn, order: Callable[..., GeneratorTraining]
) -> None:
    job = order()
    GeneratorTraining.objects.update(status=JobStatus.FAILED, error="'image.flow' ran away: at step 7.")
    elena = sign_in("elena")
    assert "ran away: at step 7" in text_of(elena.get(reverse("generator-training", args=[job.pk])))
    assert "was not trained" in text_of(elena.get("/"))
    assert "ran away" not in text_of(sign_in("amir").get("/"))


def test_patients_are_ordered_in_words_and_wrong_lines_are_told(sign_in: SignIn, trained: GeneratorTraining) -> None:
    elena, address = sign_in("elena"), reverse("patients-new")
    typed = {
        "version": trained.result_id, "cohort_name": "Old women", "patients": "500", "seed": "3",
        "people": "sex = F\nage >= 80", "findings": "pneumothorax = present",
    }  # fmt: skip
    said = text_of(elena.post(address, typed))
    assert "500 patients, sex F, age at least 80, each with at least one study with pneumothorax." in said
    wrong = text_of(elena.post(address, typed | {"people": "sex = F\nold", "findings": "effusion >= left"}), 422)
    assert "Line 2 cannot be read" in wrong and "Old women" in wrong and "effusion &gt;= left" in wrong
    assert "Line 1 cannot be read" in text_of(elena.post(address, typed | {"findings": "effusion >= left"}), 422)
    assert "is no number" in text_of(elena.post(address, typed | {"people": "age >= old"}), 422)
    assert "Line 1 cannot be read" in text_of(elena.post(address, typed | {"people": "sex == F"}), 422)
    double = text_of(elena.post(address, typed | {"findings": "a = left\na = right"}), 422)
    assert "there is a line on a already" in double
    assert "age at least 12345678" in text_of(elena.post(address, typed | {"people": "age >= 12345678"}))
    twice = text_of(elena.post(address, typed | {"people": "sex = F\nsex = M"}), 422)
    assert "a condition of this kind on sex already" in twice
    for wrong_wish in ({"findings": "effusion = lft"}, {"people": "age >= 90\nage <= 20"}):
        checked = text_of(elena.post(address, typed | wrong_wish), 422)
        assert "The wish" in checked, "it is told before it is sent"
        assert "The wish" in text_of(elena.post(address, typed | wrong_wish | sending(checked)), 422)
    response = elena.post(address, typed | sending(said))
    job = Generation.objects.get()
    assert response.url == reverse("patients-order", args=[job.pk])
    assert job.settings["wish"]["least"] == {"age": 80} and job.settings["wish"]["attributes"] == {"sex": "F"}
    page = text_of(elena.get(response.url))
    assert "age is at least 80" in page and "waits for a worker" in page
    elena.post(reverse("patients-order-cancel", args=[job.pk]))
    progress = elena.get(reverse("patients-order-progress", args=[job.pk]), headers={"hx-request": "true"})
    assert progress["HX-Refresh"] == "true"


def test_an_order_goes_step_by_step_and_back_and_loses_nothing(
    sign_in: SignIn, trained: GeneratorTraining, cohort: CohortVersion
) -> None:
    cohort.summary["attributes"]["age"] = {"type": "integer", "missing": 0, "min": 19, "median": 61, "max": 97}
    cohort.save()
    elena, address = sign_in("elena"), reverse("patients-new")
    first = text_of(elena.get(f"{address}?version={trained.result_id}"))
    assert re.search(rf'value="{trained.result_id}" selected', first) and 'aria-current="step"' in first
    typed = {"version": trained.result_id, "cohort_name": "Old women", "patients": "500", "seed": "3"}
    wrong = text_of(elena.post(address, typed | {"at": "0", "patients": "0"}), 422)
    assert "greater than or equal to 1" in wrong and 'value="Old women"' in wrong
    second = text_of(elena.post(address, typed | {"at": "0"}))
    assert (
        "lies between 19 and 97" in second and "of the studies learnt from)" in second and "error-summary" not in second
    )
    asked = typed | {"at": "1", "is_sex": "F", "least_age": "60", "people": ""}
    third = text_of(elena.post(address, asked))
    assert 'name="has_effusion"' in third and hidden(third)["is_sex"] == "F" and hidden(third)["least_age"] == "60"
    back = text_of(elena.post(address, hidden(third) | {"go": "1", "has_effusion": "left", "findings": ""}))
    assert re.search('value="F" selected', back) and hidden(back)["has_effusion"] == "left"
    again = text_of(elena.post(address, hidden(back) | {"is_sex": "M", "least_age": "60", "people": ""}))
    assert re.search('value="left" selected', again), "what was typed in a later step is there again"
    done = text_of(elena.post(address, hidden(again) | {"has_effusion": "left", "findings": ""}))
    assert "500 patients, sex M, age at least 60, each with at least one study with effusion (left)." in done
    response = elena.post(address, hidden(done) | sending(done))
    job = Generation.objects.get()
    assert response.url == reverse("patients-order", args=[job.pk])
    assert job.settings["wish"]["attributes"] == {"sex": "M"} and job.settings["wish"]["least"] == {"age": 60}
    assert job.settings["wish"]["findings"] == {"effusion": "left"}


def hidden(page: str) -> dict[str, str]:
    """What travels in a page besides its fields."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def test_a_generator_is_ordered_with_parts_and_findings_of_ones_choice(
    sign_in: SignIn, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    system, address = make_system(people, "Ward patients"), reverse("generator-new")
    elena = sign_in("elena")
    whom = {"cohort": cohort.pk, "system": system.pk, "version_label": "1.0.0"}
    assert "Differential privacy" in text_of(elena.post(address, whom | {"at": "0"}))
    parts = text_of(elena.post(address, whom | {"at": "1", "protection": "without"}))
    assert "The cohort has no series." in parts and 'name="findings"' in parts and "latent flow" in parts
    what = {
        "findings": ["effusion"],
        "tables": "copula",
        "image": "none",
        "report": "language_model",
        "critic": "none",
        "series": "none",
    }
    how = text_of(elena.post(address, hidden(parts) | what))
    said = {"effort": "0.05", "image_size": "32", "rare_below": "11", "canaries": "0", "seed": "1"}
    page = text_of(elena.post(address, whom | what | said))
    assert 'name="effort"' in how and "A try: minutes, and poor patients" in page
    elena.post(address, whom | what | said | sending(page))
    job = GeneratorTraining.objects.get()
    assert job.settings["findings"] == ["effusion"]
    assert job.settings["parts"] == {"tables": "copula", "report": "language_model"}
    strange = text_of(elena.post(address, whom | what | {"tables": "oracle"} | said), 422)
    assert "oracle is not one of the available choices" in strange


def test_what_was_made_stands_in_quarantine_everywhere(
    sign_in: SignIn, trained: GeneratorTraining, people: SimpleNamespace, django_assert_max_num_queries: Any
) -> None:
    job = made(patients(people, trained))
    assert job.result is not None
    elena = sign_in("elena")
    page = text_of(elena.get(reverse("patients-order", args=[job.pk])))
    assert "In quarantine" in page and "What the critic said" in page and "fewer than 11" in page
    [link] = re.findall(r'href="([^"]*/audits/new/[^"]*)"', page)
    form = text_of(sign_in("amir").get(link.replace("&amp;", "&")))
    assert all(f'value="{chosen}" selected' in form for chosen in (job.version_id, job.result_id))
    elena = sign_in("elena")
    shown = text_of(elena.get(reverse("cohort-version", args=[job.result.cohort.slug, job.result.pk])))
    assert "In quarantine" in shown and "Who made these patients" in shown
    with django_assert_max_num_queries(25):
        room = text_of(elena.get(reverse("synthetic")))
    assert "In quarantine" in room and "Ward A, synthetic" in room and "image, report, rows" in room


def test_a_curve_says_in_words_what_it_shows() -> None:
    plan = plan_curve("image.flow", [[1, 2.0], [100, 0.5]])
    assert plan.text_alternative == "Image, flow: 0.5 at step 100, from 2 at step 1; 2 points."
    assert plan.table_rows == (("1", "2"), ("100", "0.5")) and "<svg" in plan.draw("dark").svg
    with pytest.raises(NothingToDrawError):
        plan_curve("image.flow", [])


def test_the_form_of_audits_takes_a_control_and_only_a_generator_has_one(
    audit: Any, control: CohortVersion, client: Any, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    run = audit()
    cancel_run(run=run, by=people.amir)
    client.force_login(people.amir)
    asked = {"version": run.version_id, "cohort": run.cohort_id, "protocol": run.protocol_id, "control": control.pk}
    response = client.post("/audits/new/", asked)
    made = AuditRun.objects.latest("pk")
    assert response.status_code == 302 and made.settings["control"] == control.digest and made.pk != run.pk
    plain = make_protocol(people)
    refused = client.post("/audits/new/", asked | {"protocol": plain.pk, "cohort": cohort.pk})
    assert refused.status_code == 422 and "predicts nothing" in refused.content.decode()


FACTS = {
    "facts": {
        "image": {
            "gates": {
                "critic": {
                    "pleural_effusion": {"original": 0.912, "reconstruction": 0.874, "judged": True, "with": 40,
                                         "without": 300},
                    "nodule": {"original": None, "reconstruction": None, "judged": False, "with": 7, "without": 333,
                               "reason": "fewer than 20 held-out studies with it, or without"},
                }
            },
            "edge": 64,
        },
        "critic": {
            "held_out": {
                "nodule": {"auroc": 0.61, "interval": [0.4, 0.8], "with": 7, "side": {"right": None}},
                "pleural_effusion": {"auroc": 0.93, "interval": [0.9, 0.95], "with": 40, "side": {"right": 0.81}},
            },
            "studies": 9,
        },
    }
}  # fmt: skip


def test_a_finished_training_shows_its_gates_and_counts_no_few_patients_out(
    sign_in: SignIn, trained: GeneratorTraining
) -> None:
    GeneratorTraining.objects.filter(pk=trained.pk).update(facts=trained.facts | FACTS)
    page = text_of(sign_in("elena").get(reverse("generator-training", args=[trained.pk])))
    rows = {name: row for row in page.split("<tr>") for name in ("Pleural effusion", "Nodule") if name in row}
    assert (
        ".91 then .87" in page
        and "Held" in page
        and "Not judged" in page
        and ".93 (.90–.95)" in rows["Pleural effusion"]
    )
    page = re.sub(r'datetime="[^"]*"', "", page)  # the microseconds of a moment may hold any digits
    assert "fewer than 11" in rows["Nodule"] and ".61" not in page and ".81" in rows["Pleural effusion"]
    assert "<dd>fewer than 11</dd>" in page, "nor among the further facts"


def test_the_time_left_is_told_of_a_running_training_alone(order: Callable[..., GeneratorTraining]) -> None:
    job, now = order(), timezone.now()
    job.status, job.started_at, job.progress = JobStatus.RUNNING, now - timedelta(minutes=6), 0.6
    assert time_left(job, now) == pytest.approx(240)
    for status, progress in ((JobStatus.DONE, 0.6), (JobStatus.RUNNING, 0.05)):
        job.status, job.progress = status, progress
        assert time_left(job, now) is None


def test_a_generator_is_ordered_with_differential_privacy_and_what_is_public(
    sign_in: SignIn, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    system, address = make_system(people, "Ward patients"), reverse("generator-new")
    elena = sign_in("elena")
    whom = {"cohort": cohort.pk, "system": system.pk, "version_label": "1.0.0"}
    private = {"at": "1", "protection": "differential", "epsilon": "4", "delta": "0.001", "domain": ""}
    proposed = text_of(elena.post(address, whom | {"at": "0"}))
    assert "&quot;effusion&quot;" in proposed and "&quot;sex&quot;" in proposed, "by the names of columns"
    assert "needs a domain" in text_of(elena.post(address, whom | private), 422)
    assert "cannot be read as JSON" in text_of(elena.post(address, whom | private | {"domain": "{"}), 422)
    public = '{"findings": ["effusion"], "attributes": {"sex": ["F", "M"]}, "texts": ["reference"]}'
    large = text_of(elena.post(address, whom | private | {"domain": public, "epsilon": "1000"}), 422)
    assert "a number from 0.1 to 100" in large
    parts = text_of(elena.post(address, whom | private | {"domain": public}))
    assert ">private</option>" in parts and "copula" not in parts and 'name="findings"' not in parts
    said = {"effort": "0.05", "image_size": "32", "rare_below": "11", "canaries": "0", "seed": "1"}
    whole = whom | private | {"domain": public} | said
    del whole["at"]
    large_delta = whole | {"delta": "0.005"}
    page = text_of(elena.post(address, large_delta))
    refused = text_of(elena.post(address, large_delta | sending(page)), 422)
    assert "not below one over the number of patients" in refused and not GeneratorTraining.objects.exists()
    page = text_of(elena.post(address, whole))
    assert "Epsilon" in page and "paid for in likeness" in page
    elena.post(address, whole | sending(page))
    job = GeneratorTraining.objects.get()
    assert job.settings["privacy"]["epsilon"] == 4 and job.settings["parts"]["tables"] == "private"
    assert job.settings["privacy"]["domain"]["findings"] == ["effusion"]
