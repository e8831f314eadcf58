"""The questionnaire: what is asked now, what is saved, who was faster, and what follows from the answers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.models import LedgerEntry
from governance.models import Answer
from governance.pages.questionnaire import value_shown, value_typed
from governance.questions import load_questions, question
from governance.services.answers import record_answers
from tests.governance.dossiers import everything_applies
from tests.governance.example_answers import DEVICE
from tests.pages import regulation_scene, scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
HERE = "/systems/chest-model/questions/"
SCOPE = f"{HERE}scope/"


def sent(client: Client, url: str, **changes: Any) -> dict[str, Any]:
    """What a browser would send from this page, with some controls changed; None leaves a control out."""
    form = client.get(url).context["form"]
    data: dict[str, Any] = {name: form[name].value() or "" for name in form.fields}
    data = {name: value for name, value in data.items() if value not in ("", [])} | changes
    shown = [item.key for item in form.questions]
    kept = {name: value for name, value in data.items() if value is not None}
    return kept | {"shown": shown, "seen": str(form.sheet.seen)}


@pytest.fixture
def answered(house: SimpleNamespace) -> SimpleNamespace:
    regulation_scene.answers(house.system)
    return house


def test_progress_counts_what_is_asked_now(answered: SimpleNamespace, sign_in: SignIn) -> None:
    """The example answers each question that is asked of a device of class IIa; three of them are left out here."""
    text = sign_in("mina").get(HERE).content.decode()
    asked, given = len(DEVICE), len(DEVICE) - len(regulation_scene.OPEN)
    assert f"{given} <small>of {asked} answered</small>" in text
    assert f'max="{asked}"' in text and f'value="{given}"' in text


def test_nothing_answered_begins_with_the_questions_that_depend_on_nothing(
    house: SimpleNamespace, sign_in: SignIn
) -> None:
    response = sign_in("dora").get(HERE)
    always = [item.key for item in load_questions() if item.asked_if is None]
    assert [item.key for item in response.context["sheet"].asked] == always
    assert f"0 <small>of {len(always)} answered</small>" in response.content.decode()


def test_only_what_is_asked_now_is_shown_and_an_answer_brings_up_more(
    answered: SimpleNamespace, sign_in: SignIn
) -> None:
    """Art. 25(1) is asked of whoever is not the provider already."""
    client = sign_in("dora")
    assert "art_25_changes" not in client.get(SCOPE).context["form"].fields
    response = client.post(SCOPE, sent(client, SCOPE, role="deployer"), follow=True)
    text = response.content.decode()
    assert "1 answer saved." in text and "in this chapter." in text
    assert "art_25_changes" in response.context["form"].fields
    assert "provider_outside_union" not in response.context["form"].fields


def test_only_what_was_changed_is_written(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client, before = sign_in("amir"), Answer.objects.count()
    typed = sent(client, SCOPE, research_only="yes", **{"reason-research_only": "A study protocol of 2026."})
    client.post(SCOPE, typed)
    row = Answer.objects.latest("pk")
    assert Answer.objects.count() == before + 1
    assert (row.question, row.value, row.reason, row.author.username) == (
        "research_only",
        True,
        "A study protocol of 2026.",
        "amir",
    )
    assert LedgerEntry.objects.filter(act="answers.recorded", actor="amir").count() == 1
    again = client.post(SCOPE, sent(client, SCOPE), follow=True)
    assert "Nothing was changed, so nothing was saved." in again.content.decode()
    assert Answer.objects.count() == before + 1
    assert LedgerEntry.objects.filter(act="answers.recorded").count() == 1


def test_an_answer_is_taken_back_and_stays_in_the_history(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    client.post(SCOPE, sent(client, SCOPE, role=None, **{"reason-role": "Unclear since the merger."}))
    assert Answer.objects.latest("pk").value is None
    text = client.get(SCOPE).content.decode()
    assert "The answer was taken back by Dora Novak" in text
    assert "1 earlier answer" in text and "<strong>provider</strong>" in text


def test_saving_can_go_on_to_the_next_chapter(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    response = client.post(SCOPE, sent(client, SCOPE) | {"then": "next"})
    assert response.headers["Location"] == f"{HERE}prohibited/"


def test_what_is_wrong_is_told_beside_its_question_and_nothing_is_lost(
    answered: SimpleNamespace, sign_in: SignIn
) -> None:
    client, before = sign_in("dora"), Answer.objects.count()
    url = f"{HERE}data/"
    typed = sent(client, url, special_categories=["none", "health"], minors="yes", **{"reason-minors": "From age 14."})
    response = client.post(url, typed)
    text = response.content.decode()
    assert response.status_code == 422
    assert 'href="#id_special_categories"' in text and "Choose the one or the other." in text
    assert "From age 14." in text
    assert response.context["form"]["minors"].value() == "yes"
    assert Answer.objects.count() == before


def test_a_reason_needs_an_answer(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    response = client.post(SCOPE, sent(client, SCOPE, **{"reason-role": "Because."}))
    assert response.status_code == 422 and 'href="#id_reason-role"' in response.content.decode()
    assert not Answer.objects.exists()


def test_nobody_writes_over_what_somebody_else_answered_meanwhile(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    typed = sent(client, SCOPE, role="both")
    record_answers(system=answered.system, answers={"role": "neither"}, reasons={}, by=scene.person("elena"))
    response = client.post(SCOPE, typed)
    text = response.content.decode()
    assert response.status_code == 422
    assert "Elena Rossi answered “neither”" in text
    assert Answer.objects.filter(question="role").latest("pk").value == "neither"
    seen = str(response.context["sheet"].seen)
    assert f'name="seen" value="{seen}"' in text
    assert client.post(SCOPE, typed | {"seen": seen}).status_code == 302
    assert Answer.objects.filter(question="role").latest("pk").value == "both"


def test_what_one_did_not_touch_is_left_to_whoever_changed_it(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    typed = sent(client, SCOPE, research_only="yes")
    record_answers(system=answered.system, answers={"role": "neither"}, reasons={}, by=scene.person("elena"))
    assert client.post(SCOPE, typed).status_code == 302
    newest = {row.question: row.value for row in Answer.objects.order_by("pk")}
    assert (newest["role"], newest["research_only"]) == ("neither", True)


@pytest.mark.parametrize("username", ["mina", "ada"])
def test_who_may_not_answer_reads_why(answered: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client, before = sign_in(username), Answer.objects.count()
    text = client.get(SCOPE).content.decode()
    assert text.count("may answer the questionnaire.") == 2
    assert '<button class="button button--primary">Save' not in text
    assert client.post(SCOPE, sent(client, SCOPE, role="both")).status_code == 403
    assert Answer.objects.count() == before


@pytest.mark.parametrize("username", ["elena", "dora", "clara", "lea", "amir"])
def test_who_may_answer(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client = sign_in(username)
    assert client.post(SCOPE, sent(client, SCOPE, ai_system="yes")).status_code == 302
    assert Answer.objects.get().author.username == username


def test_beside_a_question_stands_what_its_answer_decides(answered: SimpleNamespace, sign_in: SignIn) -> None:
    """Class IIa needs a notified body, so Art. 6(1) makes the device high-risk; most of class I do not."""
    client, url = sign_in("dora"), f"{HERE}product/"

    def effects(key: str) -> set[tuple[str, str]]:
        row = next(row for row in client.get(url).context["rows"] if row.question.key == key)
        return {(item.key, str(item.truth)) for item in row.effects}

    assert effects("mdr_class") >= {("hr_6_1_mdr", "yes"), ("hr", "yes")}
    client.post(url, sent(client, url, mdr_class="I"))
    assert ("hr_6_1_mdr", "unknown") in effects("class_i_notified_body")
    client.post(url, sent(client, url, class_i_notified_body="no"))
    assert ("hr_6_1_mdr", "no") in effects("class_i_notified_body")


def test_the_overview_tells_roles_and_conditions_with_links_to_what_decides_them(
    answered: SimpleNamespace, sign_in: SignIn
) -> None:
    response = sign_in("mina").get(HERE)
    sheet, text = response.context["sheet"], response.content.decode()
    roles = {item.conclusion.key: str(item.conclusion.truth) for item in sheet.roles}
    assert (roles["provider"], roles["deployer"], roles["manufacturer"]) == ("yes", "no", "yes")
    triggers = {item.conclusion.key: str(item.conclusion.truth) for item in sheet.triggers}
    assert (triggers["hr"], triggers["annex_iii"], triggers["high_residual_risk"]) == ("yes", "no", "unknown")
    assert f'href="{HERE}product/#q-mdr_class"' in text
    assert "always" not in triggers


def test_a_prohibited_practice_is_said_first(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("dora"), f"{HERE}prohibited/"
    assert "prohibits this practice" not in client.get(url).content.decode()
    client.post(url, sent(client, url, art5_c="yes"))
    for page in (HERE, url, "/systems/chest-model/", f"/systems/chest-model/versions/{answered.twin.pk}/requirements/"):
        text = client.get(page).content.decode()
        assert "Article 5 of the AI Act prohibits this practice" in text, page
        assert "(c)" in text, page


def test_answers_that_cannot_both_be_true_are_shown(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    assert "cannot both be true" not in client.get(HERE).content.decode()
    client.post(SCOPE, sent(client, SCOPE, union_market="no", placed_on_market="yes"))
    assert "Answers that cannot both be true" in client.get(SCOPE).content.decode()


def test_what_is_typed_is_shown_as_text(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("dora"), f"{HERE}deployment/"
    client.post(url, sent(client, url, sites="<script>alert(1)</script>\nRadiology North"))
    text = client.get(url).content.decode()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert Page(text).faults == []


def test_a_question_of_another_chapter_is_not_saved_with_this_one(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    typed = sent(client, SCOPE) | {"shown": ["mdr_class", "nothing"], "mdr_class": "III", "seen": "9" * 40}
    client.post(SCOPE, typed)
    assert not Answer.objects.filter(question="mdr_class", value="III").exists()


@pytest.mark.parametrize("values", [DEVICE, everything_applies()], ids=["device", "everything"])
def test_a_value_comes_back_from_its_control_as_it_was(values: dict[str, Any]) -> None:
    for key, value in values.items():
        asked = question(key)
        assert value_typed(asked, value_shown(asked, value)) == value, key
        assert type(value_typed(asked, value_shown(asked, value))) is type(value), key


@pytest.mark.usefixtures("worked_out_anew")
def test_the_pages_ask_no_more_when_there_is_more(answered: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")

    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url).status_code == 200
        return len(asked)

    urls = (HERE, SCOPE, "/", "/systems/chest-model/")
    before = [count(url) for url in urls]
    for number in range(5):
        regulation_scene.answers(answered.system, by="elena")
        other = scene.system(f"Further {number}")
        scene.version("1.0", of=other)
        regulation_scene.answers(other)
    assert [count(url) for url in urls] == before


def test_open_questions_wait_for_those_who_may_answer(answered: SimpleNamespace, sign_in: SignIn) -> None:
    for username, waits in (("dora", True), ("elena", True), ("mina", False)):
        text = sign_in(username).get("/").content.decode()
        assert ("Answer the questions about Chest model" in text) is waits, username
    given = {"dpia_national_list": False, "dpia_chosen": False, "high_residual_risk": False}
    record_answers(system=answered.system, answers=given, reasons={}, by=scene.person("dora"))
    assert "Answer the questions about Chest model" not in sign_in("dora").get("/").content.decode()
