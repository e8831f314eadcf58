"""The gallery of synthetic patients: who may look, what is shown beside them, and what is told of a copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from core.models import LedgerEntry, Role
from models_registry.models import CohortVersion
from synthetic import execution_gallery, tasks
from synthetic.gallery.spans import plan_spans
from synthetic.models import Generation, GeneratorTraining
from synthetic.pages.gallery import pieces_of
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.generator_scene import calm, cohort, made, order, patients, trained

__all__ = ["calm", "cohort", "files", "home", "order", "people", "sent", "trained"]


@pytest.fixture
def job(people: SimpleNamespace, trained: GeneratorTraining) -> Generation:
    return made(patients(people, trained))


@pytest.fixture
def look(client: Any, people: SimpleNamespace, job: Generation) -> Callable[..., Any]:
    def open_as(name: str, **query: str) -> Any:
        client.force_login(getattr(people, name))
        return client.get(reverse("gallery", args=[job.pk]), query)

    return open_as


def granted(person: Any, role: Role) -> None:
    person.role_grants.create(role=role)
    if hasattr(person, "_auscult_roles"):
        del person._auscult_roles


def test_in_quarantine_only_readers_and_the_officer_look(
    look: Callable[..., Any], people: SimpleNamespace, job: Generation, sent: Any
) -> None:
    assert look("clara").status_code == 403
    waiting = look("dora")
    assert waiting.status_code == 200 and b"being prepared" in waiting.content
    execution_gallery.prepare_gallery(job.pk)
    page = look("dora").content.decode()
    assert "In quarantine" in page and "Their real neighbours are not shown to you" in page
    assert "SYNTHETIC. Not a person." in page and "Nearest real" not in page
    entry = LedgerEntry.objects.filter(act="gallery.opened").latest("pk")
    assert entry.actor == "dora" and json.loads(entry.body)["payload"]["real_neighbours"] is False
    granted(people.amir, Role.PATIENT_READER)
    seen = look("amir").content.decode()
    assert "Nearest real patient by rows" in seen and "gallery__side--real" in seen
    entry = LedgerEntry.objects.filter(act="gallery.opened").latest("pk")
    assert json.loads(entry.body)["payload"]["real_neighbours"] is True


def test_after_the_release_everybody_looks_and_nobody_sees_neighbours_without_the_role(
    look: Callable[..., Any], job: Generation
) -> None:
    execution_gallery.prepare_gallery(job.pk)
    CohortVersion.objects.filter(pk=job.result_id).update(quarantined=False)
    page = look("clara")
    assert page.status_code == 200 and b"Nearest real" not in page.content


def test_images_are_for_who_may_see_the_card(
    look: Callable[..., Any], client: Any, people: SimpleNamespace, job: Generation
) -> None:
    execution_gallery.prepare_gallery(job.pk)
    made_image, real_image = (reverse("gallery-image", args=[job.pk, 0, side]) for side in ("made", "rows"))
    client.force_login(people.dora)
    assert client.get(made_image)["Content-Type"] == "image/png"
    assert client.get(real_image).status_code == 403
    assert client.get(reverse("gallery-image", args=[job.pk, 999, "made"])).status_code == 404
    granted(people.amir, Role.PATIENT_READER)
    client.force_login(people.amir)
    response = client.get(real_image)
    assert response["Content-Type"] == "image/png" and "no-store" in response["Cache-Control"]
    assert "sandbox" in response["Content-Security-Policy"]


def test_a_copy_is_told_and_comes_first(look: Callable[..., Any], people: SimpleNamespace, job: Generation) -> None:
    """The stand-in generator gives learnt patients back: its patients are copies."""
    execution_gallery.prepare_gallery(job.pk)
    cards = json.loads(execution_gallery.gallery_file(job).read_text())["cards"]
    distances = [card["by_rows"]["distance"] for card in cards if card["by_rows"]]
    assert distances and min(distances) < 1e-6
    granted(people.amir, Role.PATIENT_READER)
    assert "A copy: what is compared is equal" in look("amir").content.decode()


def test_the_gallery_is_asked_for_once_and_prepared_twice_without_harm(
    look: Callable[..., Any], job: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tasks.prepare_gallery, "delay", asked.append)
    look("dora")
    look("dora")
    assert asked == [job.pk]
    execution_gallery.prepare_gallery(job.pk)
    first = execution_gallery.gallery_file(job).read_bytes()
    execution_gallery.prepare_gallery(job.pk)
    assert execution_gallery.gallery_file(job).read_bytes() == first


def test_a_gallery_that_cannot_be_says_why(look: Callable[..., Any], job: Generation) -> None:
    GeneratorTraining.objects.update(result=None)
    execution_gallery.prepare_gallery(job.pk)
    page = look("dora").content.decode()
    assert "There is no gallery" in page and "is not registered here" in page


def test_a_finding_is_chosen(
    look: Callable[..., Any], client: Any, job: Generation, django_assert_max_num_queries: Any
) -> None:
    execution_gallery.prepare_gallery(job.pk)
    cards = json.loads(execution_gallery.gallery_file(job).read_text())["cards"]
    with_it = [card for card in cards if card["plan"]["effusion"] not in ("none", "unknown")]
    assert 0 < len(with_it) < len(cards)
    assert "Plan: no finding" in look("dora").content.decode()
    with django_assert_max_num_queries(25):
        page = client.get(reverse("gallery", args=[job.pk]), {"finding": "effusion"}).content.decode()
    assert "Plan: effusion" in page or "effusion:" in page
    assert "Plan: no finding" not in page
    assert "No patient to show" in look("dora", finding="nothing-such").content.decode()


def test_spans_mark_what_the_report_tells_of_its_plan() -> None:
    text = "There is a small left pleural effusion. No pneumothorax. Cardiomegaly is present."
    plan = {"effusion": "left small", "pneumothorax": "none", "cardiomegaly": "none"}
    [spans] = plan_spans([text], [plan])
    told = {(text[span.start : span.end].lower(), span.kind) for span in spans}
    assert ("small", "told") in told and ("left", "told") in told
    assert any("effusion" in words and kind == "told" for words, kind in told)
    assert any("pneumothorax" in words and kind == "denied" for words, kind in told)
    assert any("cardiomegaly" in words and kind == "against" for words, kind in told)
    pieces = pieces_of(text, spans)
    assert "".join(piece for piece, _ in pieces) == text
    assert [span for _, span in pieces if span] == list(spans)
