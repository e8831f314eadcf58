"""The explorer: who may read patient-level content, what is recorded of it, what is found and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.task import Task
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import ledger
from core.case_keys import keyed_digest
from core.models import LedgerEntry, Role, RoleGrant
from evaluation.models import AuditRun
from evaluation.studies.selectors import StudyFilter, StudyPlace, studies_of, texts_of
from tests.pages import explorer_scene, scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
BOUND = 25


@pytest.fixture
def run(db: None, own_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditRun:
    """A finished hallucination audit. No message reaches a broker."""
    monkeypatch.setattr(Task, "apply_async", lambda *given, **options: None)
    explorer_scene.reader()
    scene.person("ada")
    return explorer_scene.explored(tmp_path / "made")


def place_of(run: AuditRun, study_id: str) -> StudyPlace:
    found = studies_of(run, StudyFilter())
    return next(place for place in found.places if found.line(place).study_id == study_id)


def address(run: AuditRun, study_id: str = "") -> str:
    base = f"/audits/{run.pk}/explorer/"
    if not study_id:
        return base
    place = place_of(run, study_id)
    return f"{base}{place.shard}/{place.row}/"


def acts(*names: str) -> list[LedgerEntry]:
    return list(LedgerEntry.objects.filter(act__in=names).order_by("index"))


def listed(client: Client, run: AuditRun, query: str) -> set[str]:
    """Identifiers of the studies that a filter leaves, over all pages."""
    found: set[str] = set()
    page = client.get(f"{address(run)}?{query}").context["page"]
    for number in page.paginator.page_range:
        context = client.get(f"{address(run)}?{query}&page={number}").context
        found |= {line.study_id for line in context["lines"]}
    return found


# One test for each way around: an audit is costly, so a test asks all there is to ask of it.


def test_without_the_role_nothing_of_patients_is_shown(run: AuditRun, sign_in: SignIn) -> None:
    study = address(run, "s004")
    urls = [address(run), study, f"{study}image.png"]
    for username in ("amir", "clara", "mina", "elena", "dora", "ada"):
        for url in urls:
            answer = sign_in(username).get(url)
            text = answer.content.decode()
            assert answer.status_code == 403, url
            assert "role reader of patient-level content" in text
            assert "An administrator may grant it to you (Ada Byrne)" in text
            assert "s004" not in text and "p004" not in text and "effusion" not in text
    assert acts("study.opened", "studies.listed") == []
    # By itself the role opens nothing, and a regulator reads what was granted, whatever else they hold.
    for username in ("rita", "nobody"):
        RoleGrant.objects.create(user=scene.person(username), role=Role.PATIENT_READER)
        for url in [*urls, f"/audits/{run.pk}/", "/audits/"]:
            assert sign_in(username).get(url).status_code == 403, (username, url)
    assert "has no role yet" in sign_in("nobody").get("/").content.decode()
    assert sign_in("rita").get("/").headers["Location"] == "/portal/"
    assert Client().get(study).headers["Location"].startswith("/sign-in/")


def test_every_opening_is_in_the_ledger_and_no_study_is_named(run: AuditRun, sign_in: SignIn) -> None:
    client, study = sign_in("lea"), address(run, "s004")
    client.get(f"{address(run)}?error=omitted&by=sex%3DF")
    opened = client.get(study)
    (seen,) = acts("studies.listed")
    body = json.loads(seen.body)
    assert (seen.actor, body["subject_kind"], body["subject_id"]) == ("lea", "AuditRun", str(run.pk))
    assert body["payload"]["filter"] == {"error": "omitted", "attribute": "sex", "group": "F"}
    client.get(f"{address(run)}?finding=p004&by=s004%3DCough&error=p004")
    body = json.loads(acts("studies.listed")[1].body)
    assert set(body["payload"]["filter"].values()) == {"unknown"}, "a word that is none of ours may name a patient"
    (entry,) = acts("study.opened")
    assert (entry.actor, entry.subject_kind, entry.subject_id) == ("lea", "AuditRun", str(run.pk))
    assert json.loads(entry.body)["payload"] == {"study": keyed_digest("study", "report-writer", "s004")}
    # The image belongs to the opening: it needs the key of the page, and adds no act.
    image = client.get(opened.context["image"])
    assert (image.status_code, image.headers["Content-Type"]) == (200, "image/png")
    assert image.content.startswith(b"\x89PNG")
    assert len(acts("study.opened")) == 1
    bodies = "".join(entry.body for entry in LedgerEntry.objects.all())
    assert not any(word in bodies for word in ("s004", "p004", "Cough"))


def test_what_cannot_be_recorded_is_not_shown(run: AuditRun, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("the ledger is broken")

    client, urls = sign_in("lea"), [address(run), address(run, "s004")]
    client.raise_request_exception = False
    monkeypatch.setattr(ledger, "record", refuse)
    for url in urls:
        answer = client.get(url)
        assert answer.status_code == 500 and b"s004" not in answer.content


def test_an_image_is_for_who_opened_its_study(run: AuditRun, sign_in: SignIn) -> None:
    explorer_scene.reader("mina")
    study, other = address(run, "s004"), address(run, "s005")
    image = sign_in("lea").get(study).context["image"]
    answer = sign_in("lea").get(image)
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "no-store" in answer.headers["Cache-Control"] and answer.headers["X-Content-Type-Options"] == "nosniff"
    key = image.split("?", 1)[1]
    assert sign_in("mina").get(image).status_code == 403, "another reader's key"
    for url in (f"{study}image.png", f"{study}image.png?key=guess", f"{other}image.png?{key}"):
        assert sign_in("lea").get(url).status_code == 403, url


def test_what_a_filter_leaves_is_what_was_planted(run: AuditRun, sign_in: SignIn) -> None:
    client, made = sign_in("lea"), explorer_scene.planted()
    for query, wanted in {
        "": made["all"],
        "error=omitted&finding=effusion": made["denied"],
        "error=wrong_side": made["other side"],
        "error=wrong_value&finding=crp": made["wrong crp"],
        "error=unsupported&finding=pneumothorax": made["invented"],
        "error=unsupported&finding=pneumothorax&by=sex%3DF": made["invented"],
        "error=unsupported&finding=pneumothorax&by=sex%3DM": set(),
        "by=sex%3DM": made["men"],
        "finding=edema": {"s004"},
        "error=nonsense": set(),
        "by=nonsense%3DF": set(),
        "finding=%3Cscript%3E": set(),
    }.items():
        assert listed(client, run, query) == wanted, query
    assert "No study matches" in client.get(f"{address(run)}?error=nonsense").content.decode()


def test_what_is_marked_is_what_is_counted(run: AuditRun) -> None:
    """The figures of the run against the marks that the explorer keeps: the same findings, counted apart."""
    found = studies_of(run, StudyFilter())
    invented = asserted = omitted = expected = 0
    for place in found.places:
        texts = texts_of(run, place)
        mine = [mark for mark in texts.of("generated") if mark.finding != "crp"]
        theirs = texts.of("reference")
        said = {mark.finding for mark in mine if mark.kind in {"supported", "wrong_side", "wrong_severity"}}
        wrong = {mark.finding for mark in mine if mark.kind in {"unsupported", "contradicted"}}
        invented, asserted = invented + len(wrong), asserted + len(said | wrong)
        left = {mark.finding for mark in theirs if mark.kind == "omitted"}
        there = {mark.finding for mark in theirs if mark.kind == "supported"}
        omitted, expected = omitted + len(left), expected + len(left | there)
    numbers = {"chair_i": invented / asserted, "omission": omitted / expected}
    for metric, value in numbers.items():
        row = run.measurements.get(metric=metric, label="report", attribute="", group="All")
        assert row.value == pytest.approx(value, abs=1e-12), metric
        assert 0 < value < 1


def test_a_study_is_shown_with_its_marks_values_and_answers(run: AuditRun, sign_in: SignIn) -> None:
    client = sign_in("lea")
    answer = client.get(address(run, "s004"))
    text = answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    # What the model wrote is text, whatever it looks like.
    assert "&lt;script&gt;alert(&#x27;report&#x27;)&lt;/script&gt;" in text
    assert explorer_scene.SCRIPT not in text
    marks = {(item.mark.kind, item.words) for item in answer.context["generated"].marks}
    assert ("contradicted", "pneumothorax") in marks and ("unsupported", "oedema") in marks
    for word in ("Contradicted", "Unsupported", "The expert&#x27;s report denies it.", "What the marks mean"):
        assert word in text
    values = client.get(address(run, "s000")).content.decode()
    assert "C-reactive protein" in values and "reference 0 to 5" in values and "Wrong value" in values
    assert "Cough and fever." in values
    assert "How large is the pneumothorax" in values and "In other words" in values and "Made blank" in values
    assert "refused" in values and "wrong" in values
    for url in (address(run), address(run, "s004"), address(run, "s000")):
        page = Page(client.get(url).content.decode())
        assert (page.faults, page.stack, page.tags["h1"], page.unnamed()) == ([], [], 1, []), url
        assert [name for name, times in page.ids.items() if times > 1] == [], url


def test_previous_and_next_stay_within_the_filter(run: AuditRun, sign_in: SignIn) -> None:
    client, query = sign_in("lea"), "error=wrong_side&by=sex%3DF"
    wanted = [line.study_id for line in client.get(f"{address(run)}?{query}").context["lines"]]
    assert len(wanted) > 3
    url: str | None = f"{address(run, wanted[0])}?{query}"
    seen = []
    while url is not None:
        context = client.get(url).context
        seen.append(context["study"].line.study_id)
        after = context["after"]
        url = f"{address(run)}{after.shard}/{after.row}/?{query}" if after else None
    assert seen == wanted


def test_from_a_verdict_to_its_studies(run: AuditRun, sign_in: SignIn) -> None:
    text = sign_in("lea").get(f"/audits/{run.pk}/").content.decode()
    base = f"/audits/{run.pk}/explorer/?"
    assert f'href="{base}error=unsupported&amp;metric=chair_i"' in text
    assert f'href="{base}error=omitted&amp;metric=omission"' in text
    assert f'href="{base}error=answer_wrong&amp;metric=pope_f1_random"' in text
    assert "You came from the metric “share of reported findings that are unsupported (CHAIR-i)”" in (
        sign_in("lea").get(f"{base}error=unsupported&metric=chair_i").content.decode()
    )


def test_pages_ask_a_fixed_number_of_questions(run: AuditRun, sign_in: SignIn) -> None:
    client, study = sign_in("lea"), address(run, "s004")
    counts: dict[str, int] = {}
    for url in (address(run), f"{address(run)}?error=wrong_side", study, address(run, "s005")):
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url).status_code == 200
        counts[url] = len(asked)
    assert max(counts.values()) <= BOUND, counts
    # An entry of the ledger completes more or fewer subtrees: one question more, or none.
    assert abs(counts[study] - counts[address(run, "s005")]) <= 1


def test_what_is_not_there_is_said(run: AuditRun, sign_in: SignIn, house: SimpleNamespace) -> None:
    client = sign_in("lea")
    for url in (f"{address(run)}0/9999/", f"{address(run)}99/0/", f"{address(run)}99/0/image.png"):
        assert client.get(url).status_code in {403, 404}, url
    old = client.get(f"/audits/{house.fail.pk}/explorer/")
    assert old.status_code == 200 and "Run the audit again" in old.content.decode()
    assert client.get("/audits/9999/explorer/").status_code == 404
    run.shards.update(index_digest="0" * 64)
    lost = client.get(address(run))
    assert lost.status_code == 404 and "Restore the store from its backup" in lost.content.decode()


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """No index of another test's home."""
    from evaluation.studies import held, selectors

    yield
    selectors._index.cache_clear()
    held._reader.cache_clear()
