"""Two people cast the deciding vote at the same moment, each on a connection of their own, on a real database.

Run as a program with its own AUSCULT_HOME (and AUSCULT_DATABASE_URL), because the tests' database is in memory and
inside one transaction. Prints one JSON line for each round: who got through, and what the database and the ledger say
afterwards.

In a round of two opposite votes the first holds its transaction open, with its vote written and the review not yet
decided, until the second has begun to wait for it: so each order is played, not hoped for.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

ROUNDS = 6
ORDERS = (("approve", "reject"), ("reject", "approve"))


def main(home: Path) -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from tests.governance.conftest import make_people, make_run

    people = make_people()
    for number in range(ROUNDS):
        found = one_round(people, make_run(people, home, label=f"1.{number}"))
        sys.stdout.write(json.dumps(found) + "\n")
    for number, choices in enumerate(ORDERS):
        found = one_order(people, make_run(people, home, label=f"2.{number}"), choices)
        sys.stdout.write(json.dumps(found) + "\n")


def one_round(people: Any, run: Any) -> dict[str, object]:
    """Both approve; whoever comes first closes the review."""
    from governance.services.reviews import cast_vote, open_review
    from tests.governance.signed import signed

    review = open_review(run=run, by=people.clara)
    cast_vote(review=review, choice="approve", rationale="First.", by=people.mina, signed=signed(people.mina))
    barrier, results = threading.Barrier(2), {}
    threads = [
        threading.Thread(target=vote, args=(review, getattr(people, name), "approve", results, barrier.wait))
        for name in ("tom", "lea")
    ]
    return told(review, threads, results)


def one_order(people: Any, run: Any, choices: tuple[str, str]) -> dict[str, object]:
    """One more vote of either kind would decide; the first of two opposite ones is inside when the second begins."""
    from core.models import Role, RoleGrant, User
    from governance.services import reviews
    from governance.services.reviews import cast_vote, open_review
    from tests.governance.signed import signed

    members = [User.objects.get_or_create(username=name)[0] for name in ("nora", "otto")]
    for member in members:
        RoleGrant.objects.get_or_create(user=member, role=Role.COMMITTEE_MEMBER)
    review = open_review(run=run, by=people.clara)
    for member, choice in zip(members, ("approve", "reject"), strict=True):
        cast_vote(review=review, choice=choice, rationale="Early.", by=member, signed=signed(member))
    inside, begun, results = threading.Event(), threading.Event(), {}
    decide = reviews.decide

    def held(*args: Any, **given: Any) -> Any:
        if not inside.is_set():
            inside.set()
            begun.wait(10)
            somebody_waits()
        return decide(*args, **given)

    reviews.decide = held
    try:
        second_goes: Any = lambda: (inside.wait(10), begun.set())  # noqa: E731
        threads = [
            threading.Thread(target=vote, args=(review, people.tom, choices[0], results, lambda: None)),
            threading.Thread(target=vote, args=(review, people.lea, choices[1], results, second_goes)),
        ]
        return told(review, threads, results)
    finally:
        reviews.decide = decide


def somebody_waits() -> None:
    """Go on when another transaction waits for a lock. SQLite does not tell; it lets one writer in at a time."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        waiting = 0
        for _ in range(100_000):
            if waiting:
                break
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            waiting = cursor.fetchone()[0]
    assert waiting, "the second vote never waited for the first"


def vote(review: Any, person: Any, choice: str, results: dict[str, str], ready: Any) -> None:
    from django.db import connection

    from core.errors import ConflictError
    from governance.services.reviews import cast_vote
    from tests.governance.signed import signed

    ready()
    try:
        cast_vote(review=review, choice=choice, rationale="Deciding.", by=person, signed=signed(person))
        results[person.username] = "counted"
    except ConflictError as error:
        results[person.username] = error.message
    finally:
        connection.close()


def told(review: Any, threads: list[threading.Thread], results: dict[str, str]) -> dict[str, object]:
    from core import ledger
    from core.models import LedgerEntry

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    review.refresh_from_db()
    acts = LedgerEntry.objects.filter(subject_kind="Review", subject_id=str(review.pk))
    return {
        "results": sorted(results.values()),
        "by": sorted(name for name, said in results.items() if said == "counted"),
        "votes": review.votes.count(),
        "status": review.status,
        "version": review.version.status,
        "decided": acts.filter(act="review.decided").count(),
        "refused": acts.filter(act="vote.refused").count(),
        "intact": ledger.verify().intact,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
