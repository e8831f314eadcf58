"""Releases of synthetic cohorts: who decides, on what, and what the database refuses by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import can
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import Notification, Role, RoleGrant, User
from core.stepup import StepUp
from evaluation.models import AuditRun
from governance.access_releases import check_may_request_release, check_may_vote_on_release
from governance.models import ReleaseVote, SyntheticRelease
from governance.selectors.releases import check_released, releasable_cohorts
from governance.services import releases
from governance.services.releases import request_release, withdraw_release
from models_registry.models import CohortVersion
from tests.governance.release_steps import ASKED, acts, cohort, derived, make_cohort, raw_vote, release, status, vote
from tests.governance.signed import signed

__all__ = ["cohort", "derived", "release"]


# ---- Asking


def test_asking_copies_the_people_and_tells_the_officer(release: SyntheticRelease, people: SimpleNamespace) -> None:
    assert (release.submitter, release.requester) == (people.elena, people.amir)
    assert release.cohort_digest == release.cohort.digest
    assert acts("SyntheticRelease", release.pk) == ["release.requested"]
    told = Notification.objects.get()
    assert (told.recipient, told.href) == (people.dora, f"/governance/releases/{release.pk}/")


@pytest.mark.parametrize("name", ["clara", "mina", "lea", "dora", "rita", "ada"])
def test_only_who_makes_and_audits_asks(name: str, cohort: CohortVersion, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="ML engineer or auditor may ask"):
        request_release(cohort=cohort, by=getattr(people, name), **ASKED)
    assert not can(check_may_request_release, getattr(people, name))
    assert not SyntheticRelease.objects.exists()


def test_real_patients_are_not_released(people: SimpleNamespace, home: Path) -> None:
    real = make_cohort(people, "Real", simulated=False, generator_digest="")
    with pytest.raises(ConflictError, match="holds real patients"):
        request_release(cohort=real, by=people.amir, **ASKED)
    with pytest.raises(DeniedError, match="real patients is not released"):
        check_released(real)
    assert real not in releasable_cohorts()


@pytest.mark.parametrize("name", ["purpose", "recipients"])
@pytest.mark.parametrize("text", ["", " \n ", "a\x00b", "x" * 2_000_000])
def test_texts_are_needed_and_bounded(name: str, text: str, cohort: CohortVersion, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError):
        request_release(cohort=cohort, by=people.amir, **(ASKED | {name: text}))
    assert not SyntheticRelease.objects.exists()


def test_a_set_is_asked_for_once_at_a_time(
    release: SyntheticRelease, cohort: CohortVersion, people: SimpleNamespace
) -> None:
    with pytest.raises(ConflictError, match="being decided"):
        request_release(cohort=cohort, by=people.elena, **ASKED)
    assert cohort not in releasable_cohorts()
    withdraw_release(release=release, reason="Not needed.", by=people.amir)
    assert cohort in releasable_cohorts()
    assert request_release(cohort=cohort, by=people.elena, **ASKED).pk != release.pk


def test_an_audit_of_another_cohort_is_refused(
    cohort: CohortVersion, people: SimpleNamespace, audited: Callable[..., AuditRun]
) -> None:
    with pytest.raises(ConflictError, match="another cohort"):
        request_release(cohort=cohort, run=audited(), by=people.amir, **ASKED)


def test_an_audit_that_is_not_done_is_refused(
    cohort: CohortVersion, people: SimpleNamespace, audited: Callable[..., AuditRun]
) -> None:
    run = audited()
    AuditRun.objects.filter(pk=run.pk).update(cohort=cohort, status="running")
    run.refresh_from_db()
    with pytest.raises(ConflictError, match="no evidence"):
        request_release(cohort=cohort, run=run, by=people.amir, **ASKED)


def test_a_quorum_of_none_is_refused(cohort: CohortVersion, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="at least one vote"):
        request_release(cohort=cohort, quorum=0, by=people.amir, **ASKED)


# ---- Voting


def test_the_officer_releases(release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="is not released"):
        check_released(release.cohort)
    cast = vote(release, people.dora)
    assert status(release) == "approved"
    assert (release.closed_by, cast.signed_with) == (people.dora, "password")
    assert acts("ReleaseVote", cast.pk) == ["release_vote.cast"]
    assert acts("SyntheticRelease", release.pk) == ["release.requested", "release.decided"]
    check_released(release.cohort)
    told = Notification.objects.filter(key=f"release:{release.pk}:approved")
    assert {row.recipient for row in told} == {people.amir, people.elena}
    assert ledger.verify().intact


def test_without_the_officer_nothing_is_released(cohort: CohortVersion, people: SimpleNamespace) -> None:
    release = request_release(cohort=cohort, quorum=2, by=people.amir, **ASKED)
    for name in ("mina", "tom", "lea", "clara"):
        vote(release, getattr(people, name))
    assert status(release) == "open"
    vote(release, people.dora)
    assert status(release) == "approved"


def test_the_officer_alone_is_not_a_quorum_of_two(cohort: CohortVersion, people: SimpleNamespace) -> None:
    release = request_release(cohort=cohort, quorum=2, by=people.amir, **ASKED)
    vote(release, people.dora)
    assert status(release) == "open"
    vote(release, people.mina)
    assert status(release) == "approved"


def test_the_officer_refuses_at_once(cohort: CohortVersion, people: SimpleNamespace) -> None:
    release = request_release(cohort=cohort, quorum=3, by=people.amir, **ASKED)
    vote(release, people.mina, "reject")
    assert status(release) == "open"
    vote(release, people.dora, "reject")
    assert status(release) == "rejected"
    with pytest.raises(DeniedError, match="is not released"):
        check_released(cohort)


def test_who_had_a_part_in_it_cannot_vote(release: SyntheticRelease, people: SimpleNamespace) -> None:
    for name, words in (("elena", "You registered this cohort"), ("amir", "You asked for this release")):
        person = getattr(people, name)
        RoleGrant.objects.create(user=person, role=Role.DPO)
        with pytest.raises(DeniedError, match=words):
            vote(release, person)
    assert not ReleaseVote.objects.exists()


def test_a_second_account_is_the_same_person(release: SyntheticRelease, people: SimpleNamespace) -> None:
    """Amir asked; the account that he also has, and that was merged, does not vote, in the service or around it."""
    again = User.objects.create(username="amir2", merged_into=people.amir)
    RoleGrant.objects.create(user=again, role=Role.DPO)
    with pytest.raises(DeniedError, match="You asked for this release"):
        vote(release, again)
    with pytest.raises(IntegrityError, match="by no account"), transaction.atomic():
        raw_vote(release, again)


@pytest.mark.parametrize("name", ["rita", "ada"])
def test_others_do_not_vote(name: str, release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may vote on the release"):
        vote(release, getattr(people, name))
    assert not can(check_may_vote_on_release, getattr(people, name), release)


def test_a_vote_is_signed_by_its_voter_a_moment_ago(release: SyntheticRelease, people: SimpleNamespace) -> None:
    old = StepUp(user_id=people.dora.pk, at=timezone.now() - timedelta(minutes=6))
    for proof in (None, signed(people.mina), old):
        with pytest.raises(DeniedError, match="Signing asks for a proof"):
            vote(release, people.dora, signed=proof)
    assert not ReleaseVote.objects.exists()


@pytest.mark.parametrize("text", ["", "  \n", "a\x00b"])
def test_a_vote_needs_a_reason(text: str, release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError):
        vote(release, people.dora, rationale=text)


def test_an_unknown_choice_is_refused(release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="not a vote"):
        vote(release, people.dora, "abstain")


def test_a_second_vote_is_refused(cohort: CohortVersion, people: SimpleNamespace) -> None:
    release = request_release(cohort=cohort, quorum=2, by=people.amir, **ASKED)
    vote(release, people.mina)
    with pytest.raises(DeniedError, match="You have voted"):
        vote(release, people.mina, "reject")
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_vote(release, people.mina)


def test_a_vote_after_the_close_is_refused(release: SyntheticRelease, people: SimpleNamespace) -> None:
    vote(release, people.dora, "reject")
    with pytest.raises(ConflictError, match="closed"):
        vote(release, people.mina)


def test_of_two_deciding_votes_one_decides(
    cohort: CohortVersion, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has read the release while it was open. The database takes no vote on a closed one."""
    release = request_release(cohort=cohort, by=people.amir, **ASKED)
    stale = releases.locked_release(release.pk)
    vote(release, people.dora)
    monkeypatch.setattr(releases, "locked_release", lambda pk: stale)
    with pytest.raises(ConflictError):
        vote(release, people.mina)
    assert list(ReleaseVote.objects.values_list("voter__username", flat=True)) == ["dora"]
    with pytest.raises(ConflictError, match="closed meanwhile"):
        withdraw_release(release=stale, reason="Too late.", by=people.amir)
    assert status(release) == "approved"


@pytest.mark.parametrize("act", ["release_vote.cast", "release.decided"])
def test_a_ledger_that_fails_takes_the_vote_back(
    act: str, release: SyntheticRelease, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ledger.record

    def failing(**entry: Any) -> object:
        if entry["act"] == act:
            raise RuntimeError("disk gone")
        return real(**entry)

    monkeypatch.setattr(releases.ledger, "record", failing)
    size = ledger.tree_head().size
    with pytest.raises(RuntimeError, match="disk gone"):
        vote(release, people.dora)
    assert status(release) == "open"
    assert (ReleaseVote.objects.count(), ledger.tree_head().size) == (0, size)


def test_a_ledger_that_fails_takes_the_request_back(
    cohort: CohortVersion, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**entry: Any) -> object:
        raise RuntimeError("disk gone")

    monkeypatch.setattr(releases.ledger, "record", failing)
    with pytest.raises(RuntimeError, match="disk gone"), transaction.atomic():
        request_release(cohort=cohort, by=people.amir, **ASKED)
    assert (SyntheticRelease.objects.count(), Notification.objects.count()) == (0, 0)
