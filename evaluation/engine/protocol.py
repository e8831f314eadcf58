"""A protocol: the rules by which an audit judges, fixed before the data are seen and bound to a digest.

Every key is described in ``docs/protocols.md``; ``protocol.schema.json`` is the shape, ``protocol_reading`` the
strict reader. A protocol is immutable: its digest is the SHA-256 of its canonical form with all defaults filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from itertools import pairwise
from typing import Any, TypeVar

from core.digests import sha256_json
from core.errors import ProtocolError
from evaluation.engine.protocol_drift import Drift
from evaluation.engine.protocol_reading import check_body, read_yaml
from evaluation.engine.protocol_sections import (
    Linked,
    NumberRule,
    Perturbation,
    Probing,
    Reports,
    Reproduction,
    Sampling,
)

T = TypeVar("T")

__all__ = [
    "Drift", "Linked", "NumberRule", "Perturbation", "Probing", "Protocol", "Reports", "Reproduction", "Sampling",
]  # fmt: skip

JOIN = " & "
"""Joins the names of an intersection's attributes, and of its groups: ``sex & age``, ``F & 40-59``."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Score at or above which a label is predicted, and where that number was tuned: never on the audited cohort."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """A finding that is judged: columns ``label.<name>`` and ``score.<name>`` or ``pred.<name>``."""

    name: str
    threshold: Threshold | None = None

    def to_dict(self) -> dict[str, Any]:
        threshold = self.threshold and {"value": self.threshold.value, "source": self.threshold.source}
        return {"name": self.name, "threshold": threshold}


