"""Sections of a protocol: on what a model writes, on synthetic patients, on running an audit again.

Each reads its part of a checked body with ``read`` and gives it back with ``to_dict``, keys at their defaults left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class NumberRule:
    """Which series of the cohort a number in a report is held against.

    Attributes:
        analyte: Key of the vocabulary of analytes.
        series: Name of the series: ``crp`` is the column ``series.crp``.
        unit: UCUM code of the values in the cohort.
        low, high: Reference range in this unit, for "high", "low" and "normal"; None where a side has no limit.
    """

    analyte: str
    series: str
    unit: str
    low: float | None = None
    high: float | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> NumberRule:
        low, high = (None if body.get(name) is None else float(body[name]) for name in ("low", "high"))
        return cls(analyte=body["analyte"], series=body["series"], unit=body["unit"], low=low, high=high)

    def to_dict(self) -> dict[str, Any]:
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}


class _Section:
    """Reads and writes itself by its fields."""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        kinds = {item.name: type(item.default) for item in fields(cls)}  # type: ignore[arg-type]
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else float(value) if kinds[name] is float else value
                for name, value in body.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        found = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if value != item.default:
                found[item.name] = list(value) if isinstance(value, tuple) else value
        return found


@dataclass(frozen=True, kw_only=True)
class Reports:
    """How written reports are compared with an expert's.

    Attributes:
        findings: Findings of the ontology on which they are compared; ``*`` is every one.
        vocabulary: Additions to the ontology, in its own shape; empty for none. Locked with the protocol.
        prior: Column that a study has where an earlier study was given to the model; "" where none ever is.
        numbers: Series that numbers in a report are held against.
    """

    findings: tuple[str, ...]
    vocabulary: Mapping[str, Any] = field(default_factory=dict)
    prior: str = ""
    numbers: tuple[NumberRule, ...] = ()

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Reports:
        return cls(
            findings=tuple(body.get("findings", ["*"])),
            vocabulary=dict(body.get("vocabulary", {})),
            prior=body.get("prior", ""),
            numbers=tuple(NumberRule.read(item) for item in body.get("numbers", [])),
        )

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"findings": list(self.findings)}
        if self.vocabulary:
            found["vocabulary"] = dict(self.vocabulary)
        if self.prior:
            found["prior"] = self.prior
        if self.numbers:
            found["numbers"] = [item.to_dict() for item in self.numbers]
        return found


@dataclass(frozen=True, kw_only=True)
class Probing(_Section):
    """Questions whose answers the cohort knows.

    Attributes:
        findings: What is asked about: labels of the cohort (``label.<name>``), or findings of the ontology, whose truth
            is then what the expert's report says.
        kinds: Kinds of questions that are untrue of the study, beside those that are true; see ``asking.ProbeKind``.
        studies: About as many studies are asked about, whole patients, chosen by a hash of patient and seed.
        per_study: Findings that are present that a study is asked about; as many of each other kind.
        modality: What the answers should rest on: ``image`` or ``text.<name>``.
    """

    findings: tuple[str, ...]
    kinds: tuple[str, ...] = ("random", "popular", "adversarial")
    studies: int = 500
    per_study: int = 2
    modality: str = "image"


@dataclass(frozen=True, kw_only=True)
class Sampling(_Section):
    """Several texts for one study, drawn with a temperature.

    Attributes:
        of: ``reports``, or ``answers`` to the questions of the probing.
        samples: Texts for each.
        studies: About as many studies, chosen in the same way.
        target_risk: Share of errors that the model may make where it does not abstain.
    """

    of: str = "reports"
    samples: int = 5
    temperature: float = 1.0
    studies: int = 200
    target_risk: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Perturbation(_Section):
    """The study is changed, and what the model says should change with it, or should not.

    Attributes:
        of: ``answers`` to the questions of the probing, or ``reports``.
        kinds: Of ``blank``, ``noise``, ``swapped``, ``paraphrase``.
        dropped: Other modalities that are taken away, one at a time.
        modality: What is made blank, noise, or another patient's.
        studies: About as many studies, chosen in the same way.
    """

    of: str = "answers"
    kinds: tuple[str, ...] = ("blank", "noise", "swapped", "paraphrase")
    dropped: tuple[str, ...] = ()
    modality: str = "image"
    studies: int = 200


@dataclass(frozen=True, kw_only=True)
class Linked(_Section):
    """How synthetic patients are held against real ones.

    Attributes:
        attacks: Of each kind on the privacy of those whom the generator learnt from, at most.
        repeats: Learners that are trained on each set, each with a seed of its own.
    """

    attacks: int = 2000
    repeats: int = 5


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """How far a value or an interval may lie from the first time when the audit is run again, in absolute terms.

    Attributes:
        tolerance: Of every metric that has none of its own.
        metrics: Metric -> its own tolerance.
    """

    tolerance: float = 1e-6
    metrics: tuple[tuple[str, float], ...] = ()

    def of(self, metric: str) -> float:
        """The tolerance of a metric."""
        return dict(self.metrics).get(metric, self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        return {"tolerance": self.tolerance, "metrics": dict(self.metrics)}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Reproduction:
        metrics = sorted((name, float(value)) for name, value in body.get("metrics", {}).items())
        return cls(tolerance=float(body.get("tolerance", cls.tolerance)), metrics=tuple(metrics))
