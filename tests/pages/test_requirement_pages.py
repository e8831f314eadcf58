"""The matrix of requirements and the page of one: counts, filters, reasons, and who decides about a draft."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.models import LedgerEntry
from governance.dossier import gather_dossier
from governance.models import Statement
from governance.requirements import load_requirements
from governance.statuses import judge
from tests.pages import regulation_scene, scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]


@pytest.fixture
def ruled(db: None) -> SimpleNamespace:
    return SimpleNamespace(**regulation_scene.regulate(scene.house()))


def matrix(house: SimpleNamespace) -> str:
    return f"/systems/chest-model/versions/{house.twin.pk}/requirements/"


def page(house: SimpleNamespace, requirement: str) -> str:
    return f"{matrix(house)}{requirement}/"


def test_each_count_leads_to_as_many_requirements(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), matrix(ruled)
    text = client.get(url).content.decode()
    expected = judge(gather_dossier(ruled.twin)).counts
    for state, n in expected.items():
        assert f'href="{url}?state={state}&amp;binding=1#list"' in text, state
        assert len(client.get(f"{url}?state={state}&binding=1").context["rows"]) == n, state
    assert sum(expected.values()) == len([r for r in load_requirements().requirements if r.status == "binding"])


def test_states_of_the_scene_are_told_with_word_and_reason(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    rows = {row.item.requirement.id: row for row in sign_in("mina").get(matrix(ruled)).context["rows"]}
    assert len(rows) == len(load_requirements().requirements)
    assert rows["AIA-Art19"].word == "Stale" and "1.0-biased" in rows["AIA-Art19"].why
    assert rows["AIA-Art3-1"].word == "Missing" and rows["AIA-Art3-1"].draft
    assert rows["AIA-Art3-1"].owner == "Elena Rossi"
    assert rows["AIA-AnnexVIII-A-9"].word == "Not applicable"
    assert rows["GDPR-36"].word == "Undetermined" and "no answer" in rows["GDPR-36"].why


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("regulation=GDPR", lambda row: row.item.requirement.regulation == "GDPR"),
        ("owner=elena", lambda row: row.item.owner == "elena"),
        ("owner=dpo", lambda row: row.item.owner == "dpo"),
        ("binding=1", lambda row: row.item.requirement.status == "binding"),
        ("draft=1", lambda row: row.item.requirement.id in ("AIA-Art3-1", "MDR-R11")),
        ("q=provider+LOG+aia-art19", lambda row: row.item.requirement.id == "AIA-Art19"),
        ("report=dpia", lambda row: "dpia" in (row.item.requirement.report, *row.item.requirement.also_feeds)),
        (
            "state=missing&regulation=MDR",
            lambda row: (row.item.state, row.item.requirement.regulation) == ("missing", "MDR"),
        ),
    ],
)  # fmt: skip
def test_filters_stand_in_the_address(
    ruled: SimpleNamespace, sign_in: SignIn, query: str, fits: Callable[[Any], bool]
) -> None:
    client = sign_in("mina")
    every = client.get(matrix(ruled)).context["rows"]
    found = client.get(f"{matrix(ruled)}?{query}").context["rows"]
    keys = [row.item.requirement.id for row in found]
    assert keys == [row.item.requirement.id for row in every if fits(row)] and keys


def test_an_unknown_filter_finds_nothing_and_says_so(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").get(matrix(ruled) + "?state=%22%3E%3Cscript%3E&q=%3Cb%3E")
    text = response.content.decode()
    assert response.status_code == 200 and "No requirement fits these filters" in text
    assert "<script>" not in text.replace("<script src", "") and 'value="&lt;b&gt;"' in text


def test_each_report_says_whether_it_is_ready_and_why_not(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").get(matrix(ruled))
    statuses = judge(gather_dossier(ruled.twin))
    reports = {report.key: report for report in response.context["reports"]}
    assert set(reports) == set(statuses.catalogue.outlines)
    for key, report in reports.items():
        assert report.readiness == statuses.ready(key)
        assert (report.waiting == 0) is report.readiness.ready
        rows = sign_in("mina").get(f"{matrix(ruled)}?report={key}&binding=1").context["rows"]
        home = [row for row in rows if row.item.requirement.report == key]
        assert len([row for row in home if row.item.state not in ("complete", "not_applicable")]) == report.waiting
    assert reports["fria"].readiness.ready  # Art. 27 concerns uses in Annex III; the device has none.


def test_without_an_answer_the_matrix_says_what_to_do(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), matrix(house)
    text = client.get(url).content.decode()
    assert "Nobody knows yet what applies" in text and 'href="/systems/chest-model/questions/"' in text
    assert "<table" not in text
    assert len(client.get(f"{url}?all=1").context["rows"]) == len(load_requirements().requirements)
    counts = client.get(f"/systems/chest-model/versions/{house.twin.pk}/requirement-counts/").content.decode()
    assert "Nobody has answered the questions" in counts


def test_one_requirement_tells_rule_reason_fields_and_history(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("mina").get(page(ruled, "GDPR-22")).content.decode()
    asked = load_requirements().requirement("GDPR-22")
    for said in (
        asked.completeness_rule,
        "Personal data: yes",
        'href="/systems/chest-model/questions/data/#q-personal_data"',
        "answered by Dora Novak",
        "A radiologist reads every study.",
        f'href="#statement-{ruled.accepted.pk}"',
        "Accepted by Amir Haddad",
        "Compared with the technical file.",
    ):
        assert said in text, said


def test_what_went_stale_says_since_when_by_what(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("elena").get(page(ruled, "AIA-Art19")).content.decode()
    day = f"{ruled.twin.submitted_at:%Y-%m-%d}"
    assert f"The version changed from 1.0-biased to 1.1 on {day}." in text
    assert "Carry the stale statement over" in text


def test_a_stale_statement_is_carried_over_as_a_draft(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    url = page(ruled, "AIA-Art19")
    text = sign_in("elena").post(f"{url}statements/{ruled.stale.pk}/carry/", follow=True).content.decode()
    assert "carried over as a draft" in text
    draft = Statement.objects.get(requirement="AIA-Art19", status="draft")
    assert (draft.fields, draft.author.username) == ({"retention_period": "12 months"}, "elena")
    assert "Carry the stale statement over" in text
    again = sign_in("amir").post(f"{url}statements/{ruled.stale.pk}/carry/", follow=True).content.decode()
    assert "A draft of Elena Rossi about AIA-Art19 is open." in again


def test_a_second_person_accepts_with_a_remark(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), page(ruled, "AIA-Art3-1")
    about = {"statement": ruled.draft.pk, "act": "accept"}
    empty = client.post(url, about | {"remark": ""})
    assert empty.status_code == 422 and 'href="#id_remark"' in empty.content.decode()
    done = client.post(url, about | {"remark": "I read the design file."}, follow=True).content.decode()
    assert "The statement is accepted." in done and "I read the design file." in done
    ruled.draft.refresh_from_db()
    assert (ruled.draft.status, ruled.draft.decided_by.username) == ("accepted", "amir")
    late = client.post(url, about | {"remark": "Once more, with the file."})
    assert late.status_code == 409
    assert "This statement is no open draft any more." in late.content.decode()


def test_a_draft_goes_back_with_what_has_to_change(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    typed = {"statement": ruled.draft.pk, "act": "return", "remark": "Name the day."}
    text = sign_in("dora").post(page(ruled, "AIA-Art3-1"), typed, follow=True).content.decode()
    assert "The draft went back to its author." in text and "Name the day." in text
    ruled.draft.refresh_from_db()
    assert ruled.draft.status == "returned"


def test_authors_cannot_decide_and_read_why(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("clara"), page(ruled, "MDR-R11")
    text = client.get(url).content.decode()
    assert "You wrote this statement, so you cannot decide about it." in text
    assert 'name="act"' not in text
    typed = {"statement": ruled.own.pk, "act": "accept", "remark": "I am sure."}
    response = client.post(url, typed)
    assert response.status_code == 403 and "You wrote this statement" in response.content.decode()
    ruled.own.refresh_from_db()
    assert ruled.own.status == "draft"


def test_a_member_who_may_not_accept_reads_who_may(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("mina").get(page(ruled, "AIA-Art3-1")).content.decode()
    assert "may accept or return statements." in text and 'name="act"' not in text


def test_an_act_that_is_none_is_refused(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    typed = {"statement": ruled.draft.pk, "act": "delete", "remark": "Away with it."}
    assert sign_in("amir").post(page(ruled, "AIA-Art3-1"), typed).status_code == 422
    other = {"statement": ruled.own.pk, "act": "accept", "remark": "Of another requirement."}
    response = sign_in("amir").post(page(ruled, "AIA-Art3-1"), other)
    assert response.status_code == 422 and "There is no such statement." in response.content.decode()
    assert Statement.objects.filter(status="draft").count() == 2


def test_only_its_author_withdraws_a_draft(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    url = page(ruled, "AIA-Art3-1")
    assert "Withdraw the draft" not in sign_in("amir").get(url).content.decode()
    assert "Withdraw the draft" in sign_in("elena").get(url).content.decode()
    refused = sign_in("amir").post(f"{url}statements/{ruled.draft.pk}/withdraw/", follow=True).content.decode()
    assert "Only its author may withdraw a statement." in refused
    done = sign_in("elena").post(f"{url}statements/{ruled.draft.pk}/withdraw/", follow=True).content.decode()
    assert "The draft is withdrawn." in done and "Withdrawn" in done
    assert LedgerEntry.objects.filter(act="statement.withdrawn").count() == 1


def test_what_people_write_is_shown_as_text(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("amir").get(page(ruled, "AIA-Art3-1")).content.decode()
    assert "<b>No rule</b>" not in text and "&lt;b&gt;No rule&lt;/b&gt;" in text
    rows = sign_in("amir").get(page(ruled, "CNIL-access")).content.decode()
    assert "<th>Impact</th>" in rows and "health data become known outside the hospital" in rows


@pytest.mark.parametrize(
    "requirement", ["AIA-Art3-1", "AIA-Art19", "CNIL-access", "GDPR-22", "AIA-Art9-2-ab", "MDR-R11"]
)
@pytest.mark.parametrize("username", ["amir", "elena", "mina"])
def test_the_pages_are_well_formed(ruled: SimpleNamespace, sign_in: SignIn, requirement: str, username: str) -> None:
    client = sign_in(username)
    for url in (page(ruled, requirement), f"{page(ruled, requirement)}write/"):
        found = Page(client.get(url).content.decode())
        assert (found.faults, found.stack, found.tags["h1"], found.unnamed()) == ([], [], 1, []), url
        assert [name for name, times in found.ids.items() if times > 1] == [], url


@pytest.mark.usefixtures("worked_out_anew")
def test_the_pages_ask_no_more_when_there_is_more(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")

    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url).status_code == 200
        return len(asked)

    urls = (matrix(ruled), page(ruled, "GDPR-22"), "/")
    before = [count(url) for url in urls]
    for item in load_requirements().requirements[:40]:
        if item.id not in ("AIA-Art3-1", "GDPR-22", "AIA-Art19"):
            regulation_scene.statement(ruled.candidate, item.id, author=scene.person("lea"))
            regulation_scene.statement(ruled.twin, item.id, status="accepted")
    for _ in range(5):
        regulation_scene.statement(ruled.twin, "GDPR-22", status="accepted")
    assert [count(url) for url in urls][:2] == before[:2]
    assert count("/") <= before[2] + 1


def test_drafts_wait_for_those_who_may_accept_them(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    amir = sign_in("amir").get("/").content.decode()
    assert "Check 2 statements about Chest model 1.1" in amir
    assert f'href="{matrix(ruled)}?draft=1#list"' in amir
    assert "Check 1 statement about Chest model 1.1" in sign_in("clara").get("/").content.decode()
    for username in ("elena", "mina"):
        assert "Check 1 statement" not in sign_in(username).get("/").content.decode()


def test_the_version_leads_to_its_requirements_and_does_not_wait_for_them(
    ruled: SimpleNamespace, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    text = client.get(f"/systems/chest-model/versions/{ruled.twin.pk}/~requirements/").content.decode()
    part = f"/systems/chest-model/versions/{ruled.twin.pk}/requirement-counts/"
    assert f'hx-get="{part}" hx-trigger="load"' in text and f'href="{matrix(ruled)}"' in text
    assert "<html" not in client.get(part).content.decode()
