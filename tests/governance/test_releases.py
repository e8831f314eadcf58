"""Releases of synthetic cohorts: who decides, on what, and what the database refuses by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import can
from core.digests import sha256_bytes
from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError
from core.models import LedgerEntry, Notification, Role, RoleGrant, User
from core.stepup import StepUp
from core.store import Store
from evaluation.models import AuditRun
from governance.access_releases import check_may_request_release, check_may_vote_on_release
from governance.models import ReleaseVote, SyntheticRelease
from governance.selectors.releases import basis_of, check_released, releasable_cohorts
from governance.services import releases
from governance.services.releases import cast_release_vote, request_release, revoke_release, withdraw_release
from models_registry.models import Cohort, CohortVersion
from tests.governance.signed import signed

ASKED = {"purpose": "Teaching at the university.", "recipients": "The institute of biometry."}


def make_cohort(people: SimpleNamespace, name: str = "Made", **given: Any) -> CohortVersion:
    simulated = given.pop("simulated", True)
    parent = Cohort.objects.create(name=name, slug=name.lower(), simulated=simulated, created_by=people.elena)
    facts = {"generator_digest": "9" * 64, "registered_by": people.elena} | given
    return CohortVersion.objects.create(
        cohort=parent, digest=sha256_bytes(name.encode()), n_studies=50, n_patients=20, summary={}, **facts
    )


@pytest.fixture
def cohort(people: SimpleNamespace, home: Path) -> CohortVersion:
    """Made without any real patient, registered by Elena."""
    return make_cohort(people)


@pytest.fixture
def release(cohort: CohortVersion, people: SimpleNamespace) -> SyntheticRelease:
    return request_release(cohort=cohort, by=people.amir, **ASKED)


@pytest.fixture
def derived(people: SimpleNamespace, home: Path) -> CohortVersion:
    real = make_cohort(people, "Real", simulated=False, generator_digest="")
    return make_cohort(people, "Derived", parent=real)


def vote(release: SyntheticRelease, by: User, choice: str = "approve", **given: Any) -> ReleaseVote:
    facts = {"rationale": "I read what it rests on.", "signed": signed(by)} | given
    return cast_release_vote(release=release, choice=choice, by=by, **facts)


def acts(kind: str, pk: int) -> list[str]:
    return list(LedgerEntry.objects.filter(subject_kind=kind, subject_id=str(pk)).values_list("act", flat=True))


def status(release: SyntheticRelease) -> str:
    release.refresh_from_db()
    return release.status


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


# ---- What it rests on


def privacy_audit(cohort: CohortVersion, run: AuditRun, **given: Any) -> AuditRun:
    """The run as an audit of the privacy of ``cohort``, with evidence that says so unless told otherwise."""
    verdict = {"metric": "membership_advantage", "attribute": "", "value": 0.02}
    evidence = {
        "cohort": {"digest": given.get("digest", cohort.digest)},
        "protocol": {"body": {"suites": given.get("suites", ["privacy"])}},
        "result": {"outcome": given.get("outcome", "pass"), "verdicts": [verdict]},
    }
    from django.conf import settings

    digest = Store(settings.AUSCULT_HOME / "store").put_json(evidence)
    AuditRun.objects.filter(pk=run.pk).update(
        cohort=cohort, evidence_digest=digest, outcome=given.get("column", given.get("outcome", "pass"))
    )
    run.refresh_from_db()
    return run


def test_a_derived_set_without_an_audit_can_only_be_refused(derived: CohortVersion, people: SimpleNamespace) -> None:
    release = request_release(cohort=derived, by=people.amir, **ASKED)
    with pytest.raises(DeniedError, match="real patients may show through"):
        vote(release, people.dora)
    assert not ReleaseVote.objects.exists()
    vote(release, people.dora, "reject")
    assert status(release) == "rejected"


def test_a_derived_set_with_a_passing_audit_is_released(
    derived: CohortVersion, people: SimpleNamespace, audited: Callable[..., AuditRun]
) -> None:
    run = privacy_audit(derived, audited())
    release = request_release(cohort=derived, run=run, by=people.amir, **ASKED)
    vote(release, people.dora)
    assert status(release) == "approved"


WRONG = [
    ({"outcome": "fail"}, "does not pass: fail"),
    ({"outcome": "insufficient"}, "does not pass: insufficient"),
    ({"outcome": "fail", "column": "pass"}, "does not pass: fail"),
    ({"suites": ["fairness"]}, "did not audit privacy"),
    ({"digest": "0" * 64}, "about other content"),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_an_audit_that_does_not_show_it_does_not_release(
    given: dict[str, Any],
    words: str,
    derived: CohortVersion,
    people: SimpleNamespace,
    audited: Callable[..., AuditRun],
) -> None:
    run = privacy_audit(derived, audited(), **given)
    release = request_release(cohort=derived, run=run, by=people.amir, **ASKED)
    with pytest.raises(DeniedError, match=words):
        vote(release, people.dora)
    assert status(release) == "open"


def test_changed_evidence_is_refused(
    derived: CohortVersion, people: SimpleNamespace, audited: Callable[..., AuditRun], home: Path
) -> None:
    run = privacy_audit(derived, audited(), outcome="fail")
    release = request_release(cohort=derived, run=run, by=people.amir, **ASKED)
    path = Store(home / "store").path(run.evidence_digest)
    path.write_bytes(path.read_bytes().replace(b'"fail"', b'"pass"'))
    with pytest.raises(DigestMismatchError):
        vote(release, people.dora)
    assert not ReleaseVote.objects.exists()


def test_evidence_that_was_replaced_is_refused(
    derived: CohortVersion, people: SimpleNamespace, audited: Callable[..., AuditRun]
) -> None:
    """The audit points to other evidence than when its release was asked for."""
    run = privacy_audit(derived, audited())
    release = request_release(cohort=derived, run=run, by=people.amir, **ASKED)
    AuditRun.objects.filter(pk=run.pk).update(evidence_digest="0" * 64)
    with pytest.raises(DeniedError, match="not what it was"):
        vote(release, people.dora)


def test_a_set_that_only_says_it_was_made_carries_a_caution(people: SimpleNamespace, home: Path) -> None:
    told = basis_of(make_cohort(people, "Claimed", generator_digest=""), None, None)
    assert told.suffices and "nothing here shows it" in told.caution
    assert basis_of(make_cohort(people), None, None).caution == ""


def test_a_generated_set_that_is_not_simulated_needs_an_audit(people: SimpleNamespace, home: Path) -> None:
    """A generator that learnt from somebody, with no parent on record, is not made without real patients."""
    assert not basis_of(make_cohort(people, simulated=False), None, None).suffices


# ---- Ending


def test_only_who_asked_withdraws(release: SyntheticRelease, people: SimpleNamespace) -> None:
    for name in ("elena", "dora", "clara"):
        with pytest.raises(DeniedError):
            withdraw_release(release=release, reason="Not needed.", by=getattr(people, name))
    withdraw_release(release=release, reason="Not needed.", by=people.amir)
    assert (status(release), release.closing_reason, release.closed_by) == ("withdrawn", "Not needed.", people.amir)
    assert acts("SyntheticRelease", release.pk)[-1] == "release.withdrawn"
    with pytest.raises(DeniedError, match="closed"):
        withdraw_release(release=release, reason="Again.", by=people.amir)


def test_only_an_officer_revokes_what_was_released(release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="no release to revoke"):
        revoke_release(release=release, reason="Found a name.", by=people.dora)
    vote(release, people.dora)
    for name in ("amir", "clara"):
        with pytest.raises(DeniedError, match="revoke the release"):
            revoke_release(release=release, reason="Found a name.", by=getattr(people, name))
    with pytest.raises(AuscultError, match="reason is empty"):
        revoke_release(release=release, reason=" ", by=people.dora)
    check_released(release.cohort)
    revoke_release(release=release, reason="Found a name.", by=people.dora)
    with pytest.raises(DeniedError, match="is not released"):
        check_released(release.cohort)
    assert acts("SyntheticRelease", release.pk)[-1] == "release.revoked"


def test_other_content_is_not_released(release: SyntheticRelease, people: SimpleNamespace) -> None:
    vote(release, people.dora)
    CohortVersion.objects.filter(pk=release.cohort_id).update(digest="0" * 64)
    release.cohort.refresh_from_db()
    with pytest.raises(DeniedError, match="is not released"):
        check_released(release.cohort)


def test_every_state_is_in_the_table() -> None:
    assert set(releases.TRANSITIONS) == set(SyntheticRelease.Status.values)
    ends = {state for state, after in releases.TRANSITIONS.items() if not after}
    assert ends == {"rejected", "withdrawn", "revoked"}


# ---- What the database refuses by itself


def raw_vote(release: SyntheticRelease, voter: User, **given: Any) -> ReleaseVote:
    facts = {"choice": "approve", "rationale": "Around the service.", "submitter": release.submitter}
    return ReleaseVote.objects.create(
        release=release, voter=voter, **(facts | {"requester": release.requester} | given)
    )


@pytest.mark.parametrize("name", ["elena", "amir"])
def test_the_database_refuses_who_had_a_part(name: str, release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_vote(release, getattr(people, name))


def test_the_database_refuses_made_up_people(release: SyntheticRelease, people: SimpleNamespace) -> None:
    with pytest.raises(IntegrityError, match="must be those of its release"), transaction.atomic():
        raw_vote(release, people.amir, requester=people.tom)


def test_the_database_keeps_votes_as_they_are(release: SyntheticRelease, people: SimpleNamespace) -> None:
    cast = vote(release, people.dora)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        ReleaseVote.objects.filter(pk=cast.pk).update(choice="reject")
    with pytest.raises(DatabaseError), transaction.atomic():
        ReleaseVote.objects.filter(pk=cast.pk).delete()
    with pytest.raises(IntegrityError, match="takes no vote"), transaction.atomic():
        raw_vote(release, people.mina)


def test_the_database_refuses_a_release_without_purpose_or_twice(
    release: SyntheticRelease, people: SimpleNamespace
) -> None:
    facts = {"cohort": release.cohort, "submitter": people.elena, "requester": people.amir, "recipients": "All"}
    with pytest.raises(IntegrityError), transaction.atomic():
        SyntheticRelease.objects.create(**facts, purpose="")
    with pytest.raises(IntegrityError), transaction.atomic():
        SyntheticRelease.objects.create(**facts, purpose="Again")
