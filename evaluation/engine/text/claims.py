"""What a text claims, in short: each finding with its strongest assertion. See ``reading`` for everything it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evaluation.engine.text.ontology import Ontology, ontology
from evaluation.engine.text.reading import read_text
from evaluation.engine.text.records import Assertion, Claim

__all__ = [
    "Assertion",
    "Claim",
    "abstains",
    "extract_claims",
    "findings_of",
    "known_findings",
    "positives_of",
    "strongest",
]

_STRENGTH = {Assertion.PRESENT: 2, Assertion.UNCERTAIN: 1, Assertion.ABSENT: 0}


def extract_claims(text: str | None, vocabulary: Ontology | None = None) -> tuple[Claim, ...]:
    """Every claim of a report, in the order of the text."""
    return read_text(text, vocabulary).claims


def findings_of(text: str | None, vocabulary: Ontology | None = None) -> dict[str, Assertion]:
    """The strongest assertion of each finding that a report mentions: present, else uncertain, else absent."""
    return strongest(extract_claims(text, vocabulary))


def strongest(claims: Iterable[Claim]) -> dict[str, Assertion]:
    """The strongest assertion of each finding of some claims."""
    found: dict[str, Assertion] = {}
    for claim in claims:
        known = found.get(claim.finding)
        if known is None or _STRENGTH[claim.assertion] > _STRENGTH[known]:
            found[claim.finding] = claim.assertion
    return found


def positives_of(said: Mapping[str, Assertion]) -> frozenset[str]:
    """Findings asserted as present. A finding that is only possible is not positive (strict scoring)."""
    return frozenset(name for name, assertion in said.items() if assertion is Assertion.PRESENT)


def abstains(text: str | None, said: Mapping[str, Assertion] | None = None, vocabulary: Ontology | None = None) -> bool:
    """Whether a report declines: it is missing or blank, or says so ("unable to assess") and settles no finding.

    Args:
        said: The result of :func:`findings_of`, if it is at hand.
    """
    read = read_text(text, vocabulary)
    if said is None or not read.given:
        return read.abstains
    settled = any(assertion is not Assertion.UNCERTAIN for assertion in said.values())
    return read.abstains and not settled


def known_findings() -> tuple[str, ...]:
    """Names of the findings of the ontology, in its order."""
    return ontology().findings
