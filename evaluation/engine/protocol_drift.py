"""The section ``drift`` of a protocol: what is watched, what counts as a change, how rare a false alarm must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FAMILIES = (
    "numeric", "series", "categorical", "mask", "text", "image", "prediction", "label", "concordance", "estimated",
    "performance", "concept", "case_mix",
)  # fmt: skip
MARGINS: Mapping[str, float] = {
    "numeric": 0.2, "series": 0.2, "categorical": 0.1, "mask": 0.05, "text": 0.1, "image": 0.1, "prediction": 0.1,
    "label": 0.05, "concordance": 0.2, "estimated": 0.05, "performance": 0.05, "concept": 0.05, "case_mix": 0.1,
}  # fmt: skip
"""Shifts that are not acted on, in the unit of each family's effect size; conventions to start from."""


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A finding and a lab value that do not go together: ``finding`` is predicted while ``series`` lies out of range.

    The study counts as contradicted where the score of ``finding`` is at or above its threshold and the median of the
    series is below ``below``, or above ``above``.
    """

    finding: str
    series: str
    below: float | None = None
    above: float | None = None

    def to_dict(self) -> dict[str, Any]:
        found = {"finding": self.finding, "series": self.series, "below": self.below, "above": self.above}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """How rare false alarms are.

    Attributes:
        method: ``e_process`` (any false alarm ever with probability at most alpha, whenever one looks), or
            ``alpha_spending`` (the k-th look spends 6 alpha / (pi^2 k^2)).
        alpha: That probability, over the whole life up to the first alarm.
        run_length: After an alarm was closed: at least as many windows on average to the next false alarm.
    """

    method: str = "e_process"
    alpha: float = 0.05
    run_length: int = 1000

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, "alpha": self.alpha, "run_length": self.run_length}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a monitor watches.

    Attributes:
        watch: Families; every one that cohort and model allow where it is empty.
        columns: Covariates to watch; every one of the reference that is no attribute of the case mix where empty.
        case_mix: Attributes within whose groups studies are compared: a change in how many patients of each group come
            is told as case mix and is no drift of anything else.
        groups: Attributes whose groups are also watched one by one; every attribute of the protocol where empty.
        embed: Modalities whose embedding is watched; those the model embeds where empty.
        text_encoder: ``hashed`` (no weights), ``model`` (the audited model's), or ``minilm`` (where installed).
        contradictions: Findings and lab values that do not go together.
        margins: Family -> effect size that is acted on, where it is not the default.
        critical: Families whose alarm is critical.
        false_alarms: How rare they are.
        minimum_window, minimum_reference: Patients below which nothing is judged.
        sample: Studies of a window that are kept for the search for causes and for Evidently; patient-level.
    """

    watch: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    case_mix: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    embed: tuple[str, ...] = ()
    text_encoder: str = "hashed"
    contradictions: tuple[Contradiction, ...] = ()
    margins: Mapping[str, float] = field(default_factory=dict)
    critical: tuple[str, ...] = ("estimated", "performance")
    false_alarms: FalseAlarms = FalseAlarms()
    minimum_window: int = 50
    minimum_reference: int = 200
    sample: int = 2000

    def margin(self, family: str) -> float:
        """The effect size from which a shift of this family is acted on."""
        return self.margins.get(family, MARGINS[family])

    def watches(self, family: str) -> bool:
        return not self.watch or family in self.watch

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Drift:
        """From a checked body."""
        given: dict[str, Any] = {
            name: tuple(body[name])
            for name in ("watch", "columns", "case_mix", "groups", "embed", "critical")
            if name in body
        }
        given |= {
            name: body[name]
            for name in ("text_encoder", "minimum_window", "minimum_reference", "sample")
            if name in body
        }
        given["contradictions"] = tuple(Contradiction(**item) for item in body.get("contradictions", []))
        given["margins"] = {name: float(body["margins"][name]) for name in sorted(body.get("margins", {}))}
        alarms = body.get("false_alarms", {})
        given["false_alarms"] = FalseAlarms(
            method=alarms.get("method", FalseAlarms.method),
            alpha=float(alarms.get("alpha", FalseAlarms.alpha)),
            run_length=alarms.get("run_length", FalseAlarms.run_length),
        )
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Canonical: what is at its default is left out."""
        found: dict[str, Any] = {}
        default = Drift()
        for name in ("watch", "columns", "case_mix", "groups", "embed", "critical"):
            if (value := getattr(self, name)) != getattr(default, name):
                found[name] = list(value)
        for name in ("text_encoder", "minimum_window", "minimum_reference", "sample"):
            if (value := getattr(self, name)) != getattr(default, name):
                found[name] = value
        if self.contradictions:
            found["contradictions"] = [item.to_dict() for item in self.contradictions]
        if self.margins:
            found["margins"] = dict(self.margins)
        if self.false_alarms != FalseAlarms():
            found["false_alarms"] = self.false_alarms.to_dict()
        return found
