"""Reading the risk register: each risk with what counts of it, by a number of queries that does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from core.access import people_with, same_person
from core.attached import attach_people
from core.errors import NotFoundError
from core.models import LedgerEntry, Role, User
from evaluation.models import AuditRun, Outcome, RunStatus, Verdict
from governance.access import STATERS
from governance.models import Control, Incident, Risk, RiskAcceptance, RiskFinding, RiskRating, Statement
from governance.requirements import load_requirements
from governance.rules.values import is_empty
from governance.standing.register import ControlFacts, Counted, Judged, Stated, judge_risk
from models_registry.models import AISystem

BANDS = {"low": "Low", "medium": "Medium", "high": "High", "very_high": "Very high"}
OPEN = (Risk.Status.OPEN, Risk.Status.ACCEPTED)
MOST_RUNS = 50
CONSULTATION = "GDPR-36"
"""The requirement under which prior consultation is stated."""
RISK_PEOPLE = ("owner", "opened_by", "closed_by")
COUNTING = ("owner", "implemented_by", "verified_by")
"""Who bears on whether a control counts."""
CONTROLLERS = ("proposed_by", *COUNTING)
SHOWN_OF_FINDINGS = (
    "run__finished_at", "criterion", "attribute", "n_failed", "statement", "evidence_digest", "found_at",
    "run__version__label", "run__version__system__name", "run__cohort__cohort__simulated",
)  # fmt: skip
"""Columns of a finding, and through it of its audit, that the page of a risk shows."""


@dataclass(frozen=True, kw_only=True)
class RiskLine:
    """One risk as the register tells it.

    Attributes:
        before, after: As they count (``governance.standing.register``).
        stated_before, stated_after: The latest rating of each stage as a person gave it; None where nobody did.
        controls: All of them, in the order in which they were planned.
        findings: What audits found, newest first; empty where only their number was asked for.
        n_findings: How many there are.
        acceptance: The one that stands now, if any.
        lowered_without_control: A milder rating was stated though no control is verified; it does not count.
        severity_kept: A lower severity was stated, and what is verified only informs; it does not count.
        overdue: Controls that are not implemented though their day is past.
    """

    risk: Risk
    judged: Judged
    stated_before: Stated | None
    stated_after: Stated | None
    controls: tuple[Control, ...]
    findings: tuple[RiskFinding, ...]
    n_findings: int
    acceptance: RiskAcceptance | None
    overdue: tuple[Control, ...]

    @property
    def before(self) -> Counted:
        return self.judged.before

    @property
    def after(self) -> Counted:
        return self.judged.after

    @property
    def band_before(self) -> str:
        """``Very high``, and so on."""
        return BANDS[self.before.band]

    @property
    def band_after(self) -> str:
        return BANDS[self.after.band]

    @property
    def lowered_without_control(self) -> bool:
        return self.judged.lowered_without_control

    @property
    def severity_kept(self) -> bool:
        return self.judged.severity_kept

    @property
    def n_verified(self) -> int:
        return sum(control.status == Control.Status.VERIFIED for control in self.controls)

    @property
    def n_controls(self) -> int:
        """Controls that were not dropped."""
        return sum(control.status != Control.Status.DROPPED for control in self.controls)

    @property
    def unacceptable(self) -> bool:
        """It is not closed, what remains is high, very high or not rated, and nobody's acceptance of it stands."""
        return self.risk.status != Risk.Status.CLOSED and self.judged.unacceptable and self.acceptance is None


def incident_key(incident: Incident) -> str:
    """What a risk that an incident showed is known by; no audit's finding has such a key."""
    return f"incident:{incident.number}"


def risk_of_incident(incident: Incident) -> Risk | None:
    """The risk that an incident opened, if it did."""
    return Risk.objects.filter(system=incident.system_id, finding_key=incident_key(incident)).first()


def incident_of(risk: Risk) -> Incident | None:
    """The incident that opened a risk, if one did."""
    if risk.origin != Risk.Origin.INCIDENT:
        return None
    number = risk.finding_key.partition(":")[2]
    return Incident.objects.filter(system=risk.system_id, number=int(number)).first() if number.isdecimal() else None


def unacceptable_risks(system: AISystem) -> list[Risk]:
    """Risks that stop the use of a system: open, what remains at 8 or more or not rated, not accepted now."""
    return [line.risk for line in lines_of(Risk.objects.filter(system=system, status__in=OPEN)) if line.unacceptable]


