"""Audits open risks: each failed primary criterion of a judged run is a risk of its system until a person says more.

The register's line is written by the platform from what the protocol and the verdicts say; it is not rated, so it
counts as 4 by 4. The same criterion on the same attribute is one risk of a system, to which later findings are added.
A finding ends an acceptance and opens a closed risk again. An audit that passes, or could not tell, changes nothing:
the page of the risk names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.urls import reverse

from core import ledger
from core.access import people_with
from core.digests import sha256_bytes
from core.following import follow
from core.models import LedgerEntry, Role, Topic
from core.notifications import Urgency, notify
from evaluation.models import AuditRun, Outcome, RunStatus, Verdict
from governance.execution_risks import (
    end_standing_acceptance,
    lock_next_number,
    locked_risk,
    move_risk,
    risk_facts,
    risk_href,
)
from governance.models import Risk, RiskFinding
from governance.standing.kinds import kinds_of
from models_registry.models import AISystem

FOLLOWER = "risk findings"
MOST_KEY, MOST_TITLE = 200, 200


@dataclass
class Told:
    """What one run did to the register, to tell people in one message."""

    opened: list[Risk] = field(default_factory=list)
    again: list[Risk] = field(default_factory=list)
    added: list[Risk] = field(default_factory=list)

    @property
    def all(self) -> list[Risk]:
        return [*self.opened, *self.again, *self.added]


def follow_findings() -> int:
    """Read the runs that were judged since the last time. Returns how many were read."""
    return follow(FOLLOWER, ("run.judged",), _read_entry)


def _read_entry(entry: LedgerEntry) -> None:
    about = ("version__system", "version__submitted_by", "protocol", "cohort__cohort")
    run = AuditRun.objects.select_related(*about).filter(pk=entry.subject_id, status=RunStatus.DONE).first()
    if run is not None:
        open_risks_of(run)


def open_risks_of(run: AuditRun) -> Told:
    """Enter what a run found into the register of its system. Call it in a transaction; a second time does nothing."""
    told = Told()
    failed: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in run.verdicts.filter(primary=True, outcome=Outcome.FAIL).order_by("position"):
        failed.setdefault((verdict.criterion, verdict.attribute), []).append(verdict)
    _lock_known(run.version.system, failed)
    for verdicts in failed.values():
        _enter(run, verdicts, told)
    if told.all:
        _tell(run, told)
    return told


def _lock_known(system: AISystem, found: Iterable[tuple[str, str]]) -> None:
    """Lock what is known before the first entry in the ledger: whoever holds the ledger's head waits for nothing."""
    keys = [finding_key(criterion, attribute) for criterion, attribute in found]
    lock_next_number(system)
    rows = Risk.objects.select_for_update(of=("self",), no_key=True).filter(system=system, finding_key__in=keys)
    list(rows.order_by("pk").values_list("pk"))


def finding_key(criterion: str, attribute: str) -> str:
    """What a finding is about, as the database keeps it once for each system."""
    key = f"{criterion}|{attribute}"
    return key if len(key) <= MOST_KEY else f"{key[: MOST_KEY - 65]}|{sha256_bytes(key.encode())}"


def _enter(run: AuditRun, verdicts: Sequence[Verdict], told: Told) -> None:
    system, first = run.version.system, verdicts[0]
    number = lock_next_number(system)
    key = finding_key(first.criterion, first.attribute)
    known = Risk.objects.filter(system=system, finding_key=key).first()
    risk = locked_risk(known.pk) if known else _open(run, verdicts, key=key, number=number)
    statement = "\n".join(verdict.statement for verdict in verdicts)
    finding, new = RiskFinding.objects.get_or_create(
        risk=risk,
        run=run,
        defaults={
            "criterion": first.criterion,
            "attribute": first.attribute,
            "n_failed": len(verdicts),
            "statement": statement,
            "evidence_digest": run.evidence_digest,
        },
    )
    if not new:
        return
    facts = {
        "finding": finding.pk,
        "run": run.pk,
        "evidence": run.evidence_digest,
        "criterion": finding.criterion,
        "attribute": finding.attribute,
        "n_failed": finding.n_failed,
    }
    _record("risk.finding_added", risk, facts)
    (_stir(risk, run, told) if known else told.opened).append(risk)


