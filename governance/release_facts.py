"""What the files of a released cohort tell of it: gathered from registry, evidence, votes and terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils import timezone

from governance.models import ReleaseExport, ReleaseVote, SyntheticRelease
from governance.selectors.releases import officers_among
from models_registry.models import ModelVersion
from synthetic.release.facts import (
    AttackFact,
    CohortFact,
    DecisionFact,
    GateFact,
    GeneratorFact,
    PrivacyFact,
    ReleaseFacts,
    SourceFact,
    Suppressed,
)
from synthetic.selectors_spending import spending_of


def facts_of(export: ReleaseExport, version: ModelVersion, evidence: Mapping[str, Any]) -> ReleaseFacts:
    """The facts of an export, of the day on which the release was decided.

    Args:
        version: The generator.
        evidence: Of the audit that the release rests on.
    """
    release, details = export.release, version.config["details"]
    cohort, parent = release.cohort, release.cohort.parent
    assert parent is not None  # what has no parent has no export
    order = cohort.generated_by.order_by("pk").first()
    training = version.made_by.first()
    gates, attacks = _judged(evidence)
    flagged = order.facts.get("flagged", {}) if order else {}
    return ReleaseFacts(
        name=cohort.cohort.name,
        date=(release.closed_at or timezone.now()).date().isoformat(),
        purpose=release.purpose,
        generator=GeneratorFact(
            name=str(version),
            digest=version.digest,
            settings=details["settings"],
            parts=details["parts"],
            left_out=details["left_out"],
            privacy=_privacy(training.facts if training else {}),
            beside=spending_of(parent).told(),
        ),
        source=SourceFact(
            name=parent.cohort.name,
            digest=parent.digest,
            patients=parent.n_patients,
            studies=parent.n_studies,
            shares=details["patients"],
        ),
        cohort=CohortFact(name=cohort.cohort.name, digest=cohort.digest),
        evidence=release.evidence_digest,
        protocol=evidence["protocol"]["digest"],
        decision=_decision(release),
        gates=gates,
        attacks=attacks,
        suppressed=tuple(_suppressed(training.facts if training else {})),
        flags={name: count / max(1, cohort.n_studies) for name, count in flagged.items()},
        intended=(release.purpose,),
        **export.terms,
    )


def _judged(evidence: Mapping[str, Any]) -> tuple[tuple[GateFact, ...], tuple[AttackFact, ...]]:
    """The verdicts of the audit: those on privacy as attacks, with what each asks."""
    from evaluation.engine.registry import known_metrics
    from synthetic.suites.privacy import MEANINGS

    gates, attacks = [], []
    measured = {(row["metric"], row["value"]): row["detail"] for row in evidence["result"]["measurements"]}
    for item in evidence["result"]["verdicts"]:
        beside = measured.get((item["metric"], item["value"]), {})
        gate = _gate(item, beside, level=1 - evidence["protocol"]["body"]["alpha"])
        meaning = MEANINGS.get(item["metric"])
        if meaning is None:
            gates.append(gate)
        else:
            title = known_metrics()[item["metric"]].title
            attacks.append(AttackFact(name=title, asks=meaning.plainly, gate=gate, criterion=meaning.criterion))
    return tuple(gates), tuple(attacks)


def _gate(item: Mapping[str, Any], beside: Mapping[str, Any], *, level: float) -> GateFact:
    """A verdict, with what was measured beside its value."""
    sign = "at most" if item["direction"] == "at_most" else "at least"
    return GateFact(
        criterion=item["criterion"],
        outcome=item["outcome"],
        says=item["statement"],
        value=item["value"],
        low=item["low"],
        high=item["high"],
        level=level,
        margin=f"{sign} {item['margin']:g}",
        n=item["n"],
        counted=beside.get("counted", ""),
        null=beside.get("null"),
        reason="" if item["value"] is not None else item["statement"],
        primary=item["primary"],
    )


def _decision(release: SyntheticRelease) -> DecisionFact:
    """The vote of the data protection officer, who answers for the release."""
    votes = list(release.votes.filter(choice=ReleaseVote.Choice.APPROVE).select_related("voter"))
    officers = officers_among(votes)
    vote = next(item for item in votes if item.voter_id in officers)
    return DecisionFact(
        outcome="released",
        by=vote.voter.username,
        office="data protection officer",
        at=vote.cast_at.isoformat(),
        reason=vote.rationale,
    )


def _privacy(facts: Mapping[str, Any]) -> PrivacyFact | None:
    """Differential privacy of the generator, and of which parts; None where no part was trained with it."""
    parts: Mapping[str, Any] = facts.get("facts", {})
    spent = {role: part["privacy"] for role, part in parts.items() if part.get("privacy")}
    if not spent:
        return None
    together = facts.get("privacy", {}).get("spent")  # costs compose better than they add
    if together:
        return PrivacyFact(unit=facts["privacy"]["unit"], stages=tuple(spent), **together)
    return PrivacyFact(
        epsilon=sum(item["epsilon"] for item in spent.values()),
        delta=sum(item["delta"] for item in spent.values()),
        unit="one patient with all studies",
        stages=tuple(spent),
    )


def _suppressed(facts: Mapping[str, Any]) -> Iterator[Suppressed]:
    for role, part in facts.get("facts", {}).items():
        for item in part.get("suppressed", []) if isinstance(part.get("suppressed"), list) else []:
            if isinstance(item, Mapping) and "column" in item:
                yield Suppressed(column=str(item["column"]), reason=str(item.get("reason", f"rare values, {role}")))
