"""Two workers tell the same people of the same event at the same moment, and deliver the same mail, on a database file.

Run as a program with its own AUSCULT_HOME, because the tests' database is in memory and inside one transaction.
Prints one JSON line for each round: how many were told, which rows there are, and how many mails went out.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

ROUNDS = 4


def at_once(act: Callable[[], object]) -> list[object]:
    """What two threads get that begin together, each on a connection of its own."""
    from django.db import connection

    barrier, results = threading.Barrier(2), []

    def run() -> None:
        barrier.wait()
        try:
            results.append(act())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main() -> None:
    import django

    from tests.migrated import migrate

    django.setup()
    migrate()
    from django.conf import settings
    from django.db import transaction

    from core import mail, tasks
    from core.models import Notification, Topic, User
    from core.notifications import notify

    people = [User.objects.create(username=name, email=f"{name}@example.org") for name in ("anna", "ben", "cleo")]
    tasks.deliver.delay = lambda pk: None
    for number in range(ROUNDS):

        def tell(key: str = f"clock:{number}:half") -> int:
            with transaction.atomic():
                return notify(to=people, topic=Topic.INCIDENTS, title="Half", key=key, urgency="urgent")

        told = sum(at_once(tell))
        row = Notification.objects.filter(key=f"clock:{number}:half").first()
        folder = Path(settings.EMAIL_FILE_PATH)
        before = len(list(folder.glob("*"))) if folder.exists() else 0
        delivered = at_once(lambda pk=row.pk: mail.deliver_notification(pk).value)
        rows = Notification.objects.filter(key=f"clock:{number}:half").count()
        mails = len(list(folder.glob("*"))) - before
        sys.stdout.write(
            json.dumps({"told": told, "rows": rows, "delivered": sorted(delivered), "mails": mails}) + "\n"
        )


if __name__ == "__main__":
    main()
