"""What happened to a run, step by step: acts of people from the ledger, and what workers did with each share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.models import LedgerEntry
from evaluation.models import AuditRun, Shard, ShardStatus

SHOWN = 60
ACTS = {
    "run.requested": "requested the audit",
    "run.cancelled": "cancelled it",
    "run.resumed": "let it go on",
    "run.judged": "it was judged",
    "run.advised": "advice was worked out",
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. ``tone`` as of a status; empty for what is nothing special."""

    at: datetime
    text: str
    tone: str = ""


def history_of(run: AuditRun, shards: Iterable[Shard]) -> list[Event]:
    """The newest events first, 60 at most. One query.

    Args:
        shards: Those that are shown of the run's, as read.
    """
    entries = LedgerEntry.objects.filter(subject_kind="AuditRun", subject_id=str(run.pk)).order_by("-index")
    found = [*(_act(entry) for entry in entries[:SHOWN]), *_steps(shards)]
    return sorted(found, key=lambda event: event.at, reverse=True)[:SHOWN]


def _act(entry: LedgerEntry) -> Event:
    what = ACTS.get(entry.act, entry.act.replace("run.", "").replace("_", " ").replace(".", ": "))
    who = "" if entry.actor == "system" else f"{entry.actor} "
    reason = _payload(entry).get("error") or ""
    text = f"{who}{what}{f': {reason}' if reason else ''}"
    return Event(at=entry.recorded_at, text=text[:1].upper() + text[1:], tone="insufficient" if reason else "")


def _payload(entry: LedgerEntry) -> dict[str, Any]:
    try:
        told = json.loads(entry.body).get("payload")
    except (ValueError, AttributeError):  # a body that was tampered with: the ledger's own check says so
        return {}
    return told if isinstance(told, dict) else {}


def _steps(shards: Iterable[Shard]) -> Iterator[Event]:
    for shard in shards:
        again = f", attempt {shard.attempts}" if shard.attempts > 1 else ""
        by = f" by {shard.worker}" if shard.worker else ""
        if shard.started_at:
            tone = "insufficient" if again else ""
            yield Event(at=shard.started_at, text=f"Share {shard.index} was taken up{by}{again}", tone=tone)
        if shard.finished_at and shard.status == ShardStatus.DONE:
            cached = ", from the cache" if shard.from_cache else ""
            yield Event(at=shard.finished_at, text=f"Share {shard.index} is done: {shard.n_studies:,} studies{cached}")
        if shard.error and (at := shard.finished_at or shard.started_at):
            yield Event(at=at, text=f"Share {shard.index} failed: {shard.error}", tone="fail")
