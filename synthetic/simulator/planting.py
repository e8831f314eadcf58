"""Defects of known size: in the recorded labels, in a group's pictures, in experts' reports, and from a day on."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

from synthetic.simulator.checking import (
    check_group,
    check_number,
    check_prevalence,
    check_scanners,
    check_shares,
    check_some,
    check_whole,
    wrong,
)
from synthetic.simulator.names import FINDINGS, LABELS, MODALITIES, SCANNERS, STATEMENTS, UNITS


class Defect:
    """What all planted defects share: the way to JSON and back."""

    NAME = ""

    def to_dict(self) -> dict[str, Any]:
        body = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {name: _plain(value) for name, value in body.items()}

    @classmethod
    def from_dict(cls, body: object) -> Self:
        """A defect from JSON.

        Raises:
            CohortError: naming the first value that is unknown, missing or out of range.
        """
        known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
        needed = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
        if not isinstance(body, dict):
            raise wrong(cls.NAME, body, f"an object with {' and '.join(needed)}, or null")
        for name in body:
            if name not in known:
                raise wrong(f"{cls.NAME}.{name}", body[name], f"one of {', '.join(sorted(known))}")
        for name in needed:
            if name not in body:
                raise wrong(f"{cls.NAME}.{name}", None, "a value")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in body.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, dict) else value


@dataclass(frozen=True, kw_only=True)
class Underdiagnosis(Defect):
    """A defect of known size: positive labels of one group that were recorded as negative.

    Attributes:
        attribute, value: The group, for example ``sex`` and ``F``.
        share: Of the group's positive labels, per finding, this share is recorded 0, rounded to whole labels.
        findings: The labels concerned, those of further tasks among them.
    """

    NAME = "underdiagnosis"
    attribute: str
    value: str
    share: float
    findings: tuple[str, ...] = FINDINGS

    def __post_init__(self) -> None:
        check_group(self.NAME, self.attribute, self.value)
        check_number(f"{self.NAME}.share", self.share, 0, 1)
        for finding in self.findings:
            if finding not in LABELS:
                raise wrong(f"{self.NAME}.findings", finding, f"some of {', '.join(LABELS)}")


@dataclass(frozen=True, kw_only=True)
class Faintness(Defect):
    """Findings of one group are harder to see: a bias of the pictures, not of the labels or reports.

    Attributes:
        attribute, value: The group.
        share: What its pictures lack of the distance between an absent and a present finding: at .5 they show half.
        findings: Which findings are fainter.
    """

    NAME = "faintness"
    attribute: str
    value: str
    share: float
    findings: tuple[str, ...] = FINDINGS

    def __post_init__(self) -> None:
        check_group(self.NAME, self.attribute, self.value)
        check_number(f"{self.NAME}.share", self.share, 0, 1)
        check_some(f"{self.NAME}.findings", self.findings, FINDINGS)


@dataclass(frozen=True, kw_only=True)
class Hallucination(Defect):
    """Experts' reports with one false statement each.

    Attributes:
        share: Of all reports, rounded to whole ones; fewer where no more reports allow such a statement.
        kinds: Some of STATEMENTS; each report gets one that it allows, drawn evenly.
    """

    NAME = "hallucination"
    share: float
    kinds: tuple[str, ...] = STATEMENTS

    def __post_init__(self) -> None:
        check_number(f"{self.NAME}.share", self.share, 0, 1)
        check_some(f"{self.NAME}.kinds", self.kinds, STATEMENTS)


@dataclass(frozen=True, kw_only=True)
class Drift(Defect):
    """What is different from a day on. Studies of before are as they would be without it.

    Attributes:
        day: The first day, counted from 0 on the cohort's first possible day (2021-01-01).
        over_days: Over how many days it comes: the share of changed studies rises evenly. At 0 all change at once.
        prevalence: Finding -> share of changed studies in which it is present.
        noise: Factor on the scanners' noise.
        scanners: Scanner -> share of changed studies; empty where they stay.
        units: Series -> UCUM unit of its values; the file's metadata go on telling the former one.
        missing: Modality -> share of changed studies that lose it, of those that have it.
    """

    NAME = "drift"
    day: int
    over_days: int = 0
    prevalence: dict[str, float] = field(default_factory=dict)
    noise: float = 1.0
    scanners: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_whole(f"{self.NAME}.day", self.day, 0, 36_500)
        check_whole(f"{self.NAME}.over_days", self.over_days, 0, 36_500)
        check_number(f"{self.NAME}.noise", self.noise, 0, 50)
        check_shares(f"{self.NAME}.prevalence", self.prevalence, FINDINGS)
        check_prevalence(f"{self.NAME}.prevalence", self.prevalence)
        check_shares(f"{self.NAME}.missing", self.missing, MODALITIES)
        if self.scanners != {}:
            check_scanners(f"{self.NAME}.scanners", self.scanners, SCANNERS)
        if not isinstance(self.units, dict):
            raise wrong(f"{self.NAME}.units", self.units, f"an object with a unit for some of {', '.join(UNITS)}")
        for name, unit in self.units.items():
            if name not in UNITS:
                raise wrong(f"{self.NAME}.units.{name}", unit, f"units for {', '.join(UNITS)}")
            if not isinstance(unit, str) or unit not in UNITS[name]:
                raise wrong(f"{self.NAME}.units.{name}", unit, f"one of {', '.join(UNITS[name])}")


DEFECTS: dict[str, type[Underdiagnosis | Faintness | Hallucination | Drift]] = {
    kind.NAME: kind for kind in (Underdiagnosis, Faintness, Hallucination, Drift)
}
"""By the name of their setting."""
