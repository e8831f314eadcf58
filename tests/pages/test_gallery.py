"""The gallery of synthetic patients: who may look, what is shown beside them, and what is told of a copy."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from core.case_keys import keyed_digest
from core.models import LedgerEntry, Role
from models_registry.models import CohortVersion
from synthetic import execution_gallery, tasks
from synthetic.gallery.spans import plan_spans
from synthetic.generators.studies import LinkedStudies
from synthetic.models import Generation, GeneratorTraining
from synthetic.pages.gallery import pieces_of
from synthetic.services.gallery import AGAIN_SECONDS, PAGE
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.fake_parts import Images, studies_of
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
    assert "<strong>SYNTHETIC.</strong> Not a person." in page and 'alt="SYNTHETIC image' in page
    assert "Nearest real" not in page
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


def test_the_gallery_is_reached_from_order_cohort_and_overview_or_it_is_said_who_may(
    client: Any, people: SimpleNamespace, job: Generation, django_assert_max_num_queries: Any
) -> None:
    address, cohort = reverse("gallery", args=[job.pk]), job.result
    assert cohort is not None
    order_page = reverse("patients-order", args=[job.pk])
    client.force_login(people.dora)
    for page in (order_page, reverse("cohort-version", args=[cohort.cohort.slug, cohort.pk]), reverse("synthetic")):
        with django_assert_max_num_queries(40):
            assert f'href="{address}"' in client.get(page).content.decode(), page
    client.force_login(people.clara)
    refused = client.get(order_page).content.decode()
    assert f'href="{address}"' not in refused and "data protection officer may look at synthetic patients" in refused


def test_images_are_for_who_opened_the_card(
    look: Callable[..., Any], client: Any, people: SimpleNamespace, job: Generation
) -> None:
    execution_gallery.prepare_gallery(job.pk)

    def sources(name: str) -> list[str]:
        return [html.unescape(source) for source in re.findall(r'<img[^>]* src="([^"]+)"', look(name).content.decode())]

    officers = sources("dora")
    assert officers and all("/made/" in source for source in officers)
    response = client.get(officers[0])
    assert response["Content-Type"] == "image/png" and "no-store" in response["Cache-Control"]
    assert "sandbox" in response["Content-Security-Policy"]
    assert client.get(officers[0].replace("/made/", "/rows/")).status_code == 403
    assert client.get(officers[0].partition("?")[0]).status_code == 403, "nobody has opened the card with this address"
    assert client.get(officers[0].replace("/0/made/", "/999/made/")).status_code == 404
    granted(people.amir, Role.PATIENT_READER)
    real = next(source for source in sources("amir") if "/rows/" in source)
    assert client.get(real)["Content-Type"] == "image/png"
    assert client.get(officers[0]).status_code == 403, "the key is another person's"
    other = real.replace("/0/rows/", "/9/rows/")
    assert other != real and client.get(other).status_code == 403, "the card is on another page"


def test_the_ledger_tells_which_real_patients_were_shown_to_who_knows_them(
    look: Callable[..., Any], people: SimpleNamespace, job: Generation
) -> None:
    execution_gallery.prepare_gallery(job.pk)
    granted(people.amir, Role.PATIENT_READER)
    look("amir", page="2")
    cards = json.loads(execution_gallery.gallery_file(job).read_text())["cards"][PAGE : 2 * PAGE]
    near = {card[way]["study"] for card in cards for way in ("by_rows", "by_image") if card[way]}
    entry = LedgerEntry.objects.filter(act="gallery.opened").get()
    payload = json.loads(entry.body)["payload"]
    assert job.version is not None and payload["patients"] == PAGE and near
    assert payload["studies"] == sorted(keyed_digest("study", job.version.system.slug, name) for name in near)
    assert all(name not in entry.body for name in near)


def test_patients_drawn_anew_are_no_copies_although_few_columns_make_them_equal(
    look: Callable[..., Any], people: SimpleNamespace, job: Generation
) -> None:
    """The stand-in generator draws sex and two findings anew: most are equal to somebody."""
    execution_gallery.prepare_gallery(job.pk)
    cards = json.loads(execution_gallery.gallery_file(job).read_text())["cards"]
    assert sum(card["by_rows"]["distance"] == 0 for card in cards) > len(cards) / 2
    granted(people.amir, Role.PATIENT_READER)
    for number in range(1, 8):
        page = look("amir", page=str(number)).content.decode()
        assert "Too near" not in page and "Too little is compared to tell a copy." in page


def test_copied_images_come_first_at_distance_0_with_a_warning(
    client: Any, people: SimpleNamespace, trained: GeneratorTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = studies_of(240).images

    def copying(self: Images, studies: LinkedStudies, *, seed: int) -> Any:
        found = drawn(self, studies, seed=seed)
        found[-6:] = real[:480:80]  # type: ignore[index]
        return found

    drawn = Images.sample
    monkeypatch.setattr(Images, "sample", copying)
    job = made(patients(people, trained))
    execution_gallery.prepare_gallery(job.pk)
    cards = json.loads(execution_gallery.gallery_file(job).read_text())["cards"]
    copies = [at for at, card in enumerate(cards) if card["by_image"]["distance"] < 1e-6]
    assert copies and max(copies) < 24, "among the half of the nearest"
    granted(people.amir, Role.PATIENT_READER)
    client.force_login(people.amir)
    page = client.get(reverse("gallery", args=[job.pk]), {"page": copies[0] // PAGE + 1}).content.decode()
    assert "A copy: what is compared is equal. It must not leave the house." in page and "Distance .000" in page


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


def test_a_gallery_that_could_not_be_is_tried_again_and_then_is(
    look: Callable[..., Any], job: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tasks.prepare_gallery, "delay", asked.append)

    def broken(job: Generation) -> Any:
        raise OSError("the disk is gone")

    with monkeypatch.context() as once:
        once.setattr(execution_gallery, "_cards", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            execution_gallery.prepare_gallery(job.pk)
    page = look("dora").content.decode()
    assert "Unexpected OSError." in page and "See the log of the worker, then try again." in page and asked == []
    file = execution_gallery.gallery_file(job)
    os.utime(file, (file.stat().st_atime, file.stat().st_mtime - AGAIN_SECONDS - 1))
    look("dora")
    assert asked == [job.pk]
    execution_gallery.prepare_gallery(job.pk)
    assert "Synthetic patient 1" in look("dora").content.decode()


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
