"""What the demo shows in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

MARKS = {
    "pass": "[green]✔ pass[/]",
    "fail": "[red]✘ fail[/]",
    "insufficient": "[yellow]? insufficient evidence[/]",
}


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """One finished audit, for the table of verdicts."""

    name: str
    outcome: str
    verdicts: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the main job led to."""

    bundle: Path
    verified: bool
    verification: list[str]
    runs: list[JudgedRun]
    decisions: dict[str, str]
    password: str

    @property
    def verdicts(self) -> dict[str, Any]:
        """For machines: outcome, decision and every criterion of each audit."""
        return {
            run.name: {
                "outcome": run.outcome,
                "decision": self.decisions.get(run.name, "open"),
                "criteria": [
                    {key: item[key] for key in ("criterion", "label", "attribute", "outcome")} for item in run.verdicts
                ],
            }
            for run in self.runs
        }


class Display:
    """Writes to standard error when standard output must stay clean for JSON."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=quiet, highlight=False)
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def finished(self, title: str) -> None:
        """One line for what ended, where no bar can be drawn: in a log file or in continuous integration."""
        if not self.console.is_terminal:
            self.console.print(
                f"   {title}: done after {time.monotonic() - self.started:.0f} s", markup=False, soft_wrap=True
            )

    def warn(self, text: str) -> None:
        self.console.print(f"! {text}", style="yellow", markup=False, soft_wrap=True)

    @contextmanager
    def working(self) -> Iterator[Progress]:
        """A block of progress bars."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            yield progress

    def summary(self, result: DemoResult, *, address: str, seconds: float, peak_bytes: int) -> None:
        """The verdict tables, the decisions, the bundle, and how to sign in."""
        for run in result.runs:
            self._verdict_table(run, result.decisions.get(run.name, "open"))
        self.console.print()
        self.say(f"Signed bundle: {result.bundle}")
        for line in result.verification:
            self.say(f"  {line}")
        self.say("Bundle verified offline." if result.verified else "The bundle does NOT verify.")
        self.say(f"Check it yourself: .venv/bin/auscult verify {result.bundle}")
        self.console.print()
        self.say(f"Finished in {seconds} s; at most {peak_bytes >> 20} MiB of memory in all processes together.")
        self.say(f"Dashboard: {address}")
        from config.demo.people import PEOPLE  # needs Django

        people = Table(
            "User name",
            "Role",
            "Name",
            title=f"Demo users, password: {result.password}",
            title_justify="left",
        )
        for person in PEOPLE:
            people.add_row(person.username, person.role.label, person.name)
        self.console.print(people)

    def _verdict_table(self, run: JudgedRun, decision: str) -> None:
        title = f"{run.name}: {run.outcome.upper()} (committee: {decision})"
        table = Table("Verdict", "Criterion", "What was found", title=title, title_justify="left", show_lines=False)
        for item in run.verdicts:
            name = " · ".join(part for part in (item["criterion"], item["label"], item["attribute"]) if part)
            table.add_row(MARKS[item["outcome"]], name, item["statement"])
        self.console.print()
        self.console.print(table)
