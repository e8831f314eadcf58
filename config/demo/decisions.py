"""What the demo's people decide beside their votes: the policy, a condition, a deployment, risks, an incident.

Nobody sits at the keyboard, so a signature says ``demo`` where a person's says ``password``. Nothing is done twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

WARD = "Demonstration ward (nobody is treated there)"
POLICY = "reference-systems-v1"
CONDITION = "Repeat the audit on patients of the ward before anybody relies on the alert."
MISSED = "Demonstration: an effusion was missed in two images taken in bed"


def sign(person: Any) -> Any:
    """The proof of identity of one of the demo's people."""
    from django.utils import timezone

    from core.stepup import StepUp

    return StepUp(user_id=person.pk, at=timezone.now(), method="demo")


def put_policy_in_force(people: dict[str, Any]) -> None:
    """The auditor proposes what a reference system must show, and the chair approves it."""
    from governance.models import Policy
    from governance.policies.form import bundled_source
    from governance.services.policies import approve_policy, propose_policy

    policy = Policy.objects.filter(name=POLICY).first() or propose_policy(
        source=bundled_source(POLICY), by=people["amir"]
    )
    if policy.status == Policy.Status.PROPOSED:
        approve_policy(policy=policy, by=people["clara"], signed=sign(people["clara"]))


def tell_role(cohort_version: Any, role: str, *, people: dict[str, Any]) -> None:
    """Say what a cohort is to the models that are judged on it."""
    from models_registry.services.cohort_roles import assign_cohort_role

    if not cohort_version.cohort.role:
        assign_cohort_role(cohort=cohort_version.cohort, role=role, site="", by=people["amir"])


def ask_condition(review: Any, *, people: dict[str, Any]) -> None:
    """A member wants something done by a day before the review is decided."""
    from django.utils import timezone

    from governance.models import Review
    from governance.services.conditions import propose_condition

    if review.status == Review.Status.OPEN and not review.conditions.exists() and not review.votes.exists():
        due = timezone.now() + timedelta(days=60)
        propose_condition(review=review, text=CONDITION, owner=people["elena"], due_at=due, by=people["mina"])


def use_and_watch(version: Any, *, people: dict[str, Any]) -> None:
    """Deploy what was approved, watch how it is used, and record what went wrong."""
    from governance.execution_findings import follow_findings

    follow_findings()
    deployment = _deploy(version, people=people)
    if deployment is not None:
        _oversee(version.system, people=people)
        _count_overrides(deployment, people=people)
    _rate_risks(version.system, people=people)
    _record_incident(version, people=people)


def _deploy(version: Any, *, people: dict[str, Any]) -> Any:
    from governance.selectors.approvals import standing_approval

    if existing := version.deployments.first():
        return existing
    return put_in_use(version, site=WARD, share=50, people=people) if standing_approval(version).stands else None


def put_in_use(version: Any, *, site: str, share: int, people: dict[str, Any]) -> Any:
    """The deployment of an approved version at a site; the chair begins it where there is none."""
    from governance.services.deployments import deploy

    clara = people["clara"]
    return version.deployments.filter(site=site).first() or deploy(
        version=version,
        site=site,
        unit="",
        share=share,
        contact_name="Lea Novak",
        contact_email="lea@example.org",
        by=clara,
        signed=sign(clara),
    )


MEASURES = (
    ("d", "The radiologist reads every image before the output is shown, and may set it aside.", "Radiologist"),
    ("e", "A switch in the reading list turns the output off for everybody within a minute.", "Radiologist on duty"),
)


def _oversee(system: Any, *, people: dict[str, Any]) -> None:
    from governance.services.oversight import record_measure, verify_measure

    if system.oversight_measures.exists():
        return
    for limb, text, role in MEASURES:
        measure = record_measure(
            system=system,
            limb=limb,
            kind="deployer",
            text=text,
            role=role,
            moment="While the output is used",
            responsible=people["lea"],
            site=WARD,
            by=people["elena"],
        )
        verify_measure(
            measure=measure, verification="Tried in the demonstration ward, and it works.", by=people["amir"]
        )


def _count_overrides(deployment: Any, *, people: dict[str, Any]) -> None:
    from django.utils import timezone

    from governance.services.oversight import OutputItem, OverrideItem, record_outputs, record_overrides

    if deployment.output_counts.exists():
        return
    now, lea = timezone.now(), people["lea"]
    outputs = [OutputItem(day=now.date(), n=n, group={"sex": sex}) for sex, n in (("F", 212), ("M", 188))]
    record_outputs(deployment=deployment, items=outputs, by=lea)
    items = [
        OverrideItem(
            key=f"demo-{number}",
            happened_at=now,
            action="changed",
            reason="false_negative" if number % 3 else "false_positive",
            group={"sex": "F" if number % 2 else "M"},
            role="Radiologist",
        )
        for number in range(26)
    ]
    record_overrides(deployment=deployment, items=items, by=lea)


def _rate_risks(system: Any, *, people: dict[str, Any]) -> None:
    """The first risk that an audit opened is rated and given an owner; a measure is planned, which lowers nothing."""
    from django.utils import timezone

    from governance.services.controls import plan_control
    from governance.services.risks import assign_owner, rate_risk

    risk = system.risks.order_by("number").first()
    if risk is None or risk.ratings.exists():
        return
    lea, elena = people["lea"], people["elena"]
    assign_owner(risk=risk, owner=elena, by=people["clara"])
    reason = "Findings of women are missed more often; each may delay a drainage."
    rate_risk(risk=risk, stage="before", severity=3, likelihood=3, reason=reason, by=lea)
    text = "Train on labels that two readers agreed on, and audit women and men apart before each release."
    due = timezone.now().date() + timedelta(days=90)
    plan_control(risk=risk, kind="design", text=text, owner=elena, due_on=due, by=lea)


def _record_incident(version: Any, *, people: dict[str, Any]) -> None:
    from django.utils import timezone

    from governance.services.incidents import IncidentReport, assign, record_incident

    if version.system.incidents.exists():
        return
    now = timezone.now()
    report = IncidentReport(
        system=version.system,
        version=version,
        title=MISSED,
        description="Made up for the demonstration. Two effusions were missed in images taken in bed; both were found "
        "by the second reader within the hour.",
        zone="Europe/Vienna",
        kinds=("a_health",),
        occurred_at=now - timedelta(days=3),
        aware_at=now - timedelta(days=2),
        affected_persons=2,
    )
    assign(incident=record_incident(report=report, by=people["lea"]), owner=people["clara"], by=people["clara"])
