"""The studies of one window, from everything that was delivered: each once, complete, and what did not fit counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from django.db.models import Exists, OuterRef, Q

from core.case_keys import keyed_digest
from evaluation.models import Delivery, Monitor, MonitorWindow
from evaluation.monitoring.findings import Finding, Kind, Severity, joined
from evaluation.monitoring.sources.base import SOURCES
from models_registry.cohorts.arrival import TIME
from models_registry.services.versions import model_store

Keys = npt.NDArray[np.uint64]
Moment = np.datetime64
Moments = npt.NDArray[np.datetime64]
Chosen = npt.NDArray[np.bool_]
RETYPED = "column-retyped"
IMAGES_AT_ONCE = 64
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Studies of some deliveries, each once: the keyed digest, the latest word on its time, and where its rows are.

    ``rows[d][i]`` is the row of study i in delivery d, -1 where it has none. Later deliveries come later.
    """

    deliveries: tuple[Delivery, ...]
    keys: Keys
    times: Moments
    rows: tuple[npt.NDArray[np.int64], ...]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Places:
        """Some of the studies."""
        return Places(
            deliveries=self.deliveries,
            keys=self.keys[chosen],
            times=self.times[chosen],
            rows=tuple(row[chosen] for row in self.rows),
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a window holds. ``keys``: keyed digests of its studies; ``columns``: what was written."""

    n_studies: int
    keys: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    columns: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    refused: int = 0


def held_studies(monitor: Monitor, since: datetime) -> int:
    """Distinct studies that are held, of ``since`` or later, and that no window has."""
    return len(_free(monitor, since))


def closing_of(monitor: Monitor, since: datetime, size: int) -> datetime | None:
    """When a window closes that opens at ``since`` and is to have ``size`` studies; None while there are too few.

    Studies of the same moment as the last one belong to it too.
    """
    times = _free(monitor, since)
    if len(times) < size:
        return None
    last: datetime = times[size - 1].item()
    return last.replace(tzinfo=UTC) + MICROSECOND


def _free(monitor: Monitor, since: datetime) -> Moments:
    found = _places(monitor, Delivery.objects.filter(monitor=monitor, last_at__gte=since))
    free = (found.times >= _naive(since)) & ~np.isin(found.keys, seen_keys(monitor))
    return np.sort(found.times[free])


def gather(
    window: MonitorWindow, target: Path, *, columns: tuple[str, ...], alive: Callable[[], None] = lambda: None
) -> Window:
    """Write the studies of a window as one Parquet file in the order of the reference's columns.

    A study that came several times is one row: of each column the latest word that is not empty counts, so that
    labels may come later than the study. Nothing is written where there is none.
    """
    monitor = window.monitor
    before = MonitorWindow.objects.filter(monitor=monitor, index__lt=window.index)
    last = before.exclude(collected_at=None).order_by("-index").first()
    since = Q(last_at__gte=window.opens_at)
    rows = Delivery.objects.filter(monitor=monitor)
    fresh = rows if last is None else rows.filter(received_at__gte=last.collected_at)
    found = _places(monitor, rows.filter(since) | fresh)
    opens, closes, first = (_naive(m) for m in (window.opens_at, window.closes_at, monitor.first_opens_at))
    inside = (found.times >= opens) & (found.times < closes)
    early = found.times < opens
    seen = np.isin(found.keys, seen_keys(monitor, before=window.index)) if (inside | early).any() else early & False
    mine = found.only(inside & ~seen)
    used = [d for d, place in zip(mine.deliveries, mine.rows, strict=True) if (place >= 0).any()]
    written = _write(mine, target, columns, alive) if len(mine.keys) else ()
    late = early & (found.times >= first) & ~seen
    counts = {
        "again": int((np.sum([place >= 0 for place in mine.rows], axis=0) > 1).sum()) if mine.rows else 0,
        "elsewhere": int((inside & seen).sum()),
        "late": int(_never_came(found, late, rows, last, opens).sum()),
        "before": int((early & (found.times < first) & ~seen).sum()),
    }
    refused = _unmended(fresh)
    told = [f for f in _said(used, fresh) if not (f.code == "column-removed" and f.column in written)]
    retyped = _retyped(mine)
    told = [replace(f, decisive=f.column in retyped) if f.code == RETYPED else f for f in told]
    return Window(
        n_studies=len(mine.keys),
        keys=np.sort(mine.keys),
        columns=written,
        findings=tuple(joined([*told, *_counted(monitor, counts, window.index), *_refused(refused)])),
        refused=refused,
    )


def _never_came(found: Places, among: Chosen, rows: Any, last: MonitorWindow | None, opens: Moment) -> Chosen:
    """Which of some studies were not there, or of a later time, when the window before was collected. What was, and is
    in no window, was in one that was refused or failed: that one's own record says so."""
    if last is None or last.collected_at is None or not among.any():
        return among
    since = found.times[among].min().item().replace(tzinfo=UTC)
    old = _places(last.monitor, rows.filter(received_at__lt=last.collected_at, last_at__gte=since))
    there: Chosen = np.isin(found.keys, old.keys[old.times < opens])
    return among & ~there


def _retyped(mine: Places) -> set[str]:
    """Columns of which most studies of the window have cells of another kind than the reference, and no others."""
    odd: dict[str, Chosen] = {}
    for delivery in mine.deliveries:
        for column in (f["column"] for f in delivery.findings if f["code"] == RETYPED):
            odd.setdefault(column, np.zeros(len(mine.keys), np.bool_))
    for column, marked in odd.items():
        for delivery, place in zip(mine.deliveries, mine.rows, strict=True):
            bad = any(f["code"] == RETYPED and f["column"] == column for f in delivery.findings)
            gives = bad or column in pq.read_schema(_path(delivery)).names
            if gives:
                marked[place >= 0] = bad
    return {column for column, marked in odd.items() if 2 * marked.sum() > len(marked)}


def _unmended(fresh: Any) -> int:
    """Refused deliveries of which nothing of the same name came later that could be used."""
    mended = fresh.filter(status=Delivery.Status.HELD, name=OuterRef("name"), pk__gt=OuterRef("pk"))
    return int(fresh.filter(status=Delivery.Status.REFUSED).exclude(Exists(mended)).count())


def _said(used: list[Delivery], fresh: Any) -> Iterator[Finding]:
    """What was odd about the deliveries that the window uses, and about those that no window has seen yet."""
    new = list(fresh.filter(status=Delivery.Status.HELD))
    numbers = {delivery.pk for delivery in new}
    for delivery in [*new, *(d for d in used if d.pk not in numbers)]:
        for body in delivery.findings:
            yield replace(Finding.from_dict(body), told=delivery.pk not in numbers)


def seen_keys(monitor: Monitor, *, before: int | None = None) -> Keys:
    """Keyed digests of every study that a window has; of those before an index."""
    rows = MonitorWindow.objects.filter(monitor=monitor).exclude(seen_digest="")
    rows = rows if before is None else rows.filter(index__lt=before)
    store = model_store()
    parts = [np.frombuffer(store.get_bytes(d), "<u8") for d in rows.values_list("seen_digest", flat=True)]
    return np.concatenate(parts).astype(np.uint64) if parts else np.empty(0, np.uint64)


def keep_keys(keys: Keys) -> str:
    """Put the keyed digests of a window's studies into the store."""
    return model_store().put_bytes(np.sort(keys).astype("<u8").tobytes())


def _places(monitor: Monitor, rows: Any) -> Places:
    """Where each study is, from identifiers and times alone."""
    held = rows.filter(status=Delivery.Status.HELD, n_studies__gt=0, purged_at=None)
    deliveries = tuple(held.order_by("received_at", "pk"))
    secret = bytes.fromhex(keyed_digest("monitor", str(monitor.pk)))
    parts = []
    for delivery in deliveries:
        table = pq.read_table(_path(delivery), columns=["study_id", TIME])
        times = table.column(TIME).to_numpy().astype("datetime64[us]")
        parts.append((_keyed(table.column("study_id").to_pylist(), secret), times))
    keys = np.unique(np.concatenate([part[0] for part in parts])) if parts else np.empty(0, np.uint64)
    times = np.full(len(keys), np.datetime64("NaT", "us"))
    places = []
    for own, moments in parts:
        at = np.searchsorted(keys, own)
        row = np.full(len(keys), -1, np.int64)
        row[at] = np.arange(len(own))
        times[at] = moments
        places.append(row)
    return Places(deliveries=deliveries, keys=keys, times=times, rows=tuple(places))


def _keyed(ids: list[str], secret: bytes) -> Keys:
    digests = b"".join(blake2b(value.encode(), key=secret, digest_size=8).digest() for value in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _path(delivery: Delivery) -> Path:
    return model_store().path(delivery.content_digest)


def _naive(moment: datetime) -> Moment:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _write(places: Places, target: Path, columns: tuple[str, ...], alive: Callable[[], None]) -> tuple[str, ...]:
    """The studies with every column but images joined in memory, and images streamed."""
    import pyarrow.compute as pc

    files = [(d, row) for d, row in zip(places.deliveries, places.rows, strict=True) if (row >= 0).any()]
    schemas = [pq.read_schema(_path(delivery)) for delivery, _ in files]
    types = _types(schemas)
    order = [name for name in dict.fromkeys(("patient_id", "study_id", TIME, *columns)) if name in types]
    plain = [name for name in order if name != "image"]
    made: dict[str, Any] = {name: pa.nulls(len(places.keys), types[name]) for name in plain}
    for (delivery, row), schema in zip(files, schemas, strict=True):
        own = [name for name in plain if name in schema.names]
        table = pq.read_table(_path(delivery), columns=own)
        at = pa.array(row, mask=row < 0)
        alive()
        for name in own:
            said = table.column(name).combine_chunks().cast(types[name]).take(at)
            made[name] = pc.coalesce(said, made[name])
    table = pa.table(made)
    if "image" not in order:
        pq.write_table(table, target, version="2.6", compression="zstd")
        return tuple(order)
    schema = pa.schema([(name, types[name]) for name in order])
    with pq.ParquetWriter(target, schema, version="2.6", compression="zstd") as writer:
        for chosen, images in _images(files, schemas, len(places.keys)):
            part = table.take(pa.array(chosen)).append_column("image", images)
            writer.write_table(part.select(order))
            alive()
    return tuple(order)


def _types(schemas: list[pa.Schema]) -> dict[str, pa.DataType]:
    """One type for each column of several files: whole numbers in one and others in another are numbers."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for item in schema:
            wider = item.name in types and types[item.name] != item.type
            types[item.name] = pa.float64() if wider else item.type
    return types


def _images(
    files: list[tuple[Delivery, npt.NDArray[np.int64]]], schemas: list[pa.Schema], n: int
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Array]]:
    """(studies, their images), a few at a time; each study once, with the image that came last."""
    left = np.ones(n, dtype=np.bool_)
    for (delivery, row), schema in reversed(list(zip(files, schemas, strict=True))):
        if "image" not in schema.names:
            continue
        study = np.full(int(row.max()) + 1, -1, np.int64)
        study[row[row >= 0]] = np.flatnonzero(row >= 0)
        start = 0
        with pq.ParquetFile(_path(delivery), memory_map=False) as file:
            for batch in file.iter_batches(batch_size=IMAGES_AT_ONCE, columns=["image"], use_threads=False):
                images = batch.column(0)
                at = study[start : start + len(images)]
                start += len(images)
                has = np.asarray(images.is_valid())[: len(at)]
                wanted = (at >= 0) & has & left[np.maximum(at, 0)]
                if wanted.any():
                    left[at[wanted]] = False
                    yield at[wanted], images.slice(0, len(at)).filter(pa.array(wanted)).cast(pa.binary())
    rest = np.flatnonzero(left)
    if len(rest):
        yield rest, pa.nulls(len(rest), pa.binary())


def _counted(monitor: Monitor, counts: dict[str, int], index: int) -> Iterator[Finding]:
    repeats = SOURCES.get(monitor.source_kind).repeats
    if counts["elsewhere"]:
        yield _finding(
            Kind.DUPLICATES, Severity.WARNING, "study-of-earlier-window",
            "Studies were in an earlier window already, with another time: they stay out.",
            "See why the time of a study changes, and whether identifiers are used again.", counts["elsewhere"],
        )  # fmt: skip
    if counts["late"]:
        yield _finding(
            Kind.LATE, Severity.WARNING, "late-studies",
            "Studies came after the window of their time was closed: no window has them.",
            "Raise the hours of grace of the monitor, or send earlier.", counts["late"],
        )  # fmt: skip
    if counts["again"] and not repeats:
        yield _finding(
            Kind.DUPLICATES, Severity.INFO, "study-again",
            "Studies came in several deliveries: they count once, with the latest word on each column.",
            "Nothing, if corrections or labels came later.", counts["again"],
        )  # fmt: skip
    if counts["before"] and index == 1 and not repeats:
        yield _finding(
            Kind.TIMES, Severity.INFO, "before-first-window",
            "Studies are of before the first window: no window has them.", "Nothing.", counts["before"],
        )  # fmt: skip


def _refused(count: int) -> Iterator[Finding]:
    if count:
        yield _finding(
            Kind.SOURCE, Severity.WARNING, "delivery-refused",
            "Deliveries since the last window were refused: their studies are missing here.",
            "Mend them as their own alerts say, and send them again.", count,
        )  # fmt: skip


def _finding(kind: str, severity: str, code: str, message: str, remedy: str, count: int) -> Finding:
    return Finding(kind=kind, severity=severity, code=code, message=message, remedy=remedy, count=count)
