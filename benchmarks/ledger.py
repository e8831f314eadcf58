"""What the ledger costs: appending beside the act itself, verifying, and proving, up to a million entries.

Entries are put in many at a time, as the tables would hold them; then acts are done by turns without and with an
entry, each in a transaction of its own, at 1,000, 10,000, 100,000 and 1,000,000 entries. The database is SQLite in a
folder that is removed at the end, or the empty PostgreSQL that ``AUSCULT_DATABASE_URL`` names.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from benchmarks.result import Target, publish

ACTS = ("run.requested", "run.judged", "version.registered", "vote.cast", "protocol.approved", "report.issued")
BLOCK = 10_000


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """At how many entries it is measured, and how often."""

    stages: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    acts: int = 400
    proofs: int = 200


QUICK = Sizes(stages=(100, 1_000, 5_000), acts=20, proofs=10)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, measures nothing")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="auscult-ledger-") as home:
        os.environ.update(AUSCULT_HOME=home, DJANGO_SETTINGS_MODULE="config.settings")
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        targets, facts = measure(QUICK if asked.quick else Sizes())
        from django.db import connection

        connection.close()
    publish(targets, as_json=asked.json, facts=facts)


def measure(sizes: Sizes) -> tuple[list[Target], dict[str, Any]]:
    from django.db import connection

    from core.models import LedgerEntry

    if LedgerEntry.objects.exists():
        sys.exit("The database has entries already: give an empty one, since entries cannot be removed.")
    over: dict[int, float] = {}
    facts: dict[str, Any] = {"database": connection.vendor}
    for size in sizes.stages:
        facts[f"seconds_to_fill_to_{size}"] = round(_timed(partial(fill, size)), 2)
        _act_by_turns(20)
        alone, recorded = _act_by_turns(sizes.acts)
        over[size] = 1000 * (statistics.median(recorded) - statistics.median(alone))
        facts[f"act_alone_ms_at_{size}"] = round(1000 * statistics.median(alone), 3)
        facts[f"append_over_act_ms_at_{size}"] = round(over[size], 3)
        facts[f"record_call_ms_at_{size}"] = round(1000 * statistics.median(_record_alone(sizes.acts)), 3)
    largest = sizes.stages[-1]
    inclusion, consistency = _proofs(sizes.proofs)
    seconds = _timed(_verify)
    peer = "the same act without an entry"
    return [
        Target(name=f"appending over the act at {largest:,} entries", value=over[largest], unit="ms", op="<=", goal=2.0,
               peer=peer),
        Target(name="growth exponent of appending over the act", value=slope(over), unit="", op="<=", goal=0.1,
               peer=f"{sizes.stages[0]:,} entries"),
        Target(name=f"verifying {largest:,} entries", value=seconds, unit="s", op="<=", goal=30.0, peer="nothing"),
        Target(name="an inclusion proof", value=inclusion, unit="ms", op="<=", goal=20.0, peer="nothing"),
        Target(name="a consistency proof", value=consistency, unit="ms", op="<=", goal=20.0, peer="nothing"),
    ], facts  # fmt: skip


def fill(size: int) -> None:
    """Bring the ledger to this size, in the very form that ``record`` writes, many entries at a time."""
    from django.db import transaction

    from core.models import LedgerHead

    with transaction.atomic():
        head, _ = LedgerHead.objects.get_or_create(pk=1)
    frontier = Frontier.at(head.size)
    for start in range(head.size, size, BLOCK):
        with transaction.atomic():
            _put(start, min(start + BLOCK, size), frontier)
    _analyse()


def _analyse() -> None:
    """What PostgreSQL does by itself after a while; SQLite has no need."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _put(start: int, stop: int, frontier: Frontier) -> None:
    from django.db import connection

    from core.models import LedgerHead

    begin = datetime.now(UTC)
    rows = list(_rows(start, stop, begin))
    nodes = [node for row in rows for node in frontier.add(bytes.fromhex(row[-1]))]
    entry = (
        'INSERT INTO core_ledgerentry ("index", recorded_at, actor, act, subject_kind, subject_id, body, leaf_hash) '
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
    )
    with connection.cursor() as cursor:
        cursor.executemany(entry, rows)
        cursor.executemany("INSERT INTO core_ledgernode (level, position, node_hash) VALUES (%s, %s, %s)", nodes)
    LedgerHead.objects.filter(pk=1).update(size=stop, recorded_at=begin)


