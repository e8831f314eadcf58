"""One link used twice at the same moment, each on a connection of its own, on a database file.

Run as a program with its own AUSCULT_HOME, because the tests' database is in memory and inside one transaction.
Prints one JSON line for each link: who got the file, and what the database and the ledger say afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

ROUNDS = 6


def main(home: Path) -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from governance.services.reviews import open_review
    from tests.governance.conftest import make_people, make_run
    from tests.governance.grant_scene import give, issue

    people = make_people()
    bundle = issue(open_review(run=make_run(people, home), by=people.clara), home, people.clara)
    grant = give(people, bundle)
    for _ in range(ROUNDS):
        sys.stdout.write(json.dumps(one_round(people, grant, bundle)) + "\n")


def one_round(people: object, grant: object, bundle: object) -> dict[str, object]:
    from core import ledger
    from core.models import LedgerEntry
    from governance.services.grants import create_link, use_link

    link, token = create_link(grant=grant, bundle=bundle, by=people.rita)
    barrier, results = threading.Barrier(2), []

    def take() -> None:
        from django.db import connection

        from core.errors import ConflictError

        barrier.wait()
        try:
            with use_link(token=token, by=people.rita).file as file:
                results.append(f"{len(file.read())} bytes")
        except ConflictError as error:
            results.append(error.message)
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    about = f'"link":{link.pk},'
    return {
        "results": sorted(results),
        "downloads": LedgerEntry.objects.filter(act="bundle.downloaded", body__contains=about).count(),
        "refusals": LedgerEntry.objects.filter(act="download.refused", body__contains=about).count(),
        "intact": ledger.verify().intact,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
