"""Critical alarms of monitors: what the policies that apply have done about them, by itself and exactly once.

An alarm is critical where a family that the protocol marks so is among those that raised it. People are told of it in
any case. A policy may add that the deployment is suspended, that an incident is opened, or both; where several policies
apply, everything that one of them asks for is done. The ledger is followed, so that an alarm that was raised while no
worker ran is answered later, and one that is told twice is answered once.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from django.db import transaction

from core.access import can, people_with
from core.errors import AuscultError, DigestMismatchError
from core.following import follow
from core.models import LedgerEntry, Role, User
from evaluation.models import Alert
from evaluation.services.alerts import is_alarm, note_answer
from governance.access_incidents import check_may_report
from governance.models import Incident, Policy
from governance.policies.monitoring import Reaction
from governance.selectors.policies import in_force, rules_of
from governance.services.deployments import locked, suspend_deployment
from governance.services.incidents import IncidentReport, record_incident
from models_registry.models import Deployment

log = logging.getLogger(__name__)

FOLLOWER = "critical alarms"
ACTS = ("alert.raised", "alert.repeated")
ANSWERED = "answered"
JUDGED_KINDS = (
    Alert.Kind.DRIFT,
    Alert.Kind.PERFORMANCE,
    Alert.Kind.CONCEPT,
    Alert.Kind.CASE_MIX,
    Alert.Kind.BREACH,
)
"""Alerts that a protocol raises. A source that cannot be read is no breach of one, however critical."""
MOST_REASON = 3000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is to be done about an alarm, and the policies that say so."""

    suspend: bool
    incident: bool
    policies: tuple[str, ...]


def follow_alerts() -> int:
    """Read the alerts that were raised since the last time. Returns how many were read."""
    return follow(FOLLOWER, ACTS, _read_entry)


def _read_entry(entry: LedgerEntry) -> None:
    told = json.loads(entry.body)["payload"]
    if told.get("severity") != Alert.Severity.CRITICAL or not told.get("risen"):
        return
    about = ("monitor__deployment__version__system", "monitor__owner", "monitor__escalate_to", "window")
    alert = Alert.objects.select_related(*about).filter(pk=entry.subject_id, kind__in=JUDGED_KINDS).first()
    if alert is not None and (is_alarm(alert) or alert.kind == Alert.Kind.BREACH):
        answer_alarm(alert)


def answer_alarm(alert: Alert) -> Answer | None:
    """Do what the policies say about a critical alarm; a second time does nothing. Call it in a transaction."""
    if alert.events.filter(act=ANSWERED).exists():
        return None
    answer = answer_of(alert)
    if not answer.suspend and not answer.incident:
        return answer
    locked(alert.monitor.deployment)  # before the first entry in the ledger: whoever holds its head waits for nothing
    done, facts = [], {"policies": list(answer.policies)}
    incident = _open_incident(alert, answer) if answer.incident else None
    if incident is not None:
        done.append(f"Incident {incident.number} was opened.")
    elif answer.incident:
        done.append("No incident could be opened: nobody who may report one is known. Record it by hand.")
    if answer.suspend:
        done.append(_suspend(alert, answer))
    note_answer(
        alert=alert,
        text=f"By {_named(answer)}. {' '.join(done)}",
        facts=facts | {"incident": incident.pk if incident else None, "suspended": answer.suspend},
    )
    return answer


def answer_of(alert: Alert) -> Answer:
    """Everything that a policy in force asks for, of those that apply to the system."""
    slug = alert.monitor.deployment.version.system.slug
    asked = [(str(policy), reaction) for policy in in_force() if (reaction := _reaction(policy, slug)) is not None]
    return Answer(
        suspend=any(reaction.suspends for _name, reaction in asked),
        incident=any(reaction.opens_incident for _name, reaction in asked),
        policies=tuple(name for name, reaction in asked if reaction != Reaction.TELL),
    )


def _reaction(policy: Policy, slug: str) -> Reaction | None:
    """What one policy asks for; None where it does not apply or says nothing.

    Rules that were changed behind the platform's back say nothing that could be trusted: then what may harm is stopped.
    """
    try:
        rules = rules_of(policy)
    except DigestMismatchError as error:
        log.error("The policy %s cannot be trusted, so a critical alarm suspends: %s", policy, error)
        return Reaction.SUSPEND
    if not rules.applies(slug) or rules.monitoring is None:
        return None
    return rules.monitoring.critical_breach


def _suspend(alert: Alert, answer: Answer) -> str:
    """Stop the deployment, if it runs; what was done, in a sentence."""
    deployment = alert.monitor.deployment
    deployment.refresh_from_db(fields=["status"])
    if deployment.status != Deployment.Status.RUNNING:
        return f"The deployment was {deployment.get_status_display().lower()} already."
    reason = (
        f"Critical alarm of the monitor {alert.monitor.name} (alert {alert.pk}), by {_named(answer)}. {_said(alert)}"
    )
    suspend_deployment(deployment=deployment, reason=reason[:MOST_REASON], by=None)
    return "The deployment was suspended."


def _open_incident(alert: Alert, answer: Answer) -> Incident | None:
    """Record an incident in the name of somebody who may report one; None where nobody may.

    That it is serious is not said: the platform knows of an alarm, not of harm. The clocks that may run are counted
    from the alarm, since the deployer learned of it then.
    """
    reporter = _reporter(alert)
    if reporter is None:
        return None
    words = (
        f"The monitor raised a critical alarm (alert {alert.pk}); by {_named(answer)} an incident is opened by itself. "
        "Whether anybody was harmed is not known yet: a person has to say what kind of incident it is, if any."
    )
    try:
        with transaction.atomic():
            return record_incident(report=_report(alert, f"{words}\n\n{_said(alert)}"), by=reporter)
    except AuscultError as error:
        # A column or a group may be called what looks like a number of a record; the alert has the words.
        log.warning("The words of alert %s cannot stand in an incident: %s", alert.pk, error.message)
        return record_incident(report=_report(alert, words, plain=True), by=reporter)


def _report(alert: Alert, description: str, *, plain: bool = False) -> IncidentReport:
    monitor, version = alert.monitor, alert.monitor.deployment.version
    return IncidentReport(
        system=version.system,
        version=version,
        deployment=monitor.deployment,
        title=(f"Critical alarm, alert {alert.pk}" if plain else f"Critical alarm: {alert.title}")[:200],
        description=description[:MOST_REASON],
        zone=monitor.zone,
        deployer_aware_at=alert.last_at,
    )


def _reporter(alert: Alert) -> User | None:
    """The monitor's owner, else whom it escalates to, else a chair: the first who may report an incident."""
    monitor = alert.monitor
    people = [monitor.owner, monitor.escalate_to, *people_with(Role.COMMITTEE_CHAIR)]
    standing = (person.merged_into or person for person in people if person is not None)
    return next((person for person in standing if can(check_may_report, person)), None)


def _said(alert: Alert) -> str:
    return f"{alert.title}. {alert.text}".strip()


def _named(answer: Answer) -> str:
    policies = " and ".join(answer.policies)
    return f"the polic{'y' if len(answer.policies) == 1 else 'ies'} {policies}"