def lines_of(risks: QuerySet[Risk], *, now: datetime | None = None, told: Sequence[str] = ()) -> list[RiskLine]:
    """The lines of some risks. The queries are as many for one as for a thousand.

    Args:
        told: What is read of the findings: names of columns, through ``run`` of its audit. Empty for lists, which
            count findings and controls, and show nothing else of them.
    """
    rows = list(risks.select_related("system").order_by("system__name", "number"))
    numbers = [row.pk for row in rows]
    people = CONTROLLERS if told else COUNTING
    planned = Control.objects.filter(risk__in=numbers).order_by("pk")
    controls = list(planned if told else planned.only("risk", "kind", "status", "due_on", *COUNTING))
    standing = RiskAcceptance.objects.filter(risk__in=numbers, ended_at__isnull=True)
    acceptances = list(standing.filter(expires_at__gt=now or timezone.now()).order_by("pk"))
    attach_people((rows, RISK_PEOPLE), (controls, people), (acceptances, ("accepted_by", "owner")))
    of_risk: dict[int, _Of] = {number: _Of() for number in numbers}
    for control in controls:
        of_risk[control.risk_id].controls.append(control)
    for acceptance in acceptances:
        of_risk[acceptance.risk_id].acceptances.append(acceptance)
    stated = RiskRating.objects.filter(risk__in=numbers).order_by("pk")
    for risk, stage, severity, likelihood in stated.values_list("risk_id", "stage", "severity", "likelihood"):
        of_risk[risk].latest[stage] = Stated(severity=severity, likelihood=likelihood)
    _add_findings(of_risk, told)
    today = timezone.localdate(now) if now else timezone.localdate()
    return [_line(row, of_risk[row.pk], today=today) for row in rows]


@dataclass
class _Of:
    """What the rows say of one risk; ``latest``: the newest rating of each stage."""

    latest: dict[str, Stated] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    findings: list[RiskFinding] = field(default_factory=list)
    n_findings: int = 0
    acceptances: list[RiskAcceptance] = field(default_factory=list)


def _add_findings(of_risk: dict[int, _Of], told: Sequence[str]) -> None:
    """The findings with what is told of them, or their number alone: one query."""
    rows = RiskFinding.objects.filter(risk__in=list(of_risk))
    if not told:
        for risk, count in rows.order_by().values_list("risk_id").annotate(n=Count("pk")):
            of_risk[risk].n_findings = count
        return
    through = {name.rpartition("__")[0] for name in told if "__" in name}
    rows = rows.select_related(*through) if through else rows
    for finding in rows.only("risk_id", *told).order_by("-found_at", "-pk"):
        of_risk[finding.risk_id].findings.append(finding)
        of_risk[finding.risk_id].n_findings += 1


def line_of(risk: Risk) -> RiskLine:
    """One risk with what counts of it, as it is now."""
    return lines_of(Risk.objects.filter(pk=risk.pk), told=SHOWN_OF_FINDINGS)[0]


def consultation_of(risk: Risk) -> Statement | None:
    """The newest accepted statement on prior consultation of this system that tells of the authority's reply, written
    after the risk was opened, and written or accepted by a data protection officer."""
    officer = Q(author__role_grants__role=Role.DPO) | Q(decided_by__role_grants__role=Role.DPO)
    rows = Statement.objects.filter(
        officer,
        version__system=risk.system_id,
        requirement=CONSULTATION,
        status=Statement.Status.ACCEPTED,
        written_at__gte=risk.opened_at,
    )
    told = (row for row in rows.order_by("-pk").distinct() if not is_empty(row.fields.get("authority_reply")))
    return next(told, None)


def _line(risk: Risk, told: _Of, *, today: date) -> RiskLine:
    before, after = told.latest.get(RiskRating.Stage.BEFORE), told.latest.get(RiskRating.Stage.AFTER)
    controls = told.controls
    judged = judge_risk(
        load_requirements().risk_matrix,
        before=before,
        after=after,
        controls=[ControlFacts(kind=control.kind, status=_counted(control)) for control in controls],
    )
    return RiskLine(
        risk=risk,
        judged=judged,
        stated_before=before,
        stated_after=after,
        controls=tuple(controls),
        findings=tuple(told.findings),
        n_findings=told.n_findings,
        acceptance=next((item for item in reversed(told.acceptances) if not _own(item, risk)), None),
        overdue=tuple(
            control for control in controls if control.status == Control.Status.PLANNED and control.due_on < today
        ),
    )


def _own(acceptance: RiskAcceptance, risk: Risk) -> bool:
    """Whether who accepted a risk owns it, as it turned out: by an account that was merged since."""
    owners = (acceptance.owner, risk.owner)
    return any(same_person(acceptance.accepted_by, owner) for owner in owners)


def _counted(control: Control) -> str:
    """Its state; one that its owner or maker verified, by an account that was merged since, is implemented only."""
    alone = any(same_person(control.verified_by, other) for other in (control.owner, control.implemented_by))
    return str(Control.Status.IMPLEMENTED) if alone else str(control.status)


def risk_by_id(pk: int) -> Risk:
    """Raises NotFoundError for a risk that is not there."""
    risk = Risk.objects.select_related("system", "owner", "opened_by", "closed_by").filter(pk=pk).first()
    if risk is None:
        raise NotFoundError(f"There is no risk {pk}.", remedy="Open the list of risks.")
    return risk


def control_of(risk: Risk, pk: int) -> Control:
    """Raises NotFoundError for a control that this risk does not have."""
    control = Control.objects.select_related("risk__system", "owner").filter(pk=pk, risk=risk).first()
    if control is None:
        raise NotFoundError(f"Risk {risk.number} has no control {pk}.", remedy="Open the page of the risk.")
    return control


