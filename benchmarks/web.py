"""The speed of the pages as they are used, in an installation after years of use.

python -m benchmarks.web [--runs 10000] [--measurements 5000000] [--rate 20] [--each 30] [--json] [--out FILE]

gunicorn as docs/operations.md gives it, PostgreSQL and Redis run on free ports. Every address of the house is asked
for by signed-in people of several roles, in an open loop: whether or not the answers keep up. Time is taken in
the server, around the whole application, by ``benchmarks.web_wsgi``; what a request waited before is told beside.
Chromium measures what moves while a page loads, and what a first visit transfers. A small try:
``--runs 200 --measurements 50000 --versions 60 --deployments 10 --each 2``. ``--database`` and ``--home`` name places
that are kept: an empty database is filled, a full one is measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import web_servers
from benchmarks.result import Target, machine, publish

WARM = 3
"""Requests of each address before it is measured: workers read templates, catalogues and libraries when first asked."""
MOST_MS, MOST_QUERIES, MOST_BYTES, MOST_SHIFT = 120.0, 12, 150_000, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--measurements", type=int, default=5_000_000)
    parser.add_argument("--versions", type=int, default=400)
    parser.add_argument("--deployments", type=int, default=60)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--each", type=int, default=30, help="requests of each address")
    parser.add_argument("--only", default="", help="names of addresses, with commas between them")
    parser.add_argument("--no-browser", action="store_true", help="leave out what Chromium measures")
    parser.add_argument("--database", default="", help="postgresql://..., as a superuser; kept")
    parser.add_argument("--home", type=Path, help="home folder of the installation; kept")
    parser.add_argument("--out", type=Path, help="file for every figure as JSON")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        home = arguments.home or Path(tempfile.mkdtemp(prefix="auscult-bench-"))
        if not arguments.home:
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        home.mkdir(parents=True, exist_ok=True)
        targets, facts = measure(home.resolve(), arguments, stack)
    publish(targets, as_json=arguments.json, facts=facts)


def measure(home: Path, arguments: argparse.Namespace, stack: ExitStack) -> tuple[list[Target], dict[str, Any]]:
    """Start the servers, fill the database if it is empty, ask for every address, look with Chromium."""
    own = {
        "AUSCULT_HOME": str(home),
        "AUSCULT_DATABASE_URL": stack.enter_context(web_servers.database(arguments.database)),
        "AUSCULT_REDIS_URL": stack.enter_context(web_servers.broker(home)),
    }
    os.environ.update(own, DJANGO_SETTINGS_MODULE="config.settings")
    facts = _prepare(arguments)
    from benchmarks import web_browser, web_load
    from benchmarks.web_addresses import every_address

    asked = every_address()
    if arguments.only:
        asked = [item for item in asked if item.name in arguments.only.split(",")]
    cookies = web_load.sessions()
    address, log = stack.enter_context(web_servers.web(home, own))
    web_load.open_loop(address, asked, cookies, each=WARM, rate=min(arguments.rate, 10.0))
    first = {item.asked.title: round(max(item.ms), 1) for item in web_load.read(log, asked) if item.ms}
    begin = time.monotonic()
    load = os.getloadavg()[0]
    web_load.open_loop(address, asked, cookies, each=arguments.each, rate=arguments.rate)
    facts |= {"seconds": round(time.monotonic() - begin, 1), "load_before_and_after": [load, os.getloadavg()[0]]}
    found = web_load.read(log, asked)
    rows = [_row(item) | {"first_ms": first.get(item.asked.title)} for item in found]
    _table(rows, file=sys.stderr)
    shown = {} if arguments.no_browser else web_browser.look(address, cookies, asked)
    if arguments.out:
        everything = {"machine": machine(), "facts": facts, "addresses": rows, "browser": shown}
        arguments.out.write_text(json.dumps(everything, indent=1))
    return _targets(found, shown), facts | {"browser": shown}


def _prepare(arguments: argparse.Namespace) -> dict[str, Any]:
    """A migrated, full database; what is in it."""
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks.web_house import Sizes, fill
    from core.models import LedgerEntry
    from evaluation.models import AuditRun, Measurement

    call_command("migrate", verbosity=0)
    sizes = Sizes(runs=arguments.runs, measurements=arguments.measurements, versions=arguments.versions,
                  deployments=arguments.deployments)  # fmt: skip
    begin = time.monotonic()
    if not AuditRun.objects.exists():
        fill(sizes)
    kinds = {"audits": AuditRun, "measurements": Measurement, "ledger entries": LedgerEntry}
    counts = {name: kind._default_manager.count() for name, kind in kinds.items()}
    return {"sizes": asdict(sizes), "there": counts, "seconds_to_fill": round(time.monotonic() - begin, 1)}


def _row(item: Any) -> dict[str, Any]:
    told = {f"p{share}": round(item.quantile(share / 100), 1) for share in (50, 95, 99)}
    middle = sorted(item.db_ms)[len(item.db_ms) // 2] if item.db_ms else None
    return {
        "title": item.asked.title, "kind": item.asked.kind, "address": item.asked.address, "n": len(item.ms), **told,
        "db_p50": middle, "queries": max(item.queries, default=0), "queries_again": min(item.queries, default=0),
        "bytes": item.size, "wrong": item.wrong[:1],
        "waited_p95": round(sorted(item.waited_ms)[int(0.95 * len(item.waited_ms))], 1) if item.waited_ms else None,
    }  # fmt: skip


def _table(rows: Sequence[dict[str, Any]], *, file: Any) -> None:
    """Slowest first."""
    print(f"{'page':58} {'p50':>7} {'p95':>7} {'p99':>7} {'db':>6} {'asks':>4} {'kB':>7}", file=file)
    for row in sorted(rows, key=lambda row: -row["p95"]):
        marks = ("" if row["kind"] == "page" else f" [{row['kind']}]") + (f" {row['wrong']}" if row["wrong"] else "")
        numbers = f"{row['p50']:7.1f} {row['p95']:7.1f} {row['p99']:7.1f} {row['db_p50'] or 0:6.1f}"
        print(f"{row['title'] + marks:58} {numbers} {row['queries']:4} {row['bytes'] / 1000:7.1f}", file=file)


def _targets(found: Sequence[Any], shown: dict[str, Any]) -> list[Target]:
    pages = [item for item in found if item.asked.kind == "page"]
    slowest = max(pages, key=lambda item: item.quantile(0.95))
    asking = max(pages, key=lambda item: max(item.queries, default=0))
    wrong = [item.asked.title for item in found if item.wrong or not item.ms]
    targets = [
        Target(name=f"p95 of the slowest of {len(pages)} pages: {slowest.asked.title}", value=slowest.quantile(0.95),
               unit="ms", op="<=", goal=MOST_MS, peer="none"),
        Target(name="pages whose p95 is above that", unit="", op="<=", goal=0, peer="none",
               value=sum(item.quantile(0.95) > MOST_MS for item in pages)),
        Target(name=f"most queries of a page: {asking.asked.title}", value=max(asking.queries, default=0), unit="",
               op="<=", goal=MOST_QUERIES, peer="none"),
        Target(name="pages that ask more when nothing of them is kept", unit="", op="<=", goal=0, peer="none",
               value=sum(max(item.queries, default=0) > MOST_QUERIES for item in pages)),
        Target(name="pages that ask more, though somebody looked since the last act", unit="", op="<=", goal=0,
               peer="none",
               value=sum(min(item.queries, default=0) > MOST_QUERIES for item in pages)),
        Target(name=f"addresses that did not answer with 200: {', '.join(wrong) or 'none'}", value=len(wrong), unit="",
               op="<=", goal=0, peer="none"),
    ]  # fmt: skip
    if shown:
        targets += [
            Target(name="bytes of a first visit to the first page", value=shown["first_visit"]["bytes"], unit="B",
                   op="<=", goal=MOST_BYTES, peer="none"),
            Target(name="largest layout shift of the main pages", value=max(shown["shifts"].values()), unit="",
                   op="<=", goal=MOST_SHIFT, peer="none"),
        ]  # fmt: skip
    return targets


if __name__ == "__main__":
    main()
