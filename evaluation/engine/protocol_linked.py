"""Whether a protocol for synthetic patients makes sense: it judges a generator, and nothing that predicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]
PREDICTED = ("labels", "attributes", "intersections", "underdiagnosis", "splits", *("reports", "probing", "sampling"),
             "perturbation", "drift", "judges", "utility", "calibration")  # fmt: skip
"""Sections that only a model with predictions has anything to do with."""


def linked_suites(body: Mapping[str, Any]) -> list[str]:
    """The suites of a protocol that hold synthetic patients against real ones."""
    from evaluation.engine.registry import SUITES, Basis

    known = SUITES.keys()
    named = [key for key in body.get("suites", ["fairness"]) if key in known]
    return [key for key in named if any(info.basis is Basis.LINKED for info in SUITES.get(key).metrics.values())]


def linked_problems(body: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Problems of the section, each with the path of its key. Its shape was checked."""
    linked, suites = linked_suites(body), body.get("suites", ["fairness"])
    if body.get("linked") is None:
        if linked:
            named = " and ".join(f"'{key}'" for key in linked)
            yield ("suites",), f"{named} need the section 'linked'; 'linked: {{}}' will do."
        return
    if not linked:
        yield ("linked",), "no suite holds synthetic patients against real ones: name 'privacy' in 'suites', say."
        return
    for index, key in enumerate(suites):
        if key not in linked:
            yield ("suites", index), f"'{key}' judges what a model predicts; a generator of patients predicts nothing."
    for key in PREDICTED:
        if body.get(key):
            yield (key,), "a generator of patients predicts nothing that this could be about: leave it out."