def ratings_of(risk: Risk) -> list[RiskRating]:
    """Every rating that was ever given, newest first."""
    return list(risk.ratings.select_related("rated_by").order_by("-pk"))


def acceptances_of(risk: Risk) -> list[RiskAcceptance]:
    """Every acceptance, newest first."""
    return list(risk.acceptances.select_related("accepted_by", "owner"))


def history_of(risk: Risk) -> QuerySet[LedgerEntry]:
    """What the ledger says about a risk and its controls, newest first."""
    controls = [str(pk) for pk in risk.controls.values_list("pk", flat=True)]
    about = Q(subject_kind="Risk", subject_id=str(risk.pk)) | Q(subject_kind="Control", subject_id__in=controls)
    return LedgerEntry.objects.filter(about).order_by("-index")


@dataclass(frozen=True, kw_only=True)
class LaterVerdict:
    """What an audit said about the criterion of a risk: it passed there, or could not be judged."""

    run: int
    version: str
    outcome: str
    at: datetime | None


def later_verdicts(risk: Risk, findings: Iterable[RiskFinding]) -> list[LaterVerdict]:
    """Audits after the newest finding, judged by the same criterion on the same attribute, that found no failure."""
    newest = next(iter(findings), None)
    if newest is None or not risk.finding_key:
        return []
    rows = Verdict.objects.filter(
        run__version__system=risk.system_id,
        run__status=RunStatus.DONE,
        run__finished_at__gt=newest.run.finished_at or newest.found_at,
        criterion=newest.criterion,
        attribute=newest.attribute,
        primary=True,
    ).order_by("-run__finished_at", "run", "position")
    found: dict[int, LaterVerdict] = {}
    for verdict in rows.select_related("run__version__system"):
        worst = verdict.outcome
        if verdict.run_id in found and found[verdict.run_id].outcome != Outcome.PASS:
            worst = found[verdict.run_id].outcome
        found[verdict.run_id] = LaterVerdict(
            run=verdict.run_id, version=str(verdict.run.version), outcome=worst, at=verdict.run.finished_at
        )
    return [line for line in found.values() if line.outcome != Outcome.FAIL]


def matrix_of(lines: Iterable[RiskLine], *, stage: str) -> Mapping[tuple[int, int], int]:
    """How many risks count in each cell, by severity and likelihood. ``stage``: ``before`` or ``after``."""
    counts: dict[tuple[int, int], int] = {}
    for line in lines:
        rating = line.before if stage == RiskRating.Stage.BEFORE else line.after
        cell = (rating.severity, rating.likelihood)
        counts[cell] = counts.get(cell, 0) + 1
    return counts


def unowned_risks() -> QuerySet[Risk]:
    """Open risks that nobody answers for."""
    return Risk.objects.filter(status=Risk.Status.OPEN, owner__isnull=True).select_related("system")


def controls_due(user: User, *, until: date) -> QuerySet[Control]:
    """Planned controls that a person owns and that are due by a day."""
    mine = Q(owner=user) | Q(owner__merged_into=user)
    rows = Control.objects.filter(mine, status=Control.Status.PLANNED, due_on__lte=until)
    return rows.exclude(risk__status=Risk.Status.CLOSED).select_related("risk__system")


def controls_to_verify(user: User) -> QuerySet[Control]:
    """Controls that somebody else owns and somebody else implemented, of risks that are not closed."""
    person = user.identity_id
    own = Q(owner=person) | Q(owner__merged_into=person)
    made = Q(implemented_by=person) | Q(implemented_by__merged_into=person)
    rows = Control.objects.filter(status=Control.Status.IMPLEMENTED).exclude(own | made)
    return rows.exclude(risk__status=Risk.Status.CLOSED).select_related("risk__system", "implemented_by")


def acceptances_ending(*, until: datetime) -> QuerySet[RiskAcceptance]:
    """Acceptances that stand and end by a moment, the soonest first."""
    rows = RiskAcceptance.objects.filter(ended_at__isnull=True, expires_at__lte=until)
    return rows.select_related("risk__system", "risk__owner", "accepted_by").order_by("expires_at", "pk")


def people_to_name() -> dict[str, User]:
    """Who can own a risk or a control, by number as text, in the order of their names."""
    return {str(user.pk): user for user in people_with(*STATERS)}


def verifying_runs(risk: Risk) -> list[AuditRun]:
    """The newest audits of a risk's system that could show that a control holds."""
    rows = AuditRun.objects.filter(
        version__system=risk.system_id,
        status=RunStatus.DONE,
        outcome=Outcome.PASS,
        cohort__cohort__simulated=False,
    )
    return list(rows.select_related("version__system", "protocol").order_by("-finished_at", "-pk")[:MOST_RUNS])


def systems_with_risks() -> QuerySet[AISystem]:
    return AISystem.objects.filter(Exists(Risk.objects.filter(system=OuterRef("pk"))))
