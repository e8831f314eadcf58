"""Two people cast the deciding vote at the same moment, each on a connection of their own, on a database file.

Run as a program with its own AUSCULT_HOME, because the tests' database is in memory and inside one transaction.
Prints one JSON line for each review: who got through, and what the database and the ledger say afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

ROUNDS = 6


def main(home: Path) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from tests.governance.conftest import make_people, make_run

    people = make_people()
    for number in range(ROUNDS):
        found = one_round(people, make_run(people, home, label=f"1.{number}"))
        sys.stdout.write(json.dumps(found) + "\n")


def one_round(people: object, run: object) -> dict[str, object]:
    from core import ledger
    from core.models import LedgerEntry
    from governance.services.reviews import cast_vote, open_review

    review = open_review(run=run, by=people.clara)
    cast_vote(review=review, choice="approve", rationale="First.", by=people.mina)
    barrier, results = threading.Barrier(2), {}

    def vote(name: str) -> None:
        from django.db import connection

        from core.errors import ConflictError

        barrier.wait()
        try:
            cast_vote(review=review, choice="approve", rationale="Deciding.", by=getattr(people, name))
            results[name] = "counted"
        except ConflictError as error:
            results[name] = error.message
        finally:
            connection.close()

    threads = [threading.Thread(target=vote, args=[name]) for name in ("tom", "lea")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    review.refresh_from_db()
    decided = LedgerEntry.objects.filter(act="review.decided", subject_id=str(review.pk)).count()
    return {
        "results": sorted(results.values()),
        "votes": review.votes.count(),
        "status": review.status,
        "decided": decided,
        "intact": ledger.verify().intact,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
