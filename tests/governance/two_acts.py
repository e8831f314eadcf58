"""Two acts that meet, each on a connection of its own, on a real database.

Run as a program with its own AUSCULT_HOME (and AUSCULT_DATABASE_URL). The first act stops after its first entry in the
ledger, whose head it holds then, until the second waits for a lock. If the second holds what the first still needs, the
database ends one of the two as a deadlock, and that is told as ``deadlock``.

Prints one JSON object: for each meeting what became of both acts, and what the database says afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.governance.two_voters import somebody_waits

Act = Callable[[], object]
WHY = "Outputs are shown for the wrong patient since the update."


def main(home: Path) -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from core import ledger
    from tests.governance.conftest import make_people

    people = make_people()
    found = {name: play(people, home) for name, play in MEETINGS.items()}
    sys.stdout.write(json.dumps(found | {"intact": ledger.verify().intact}))


def meet(first: Act, second: Act) -> list[str]:
    """What became of both: ``done``, the name of the refusal, or ``deadlock``."""
    from core import ledger

    inside, results = threading.Event(), ["", ""]
    record = ledger.record

    def held(**given: Any) -> Any:
        entry = record(**given)
        if threading.current_thread().name == "first" and not inside.is_set():
            inside.set()
            somebody_waits()
        return entry

    ledger.record = held
    try:
        threads = [
            threading.Thread(name="first", target=attempt, args=(first, results, 0, lambda: None)),
            threading.Thread(name="second", target=attempt, args=(second, results, 1, lambda: inside.wait(10))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        ledger.record = record
    return results


def attempt(act: Act, results: list[str], place: int, ready: Callable[[], object]) -> None:
    from django.db import OperationalError, connection

    from core.errors import AuscultError

    ready()
    try:
        act()
        results[place] = "done"
    except AuscultError as error:
        results[place] = type(error).__name__
    except OperationalError as error:
        results[place] = "deadlock" if "deadlock" in str(error) else str(error)
    finally:
        connection.close()


def two_release_votes(people: Any, home: Path) -> dict[str, object]:
    from core.models import LedgerEntry, Role, RoleGrant, User
    from governance.services.releases import request_release
    from tests.governance.test_releases import ASKED, make_cohort, vote

    other = User.objects.create(username="dino")
    RoleGrant.objects.create(user=other, role=Role.DPO)
    release = request_release(cohort=make_cohort(people), by=people.amir, **ASKED)
    results = meet(lambda: vote(release, people.dora), lambda: vote(release, other, "reject"))
    release.refresh_from_db()
    decided = LedgerEntry.objects.filter(act="release.decided").count()
    return {"results": results, "is": release.status, "votes": release.votes.count(), "decided": decided}


def two_policy_approvals(people: Any, home: Path) -> dict[str, object]:
    """Two policies for all systems, by two chairs: they may not both be in force."""
    from core.models import Role, RoleGrant, User
    from governance.models import Policy
    from governance.services.policies import approve_policy, propose_policy, withdraw_policy
    from tests.governance.policy_scene import written
    from tests.governance.signed import signed

    chair = User.objects.create(username="carl")
    RoleGrant.objects.create(user=chair, role=Role.COMMITTEE_CHAIR)
    rows = [propose_policy(source=written(name=name), by=people.amir) for name in ("strict", "mild")]
    results = meet(
        lambda: approve_policy(policy=rows[0], by=people.clara, signed=signed(people.clara)),
        lambda: approve_policy(policy=rows[1], by=chair, signed=signed(chair)),
    )
    in_force = list(Policy.objects.filter(status=Policy.Status.APPROVED).values_list("name", flat=True))
    for row in rows:  # what follows is deployed without a gate
        withdraw_policy(policy=row, by=chair, reason="The meeting is over.")
    return {"results": results, "in_force": in_force}


def two_deployments(people: Any, home: Path) -> dict[str, object]:
    from tests.governance.deployment_scene import approved, put

    one, other = approved(people, home, "d.1"), approved(people, home, "d.2")
    results = meet(lambda: put(one, people.clara, "Race"), lambda: put(other, people.lea, "race"))
    return {"results": results, "shares": shares("Race")}


def shares(site: str) -> list[int]:
    from models_registry.models import Deployment

    return list(Deployment.objects.filter(site__iexact=site, status="running").values_list("share", flat=True))


def claimed(people: Any, home: Path, label: str) -> Any:
    """A condition that its owner says is met, of a version that runs; due in an hour."""
    from django.utils import timezone

    from governance.services.conditions import claim_condition, propose_condition
    from governance.services.reviews import cast_vote, open_review
    from tests.governance.conftest import make_run
    from tests.governance.deployment_scene import put
    from tests.governance.signed import signed

    review = open_review(run=make_run(people, home, label=label), by=people.clara)
    made = propose_condition(
        review=review, text="Report drift.", owner=people.elena, due_at=timezone.now() + timedelta(hours=1),
        by=people.mina,
    )  # fmt: skip
    for by in (people.mina, people.tom):
        cast_vote(review=review, choice="approve", rationale="I read it.", by=by, signed=signed(by))
    claim_condition(condition=made, claim="Done.", by=people.elena)
    return made, put(review.version, people.lea, f"Site {label}")


def lapse(condition: Any) -> None:
    """What the sweep does once the condition's day has passed."""
    from unittest.mock import patch

    from django.db import transaction
    from django.utils import timezone

    from governance import execution_conditions

    later = SimpleNamespace(now=lambda: condition.due_at + timedelta(seconds=1), localtime=timezone.localtime)
    with patch.object(execution_conditions, "timezone", later), transaction.atomic():
        execution_conditions._lapse(condition.pk, condition.review_id)


