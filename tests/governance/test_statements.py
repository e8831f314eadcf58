"""Statements: who may write and decide them, one open draft, decided once, bound to what they were written about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from core import ledger
from core.access import can
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry
from governance.access import check_may_accept_statement, check_may_state
from governance.models import Answer, Statement
from governance.services.statements import (
    TRANSITIONS,
    accept_statement,
    carry_over,
    return_statement,
    withdraw_statement,
    write_statement,
)
from models_registry.models import ModelVersion
from tests.governance.conftest import make_version

RULE = "GDPR-22"
FIELDS = {"solely_automated": False, "reasoning": "Radiologists overrode 212 of 4,031 outputs in October."}
SCRIPT = "<script>alert(document.cookie)</script>"
Write = Callable[..., Statement]


@pytest.fixture
def version(people: SimpleNamespace, home: Path) -> ModelVersion:
    return make_version(people, "1.0")


@pytest.fixture
def write(version: ModelVersion, people: SimpleNamespace) -> Write:
    def make(**given: Any) -> Statement:
        about = {"version": version, "requirement": RULE, "fields": FIELDS, "text": "See the log.", "by": people.elena}
        return write_statement(**about | given)

    return make


def acts() -> list[str]:
    found = LedgerEntry.objects.filter(subject_kind="Statement").order_by("index")
    return list(found.values_list("act", flat=True))


def payload() -> dict[str, Any]:
    entry = LedgerEntry.objects.filter(subject_kind="Statement").latest("index")
    return dict(json.loads(entry.body)["payload"])


def test_a_statement_begins_as_a_draft_bound_to_its_version(write: Write, version: ModelVersion) -> None:
    draft = write()
    assert (draft.status, draft.revision, draft.generated) == ("draft", 1, False)
    assert draft.binding["version"] == version.digest
    assert acts() == ["statement.written"]


def test_the_ledger_keeps_digests_and_no_words(write: Write, people: SimpleNamespace) -> None:
    """A statement may name people; the ledger can never forget."""
    write(text="Mrs Mina Example, room 4")
    entry = LedgerEntry.objects.filter(subject_kind="Statement").get()
    assert "Mina Example" not in entry.body
    assert "overrode" not in entry.body
    assert len(payload()["content"]) == 64


def test_somebody_else_accepts_once(write: Write, people: SimpleNamespace) -> None:
    draft = write()
    done = accept_statement(statement=draft, remark="I compared it with the log.", by=people.dora)
    assert (done.status, done.decided_by, done.remark) == ("accepted", people.dora, "I compared it with the log.")
    assert acts() == ["statement.written", "statement.accepted"]
    assert "compared" not in LedgerEntry.objects.latest("index").body
    with pytest.raises(ConflictError, match="no open draft"):
        return_statement(statement=draft, remark="Too late.", by=people.amir)
    assert ledger.verify().intact


@pytest.mark.parametrize("decide", [accept_statement, return_statement])
def test_nobody_decides_about_their_own(write: Write, people: SimpleNamespace, decide: Callable[..., Any]) -> None:
    draft = write(by=people.dora)
    with pytest.raises(DeniedError, match="You wrote this statement"):
        decide(statement=draft, remark="Fine.", by=people.dora)
    assert acts() == ["statement.written"]


def test_the_database_refuses_an_author_who_accepts(write: Write, people: SimpleNamespace) -> None:
    draft = write(by=people.dora)
    with pytest.raises(IntegrityError), transaction.atomic():
        Statement.objects.filter(pk=draft.pk).update(status="accepted", decided_by=people.dora)
    with pytest.raises(IntegrityError), transaction.atomic():
        Statement.objects.filter(pk=draft.pk).update(status="accepted")


def test_a_decided_statement_is_never_changed(write: Write, people: SimpleNamespace) -> None:
    done = accept_statement(statement=write(), remark="Checked.", by=people.dora)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Statement.objects.filter(pk=done.pk).update(text="Something else")


@pytest.mark.parametrize("name", ["rita", "ada"])
def test_who_oversees_or_administers_states_nothing(people: SimpleNamespace, write: Write, name: str) -> None:
    person = getattr(people, name)
    assert not can(check_may_state, person)
    with pytest.raises(DeniedError):
        write(by=person)
    assert not Statement.objects.exists()


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("amir", True), ("clara", True), ("dora", True), ("lea", True), ("mina", False), ("rita", False), ("ada", False)],
)
def test_who_may_accept(people: SimpleNamespace, write: Write, name: str, allowed: bool) -> None:
    assert bool(can(check_may_accept_statement, getattr(people, name), write())) is allowed


def test_an_author_writes_again_in_place_of_the_own_draft(write: Write) -> None:
    first = write()
    second = write(text="Corrected.")
    first.refresh_from_db()
    assert (first.status, second.status, second.revision) == ("withdrawn", "draft", 2)
    assert payload()["replaces"] == first.pk
    assert acts() == ["statement.written", "statement.written"]


def test_a_draft_of_somebody_else_is_not_overwritten(write: Write, people: SimpleNamespace) -> None:
    draft = write()
    with pytest.raises(ConflictError, match="is open"):
        write(by=people.amir, text="Mine")
    assert Statement.objects.get() == draft
    return_statement(statement=draft, remark="Which October?", by=people.dora)
    assert write(by=people.amir, text="Mine").revision == 2


def test_the_database_holds_one_open_draft(write: Write, version: ModelVersion, people: SimpleNamespace) -> None:
    write()
    with pytest.raises(IntegrityError), transaction.atomic():
        Statement.objects.create(version=version, requirement=RULE, revision=2, author=people.amir)


def test_a_draft_is_withdrawn_by_its_author_only(write: Write, people: SimpleNamespace) -> None:
    draft = write()
    with pytest.raises(DeniedError, match="Only its author"):
        withdraw_statement(statement=draft, by=people.dora)
    assert withdraw_statement(statement=draft, by=people.elena).status == "withdrawn"
    with pytest.raises(ConflictError):
        withdraw_statement(statement=draft, by=people.elena)
    assert acts() == ["statement.written", "statement.withdrawn"]


def test_a_decision_needs_a_remark(write: Write, people: SimpleNamespace) -> None:
    draft = write()
    for decide in (accept_statement, return_statement):
        with pytest.raises(AuscultError, match="remark"):
            decide(statement=draft, remark="  ", by=people.dora)
    draft.refresh_from_db()
    assert draft.status == "draft"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fields": {"colour": "red"}}, "colour"),
        ({"fields": {"solely_automated": "perhaps"}}, "solely_automated"),
        ({"fields": {"exception": "weather"}}, "exception"),
        ({"fields": {}, "text": " "}, "Nothing is stated"),
        ({"text": "x" * 20_001}, "20,000"),
        ({"text": "a\x00b"}, "cannot be printed"),
        ({"requirement": "AIA-Art999"}, "AIA-Art999"),
    ],
)
def test_what_does_not_fit_is_refused_whole(write: Write, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(AuscultError, match=words):
        write(**wrong)
    assert not Statement.objects.exists()
    assert acts() == []


def test_a_script_stays_a_text(write: Write) -> None:
    draft = write(text=SCRIPT, fields=FIELDS | {"reasoning": SCRIPT})
    draft.refresh_from_db()
    assert (draft.text, draft.fields["reasoning"]) == (SCRIPT, SCRIPT)


def test_an_act_without_its_entry_cannot_be(
    write: Write, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = write()

    def fail(**given: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ledger, "record", fail)
    wishes: tuple[Callable[[], object], ...] = (
        lambda: write(text="Again"),
        lambda: accept_statement(statement=draft, remark="Checked.", by=people.dora),
        lambda: return_statement(statement=draft, remark="No.", by=people.dora),
        lambda: withdraw_statement(statement=draft, by=people.elena),
    )
    for act in wishes:
        with pytest.raises(OSError, match="no space"):
            act()
    assert list(Statement.objects.values_list("status", "text")) == [("draft", "See the log.")]


def test_of_two_who_decide_the_second_is_too_late(write: Write, people: SimpleNamespace) -> None:
    """Both opened the page while it was a draft; the row in memory still says so."""
    draft = write()
    seen_by_lea = Statement.objects.get(pk=draft.pk)
    accept_statement(statement=draft, remark="Checked.", by=people.dora)
    assert seen_by_lea.status == "draft"
    with pytest.raises(ConflictError, match="no open draft"):
        return_statement(statement=seen_by_lea, remark="No.", by=people.lea)
    assert Statement.objects.get().status == "accepted"
    assert acts().count("statement.accepted") == 1


def test_a_draft_about_what_has_changed_is_not_accepted(
    write: Write, version: ModelVersion, people: SimpleNamespace
) -> None:
    """GDPR-26-28 speaks of the places of use; a site was added after it was written."""
    draft = write(requirement="GDPR-26-28", fields={}, text="One hospital, no processor.")
    Answer.objects.create(system=version.system, question="sites", value=["Ward 3"], author=people.dora)
    with pytest.raises(ConflictError, match="Ward 3"):
        accept_statement(statement=draft, remark="Checked.", by=people.dora)
    assert return_statement(statement=draft, remark="Ward 3 is new.", by=people.dora).status == "returned"


def test_an_accepted_statement_is_carried_over_as_a_draft(write: Write, people: SimpleNamespace) -> None:
    first = accept_statement(statement=write(generated=True), remark="Checked.", by=people.dora)
    following = make_version(people, "1.1")
    copy = carry_over(statement=first, version=following, by=people.amir)
    assert (copy.version, copy.status, copy.author) == (following, "draft", people.amir)
    assert (copy.fields, copy.text, copy.generated) == (first.fields, first.text, True)
    assert copy.binding["version"] == following.digest
    assert payload()["from"] == first.pk
    assert accept_statement(statement=copy, remark="Still true.", by=people.dora).status == "accepted"


def test_what_is_current_or_was_never_accepted_is_not_carried_over(
    write: Write, version: ModelVersion, people: SimpleNamespace
) -> None:
    draft = write()
    with pytest.raises(ConflictError, match="accepted"):
        carry_over(statement=draft, version=version, by=people.elena)
    done = accept_statement(statement=draft, remark="Checked.", by=people.dora)
    with pytest.raises(ConflictError, match="current"):
        carry_over(statement=done, version=version, by=people.elena)


def test_there_is_one_way_out_of_a_draft_and_none_back() -> None:
    assert set(TRANSITIONS) == set(Statement.Status.values)
    assert all(not TRANSITIONS[status] for status in TRANSITIONS if status != "draft")