def _rows(start: int, stop: int, begin: datetime) -> Iterator[tuple[Any, ...]]:
    from django.db import connection

    from core import merkle
    from core.digests import canonical_json

    for index in range(start, stop):
        moment = begin + timedelta(microseconds=index - start)
        actor, act = f"person{index % 40}", ACTS[index % len(ACTS)]
        digest = sha256(str(index).encode()).hexdigest()
        body = canonical_json(
            {
                "index": index, "recorded_at": moment.isoformat(), "actor": actor, "act": act,
                "subject_kind": "AuditRun", "subject_id": str(index // 8),
                "payload": {"digest": digest, "protocol": index % 97, "status": "done"},
            }
        )  # fmt: skip
        shown = str(moment.replace(tzinfo=None)) if connection.vendor == "sqlite" else moment
        leaf = merkle.leaf_hash(body).hex()
        yield index, shown, actor, act, "AuditRun", str(index // 8), body.decode(), leaf


class Frontier:
    """The full subtrees that are open to the right, lowest last."""

    def __init__(self, size: int, peaks: list[bytes]) -> None:
        self.size, self.peaks = size, peaks

    @classmethod
    def at(cls, size: int) -> Frontier:
        from core.models import LedgerNode

        peaks, begin = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                value = LedgerNode.objects.get(level=level, position=begin >> level).node_hash
                peaks.append(bytes.fromhex(value))
                begin += 1 << level
        return cls(size, peaks)

    def add(self, leaf: bytes) -> Iterator[tuple[int, int, str]]:
        from core import merkle

        level, position, current = 0, self.size, leaf
        yield level, position, current.hex()
        while position % 2 == 1:
            current = merkle.node_hash(self.peaks.pop(), current)
            level, position = level + 1, position >> 1
            yield level, position, current.hex()
        self.peaks.append(current)
        self.size += 1


def _act(number: int, *, recorded: bool) -> None:
    """A small act: one row, with or without its entry."""
    from django.db import transaction

    from core import ledger
    from core.models import LedgerReader

    with transaction.atomic():
        LedgerReader.objects.create(name=f"act {number}")
        if recorded:
            payload = {"digest": sha256(str(number).encode()).hexdigest(), "status": "done"}
            ledger.record(actor="person1", act="run.judged", subject=("AuditRun", number), payload=payload)


def _act_by_turns(count: int) -> tuple[list[float], list[float]]:
    """Seconds of each act, without and with its entry."""
    alone, recorded = [], []
    for _ in range(count):
        base = time.time_ns()
        alone.append(_timed(partial(_act, base, recorded=False)))
        recorded.append(_timed(partial(_act, base + 1, recorded=True)))
    return alone, recorded


def _record_alone(count: int) -> list[float]:
    """Seconds of the call itself, without the commit."""
    from django.db import transaction

    from core import ledger

    def once() -> None:
        ledger.record(actor="person1", act="run.judged", subject=("AuditRun", 1), payload={"status": "done"})

    seconds = []
    for _ in range(count):
        with transaction.atomic():
            seconds.append(_timed(once))
    return seconds


def _proofs(count: int) -> tuple[float, float]:
    """Milliseconds of a proof of each kind, each checked."""
    from core import ledger, merkle

    size = ledger.tree_head().size
    places = [size * step // count for step in range(count)]
    inclusion = [_timed(partial(ledger.prove_inclusion, place)) for place in places]
    consistency = [_timed(partial(ledger.prove_consistency, place)) for place in places[1:]]
    proof = ledger.prove_inclusion(places[-1])
    leaf, path = merkle.leaf_hash(proof.entry.encode()), [bytes.fromhex(node) for node in proof.path]
    if not merkle.verify_inclusion(proof.index, size, leaf, path, bytes.fromhex(proof.head.root)):
        sys.exit("The proof does not hold.")
    return 1000 * statistics.median(inclusion), 1000 * statistics.median(consistency)


def _verify() -> None:
    from core import ledger

    found = ledger.verify()
    if not found.intact:
        sys.exit(f"The ledger that was filled does not verify: {found.problem}")


def slope(values: dict[int, float]) -> float:
    """The exponent by which the values grow with the size: the slope of the line through their logarithms."""
    pairs = [(math.log(size), math.log(max(value, 1e-6))) for size, value in values.items()]
    return statistics.linear_regression([x for x, _ in pairs], [y for _, y in pairs]).slope


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
