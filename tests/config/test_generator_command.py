"""``auscult generator``: training, orders of patients, how far they are, and how bad input ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connection

import config.cli as cli
from models_registry.models import CohortVersion, JobStatus
from synthetic import execution_generators as work
from synthetic.models import Generation, GeneratorTraining
from tests.config.test_cli import Ended, auscult
from tests.registry.fixtures import files, home, people, sent
from tests.registry.scene import make_system
from tests.synthetic.generator_scene import SETTINGS, calm, cohort, order, trained

__all__ = ["auscult", "calm", "cohort", "files", "home", "order", "people", "sent", "trained"]
Auscult = Callable[..., Ended]


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.delenv("AUSCULT_USER", raising=False)


def test_from_a_cohort_to_patients(
    auscult: Auscult, cohort: CohortVersion, people: SimpleNamespace, tmp_path: Path
) -> None:
    assert "No generator was trained yet" in auscult("generator", "list").output
    system, file = make_system(people, "Ward patients"), tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS))
    asked = ["train", cohort.cohort.slug, "--as", f"{system.slug}/1.0", "--settings", file, "--seed", "9", "--by"]
    assert "ML engineer" in auscult("generator", *asked, "amir").errors and not GeneratorTraining.objects.exists()
    ended = auscult("generator", *asked, "elena", "--json")
    job = GeneratorTraining.objects.get()
    assert ended.code == 0 and json.loads(ended.output)["number"] == job.pk and job.settings["seed"] == 9
    assert auscult("generator", "cancel", "training", job.pk, "--by", "elena").output.split("\t")[2] == "cancelled\n"
    assert auscult("generator", "show", "training", job.pk, "--wait").code == 1, "it did not come to be"
    assert auscult("generator", "resume", job.pk, "--by", "elena").code == 0
    work.train_generator(job.pk)
    assert auscult("generator", "show", "training", job.pk, "--wait").code == 0
    wish = ["--patients", "30", "--name", "Women", "--where", "sex=F", "--finding", "effusion=present", "--by", "elena"]
    made = auscult("generator", "make", f"{system.slug}/1.0", *wish, "--json")
    patients = Generation.objects.get()
    assert made.code == 0 and patients.settings["wish"]["attributes"] == {"sex": "F"}, made.errors
    assert patients.settings["wish"]["findings"] == {"effusion": "present"}
    work.make_patients(patients.pk)
    told = json.loads(auscult("generator", "show", "order", patients.pk, "--json", "--wait").output)
    result = Generation.objects.get().result
    assert result is not None and (told["status"], told["patients"], told["result"]) == ("done", 30, result.digest)
    listed = auscult("generator", "list").output.splitlines()
    assert [line.split("\t")[0] for line in listed] == [f"Training {job.pk}", f"Order {patients.pk}"]


def test_what_failed_ends_with_one_and_says_why(auscult: Auscult, trained: GeneratorTraining) -> None:
    GeneratorTraining.objects.update(status=JobStatus.FAILED, error="No memory.")
    ended = auscult("generator", "show", "training", trained.pk, "--wait")
    assert ended.code == 1 and "No memory." in ended.output


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seed": "one"}, "setting seed is 'one'"), ({"effort": "much"}, "effort is 'much'"),
        ({"effort": True}, "effort is True"), ({"findings": "effusion"}, "findings is 'effusion'"),
        ({"findings": ["gout"]}, "has no label 'gout'"), ({"parts": ["copula"]}, "parts is ['copula']"),
        ({"parts": {"tables": "nobody"}}, "nobody"), ({"privacy": 3}, "privacy is 3"), ({"colour": 1}, "colour is 1"),
    ],
)  # fmt: skip
def test_settings_that_are_none_are_named(
    auscult: Auscult, cohort: CohortVersion, people: SimpleNamespace, tmp_path: Path, wrong: object, told: str
) -> None:
    system, file = make_system(people, "Ward patients"), tmp_path / "settings.json"
    file.write_text(json.dumps(wrong))
    ended = auscult("generator", "train", "ward-a", "--as", f"{system.slug}/1", "--settings", file, "--by", "elena")
    assert ended.code == 3 and told in ended.errors and not GeneratorTraining.objects.exists(), ended.errors


def test_a_cohort_of_few_is_refused_before_it_is_sent(
    auscult: Auscult, cohort: CohortVersion, people: SimpleNamespace
) -> None:
    CohortVersion.objects.update(n_patients=199)
    system = make_system(people, "Ward patients")
    ended = auscult("generator", "train", "ward-a", "--as", f"{system.slug}/1", "--by", "elena")
    assert ended.code == 3 and "has 199 patients" in ended.errors and not GeneratorTraining.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "nobody", "--as", "ward-patients/2", "--by", "elena"], "There is no cohort 'nobody'"),
        (["train", "ward-a", "--as", "nowhere/2", "--by", "elena"], "There is no system 'nowhere'"),
        (["train", "ward-a", "--as", "ward-patients", "--by", "elena"], "names no system and label"),
        (["train", "ward-a", "--as", "ward-patients/2"], "Missing option '--by'"),
        (["train", "ward-a", "--as", "ward-patients/2", "--by", "elena", "--settings", "{file}"], "settings.json"),
        (["train", "ward-a", "--as", "ward-patients/2", "--by", "elena", "--image-size", "50"], "image_size is 50"),
        (["make", "ward-patients/1.0", "--patients", "5", "--name", "x", "--by", "elena", "--where", "sex"], "no pair"),
        (["make", "ward-patients/1.0", "--patients", "5", "--name", "x", "--by", "elena", "--least", "age=old"],
         "wish's least.age is 'old'"),
        (["make", "ward-patients/1.0", "--patients", "5", "--name", "x", "--by", "elena", "--most", "age=1",
          "--most", "age=2"], "a second time"),
        (["show", "training", "999"], "There is no training 999"),
        (["cancel", "order", "999", "--by", "elena"], "There is no order 999"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_three_and_names_what_to_do(
    auscult: Auscult, trained: GeneratorTraining, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "settings.json").write_text("{effort: 1")
    ended = auscult("generator", *(item.replace("{file}", str(tmp_path / "settings.json")) for item in arguments))
    assert ended.code == 3 and told in ended.errors, ended.errors
    assert GeneratorTraining.objects.count() == 1 and not Generation.objects.exists()
