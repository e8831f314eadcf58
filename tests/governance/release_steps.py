"""Synthetic cohorts and their releases: what the tests of releases share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.digests import sha256_bytes
from core.models import LedgerEntry, User
from governance.models import ReleaseVote, SyntheticRelease
from governance.services.releases import cast_release_vote, request_release
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


def raw_vote(release: SyntheticRelease, voter: User, **given: Any) -> ReleaseVote:
    facts = {"choice": "approve", "rationale": "Around the service.", "submitter": release.submitter}
    return ReleaseVote.objects.create(
        release=release, voter=voter, **(facts | {"requester": release.requester} | given)
    )
