"""The ledger on PostgreSQL, run as a program with its own ``AUSCULT_DATABASE_URL``; prints what happened as JSON."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

COUNT, WRITERS = 40, 4
REFUSED = {
    "update an entry": "UPDATE core_ledgerentry SET actor = 'anna' WHERE \"index\" = 1",
    "delete an entry": 'DELETE FROM core_ledgerentry WHERE "index" = 1',
    "truncate the entries": "TRUNCATE core_ledgerentry",
    "update a hash": "UPDATE core_ledgernode SET node_hash = 'x' WHERE level = 0",
    "delete a hash": "DELETE FROM core_ledgernode WHERE level = 0",
    "truncate the hashes": "TRUNCATE core_ledgernode",
    "update a signed head": "UPDATE core_signedhead SET root = 'x'",
    "delete a signed head": "DELETE FROM core_signedhead",
    "truncate the signed heads": "TRUNCATE core_signedhead",
    "make the ledger smaller": "UPDATE core_ledgerhead SET size = size - 1",
    "delete its head": "DELETE FROM core_ledgerhead",
}
TAMPERED = {
    "actor": "UPDATE core_ledgerentry SET actor = 'anna' WHERE \"index\" = 4",
    "recorded_at": "UPDATE core_ledgerentry SET recorded_at = recorded_at + interval '1 us' WHERE \"index\" = 4",
    "no moment": "UPDATE core_ledgerentry SET recorded_at = 'infinity' WHERE \"index\" = 4",
    "body": "UPDATE core_ledgerentry SET body = replace(body, 'amir', 'anna') WHERE \"index\" = 4",
    "deleted": 'DELETE FROM core_ledgerentry WHERE "index" = 4',
    "hash": "UPDATE core_ledgernode SET node_hash = 'x' WHERE level = 2 AND position = 1",
    "stray": "INSERT INTO core_ledgernode (level, position, node_hash) VALUES (60, 0, 'x')",
    "size": "UPDATE core_ledgerhead SET size = 4611686018427387904",
}


def main() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from core import heads, verification
    from core.selectors import Search, entry_page, words_recorded

    told: dict[str, Any] = {"raised": together(), "at_once": COUNT}
    told["signed"] = heads.sign_head().size
    record(1)
    told["signed_again"] = heads.sign_head().size
    check = verification.verify_all()
    told |= {"problems": list(check.problems), "entries": check.entries, "heads": check.heads}
    told["refused"] = [name for name, sql in REFUSED.items() if is_refused(sql)]
    told["found"] = {name: after(sql) for name, sql in TAMPERED.items()}
    page = entry_page(Search(act="thing.done", words="amir", subject_kind="Thing"), before=30)
    told["page"] = [page.entries[0].index, page.newer]
    told["different"] = list(words_recorded())
    told["intact"] = verification.verify_all().intact
    sys.stdout.write(json.dumps(told))


def record(count: int) -> None:
    from django.db import transaction

    from core import ledger

    for number in range(count):
        with transaction.atomic():
            ledger.record(actor="amir", act="thing.done", subject=("Thing", number))


def together() -> list[str]:
    """Several writers at once, each on a connection of its own: nobody fails, and no number is given twice."""
    from django.db import connection

    raised: list[str] = []

    def write() -> None:
        try:
            record(COUNT // WRITERS)
        except Exception as error:  # noqa: BLE001 - told to the test
            raised.append(repr(error))
        finally:
            connection.close()

    record(0)
    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def is_refused(sql: str) -> bool:
    from django.db import DatabaseError, connection, transaction

    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    except DatabaseError:
        return True
    return False


def after(sql: str) -> list[str]:
    """What verification finds after somebody with all rights has done this; then it is taken back."""
    from django.db import connection, transaction

    from core import ledger

    tables = ("core_ledgerentry", "core_ledgernode", "core_ledgerhead")
    with transaction.atomic():
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(sql)
        problems = list(ledger.verify().problems)
        transaction.set_rollback(True)
    return problems


if __name__ == "__main__":
    main()
