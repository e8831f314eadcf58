"""Who makes monitors, and who may stop them: not those whose model they watch."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from evaluation.models import Monitor


def check_may_make_monitor(user: User) -> None:
    check_role(user, Role.AUDITOR, to="make a monitor")


def check_may_steer_monitor(user: User, monitor: Monitor) -> None:
    """Pause it, let it go on, end it, have it look now: whoever audits or answers for what is used on patients."""
    version = monitor.deployment.version
    if same_person(user, version.submitted_by):
        raise DeniedError(
            f"You submitted {version}, so you do not decide when it is watched.",
            remedy=f"Ask the monitor's owner, {monitor.owner}.",
        )
    check_role(user, Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, to="steer a monitor")
