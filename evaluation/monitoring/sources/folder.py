"""A drop folder: each file that somebody has finished writing is taken once, and left where it lies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.digests import sha256_file
from core.errors import CohortError
from evaluation.monitoring.sources.base import (
    SOURCES,
    Arrived,
    Job,
    OnItsWayError,
    SourceError,
    check_keys,
    columns_of,
    file_state,
    wrong,
)
from evaluation.monitoring.sources.rows import ndjson_rows, write_rows
from models_registry.cohorts import Mapping
from models_registry.places import check_readable_from_pages

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq", ".ndjson", ".jsonl")
LINES = (".ndjson", ".jsonl")
MARK = ".done"
SETTLE_SECONDS, LONGEST_SETTLE = 60, 86_400
CLOCKS_APART = timedelta(hours=1)
"""By how much the clock of a file server may differ from ours."""


class Folder:
    """Settings: ``path``; ``mapping``; ``settle_seconds`` for which a file must not have changed; ``marks``: take a
    file once there is an empty file beside it of the same name and ``.done``."""

    repeats = False

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        check_keys(given, {"path": str, "mapping": dict, "settle_seconds": int, "marks": bool}, ("path",))
        path = Path(given["path"])
        if not path.is_absolute() or "\0" in given["path"]:
            raise wrong("path", "It is not a path from the root", "Give the folder's whole path on the server.")
        check_readable_from_pages(path)
        if not path.is_dir():
            raise wrong("path", "There is no such folder on the server", "Make it, or check the path.")
        settle = given.get("settle_seconds", SETTLE_SECONDS)
        if not 0 <= settle <= LONGEST_SETTLE:
            raise wrong("settle_seconds", f"It is not between 0 and {LONGEST_SETTLE:,}", "Give a number of seconds.")
        mapping = columns_of(given, images=True)
        check_readable_from_pages(path / (mapping.image_root or "."))
        return {"path": str(path), "mapping": mapping.to_dict(), "settle_seconds": settle,
                "marks": given.get("marks", False)}  # fmt: skip

    def gives(self, settings: dict[str, Any]) -> tuple[str, ...] | None:
        return None

    def pull(self, job: Job) -> Iterator[Arrived]:
        folder = Path(job.settings["path"])
        check_readable_from_pages(folder)
        mapping = Mapping.from_dict(job.settings["mapping"])
        unsettled = closed = 0
        for path in _files(folder):
            try:
                settled = _taken(path, job) or _settled(path, job.settings)
                job.alive()
                unsettled += not settled
                if settled and not _taken(path, job):
                    yield from _new(path, mapping, job)
            except PermissionError:
                # What others may read is read; the rest is waited for, and at last told of.
                closed += 1
            except OSError as error:
                raise _unreadable(error) from error
        if unsettled:
            raise _on_its_way(unsettled, job.settings)
        if closed:
            raise _closed(closed, job.settings)


def _files(folder: Path) -> list[Path]:
    """Files that may be deliveries, the oldest first. Links are not followed, and hidden files belong to others."""
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.name.lower().endswith(SUFFIXES) and not path.name.startswith((".", "~"))
            if not path.is_symlink() and path.is_file()
        ]
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
    except OSError as error:
        raise _unreadable(error) from error


def _on_its_way(files: int, settings: dict[str, Any]) -> OnItsWayError:
    what = f"{files:,} files in the drop folder are" if files > 1 else "A file in the drop folder is"
    why = f"without a mark ({MARK})" if settings["marks"] else "still being written"
    return OnItsWayError(f"{what} {why}.", seconds=max(5, settings["settle_seconds"]), dispensable=True)


def _closed(files: int, settings: dict[str, Any]) -> OnItsWayError:
    what = f"{files:,} files in the drop folder may" if files > 1 else "A file in the drop folder may"
    return OnItsWayError(
        f"{what} not be read by the workers.",
        seconds=max(5, settings["settle_seconds"]),
        dispensable=True,
        remedy="Give the account of the workers the right to read it; it then counts for a later window, or is late.",
    )


def _unreadable(error: OSError) -> SourceError:
    return SourceError(
        f"The drop folder, or a file in it, cannot be read ({error.strerror}).",
        remedy="See that it is mounted, and that the workers may read what is in it.",
        column="path",
    )


def _taken(path: Path, job: Job) -> bool:
    """Whether a file of this name was taken, and nothing was written to it since: then it need not be hashed again."""
    before = job.taken_at.get(_name(path))
    changed = datetime.fromtimestamp(max(path.stat().st_ctime, path.stat().st_mtime), tz=UTC)
    return before is not None and changed + CLOCKS_APART < before


def _settled(path: Path, settings: dict[str, Any]) -> bool:
    if settings["marks"]:
        return path.with_name(path.name + MARK).exists()
    found = path.stat()
    return bool(time.time() - max(found.st_mtime, found.st_ctime) >= settings["settle_seconds"])


def _new(path: Path, mapping: Mapping, job: Job) -> Iterator[Arrived]:
    """The file, unless what it holds was taken before under another name."""
    state = file_state(path)
    digest = sha256_file(path)
    if digest not in job.known:
        yield _arrived(path, digest, state, mapping, job)


def _arrived(path: Path, digest: str, state: tuple[int, int], mapping: Mapping, job: Job) -> Arrived:
    arrived = Arrived(name=_name(path), digest=digest, path=_readable(path, digest, job), mapping=mapping, state=state)
    if not path.name.lower().endswith(LINES):
        return arrived
    source = job.scratch / f"{digest}.parquet"
    try:
        with path.open("rb") as stream:
            some = write_rows(ndjson_rows(stream, name=arrived.name), source)
    except CohortError as error:
        return replace(arrived, fault=error)
    if file_state(path) != state:
        raise _on_its_way(1, job.settings)
    # Of a file without a row, the file itself says best what is wrong with it.
    return replace(arrived, path=source, state=None) if some else arrived


def _readable(path: Path, digest: str, job: Job) -> Path:
    """The file under a name that every reader can open; what lies beside it is found all the same."""
    if _name(path) == path.name:
        return path
    link = job.scratch / f"{digest}{path.suffix}"
    link.symlink_to(path)
    return link


def _name(path: Path) -> str:
    """The name for people and the database, which hold no bytes that are not UTF-8."""
    return path.name.encode(errors="surrogateescape").decode(errors="backslashreplace")


SOURCES.register("folder")(Folder())
