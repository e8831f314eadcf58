"""Four threads send the same request with the same key at the same moment, on a database file or a server.

Run as a program with its own AUSCULT_HOME, because the tests' database is in memory and inside one transaction.
Prints one JSON line for each round.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

ROUNDS, SENDERS = 4, 4


def main() -> None:
    import django
    from celery.app.task import Task

    from tests.migrated import migrate

    django.setup()
    migrate()
    Task.apply_async = lambda *_, **__: None
    from core.tokens import issue_token
    from tests.governance.conftest import make_people

    people = make_people()
    secret = issue_token(user=people.elena, name="CI", scopes=["register"], days=1, by=None)[1]
    for number in range(ROUNDS):
        sys.stdout.write(json.dumps(one_round(secret, f"Model {number}")) + "\n")


def one_round(secret: str, name: str) -> dict[str, Any]:
    from django.db import connection
    from django.test import Client

    from core import ledger
    from core.models import LedgerEntry
    from models_registry.models import AISystem

    barrier, answers = threading.Barrier(SENDERS), []
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": name.replace(" ", "-")}
    body = json.dumps({"name": name, "intended_purpose": "Finds effusion."})

    def send() -> Any:
        return Client().post("/api/v1/systems", body, "application/json", headers=headers, SERVER_NAME="localhost")

    def at_once() -> None:
        barrier.wait()
        try:
            answers.append(send())
        finally:
            connection.close()

    threads = [threading.Thread(target=at_once) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [answer for answer in answers if answer.status_code == 201]
    rows = AISystem.objects.filter(name=name)
    entries = LedgerEntry.objects.filter(act="system.registered", subject_id__in=[str(row.pk) for row in rows])
    return {
        "statuses": [answer.status_code for answer in answers],
        "fresh": sum("Idempotency-Replayed" not in answer.headers for answer in made),
        "bodies": len({answer.content for answer in made}),
        "systems": rows.count(),
        "entries": entries.count(),
        "after": send().headers.get("Idempotency-Replayed"),
        "intact": ledger.verify().intact,
    }


if __name__ == "__main__":
    main()
