"""The closer look at a run: calibration, other thresholds, intersections, advice and attempts."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from evaluation.models import AuditRun
from tests.pages import scene
from tests.pages.closer_scene import advice, attempt_again, enrich
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
KINDS = {"calibration": "sex", "tradeoff": "age_band", "heatmap": "sex & age_band"}


@pytest.fixture
def run(house: SimpleNamespace) -> AuditRun:
    enrich(house.fail)
    found: AuditRun = house.fail
    return found


def address(run: AuditRun, kind: str, end: str, by: str) -> str:
    return f"/audits/{run.pk}/closer/{kind}{end}?of=effusion&by={quote(by)}&rate=tpr"


def test_the_page_shows_every_picture_with_its_finding_words_and_table(run: AuditRun, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{run.pk}/").content.decode()
    assert Page(text).faults == [] and Page(text).unnamed() == []
    for heading in ("Calibration by group: sex", "What another threshold would bring: sex", "Where groups cross: sex"):
        assert heading in text
    assert "Effusion: scores of female patients are too low above .40" in text
    assert "the former would need a threshold of .15 to reach the latter" in text
    assert f"/audits/{run.pk}/closer/calibration.svg?of=effusion&amp;by=sex&amp;rate=tpr&amp;theme=light" in text
    assert f"/audits/{run.pk}/closer/heatmap/?of=effusion&amp;by=sex+%26+age_band&amp;rate=tpr" in text


def test_the_choice_changes_the_part_and_stays_chosen(run: AuditRun, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{run.pk}/closer/?of=effusion&by=age_band&rate=fpr"
    part = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section") and 'id="closer"' in part and "<html" not in part
    assert '<option value="age_band" selected>' in part and '<option value="fpr" selected>' in part
    assert "scores of age band" in part and "false positive rate is highest in" in part
    page = client.get(url).content.decode()
    assert "<h1>" in page and part.strip() in page


def test_a_choice_that_is_not_offered_falls_back(run: AuditRun, sign_in: SignIn) -> None:
    url = f"/audits/{run.pk}/closer/?of=<script>&by=nothing&rate=psi"
    text = sign_in("amir").get(url).content.decode()
    assert "<script>&" not in text and "Calibration by group: sex" in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_pictures_are_drawn_once_and_cannot_act(
    run: AuditRun, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, kind: str, theme: str
) -> None:
    client, url = sign_in("amir"), f"{address(run, kind, '.svg', KINDS[kind])}&theme={theme}"
    first = client.get(url)
    assert first.content.startswith(b"<svg") and first.headers["Content-Type"] == "image/svg+xml"
    assert first.headers["Content-Security-Policy"].endswith("sandbox")
    monkeypatch.setattr("vl_convert.vegalite_to_svg", None)
    assert client.get(url).content == first.content


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_come_as_part_and_as_page(run: AuditRun, sign_in: SignIn, kind: str) -> None:
    client, url = sign_in("amir"), address(run, kind, "/", KINDS[kind])
    part = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<table" in part and "<html" not in part and "suppressed: fewer than 11 patients" in part
    assert "<h1>Effusion" in client.get(url).content.decode()


@pytest.mark.parametrize("end", [".svg", "/"])
def test_a_picture_that_there_is_not_answers_404_and_why(run: AuditRun, sign_in: SignIn, end: str) -> None:
    client = sign_in("amir")
    for url in (address(run, "pie", end, "sex"), address(run, "calibration", end, "scanner")):
        assert client.get(url).status_code == 404
    assert client.get(address(run, "heatmap", ".svg", "sex & age_band") + "&theme=neon").status_code == 404
    missing = client.get(address(run, "calibration", "/", "scanner")).content.decode()
    assert "decisions and no scores" in missing


def test_decisions_without_scores_are_said_and_a_run_of_old_keeps_its_page(
    house: SimpleNamespace, sign_in: SignIn
) -> None:
    text = sign_in("amir").get(f"/audits/{house.fail.pk}/").content.decode()
    assert "The model gave decisions and no scores for effusion, so there is no calibration to show." in text
    assert "What could reduce the gap" not in text and "All attempts" not in text
    assert "Where groups cross: sex and age" in text


def test_an_attribute_without_scores_sends_to_another(run: AuditRun, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{run.pk}/closer/"
    crossed = client.get(url, {"of": "effusion", "by": "sex & age_band"}).content.decode()
    assert "Scores were not measured by sex &amp; age band." in crossed
    other = client.get(url, {"of": "pneumothorax"}).content.decode()
    assert "The model gives no score of pneumothorax itself." in other


def test_a_run_without_intersections_says_how_to_get_them(house: SimpleNamespace, sign_in: SignIn) -> None:
    house.fail.measurements.update(attribute="sex")
    text = sign_in("amir").get(f"/audits/{house.fail.pk}/").content.decode()
    assert "The protocol declares no intersection of attributes" in text


def test_a_run_that_compared_no_groups_says_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    house.fail.measurements.update(attribute="")
    assert "No groups were compared" in sign_in("amir").get(f"/audits/{house.fail.pk}/").content.decode()


def test_another_suite_has_no_say_in_the_closer_look(run: AuditRun, sign_in: SignIn) -> None:
    run.measurements.filter(metric="psi").update(label="drifted", attribute="scanner & ward")
    response = sign_in("amir").get(f"/audits/{run.pk}/")
    assert "drifted" not in response.context["closer"].labels
    assert "scanner & ward" not in response.context["closer"].attributes
    assert "psi" not in response.context["closer"].rates


def test_what_could_reduce_the_gap_says_what_it_costs_and_why_it_may_not_be_had(run: AuditRun, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{run.pk}/").content.decode()
    part = text[text.index("What could reduce the gap") : text.index("What to know about the data")]
    told = advice()
    for words in (
        told["title"],
        told["caution"],
        ".214",
        ".031",
        "2,606 studies",
        "fitted on 2,604",
        "ThresholdOptimizer",
    ):
        assert words in part
    assert "sensitivity .790 → .830" in part and "false positive rate .112 → .147" in part
    assert "Not computable: the group age band ≥80 has 12 studies" in part


def test_all_attempts_are_listed_whatever_became_of_them(house: SimpleNamespace, sign_in: SignIn) -> None:
    again = attempt_again(house.fail)
    client = sign_in("amir")
    for shown, other in ((house.fail, again), (again, house.fail)):
        text = client.get(f"/audits/{shown.pk}/").content.decode()
        part = text[text.index('id="attempts"') :]
        assert f'href="/audits/{other.pk}/">Attempt {other.attempt}' in part
        assert "Did not finish" in part and f"{shown.attempt}, this one" in part


def test_the_page_asks_as_much_for_ten_times_the_labels(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/"
    enrich(house.fail)
    scene.report(house.fail)  # an issued one, as the other audit has: what changed since is asked for
    few = _queries(client, url)
    passed = getattr(house, "pass")
    enrich(passed, extra=9)
    scene.entries(3)
    assert _queries(client, f"/audits/{passed.pk}/") == few <= 18


def _queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    return len(asked)
