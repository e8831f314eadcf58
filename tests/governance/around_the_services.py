"""Rows written around the services, on whichever database AUSCULT_DATABASE_URL names: what the database says to each.

Run as a program with its own AUSCULT_HOME. Prints one JSON object: for each try what the database said, empty where it
let it pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def main(home: Path) -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from core.models import User
    from governance.services.reviews import add_comment, cast_vote, open_review, recuse, withdraw_review
    from tests.governance.conftest import make_people, make_run
    from tests.governance.signed import signed

    people = make_people()
    for name, of in (("elena2", "elena"), ("amir2", "amir"), ("clara2", "clara"), ("mina2", "mina"), ("tom2", "tom")):
        account = User.objects.create(username=name, merged_into=getattr(people, of))
        setattr(people, name, account)
    review = open_review(run=make_run(people, home), by=people.clara, quorum=3)
    cast_vote(review=review, choice="approve", rationale="Fine.", by=people.mina, signed=signed(people.mina))
    recuse(review=review, person=people.tom, reason="Kin.", by=people.tom)
    add_comment(review=review, text="Why?", by=people.lea)
    closed = open_review(run=make_run(people, home, label="2.0"), by=people.clara)
    withdraw_review(review=closed, reason="Too few.", by=people.clara)
    closed.refresh_from_db()
    scene = SimpleNamespace(people=people, review=review, closed=closed, other=make_run(people, home, label="3.0"))
    sys.stdout.write(json.dumps({name: said(act) for name, act in tries(scene).items()}))


def said(act: Callable[[], Any]) -> str:
    """What the database said; the row is taken back where it said nothing."""
    from django.db import DatabaseError, transaction

    class TakenBackError(Exception):
        pass

    try:
        with transaction.atomic():
            act()
            raise TakenBackError
    except TakenBackError:
        return ""
    except DatabaseError as error:
        return str(error).splitlines()[0]


def tries(scene: SimpleNamespace) -> dict[str, Callable[[], Any]]:
    from governance.models import Comment, Condition, Recusal, Review, Vote

    people, review = scene.people, scene.review

    def vote(by: Any, on: Any = review, **changes: Any) -> Callable[[], Any]:
        parts = {name: getattr(on, name) for name in ("submitter", "runner", "protocol_approver")} | changes
        return lambda: Vote.objects.create(review=on, voter=by, choice="approve", rationale="Around.", **parts)

    def opened(**parts: Any) -> Callable[[], Any]:
        run = scene.other
        given = {"submitter": people.elena, "runner": people.amir, "protocol_approver": people.clara} | parts
        return lambda: Review.objects.create(version=run.version, run=run, opened_by=people.clara, **given)

    def recusal(person: Any) -> Callable[[], Any]:
        facts = {"review": review, "person": person, "reason": "Kin.", "recorded_by": people.clara}
        return lambda: Recusal.objects.create(**facts)

    def condition(**changes: Any) -> Callable[[], Any]:
        facts = {"review": review, "text": "Do it.", "due_at": review.opened_at, "proposed_by": people.mina}
        return lambda: Condition.objects.create(**facts | {"owner": people.elena} | changes)

    met = {"status": "met", "claimed_by": people.dora}
    return {
        "a vote by another": vote(people.lea),
        "the submitter": vote(people.elena),
        "the submitter's second account": vote(people.elena2),
        "the runner's second account": vote(people.amir2),
        "the approver's second account": vote(people.clara2),
        "a second vote": vote(people.mina),
        "a second vote by a second account": vote(people.mina2),
        "the recused": vote(people.tom),
        "the recused by a second account": vote(people.tom2),
        "made-up people": vote(people.lea, submitter=people.dora),
        "a closed review": vote(people.lea, on=scene.closed),
        "a changed vote": lambda: Vote.objects.filter(review=review).update(choice="reject"),
        "a deleted vote": lambda: Vote.objects.filter(review=review).delete(),
        "a review by three": opened(),
        "submitter and runner are one": opened(runner=people.elena2),
        "submitter and approver are one": opened(protocol_approver=people.elena2),
        "runner and approver are one": opened(protocol_approver=people.amir2),
        "a second open review": lambda: Review.objects.create(
            version=review.version, run=review.run, submitter=people.elena, runner=people.amir,
            protocol_approver=people.clara, opened_by=people.clara,
        ),
        "a recusal of another": recusal(people.lea),
        "a recusal after the vote": recusal(people.mina),
        "a recusal after the vote of another account": recusal(people.mina2),
        "a changed recusal": lambda: Recusal.objects.update(reason="None."),
        "a deleted recusal": lambda: Recusal.objects.all().delete(),
        "a changed comment": lambda: Comment.objects.update(text="Nothing."),
        "a deleted comment": lambda: Comment.objects.all().delete(),
        "a condition": condition(),
        "a condition without an owner": condition(owner=None),
        "a condition met by another": condition(confirmed_by=people.lea, **met),
        "a condition that its owner confirms": condition(confirmed_by=people.elena, **met),
        "a condition that its claimer confirms": condition(confirmed_by=people.dora, **met),
        "a condition that nobody confirms": condition(**met),
        "a review withdrawn for no reason": lambda: Review.objects.filter(pk=review.pk).update(status="withdrawn"),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
