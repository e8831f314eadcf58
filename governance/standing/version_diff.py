"""What changed between two versions of a system, by the evidence of an audit of each.

Pure: two evidence documents in, records out. Verdicts and measurements are compared only where both audits judged by
the same protocol on the same cohort; else :attr:`VersionDiff.not_comparable` says why, and what the versions declare
is compared all the same.

A measurement lies *beyond noise* where the two intervals do not overlap. That is cautious: of two intervals of 95 %
that just touch, the difference is already beyond a test at 5 %. So what is within noise may still have changed, and
among many measurements a few lie beyond noise by chance. Without an interval on both sides nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.digests import compare_manifests

Document = Mapping[str, Any]
ORDER = {"pass": 0, "insufficient": 1, "fail": 2}
"""Outcomes from the best to the worst. Lack of evidence is worse than a pass."""
SYSTEM = {"intended_purpose": "Intended purpose", "risk_class": "Risk class", "provider": "Provider"}
CARD = {
    "licence": "Licence",
    "base_model": "Base model",
    "datasets": "Training data, by its card",
    "intended_use": "Intended use, by its card",
}
CONFIG = {
    "labels": "Findings",
    "outputs": "Outputs",
    "modalities": "Reads",
    "required": "Requires",
    "capabilities": "Can",
    "runs_weights": "Weights are run here",
}


class Noise(StrEnum):
    """Whether a measurement changed by more than its intervals explain."""

    BEYOND = "beyond"
    WITHIN = "within"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class VerdictChange:
    """A verdict that is another now. ``before`` or ``after`` is empty where only one of the audits gave it."""

    criterion: str
    metric: str
    label: str
    attribute: str
    primary: bool
    before: str
    after: str
    statement: str

    @property
    def worse(self) -> bool:
        """Whether it went down, or came in below a pass; a verdict that is no longer given is worse too."""
        if not self.after:
            return True
        return ORDER.get(self.after, 2) > ORDER.get(self.before or "pass", 0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One side of a measurement; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True, kw_only=True)
class MeasurementChange:
    """One measurement that both audits made. ``reason`` says why nothing is said about noise."""

    suite: str
    metric: str
    label: str
    attribute: str
    group: str
    before: Estimate
    after: Estimate
    noise: Noise
    reason: str = ""

    @property
    def difference(self) -> float | None:
        if self.before.value is None or self.after.value is None:
            return None
        return self.after.value - self.before.value


@dataclass(frozen=True, kw_only=True)
class FactChange:
    """Something that the version declares and that is another now; empty text is *not stated*."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class VersionDiff:
    """What changed. ``n_within`` measurements changed within noise or not at all, ``n_unknown`` cannot be told.

    ``same_weights``: both documents name the digest of the version's files, and it is one.
    """

    same_weights: bool
    facts: tuple[FactChange, ...]
    not_comparable: str = ""
    verdicts: tuple[VerdictChange, ...] = ()
    n_verdicts: int = 0
    beyond: tuple[MeasurementChange, ...] = ()
    n_within: int = 0
    n_unknown: int = 0
    n_only_before: int = 0
    n_only_after: int = 0

    @property
    def any(self) -> bool:
        """Whether anything is known to have changed."""
        only = self.n_only_before or self.n_only_after
        return bool(self.facts or self.verdicts or self.beyond or only)

    @property
    def n_compared(self) -> int:
        return len(self.beyond) + self.n_within


def compare(before: Document, after: Document) -> VersionDiff:
    """What changed from one evidence document to another; ``before`` is the one that was approved."""
    one, other = _part(before, "version"), _part(after, "version")
    facts, same = tuple(_facts(before, after)), bool(one.get("digest")) and one.get("digest") == other.get("digest")
    reason = _not_comparable(before, after)
    if reason:
        return VersionDiff(same_weights=same, facts=facts, not_comparable=reason)
    verdicts, n_verdicts = _verdicts(_result(before, "verdicts"), _result(after, "verdicts"))
    old, new = _keyed(_result(before, "measurements")), _keyed(_result(after, "measurements"))
    changes = [_measurement(key, old[key], new[key]) for key in new if key in old]
    noise = Counter(item.noise for item in changes)
    return VersionDiff(
        same_weights=same,
        facts=facts,
        verdicts=verdicts,
        n_verdicts=n_verdicts,
        beyond=tuple(item for item in changes if item.noise is Noise.BEYOND),
        n_within=noise[Noise.WITHIN],
        n_unknown=noise[Noise.UNKNOWN],
        n_only_before=len(old.keys() - new.keys()),
        n_only_after=len(new.keys() - old.keys()),
    )


def _part(document: Document, name: str) -> Document:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _result(document: Document, name: str) -> list[Document]:
    return [item for item in _part(document, "result").get(name) or [] if isinstance(item, Mapping)]


def _not_comparable(before: Document, after: Document) -> str:
    """Why what was measured cannot be compared; empty where it can."""
    differ = []
    for name in ("protocol", "cohort"):
        one, other = _part(before, name), _part(after, name)
        if one.get("digest") != other.get("digest"):
            was, now = one.get("name") or "one that is not named", other.get("name") or "one that is not named"
            same = " with other content" if was == now else ""
            differ.append(f"by the protocol {now}{same}" if name == "protocol" else f"on the cohort {now}{same}")
            differ[-1] += f", the approved one {'by' if name == 'protocol' else 'on'} {was}"
    if not differ:
        return ""
    return f"This version was audited {' and '.join(differ)}. Numbers of different rules or patients are not compared."


