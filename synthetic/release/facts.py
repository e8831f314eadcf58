"""What is known of a set of synthetic patients when it is released: plain data, gathered before, by whoever may see it.

Nothing here is about one person. Counts of real patients may be small here; what is written out never tells a count
from 1 to 10 (see :mod:`synthetic.release.datasheet`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

from core.errors import AuscultError

PASS, FAIL, INSUFFICIENT = "pass", "fail", "insufficient"
OUTCOMES = (PASS, FAIL, INSUFFICIENT)
RELEASED = ("released", "released with conditions")
SHA256 = re.compile(r"[0-9a-f]{64}")
CODE = re.compile(r"[^\s|]+\|[^\s|]+")
BODY_PART = re.compile(r"[A-Z0-9_ ]{0,16}")
MODALITIES = ("CR", "DX")


@dataclass(frozen=True, kw_only=True)
class PrivacyFact:
    """Differential privacy that the generator was trained with.

    Attributes:
        epsilon, delta: Of the whole training, composed over every stage and every run that chose settings.
        unit: What two neighbouring data sets differ in, such as ``one patient with all studies``.
        stages: The parts that it covers; a part that is not named is not covered.
    """

    epsilon: float
    delta: float
    unit: str
    stages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GeneratorFact:
    """The generator.

    Attributes:
        digest: SHA-256 over all of its files.
        settings: What it was trained with, as JSON values.
        parts: Role -> name of the part that fills it.
        left_out: Role -> why the generator has no such part.
        privacy: None where it was trained without differential privacy.
        beside: All generators that learnt from the cohort, this one among them, and what they promise together.
    """

    name: str
    digest: str
    settings: Mapping[str, Any]
    parts: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    privacy: PrivacyFact | None = None
    beside: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceFact:
    """The cohort of real patients that the generator learnt from.

    Attributes:
        digest: Of the cohort, which stays in the house.
        shares: What patients were used for -> how many. No patient is in two of them.
    """

    name: str
    digest: str
    patients: int
    studies: int
    shares: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CohortFact:
    """The synthetic cohort: name, and digest as registered."""

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class GateFact:
    """A criterion of the audit and what was found.

    Attributes:
        criterion: Its name, which the signed statement lists.
        says: The verdict in a sentence.
        value, low, high: Figure and interval at ``level``; None where it could not be computed, ``reason`` says why.
        margin: The limit in words, such as ``at most 0.09``.
        n, counted: What the figure is of: 2000 attacks, 312 patients. None where it is not told.
        null: The same figure with real patients in place of synthetic ones.
        primary: Whether the decision rests on it; another one is told and decides nothing.
    """

    criterion: str
    outcome: str
    says: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    margin: str = ""
    n: int | None = None
    counted: str = ""
    null: float | None = None
    reason: str = ""
    primary: bool = True


@dataclass(frozen=True, kw_only=True)
class AttackFact:
    """An attack on the privacy of those whom the generator learnt from, tried by the auditor.

    Attributes:
        asks: What an attacker would want to know, in a sentence.
        gate: What was found.
        criterion: Which risk of the opinion WP216 it is of: singling out, linkability, inference.
    """

    name: str
    asks: str
    gate: GateFact
    criterion: str = ""


@dataclass(frozen=True, kw_only=True)
class Suppressed:
    """Something of the real cohort that the generator was not shown."""

    column: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DecisionFact:
    """Who released it: user name, office, when (ISO 8601), why, and on which conditions."""

    outcome: str
    by: str
    office: str
    at: str
    reason: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """Everything that the files of a release tell besides the patients themselves.

    Attributes:
        name: Of the release.
        date: ISO 8601 day that the files bear. Never the clock: equal facts and patients give equal bytes.
        evidence: SHA-256 of the audit's evidence.
        protocol: SHA-256 of the protocol that judged.
        flags: What is flagged -> share of studies in [0, 1], such as ``image_unresolved``: the picture does not show
            its plan as far as the critic can tell, and stands.
        units: Series -> UCUM code, where the studies do not tell it themselves.
        codes: Label or series -> ``system|code`` for FHIR, in place of the built-in ones.
        modality, body_part: Of every image, in DICOM's terms.
    """

    name: str
    date: str
    publisher: str
    contact: str
    licence: str
    purpose: str
    generator: GeneratorFact
    source: SourceFact
    cohort: CohortFact
    evidence: str
    protocol: str
    decision: DecisionFact
    gates: tuple[GateFact, ...]
    attacks: tuple[AttackFact, ...]
    suppressed: tuple[Suppressed, ...] = ()
    flags: Mapping[str, float] = field(default_factory=dict)
    intended: tuple[str, ...] = ()
    not_intended: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    modality: str = "DX"
    body_part: str = ""

    @property
    def origin(self) -> str:
        """What DICOM identifiers are made under. The generator alone would not do: equal seeds give equal keys to
        patients of another order."""
        return f"{self.generator.digest}/{self.cohort.digest}"

    def outcome(self) -> str:
        """What the primary gates and the attacks come to: one that failed fails; none tried, or one that could not be
        judged, leaves it insufficient."""
        primary = [gate.outcome for gate in self.all_gates() if gate.primary]
        if FAIL in primary:
            return FAIL
        return PASS if primary and set(primary) == {PASS} else INSUFFICIENT

    def all_gates(self) -> tuple[GateFact, ...]:
        return (*self.gates, *(attack.gate for attack in self.attacks))


def check_facts(facts: ReleaseFacts) -> None:
    """Whether a release can be made of these facts.

    Raises:
        AuscultError: naming the fact that is missing or wrong.
    """
    for name, digest in _digests(facts).items():
        if not SHA256.fullmatch(digest):
            raise _wrong(name, "is no SHA-256 of 64 hexadecimal digits in lower case", "Give the digest itself.")
    for item in fields(facts):
        if item.type == "str" and item.name != "body_part" and not getattr(facts, item.name).strip():
            raise _wrong(item.name, "is empty", "A receiver has to know it.")
    if not _is_day(facts.date):
        raise _wrong("date", f"is no day: '{facts.date}'", "Write it as 2026-11-23.")
    if facts.decision.outcome not in RELEASED:
        raise AuscultError(
            f"The set is not released: the decision is '{facts.decision.outcome}'.",
            remedy="Nothing leaves the house before a data protection officer has released it.",
        )
    if facts.modality not in MODALITIES:
        raise _wrong("modality", f"is '{facts.modality}'", f"Use one of: {', '.join(MODALITIES)}.")
    if not BODY_PART.fullmatch(facts.body_part):
        raise _wrong("body_part", "is no code string of DICOM", "Write it such as CHEST, or leave it empty.")
    for name, code in facts.codes.items():
        if not CODE.fullmatch(code):
            raise _wrong(f"codes, {name}", "is no SYSTEM|CODE", "Write it such as http://loinc.org|1988-5.")
    for name, share in facts.flags.items():
        if not 0 <= share <= 1:
            raise _wrong(f"flags, {name}", "is no share from 0 to 1", "Give the share of studies.")
    for gate in facts.all_gates():
        _check_gate(gate)


def _digests(facts: ReleaseFacts) -> dict[str, str]:
    return {
        "generator": facts.generator.digest,
        "source": facts.source.digest,
        "cohort": facts.cohort.digest,
        "evidence": facts.evidence,
        "protocol": facts.protocol,
    }


def _check_gate(gate: GateFact) -> None:
    place = f"gate {gate.criterion}"
    if gate.outcome not in OUTCOMES:
        raise _wrong(place, f"has the outcome '{gate.outcome}'", f"Use one of: {', '.join(OUTCOMES)}.")
    if gate.value is None and (not gate.reason or gate.outcome == PASS):
        raise _wrong(place, "has no value, and passed or tells no reason", "What could not be computed never passes.")
    numbers = [gate.value, gate.low, gate.high, gate.null]
    if not all(math.isfinite(item) for item in numbers if item is not None):
        raise _wrong(place, "has a figure that is no number", "Give None and a reason where it cannot be computed.")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _wrong(place: str, what: str, remedy: str) -> AuscultError:
    return AuscultError(f"Facts of the release, {place}: it {what}.", remedy=remedy, column=place)