def confirm(condition: Any, people: Any) -> None:
    from governance.services.conditions import confirm_condition
    from tests.governance.signed import signed

    confirm_condition(condition=condition, remark="I read it.", by=people.tom, signed=signed(people.tom))


def confirm_then_lapse(people: Any, home: Path) -> dict[str, object]:
    made, row = claimed(people, home, "c.1")
    return after_condition(meet(lambda: confirm(made, people), lambda: lapse(made)), made, row)


def lapse_then_confirm(people: Any, home: Path) -> dict[str, object]:
    made, row = claimed(people, home, "c.2")
    return after_condition(meet(lambda: lapse(made), lambda: confirm(made, people)), made, row)


def after_condition(results: list[str], made: Any, row: Any) -> dict[str, object]:
    made.refresh_from_db()
    row.refresh_from_db()
    return {"results": results, "condition": made.status, "runs": row.status, "version": row.version.status}


def overrides_then_lapse(people: Any, home: Path) -> dict[str, object]:
    return lapse_and_overrides(people, home, "c.3", first=False)


def lapse_then_overrides(people: Any, home: Path) -> dict[str, object]:
    return lapse_and_overrides(people, home, "c.4", first=True)


def lapse_and_overrides(people: Any, home: Path, label: str, *, first: bool) -> dict[str, object]:
    from django.utils import timezone

    from governance.services.overrides import OverrideItem, record_overrides

    made, row = claimed(people, home, label)
    item = OverrideItem(key="a", happened_at=timezone.now(), action="changed", reason="false_positive")
    acts: list[Act] = [lambda: lapse(made), lambda: record_overrides(deployment=row, items=[item], by=people.lea)]
    results = meet(*(acts if first else reversed(acts)))
    return {"results": results if first else results[::-1]}


def resume_and_suspend(people: Any, home: Path) -> dict[str, object]:
    """A chair resumes while somebody else stops the whole version: it ends stopped."""
    from governance.services.deployments import resume_deployment, suspend_deployment, suspend_version
    from tests.governance.deployment_scene import approved, put
    from tests.governance.signed import signed

    row = put(approved(people, home, "s.1"), people.clara, "Resumed")
    suspend_deployment(deployment=row, reason=WHY, by=people.amir)
    results = meet(
        lambda: resume_deployment(deployment=row, reason=WHY, by=people.lea, signed=signed(people.lea)),
        lambda: suspend_version(version=row.version, reason=WHY, by=people.amir),
    )
    row.refresh_from_db()
    return {"results": results, "runs": row.status, "version": row.version.status}


def suspend_while_rolled_back_to(people: Any, home: Path) -> dict[str, object]:
    """A site goes back to a version at the moment at which that version is stopped everywhere."""
    from governance.services.deployments import roll_back, suspend_version
    from models_registry.models import ModelVersion
    from tests.governance.deployment_scene import approved, put
    from tests.governance.signed import signed

    old, new = approved(people, home, "r.1"), approved(people, home, "r.2")
    put(old, people.clara, "Back", share=20)
    row = put(new, people.clara, "Back to", share=40)
    ModelVersion.objects.exclude(pk__in=[old.pk, new.pk]).update(status="retired")
    results = meet(
        lambda: roll_back(deployment=row, reason=WHY, by=people.lea, signed=signed(people.lea)),
        lambda: suspend_version(version=old, reason=WHY, by=people.amir),
    )
    old.refresh_from_db()
    return {"results": results, "run": shares("Back") + shares("Back to"), "version": old.status}


def vote_during_a_merge(people: Any, home: Path) -> dict[str, object]:
    """The runner's second account votes while the two accounts are found to be one person."""
    from core.models import Role, RoleGrant, User
    from governance.services.accounts import merge_accounts
    from governance.services.reviews import cast_vote, open_review
    from tests.governance.conftest import make_run
    from tests.governance.signed import signed

    double = User.objects.create(username="amir2")
    RoleGrant.objects.create(user=double, role=Role.COMMITTEE_MEMBER)
    review = open_review(run=make_run(people, home, label="m.1"), by=people.clara)
    results = meet(
        lambda: merge_accounts(source=double, target=people.amir, by=people.ada, signed=signed(people.ada)),
        lambda: cast_vote(review=review, choice="approve", rationale="Mine.", by=double, signed=signed(double)),
    )
    review.refresh_from_db()
    return {"results": results, "votes": review.votes.count(), "is": review.status}


def merge_during_a_vote(people: Any, home: Path) -> dict[str, object]:
    from core.models import Role, RoleGrant, User
    from governance.services.accounts import merge_accounts
    from governance.services.reviews import cast_vote, open_review
    from tests.governance.conftest import make_run
    from tests.governance.signed import signed

    double = User.objects.create(username="elena2")
    RoleGrant.objects.create(user=double, role=Role.COMMITTEE_MEMBER)
    review = open_review(run=make_run(people, home, label="m.2"), by=people.clara)
    results = meet(
        lambda: cast_vote(review=review, choice="approve", rationale="Mine.", by=double, signed=signed(double)),
        lambda: merge_accounts(source=double, target=people.elena, by=people.ada, signed=signed(people.ada)),
    )
    review.refresh_from_db()
    return {"results": results, "votes": review.votes.count(), "is": review.status}


MEETINGS: dict[str, Callable[[Any, Path], dict[str, object]]] = {
    play.__name__: play
    for play in (
        two_release_votes, two_policy_approvals, two_deployments, confirm_then_lapse, lapse_then_confirm,
        overrides_then_lapse, lapse_then_overrides, resume_and_suspend, vote_during_a_merge, merge_during_a_vote,
        suspend_while_rolled_back_to,
    )
}  # fmt: skip

if __name__ == "__main__":
    main(Path(sys.argv[1]))
