"""Two people deploy two versions at one place at the same moment, 60 per cent each, on a database file.

Run as a program with its own AUSCULT_HOME, because the tests' database is in memory and inside one transaction.
Prints one JSON line for each round: who got through, and what the database and the ledger say afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

ROUNDS = 4


def main(home: Path) -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from tests.governance.conftest import make_people
    from tests.governance.deployment_scene import approved

    people = make_people()
    versions = [approved(people, home, "1.0"), approved(people, home, "2.0")]
    for number in range(ROUNDS):
        sys.stdout.write(json.dumps(one_round(people, versions, f"Site {number}")) + "\n")


def one_round(people: Any, versions: list[Any], site: str) -> dict[str, object]:
    from core import ledger
    from core.models import LedgerEntry
    from models_registry.models import Deployment
    from tests.governance.deployment_scene import put

    barrier, results = threading.Barrier(2), []

    def start(version: Any, by: Any) -> None:
        from django.db import connection

        from core.errors import ConflictError

        barrier.wait()
        try:
            put(version, by, site, share=60)
            results.append("started")
        except ConflictError as error:
            results.append("refused" if "60 per cent of the studies" in error.message else error.message)
        finally:
            connection.close()

    pairs = zip(versions, (people.clara, people.lea), strict=True)
    threads = [threading.Thread(target=start, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = Deployment.objects.filter(site=site)
    entries = LedgerEntry.objects.filter(act="deployment.started", subject_id__in=[str(row.pk) for row in rows])
    return {
        "results": sorted(results),
        "shares": sum(row.share for row in rows),
        "started": entries.count(),
        "intact": ledger.verify().intact,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
