"""From a failed finding of fairness to patients that a generator is asked for."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from core.errors import ConflictError
from evaluation.engine.protocol import JOIN, AttributeSpec, Protocol
from evaluation.engine.records import UNKNOWN
from evaluation.engine.suites.fairness.rates import GAPS, RATES
from synthetic.generators.parts import Wish
from synthetic.generators.plans import NONE, PRESENT

LEAST_PATIENTS = 20
"""Fewer are no help, and each half of a wish needs some."""


def rates_of(metric: str) -> tuple[str, ...]:
    """The rates that a metric of fairness compares between groups; none where it rests on scores."""
    return GAPS.get(metric, (metric,) if metric in RATES else ())


def is_balanced(metric: str, label: str, findings: Set[str]) -> bool:
    """Whether half of the patients are to have the finding: where the gap is one of those who have it."""
    return label in findings and any(set(RATES[rate].denominator) == {"tp", "fn"} for rate in rates_of(metric))


def wishes_for(
    protocol: Protocol,
    *,
    metric: str,
    label: str,
    attribute: str,
    group: str,
    patients: int,
    findings: Set[str],
    numbers: Set[str] = frozenset(),
) -> tuple[Wish, ...]:
    """What to ask a generator for, so that a model sees more of a group.

    Where the gap is one of sensitivity, half of the patients have at least one study with the finding and half at
    least one without: with the finding alone, a model would learn that whoever is of the group is ill. Otherwise they
    are as the group is. Half is still more than most cohorts have: it lifts scores in the group, and the comparison
    shows what that costs in false alarms.

    Args:
        group: As the protocol names it: a value, a band of numbers, or several joined for an intersection.
        findings: Those whose plans the generator tells.
        numbers: Columns that the cohort of the generator holds as numbers.

    Raises:
        ConflictError: nobody of this group can be asked for; or too few patients are.
    """
    if type(patients) is not int or patients < LEAST_PATIENTS:
        raise ConflictError(
            f"{patients} patients are no number that can repair anything.",
            remedy=f"Give a whole number from {LEAST_PATIENTS}.",
        )
    who = group_wish(protocol, attribute, group, numbers=numbers)
    if not is_balanced(metric, label, findings):
        return (Wish(patients=patients, **who),)
    half = patients - patients // 2
    return (
        Wish(patients=half, findings={label: PRESENT}, **who),
        Wish(patients=patients - half, findings={label: NONE}, **who),
    )


def group_wish(protocol: Protocol, attribute: str, group: str, *, numbers: Set[str]) -> dict[str, dict[str, Any]]:
    """Attributes and bounds of a wish for one group.

    Raises:
        ConflictError: the group is Unknown, or none of the protocol's.
    """
    names, values = attribute.split(JOIN), group.split(JOIN)
    if UNKNOWN in values:
        raise ConflictError(
            "The group Unknown is of those whose value is missing: nobody can be made to be one of them.",
            remedy="Choose another group; or complete the attribute in the cohort.",
        )
    if len(names) != len(values):
        raise ConflictError(f"There is no group {group} by {attribute}.", remedy="Choose a group of the verdict.")
    wish: dict[str, dict[str, Any]] = {"attributes": {}, "least": {}, "most": {}}
    for name, value in zip(names, values, strict=True):
        spec = protocol.attribute(name)
        if spec.bands is None:
            wish["attributes"][spec.column] = float(value) if spec.column in numbers else value
        else:
            least, most = _bounds(spec, value)
            wish["least"][spec.column] = least
            if most is not None:
                wish["most"][spec.column] = most
    return wish


def _bounds(spec: AttributeSpec, band: str) -> tuple[float, float | None]:
    """Ends, included, of the numbers of a band; None for the last one where the protocol says no more."""
    assert spec.bands is not None
    if band not in spec.groups:
        raise ConflictError(f"There is no band {band} of {spec.name}.", remedy="Choose a group of the verdict.")
    place = spec.groups.index(band)
    least = spec.bands[place]
    if place + 1 == len(spec.bands):
        return least, spec.plausible[1] if spec.plausible else None
    above = spec.bands[place + 1]
    # Between whole edges whole numbers are asked for: 50 up to, not including, 70 are 50 to 69.
    whole = float(least).is_integer() and float(above).is_integer() and above - least > 1
    return least, above - 1 if whole else float(np.nextafter(above, least))