def _open(run: AuditRun, verdicts: Sequence[Verdict], *, key: str, number: int) -> Risk:
    title, hazard, cause, harm = _words(run, verdicts)
    risk = Risk.objects.create(
        system=run.version.system,
        number=number,
        title=title,
        kind=_kind(run, verdicts),
        hazard=hazard,
        cause=cause,
        harm=harm,
        origin=Risk.Origin.FINDING,
        finding_key=key,
    )
    _record("risk.recorded", risk, {"kind": risk.kind, "origin": str(risk.origin), "run": run.pk})
    return risk


def _stir(risk: Risk, run: AuditRun, told: Told) -> list[Risk]:
    """A risk that was known is open from now on. Answers the list of what is told about it."""
    why = f"Audit {run.pk} found it again."
    if end_standing_acceptance(risk, why=why, by=None) is not None:
        return told.again
    if risk.status == Risk.Status.CLOSED:
        move_risk(risk, Risk.Status.OPEN, closed_by=None, closed_at=None, closing_reason="")
        _record("risk.reopened", risk, {"run": run.pk, "reason": why})
        return told.again
    return told.added


def _kind(run: AuditRun, verdicts: Sequence[Verdict]) -> str:
    """Which row of the DPIA a criterion bears on; wrong output where nothing more is known."""
    details = [verdict.detail | {"metric": verdict.detail.get("metric", "")} for verdict in verdicts]
    shown = set(kinds_of((), details))
    if "hallucination_check" in shown:
        return "wrong_output"
    if any(verdict.attribute for verdict in verdicts):
        return "bias"
    if "synthetic_privacy_audit" in kinds_of(run.protocol.body.get("suites", []), details):
        return "model_inference"
    return "wrong_output"


def _words(run: AuditRun, verdicts: Sequence[Verdict]) -> tuple[str, str, str, str]:
    """Title, hazard, cause and harm, from the protocol and the verdicts; what harm follows, a person has to say."""
    first, protocol = verdicts[0], run.protocol
    criteria = protocol.body.get("criteria", [])
    named = next((item.get("title") for item in criteria if item.get("id") == first.criterion), None)
    criterion = str(named or first.criterion)
    labels = ", ".join(dict.fromkeys(verdict.label for verdict in verdicts if verdict.label)) or "its output"
    groups = f" between groups by {first.attribute}" if first.attribute else ""
    title = f"Not shown: {criterion[:1].lower()}{criterion[1:]}"
    title = f"{title} ({first.attribute})" if first.attribute else title
    hazard = f"The criterion “{criterion}” failed for {labels}{groups}. {first.statement}"
    cause = (
        f"The protocol {protocol.name} found it in audit {run.pk} of version {run.version.label} on the cohort "
        f"{run.cohort.cohort.name}. A clinician relies on the output where it is wrong more often than the protocol "
        "accepts."
    )
    harm = (
        f"Patients are diagnosed or treated wrongly or late where {labels} is judged wrongly"
        f"{', some groups more often than others' if first.attribute else ''}. Nobody has said yet who is harmed and "
        "how gravely: until it is rated, this risk counts as 4 by 4."
    )
    return title[:MOST_TITLE], hazard, cause, harm


def _tell(run: AuditRun, told: Told) -> None:
    """One message for the run, to whoever answers for decisions and to whoever submitted the version."""
    parts = []
    if told.opened:
        parts.append(f"{len(told.opened)} opened by it")
    if told.again:
        parts.append(f"{len(told.again)} opened again")
    if told.added:
        parts.append(f"{len(told.added)} found again")
    system = run.version.system
    href = risk_href(told.all[0]) if len(told.all) == 1 else f"{reverse('risks')}?system={system.slug}"
    owners = [risk.owner for risk in told.all if risk.owner is not None]
    notify(
        to=[*people_with(Role.COMMITTEE_CHAIR, Role.AUDITOR, on=run), run.version.submitted_by, *owners],
        topic=Topic.RISKS,
        title=f"Audit {run.pk} of {run.version}: risks, {', '.join(parts)}",
        text="\n".join(f"{risk.number}. {risk.title}" for risk in told.all),
        href=href,
        key=f"findings:{run.pk}:entered",
        urgency=Urgency.ACTION,
    )


def _record(act: str, risk: Risk, facts: dict[str, object]) -> None:
    ledger.record(actor="system", act=act, subject=("Risk", risk.pk), payload=risk_facts(risk) | facts)
