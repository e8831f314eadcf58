"""What a run took, summed over its shares: devices, memory, seconds, energy, tokens. For the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from evaluation.execution.telemetry import STEPS

NOT_MEASURED = "not every share was measured"


def hardware(telemetry: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of what workers measured.

    A share whose predictions came from the cache counts with what was measured when they were made: the run rests on
    that work. ``seconds_of_this_run`` leaves that out.

    Returns:
        ``devices``: each once, with name, title, memory and threads. ``precision``, ``batch_sizes``: each value that
        was used. ``seconds``: step -> sum over shares, which may have run at the same time. ``peak_memory``: the
        largest of any share. ``energy``: the sum in joules, None with the reason unless every share has a number.
        ``endpoint``: sums of the server's counts, None for a model that ran here.
    """
    own = [item for item in telemetry if item]
    made = [_made(item) for item in own]
    return {
        "devices": _distinct(item["device"] for item in made if item.get("device")),
        "precision": sorted({item["precision"] for item in made if item.get("precision")}),
        "batch_sizes": sorted({item["batch_size"] for item in made if item.get("batch_size")}),
        "batch_size_wanted": sorted({item["batch_size_wanted"] for item in made if item.get("batch_size_wanted")}),
        "seconds": _seconds(made),
        "seconds_of_this_run": _seconds(own),
        "peak_memory": {name: _largest(made, name) for name in ("process", "device")},
        "energy": _energy(made),
        "endpoint": _endpoint(made),
    }


def _made(item: dict[str, Any]) -> dict[str, Any]:
    """What was measured when a share's predictions and answers were made: each may have come from the cache."""
    made, asked = item.get("made") or item, item.get("asked") or item
    seconds = made.get("seconds", {}) | {"ask": asked.get("seconds", {}).get("ask", 0.0)}
    return {**made, "seconds": seconds}


def _distinct(devices: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in devices:
        if item not in found:
            found.append(item)
    return sorted(found, key=lambda item: (item["name"], item["title"], item["threads"]))


def _seconds(items: list[dict[str, Any]]) -> dict[str, float]:
    return {step: round(sum(item.get("seconds", {}).get(step, 0.0) for item in items), 3) for step in (*STEPS, "total")}


def _largest(items: list[dict[str, Any]], name: str) -> int | None:
    peaks = [peak for item in items if (peak := (item.get("peak_memory") or {}).get(name)) is not None]
    return max(peaks, default=None)


def _energy(items: list[dict[str, Any]]) -> dict[str, Any]:
    told = [item["energy"] for item in items if item.get("energy")]
    if not told:
        return {"joules": None, "source": "", "reason": "no weights ran on a device of this platform"}
    silent = sorted({item["reason"] for item in told if item["joules"] is None})
    if silent or len(told) < len(items):
        return {"joules": None, "source": "", "reason": "; ".join(silent) or NOT_MEASURED}
    sources = "; ".join(sorted({item["source"] for item in told}))
    return {"joules": round(sum(item["joules"] for item in told), 3), "source": sources, "reason": ""}


def _endpoint(items: list[dict[str, Any]]) -> dict[str, Any] | None:
    told = [item["endpoint"] for item in items if item.get("endpoint")]
    if not told:
        return None
    usage: Counter[str] = Counter()
    for item in told:
        usage.update(item["usage"])
    return {
        "usage": dict(sorted(usage.items())),
        "answered_by": sorted({name for one in told for name in one["answered_by"]}),
    }
