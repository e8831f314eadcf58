"""What a release rests on, how it ends, and what the database refuses by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from core.errors import AuscultError, DeniedError, DigestMismatchError
from core.store import Store
from evaluation.models import AuditRun
from governance.models import ReleaseVote, SyntheticRelease
from governance.selectors.releases import basis_of, check_released
from governance.services import releases
from governance.services.releases import request_release, revoke_release, withdraw_release
from models_registry.models import CohortVersion
from tests.governance.release_steps import ASKED, acts, cohort, derived, make_cohort, raw_vote, release, status, vote

__all__ = ["cohort", "derived", "release"]


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
