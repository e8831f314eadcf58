"""Writing a long technical documentation, working out the status of requirements, verifying a bundle of 1 GB.

python -m benchmarks.reports [--json] [--only annex_iv|status|verify] [--measurements 1000000]

- annex_iv: a technical documentation of 120 pages and 60 charts, from evidence and dossier to PDF: judging, charts,
  HTML, layout. Beside it the layout library alone, on the very HTML that came out. By turns.
- verify: what ``benchmarks.verify`` measures.
- status: gathering what is known of a version and judging every requirement, with a million measurements stored.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.result import Target, publish

PARTS = ("annex_iv", "status", "verify")
REPEATS = 3
STATUS_REPEATS = 15
PROSE = " ".join(["A statement as providers write them, with a reason, a reference and what was looked at."] * 36)
"""As many words on each requirement as make the document 120 pages long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=PARTS, help="Measure this part only.")
    parser.add_argument("--measurements", type=int, default=1_000_000)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-"))
    os.environ |= {"AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"}
    try:
        targets: list[Target] = []
        facts: dict[str, Any] = {}
        wanted = [part for part in PARTS if arguments.only in (None, part)]
        version = prepare(arguments.measurements) if wanted != ["verify"] else None
        for part in wanted:
            found, facts[part] = MEASURES[part](version, home)
            targets += found
    finally:
        shutil.rmtree(home, ignore_errors=True)
    publish(targets, as_json=arguments.json, facts=facts)


def prepare(measurements: int) -> Any:
    """A migrated database with years of audits in it; the newest version."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from benchmarks.status_subjects import fill_status_database

    return fill_status_database(measurements=measurements)


def annex_iv(version: Any, home: Path) -> tuple[list[Target], dict[str, Any]]:
    """Seconds of the whole report over those of the renderer, on the same finished document."""
    from benchmarks.report_subjects import long_evidence
    from governance.dossier import gather_dossier
    from governance.reports.base import REPORTS, ReportContext
    from governance.reports.render import render_pdf

    run = version.runs.filter(status="done").latest("pk")
    evidence = long_evidence(version, run.cohort, home)
    dossier = gather_dossier(version, run=run)
    for statement in dossier["statements"]:
        statement["text"] = PROSE
    as_of = run.finished_at
    context = ReportContext(as_of=as_of, issued_by="clara", dossier=dossier)
    kind = REPORTS.get("annex_iv")
    document = kind.build(evidence, context)

    def whole() -> Any:
        return kind.build(evidence, context)

    def bare() -> Any:
        return render_pdf(document.html, name="annex_iv", data=document.data, as_of=as_of)

    pages = bare().count
    times = by_turns({"whole": whole, "bare": bare}, REPEATS)
    ratio = times["whole"] / times["bare"]
    name = f"technical documentation, {pages} pages, {document.html.count('<figure')} charts: over the bare renderer"
    return [Target(name=name, value=ratio, unit="x", op="<=", goal=1.25, peer="WeasyPrint on the finished HTML")], times


def status(version: Any, home: Path) -> tuple[list[Target], dict[str, Any]]:
    """Milliseconds of gathering the dossier and judging all requirements, the first time left out."""
    from django.db import connection, reset_queries

    from evaluation.models import Measurement
    from governance.dossier import gather_dossier
    from governance.statuses import judge

    def both() -> Any:
        return judge(gather_dossier(version))

    both()
    times = by_turns({"gather": lambda: gather_dossier(version), "both": both}, STATUS_REPEATS)
    connection.force_debug_cursor = True
    reset_queries()
    gather_dossier(version)
    queries = len(connection.queries)
    connection.force_debug_cursor = False
    facts = {
        "measurements": Measurement.objects.count(),
        "requirements": len(both().items),
        "queries": queries,
        **{f"{name}_ms": round(1000 * value, 1) for name, value in times.items()},
    }
    name = "status of every requirement of a version"
    return [Target(name=name, value=1000 * times["both"], unit="ms", op="<=", goal=100, peer="none")], facts


def verify(_version: Any, home: Path) -> tuple[list[Target], dict[str, Any]]:
    """Seconds of verifying a bundle of 1 GB over those of ``sha256sum``; see ``benchmarks.verify``."""
    from benchmarks.verify import measure

    return measure(home, gigabytes=1.0)


MEASURES = {"annex_iv": annex_iv, "status": status, "verify": verify}


def by_turns(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median seconds of each side; they take turns, so that whatever else the machine does meets all."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            begin = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
