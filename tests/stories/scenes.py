"""What stands in an installation when a story begins. Each function fills one from nothing."""

from __future__ import annotations

from types import SimpleNamespace

from django.conf import settings
from pytest import MonkeyPatch

from governance import execution_bundles
from governance.services.bundles import request_bundle
from governance.services.releases import request_release
from governance.services.reviews import cast_vote, open_review
from tests.governance.conftest import make_people, make_run
from tests.governance.signed import signed
from tests.pages import committee_scene, governance_scene, regulation_scene
from tests.pages.scene import PASSWORD, house, person
from tests.registry import scene as registry

PARTS = 60
"""So many that an audit takes long enough to be watched."""


def committee() -> None:
    """A version with an audit that passed; who submitted it sits on the committee, too."""
    committee_scene.furnish()


def privacy() -> None:
    """A system that is answered for, and a synthetic cohort whose release was asked for."""
    made = regulation_scene.regulate(house())
    purpose, recipients = "Teaching students of medicine how audits are read.", "The medical faculty."
    request_release(cohort=made["cohort"], purpose=purpose, recipients=recipients, by=person("elena"))


def portal() -> None:
    """A decided review with the bundle that its evidence makes, signed by the installation's key."""
    people = _with_passwords(make_people())
    review = open_review(run=make_run(people, settings.AUSCULT_HOME), by=people.clara)
    for member in (people.mina, people.tom):
        reason = "I read the evidence, and it passes."
        cast_vote(review=review, choice="approve", rationale=reason, by=member, signed=signed(member))
    review.refresh_from_db()
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)


def _with_passwords(people: SimpleNamespace) -> SimpleNamespace:
    for user in vars(people).values():
        user.set_password(PASSWORD)
        user.save()
    return people


def clinic() -> None:
    """A system in use at a ward, with its answers, risks and an incident."""
    governance_scene.furnish()


def workshop() -> None:
    """A system without a version, patients in many small parts, rules, and a recorded model's answers in a folder."""
    folder = settings.AUSCULT_HOME / "sources"
    folder.mkdir(parents=True)
    with MonkeyPatch.context() as changed:
        changed.setattr(registry, "SHARDS", PARTS)
        files = registry.write_files(folder, changed)
    people = _with_passwords(registry.make_people())
    registry.make_system(people)
    registry.make_cohort(people, files.shards)
    registry.make_protocol(people)


def office() -> None:
    """The small house, and somebody who has an account and no role."""
    house()
    person("nora")