@dataclass(frozen=True, kw_only=True)
class AttributeSpec:
    """How the patients are grouped.

    Attributes:
        column: Column it is read from; the attribute's own name unless told otherwise.
        bands: Lower edges of the bands of a numeric attribute, the last band open: ``(0, 40, 60)`` gives the
            groups ``<40``, ``40-59``, ``>=60``. A value below the first edge counts as not plausible.
        plausible: Closed range of values that can be true; others go to Unknown and are counted.
        values: Order in which groups are listed; others follow in alphabetical order.
    """

    name: str
    column: str
    bands: tuple[float, ...] | None = None
    band_names: tuple[str, ...] | None = None
    plausible: tuple[float, float] | None = None
    values: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups known beforehand, in their order."""
        if self.bands is None:
            return self.values
        if self.band_names is not None:
            return self.band_names
        names = [_band_name(low, high) for low, high in pairwise(self.bands)]
        return (*names, f">={self.bands[-1]:g}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "column": self.column,
            "bands": None if self.bands is None else list(self.bands),
            "band_names": None if self.band_names is None else list(self.band_names),
            "plausible": None if self.plausible is None else list(self.plausible),
            "values": list(self.values),
        }


@dataclass(frozen=True, kw_only=True)
class Underdiagnosis:
    """The composite "some listed finding": present if any is, predicted if any is."""

    name: str
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "findings": list(self.findings)}


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which rows are judged, by the column ``split``, and on which the thresholds were tuned.

    A patient may not be in both: a threshold that has seen a patient is not judged on that patient.
    """

    audited: tuple[str, ...]
    tuning: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"audited": list(self.audited), "tuning": list(self.tuning)}


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One rule: ``metric`` over the groups of ``attribute`` (empty: over all studies) is at most/least ``margin``."""

    id: str
    title: str
    metric: str
    labels: tuple[str, ...]
    attribute: str
    direction: str
    margin: float
    primary: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "metric": self.metric,
            "labels": list(self.labels),
            "attribute": self.attribute,
            "direction": self.direction,
            "margin": self.margin,
            "primary": self.primary,
        }


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of an audit.

    Attributes:
        minimum_cell: Groups and denominators of fewer patients are suppressed.
        minimum_denominator: A rate is judged only with at least this many patients in its denominator.
        alpha: Familywise error rate over the primary criteria; intervals have level ``1 - alpha``.
        calibration_events: Calibration is judged only with as many studies with the finding, and without.
        calibration_bins: Bins of the calibration curve and of ECE; their edges are the same for every group.
        utility_thresholds: Threshold probabilities of net benefit; the label's own threshold where there are none.
        metrics: Metrics to report beside those of the criteria; all of them when empty.
        reproduction: What counts as the same when the audit is run again.
        judges: Keys of further judges of reports that are wanted, where an operator has supplied their weights.
    """

    name: str
    title: str
    intended_use: str
    suites: tuple[str, ...]
    labels: tuple[LabelSpec, ...]
    attributes: tuple[AttributeSpec, ...]
    intersections: tuple[tuple[str, ...], ...]
    underdiagnosis: Underdiagnosis | None
    criteria: tuple[Criterion, ...]
    minimum_cell: int = 11
    minimum_denominator: int = 30
    alpha: float = 0.05
    replicates: int = 2000
    seed: int = 0
    calibration_events: int = 100
    calibration_bins: int = 10
    utility_thresholds: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ()
    splits: Splits | None = None
    reports: Reports | None = None
    probing: Probing | None = None
    sampling: Sampling | None = None
    perturbation: Perturbation | None = None
    drift: Drift | None = None
    linked: Linked | None = None
    judges: tuple[str, ...] = ()
    reproduction: Reproduction = field(default_factory=Reproduction)

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "protocol.yaml") -> Protocol:
        """Read a protocol from YAML.

        Raises:
            ProtocolError: naming every problem with its line and key.
        """
        body, lines = read_yaml(text, source=source)
        check_body(body, source=source, lines=lines)
        return _build(body)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any], *, source: str = "protocol") -> Protocol:
        """Read a protocol from plain data, such as its own canonical form. Checked as strictly as YAML."""
        check_body(body, source=source, lines={})
        return _build(body)

    def to_dict(self) -> dict[str, Any]:
        """The canonical form, defaults filled in. ``from_dict`` reads it back to an equal protocol.

        Keys that the format learned later are left out while they are at their defaults, so that a protocol keeps the
        digest under which it was locked.
        """
        minimum = {"cell": self.minimum_cell, "rate_denominator": self.minimum_denominator}
        if self.calibration_events != 100:
            minimum["calibration_events"] = self.calibration_events
        return self._later() | {
            "auscult_protocol": 1,
            "name": self.name,
            "title": self.title,
            "intended_use": self.intended_use,
            "suites": list(self.suites),
            "labels": [label.to_dict() for label in self.labels],
            "attributes": [attribute.to_dict() for attribute in self.attributes],
            "intersections": [list(names) for names in self.intersections],
            "underdiagnosis": self.underdiagnosis and self.underdiagnosis.to_dict(),
            "criteria": [criterion.to_dict() for criterion in self.criteria],
            "minimum": minimum,
            "alpha": self.alpha,
            "bootstrap": {"replicates": self.replicates},
            "seed": self.seed,
        }

    def _later(self) -> dict[str, Any]:
        """The keys that the format learned later, where they are not at their defaults."""
        found: dict[str, Any] = {}
        if self.calibration_bins != 10:
            found["calibration"] = {"bins": self.calibration_bins}
        if self.utility_thresholds:
            found["utility"] = {"thresholds": list(self.utility_thresholds)}
        if self.metrics:
            found["metrics"] = list(self.metrics)
        if self.splits:
            found["splits"] = self.splits.to_dict()
        for name in ("reports", "probing", "sampling", "perturbation", "drift", "linked"):
            if (section := getattr(self, name)) is not None:
                found[name] = section.to_dict()
        if self.judges:
            found["judges"] = list(self.judges)
        if self.reproduction != Reproduction():
            found["reproduction"] = self.reproduction.to_dict()
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form."""
        return sha256_json(self.to_dict())

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def attribute_columns(self) -> tuple[str, ...]:
        """Columns that the attributes are read from, each once."""
        return tuple(dict.fromkeys(attribute.column for attribute in self.attributes))

    @property
    def groupings(self) -> tuple[str, ...]:
        """Every way of grouping: attributes, then intersections by their joined names."""
        return (*(item.name for item in self.attributes), *(JOIN.join(names) for names in self.intersections))

    def attribute(self, name: str) -> AttributeSpec:
        """The attribute called ``name``."""
        return next(item for item in self.attributes if item.name == name)


def load_protocol(name: str) -> Protocol:
    """A protocol that comes with Auscult.

    Raises:
        ProtocolError: for an unknown name; the remedy lists the known ones.
    """
    return Protocol.from_yaml(bundled_source(name), source=f"{name}.yaml")


def bundled_source(name: str) -> str:
    """The YAML of a protocol that comes with Auscult, comments included."""
    if name not in bundled_names():
        raise ProtocolError(
            f"There is no bundled protocol called '{name}'.", remedy=f"Use one of: {', '.join(bundled_names())}."
        )
    return (resources.files("evaluation.engine") / "protocols" / f"{name}.yaml").read_text(encoding="utf-8")


def bundled_names() -> tuple[str, ...]:
    """Names of the protocols that come with Auscult, sorted."""
    folder = resources.files("evaluation.engine") / "protocols"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def _band_name(low: float, high: float) -> str:
    if low == 0:
        return f"<{high:g}"
    if float(low).is_integer() and float(high).is_integer():
        return f"{low:g}-{high - 1:g}"
    return f"{low:g} to <{high:g}"


def _build(body: Mapping[str, Any]) -> Protocol:
    """A protocol from a checked body."""
    minimum = body.get("minimum") or {}
    labels = tuple(_label(item) for item in body["labels"])
    under, splits = (body.get(key) for key in ("underdiagnosis", "splits"))
    return Protocol(
        name=body["name"],
        title=body["title"],
        intended_use=body.get("intended_use", "").strip(),
        suites=tuple(body.get("suites", ["fairness"])),
        labels=labels,
        attributes=tuple(_attribute(item) for item in body.get("attributes", [])),
        intersections=tuple(tuple(names) for names in body.get("intersections", [])),
        underdiagnosis=under
        and Underdiagnosis(name=under.get("name", "any finding"), findings=tuple(under["findings"])),
        criteria=tuple(_criterion(item) for item in body["criteria"]),
        minimum_cell=minimum.get("cell", 11),
        minimum_denominator=minimum.get("rate_denominator", 30),
        alpha=float(body.get("alpha", 0.05)),
        replicates=(body.get("bootstrap") or {}).get("replicates", 2000),
        seed=body.get("seed", 0),
        calibration_events=minimum.get("calibration_events", 100),
        calibration_bins=(body.get("calibration") or {}).get("bins", 10),
        utility_thresholds=tuple(float(value) for value in (body.get("utility") or {}).get("thresholds", [])),
        metrics=tuple(body.get("metrics") or []),
        splits=splits and Splits(audited=tuple(splits["audited"]), tuning=tuple(splits.get("tuning", []))),
        reports=_section(body, "reports", Reports.read),
        probing=_section(body, "probing", Probing.read),
        sampling=_section(body, "sampling", Sampling.read),
        perturbation=_section(body, "perturbation", Perturbation.read),
        drift=_section(body, "drift", Drift.read),
        linked=_section(body, "linked", Linked.read),
        judges=tuple(body.get("judges", [])),
        reproduction=Reproduction.read(body.get("reproduction") or {}),
    )


def _section(body: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]) -> T | None:
    """A section that may be left out; one that is there and empty has its defaults."""
    return None if body.get(name) is None else read(body[name])


def _label(item: Mapping[str, Any]) -> LabelSpec:
    threshold = item.get("threshold")
    return LabelSpec(
        name=item["name"],
        threshold=threshold and Threshold(value=float(threshold["value"]), source=threshold["source"]),
    )


def _attribute(item: Mapping[str, Any]) -> AttributeSpec:
    plausible, bands, names = item.get("plausible"), item.get("bands"), item.get("band_names")
    return AttributeSpec(
        name=item["name"],
        column=item.get("column", item["name"]),
        bands=None if bands is None else tuple(float(edge) for edge in bands),
        band_names=None if names is None else tuple(names),
        plausible=None if plausible is None else (float(plausible[0]), float(plausible[1])),
        values=tuple(str(value) for value in item.get("values", [])),
    )


def _criterion(item: Mapping[str, Any]) -> Criterion:
    attribute = item.get("attribute", "")
    return Criterion(
        id=item["id"],
        title=item.get("title", ""),
        metric=item["metric"],
        labels=tuple(item.get("labels", ["*"])),
        attribute=attribute if isinstance(attribute, str) else JOIN.join(attribute),
        direction=item["direction"],
        margin=float(item["margin"]),
        primary=item.get("primary", True),
    )
