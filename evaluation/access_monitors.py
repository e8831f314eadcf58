"""Who makes monitors, and who may stop them: not those whose model they watch."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from evaluation.access import check_may_request_audit
from evaluation.access_alerts import check_can_be_assigned
from evaluation.models import Monitor, Protocol
from models_registry.models import Deployment


def check_may_make_monitor(user: User) -> None:
    check_role(user, Role.AUDITOR, to="make a monitor")


def check_may_own_monitor(owner: User, *, deployment: Deployment, protocol: Protocol) -> None:
    """The owner requests the audits of the windows, under the same separation of duties as any audit."""
    try:
        check_may_request_audit(owner, version=deployment.version, protocol=protocol)
    except DeniedError as denial:
        raise DeniedError(
            f"{owner} cannot own this monitor: {denial.message}",
            remedy="The owner requests the audits of the windows. " + denial.remedy,
            column="owner",
        ) from denial


def check_may_be_escalated_to(person: User) -> None:
    """Whoever alerts escalate to can deal with them."""
    try:
        check_can_be_assigned(person)
    except DeniedError as denial:
        raise DeniedError(denial.message, remedy=denial.remedy, column="escalate_to") from denial


def check_may_steer_monitor(user: User, monitor: Monitor) -> None:
    """Pause it, let it go on, end it, hand it over, have it look now: auditors, and who answers for what is in use."""
    version = monitor.deployment.version
    if same_person(user, version.submitted_by):
        raise DeniedError(
            f"You submitted {version}, so you do not decide when it is watched.",
            remedy=f"Ask the monitor's owner, {monitor.owner}.",
        )
    check_role(user, Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, to="steer a monitor")
