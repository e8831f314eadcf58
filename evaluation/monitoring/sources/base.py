"""What a source is: it says whether its settings make sense, and brings what is new as files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from core.errors import AuscultError, CohortError
from core.registry import Registry
from evaluation.monitoring.findings import Finding
from models_registry.cohorts import Mapping as Columns

VARIABLE = re.compile(r"AUSCULT_SOURCE_[A-Z0-9_]{1,60}")
LONGEST_LOOKBACK = 24 * 366
DEFAULT_LOOKBACK = 24 * 7


class SourceError(AuscultError):
    """Data that cannot be had now, or a source that is described wrongly. ``column`` names the setting."""


class OnItsWayError(Exception):
    """Data are being made or written: look again later.

    Args:
        seconds: When.
        progress: What the source needs then, such as the address of an export. Nothing secret.
        dispensable: Whether the window may be collected without them after some waiting.
        remedy: What to do where they do not come.
    """

    def __init__(
        self,
        told: str,
        *,
        seconds: int,
        progress: dict[str, Any] | None = None,
        dispensable: bool = False,
        remedy: str = "See what writes to it without an end, or use marks.",
    ) -> None:
        super().__init__(told)
        self.told, self.seconds, self.dispensable, self.remedy = told, seconds, dispensable, remedy
        self.progress = progress or {}


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A file that came.

    Attributes:
        name: For people: a file's name, or what was asked for.
        digest: SHA-256 of what came: the same content is taken once.
        state: Size and time of change when it was hashed, for a file that others may still write; None for our own.
        findings: What the source itself found odd.
        fault: Why it cannot be read at all; it is then refused, and nothing else waits for it.
    """

    name: str
    digest: str
    path: Path
    mapping: Columns
    state: tuple[int, int] | None = None
    findings: tuple[Finding, ...] = ()
    fault: CohortError | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be brought.

    Attributes:
        settings: The monitor's ``source``, as :meth:`Source.check` gave it.
        opens_at, closes_at: The window that waits for it, UTC.
        columns: Those of the reference: a source that makes its columns itself makes no others.
        scratch: A folder for what is written on the way; the caller removes it.
        progress: What an earlier :class:`OnItsWayError` left.
        known: Digests of what was taken before.
        taken_at: Name -> when a file of that name was last taken.
        alive: To be called now and then in long work; it keeps the claim on the window.
    """

    settings: dict[str, Any]
    opens_at: datetime
    closes_at: datetime
    zone: str
    scratch: Path
    columns: tuple[str, ...] = ()
    progress: dict[str, Any] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    taken_at: Mapping[str, datetime] = field(default_factory=dict)
    alive: Callable[[], None] = lambda: None


class Source(Protocol):
    """A kind of source.

    Attributes:
        repeats: Whether it brings studies of earlier windows again by itself, so that this means nothing.
    """

    repeats: bool

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        """The settings, complete and in one form. Touches no network.

        Raises:
            SourceError: naming the setting that is wrong in ``column``.
        """
        ...

    def gives(self, settings: dict[str, Any]) -> tuple[str, ...] | None:
        """Every column that it can ever bring; None where the data decide."""
        ...

    def pull(self, job: Job) -> Iterator[Arrived]:
        """What is new, file by file.

        Raises:
            SourceError: it cannot be read now.
            OnItsWayError: it is not complete yet; what was given before counts.
        """
        ...


SOURCES: Registry[Source] = Registry(kind="source", package="evaluation.monitoring.sources", group="auscult.sources")


def check_keys(
    given: dict[str, Any], allowed: Mapping[str, type | tuple[type, ...]], required: tuple[str, ...]
) -> None:
    """Whether the settings have known names, the right kinds of values, and everything that is needed.

    Raises:
        SourceError: naming the first that is not.
    """
    for name, value in given.items():
        if name not in allowed:
            raise wrong(str(name)[:40], "This setting is not known", f"Use some of: {', '.join(allowed)}.")
        if not isinstance(value, allowed[name]) or (isinstance(value, bool) and allowed[name] is int):
            raise wrong(name, "It is of the wrong kind", "See docs/drift/sources.md for what belongs into it.")
    for name in required:
        if given.get(name) in (None, ""):
            raise wrong(name, "It is missing", "A source of this kind needs it.")


def wrong(setting: str, what: str, remedy: str) -> SourceError:
    """That a setting cannot be used."""
    return SourceError(f"source, {setting}: {what}.", remedy=remedy, column=setting)


def columns_of(given: dict[str, Any], *, images: bool = False) -> Columns:
    """The mapping among the settings. Where the sender is elsewhere, no path of theirs may reach this machine's files.

    Raises:
        CohortError: it is none.
        SourceError: it names a folder of images.
    """
    mapping = Columns.from_dict(given.get("mapping") or {}, source="source, mapping")
    if mapping.image_root is not None and not images:
        raise wrong("mapping", "'image_root' means something for a drop folder alone", "Take it out.")
    return mapping


def check_variable(given: dict[str, Any], name: str) -> None:
    """Whether a setting names an environment variable made for sources: else any secret of the worker could be named.

    Raises:
        SourceError: it does not.
    """
    if given.get(name) is not None and not VARIABLE.fullmatch(given[name]):
        raise wrong(name, "It must name an environment variable that begins with AUSCULT_SOURCE_",
                    "Let the operator set one for the workers.")  # fmt: skip


def variable(settings: dict[str, Any], name: str) -> str:
    """What stands in the environment variable that a setting names. It is never part of a message.

    Raises:
        SourceError: it is not set for this process.
    """
    value = os.environ.get(settings[name], "").strip()
    if not value:
        raise wrong(name, f"The environment variable {settings[name]} is not set here",
                    "Let the operator set it for the workers, and restart them.")  # fmt: skip
    return value


def lookback_of(given: dict[str, Any]) -> int:
    """Hours before a window that are looked at again for studies that came late.

    Raises:
        SourceError: not 0 to about a year.
    """
    hours = given.get("lookback_hours", DEFAULT_LOOKBACK)
    if not 0 <= hours <= LONGEST_LOOKBACK:
        raise wrong("lookback_hours", f"It is not between 0 and {LONGEST_LOOKBACK:,}", "Give a number of hours.")
    return int(hours)


def file_state(path: Path) -> tuple[int, int]:
    """Size and time of change, to see whether somebody writes."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns
