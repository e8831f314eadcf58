"""What a finished training tells of its parts: gates of images, what the critic reads, and further facts in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evaluation.engine.words import plain
from models_registry.models import JobStatus
from synthetic.models import GeneratorTraining

SMALL = 11
"""Smallest count that is told."""
LEAST_DONE = 0.1
"""Share from which the time that is left is estimated."""
COUNTS = frozenset({"with", "without", "studies", "patients"})
READERS = {"critic": "by the critic", "reader": "by a reader of its own"}
TABLES = {"image": ("gates",), "critic": ("held_out",)}
"""Facts that stand in tables of their own."""


def gates_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the autoencoder leaves of each finding, by each reader of held-out images: areas under the ROC curve.

    A training whose gate fails ends with the finding's name, so whatever was judged here has held.
    """
    gates = facts.get("facts", {}).get("image", {}).get("gates", {})
    names = dict.fromkeys(name for found in gates.values() for name in found)
    rows = []
    for name in names:
        told = {reader: found[name] for reader, found in gates.items() if name in found}
        judged = [reader for reader, item in told.items() if item["judged"]]
        reasons = dict.fromkeys(item["reason"] for item in told.values() if item.get("reason"))
        first = next(iter(told.values()))
        rows.append({
            "name": plain(name),
            "with": told_count(first["with"]),
            "areas": [(READERS.get(key, key), item["original"], item["reconstruction"]) for key, item in told.items()],
            "state": "pass" if judged else "insufficient",
            "word": "Held" if judged else "Not judged",
            "reason": "" if judged else "; ".join(reasons),
        })  # fmt: skip
    return rows


def readers_of(facts: Mapping[str, Any]) -> list[str]:
    """Who read the images for the gates, in the order of their areas."""
    return [READERS.get(name, name) for name in facts.get("facts", {}).get("image", {}).get("gates", {})]


def critic_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the critic reads in real images that it never learnt from: area, and shares of right sides, zones, sizes."""
    found = facts.get("facts", {}).get("critic", {}).get("held_out", {})
    few = {name for name, item in found.items() if (item.get("with") or 0) < SMALL}
    return [
        {
            "name": plain(name),
            "with": told_count(item.get("with")),
            "auroc": None if name in few else item.get("auroc"),
            "interval": None if name in few else item.get("interval"),
            "parts": [item.get(part, {}).get("right") for part in ("side", "zone", "size")],
        }
        for name, item in found.items()
    ]


def facts_in_words(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each part of a finished generator tells of itself: names and values; few patients are not counted out."""
    found = []
    for role, body in facts.get("facts", {}).items():
        shown = {name: value for name, value in body.items() if name not in TABLES.get(role, ())}
        rows = [(plain(name), _told(name, value)) for name, value in shown.items() if not isinstance(value, dict)]
        more = [
            (plain(name), [(plain(str(key)), _told(str(key), item)) for key, item in value.items()])
            for name, value in shown.items()
            if isinstance(value, dict)
        ]
        found.append({"role": role, "rows": rows, "more": more})
    return found


def time_left(job: GeneratorTraining, now: datetime) -> float | None:
    """Seconds that a running training still takes if it goes on as it went; None before a tenth is done.

    Of one that was resumed, parts that were finished before make it look faster than it is.
    """
    if job.status != JobStatus.RUNNING or job.started_at is None or job.progress < LEAST_DONE:
        return None
    return (now - job.started_at).total_seconds() * (1 - job.progress) / job.progress


def told_count(count: int | None) -> str:
    """A count of studies or patients; few are not counted out."""
    if count is None:
        return "not told"
    return f"fewer than {SMALL}" if 0 < count < SMALL else f"{count:,}"


def _told(name: str, value: Any) -> str:
    if name in COUNTS and isinstance(value, int):
        return told_count(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{plain(str(key))} {_told(str(key), item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_told(name, item) for item in value) or "none"
    return "none" if value is None or value == "" else str(value)
