"""Who may see to alerts, and who keeps the webhooks that carry them out of the house."""

from __future__ import annotations

from core.access import check_role, roles_of, same_person
from core.errors import DeniedError
from core.models import INSIDERS, Role, User
from evaluation.models import Alert

HANDLERS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD)
KEEPERS = (Role.ADMINISTRATOR, Role.COMMITTEE_CHAIR)


def check_may_handle_alert(user: User, alert: Alert) -> None:
    """Acknowledge it, or say who sees to it: who answers for monitors, its owner, or whoever it is assigned to."""
    near = (alert.assigned_to, alert.monitor.owner, alert.monitor.escalate_to)
    if any(same_person(user, person) for person in near) and _works_here(user):
        return
    try:
        check_role(user, *HANDLERS, to="see to alerts")
    except DeniedError as denial:
        raise DeniedError(
            denial.message,
            remedy=f"Ask one of them, the monitor's owner {alert.monitor.owner}, or have it assigned to you.",
        ) from denial


def check_may_settle_alert(user: User, alert: Alert) -> None:
    """Snooze or close it. Whoever made the version that it is about does not decide that it is nothing."""
    check_may_handle_alert(user, alert)
    version = alert.monitor.deployment.version
    if same_person(user, version.submitted_by):
        raise DeniedError(
            f"You submitted {version}, so you do not decide what an alert about it comes to.",
            remedy="Acknowledge it and say what you found; somebody else closes it.",
        )


def check_can_be_assigned(user: User) -> None:
    """Raise unless the person can act on an alert at all."""
    if not _works_here(user) or user.merged_into_id is not None:
        raise DeniedError(
            f"{user} cannot see to an alert: the account is closed, merged, or has no role here.",
            remedy="Choose somebody who works with the system.",
        )


def check_may_keep_webhooks(user: User) -> None:
    """What is told outside of the house, and where, is decided by who answers for the installation."""
    check_role(user, *KEEPERS, to="keep webhooks")


def _works_here(user: User) -> bool:
    return user.is_active and bool(roles_of(user) & set(INSIDERS))