# ---- Verdicts and measurements


def _key(item: Document, *names: str) -> tuple[str, ...]:
    return tuple(str(item.get(name) or "") for name in names)


def _numbered(items: Iterable[Document], *names: str) -> dict[tuple[str, ...], Document]:
    """Items by the fields that name them; of equal names the first, the second and so on are told apart."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = {}
    for item in items:
        key = _key(item, *names)
        found[(*key, str(seen[key]))] = item
        seen[key] += 1
    return found


def _keyed(items: Iterable[Document]) -> dict[tuple[str, ...], Document]:
    return _numbered(items, "suite", "metric", "label", "attribute", "group")


def _verdicts(before: list[Document], after: list[Document]) -> tuple[tuple[VerdictChange, ...], int]:
    """Verdicts that are others, the worse first and those that decide before the others; and how many there are."""
    names = ("criterion", "metric", "label", "attribute")
    old, new = _numbered(before, *names), _numbered(after, *names)
    changes = []
    for key in (*new, *(key for key in old if key not in new)):
        was, now = str(old.get(key, {}).get("outcome", "")), str(new.get(key, {}).get("outcome", ""))
        if was != now:
            told = new.get(key) or old[key]
            changes.append(
                VerdictChange(
                    **dict(zip(names, key, strict=False)),
                    primary=bool(told.get("primary", True)),
                    before=was,
                    after=now,
                    statement=str(told.get("statement", "")),
                )
            )
    changes.sort(key=lambda item: (not item.worse, not item.primary))
    return tuple(changes), len(old.keys() | new.keys())


def _estimate(item: Document) -> Estimate:
    return Estimate(value=item.get("value"), low=item.get("low"), high=item.get("high"), n=item.get("n"))


def _measurement(key: tuple[str, ...], before: Document, after: Document) -> MeasurementChange:
    one, other = _estimate(before), _estimate(after)
    noise, reason = _noise(one, other)
    if before.get("metric_version") != after.get("metric_version"):
        noise, reason = Noise.UNKNOWN, "The metric is computed in another way now."
    elif before.get("level") != after.get("level"):
        noise, reason = Noise.UNKNOWN, "The intervals are of different levels."
    suite, metric, label, attribute, group, _ = key
    return MeasurementChange(
        suite=suite,
        metric=metric,
        label=label,
        attribute=attribute,
        group=group,
        before=one,
        after=other,
        noise=noise,
        reason=reason,
    )


def _noise(one: Estimate, other: Estimate) -> tuple[Noise, str]:
    if one.value is None or other.value is None:
        sides = "both sides" if one.value is None and other.value is None else "one side"
        return Noise.UNKNOWN, f"It is undefined on {sides}."
    if one.low is None or one.high is None or other.low is None or other.high is None:
        if one.value == other.value:
            return Noise.WITHIN, ""
        return Noise.UNKNOWN, "It has no interval on one side."
    apart = other.low > one.high or other.high < one.low
    return (Noise.BEYOND if apart else Noise.WITHIN), ""


# ---- What is declared


def _facts(before: Document, after: Document) -> Iterable[FactChange]:
    """Every declared fact that is another now, in the order in which a committee asks for them."""
    one, other = _part(before, "version"), _part(after, "version")
    old, new = dict(_declared(before)), dict(_declared(after))
    yield from _change("Weights, by the digest of their files", one.get("digest"), other.get("digest"))
    files = compare_manifests(one.get("manifest") or {}, other.get("manifest") or {})
    for what, paths in (("Files changed", files.changed), ("Files added", files.added), ("Files gone", files.removed)):
        yield from _change(what, "", list(paths))
    for name in (*new, *(name for name in old if name not in new)):
        yield from _change(name, old.get(name), new.get(name))


def _declared(document: Document) -> Iterable[tuple[str, Any]]:
    version, system = _part(document, "version"), _part(document, "system")
    for key, name in SYSTEM.items():
        yield name, system.get(key)
    yield "Adapter", version.get("adapter")
    config = _part(version, "config")
    for key, name in CONFIG.items():
        yield name, config.get(key)
    for path, value in _flat(_part(config, "details")):
        yield path.replace("_", " ").capitalize(), value
    origins: dict[str, list[str]] = {}
    for item in version.get("origins") or []:
        digest = str(item.get("digest") or "")
        told = f"{item.get('source', '')} ({digest[:12]})" if digest else str(item.get("source", ""))
        origins.setdefault(str(item.get("relation", "Made from")), []).append(told)
    yield from sorted(origins.items())
    for key, name in CARD.items():
        yield name, _part(version, "card").get(key)
    yield "Settings of inference", dict(_flat(_part(_part(document, "execution"), "settings")))


def _flat(value: Document, above: str = "") -> Iterable[tuple[str, Any]]:
    for name in sorted(value):
        path = f"{above}: {name}" if above else str(name)
        if isinstance(value[name], Mapping):
            yield from _flat(value[name], path)
        else:
            yield path, value[name]


def _change(name: str, before: Any, after: Any) -> Iterable[FactChange]:
    if _plain(before) != _plain(after):
        yield FactChange(name=name, before=_plain(before), after=_plain(after))


def _plain(value: Any) -> str:
    """A declared value as text; what is not stated is empty."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)
