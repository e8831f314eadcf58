"""Who may bring studies to a monitor: not those whose model it watches."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from evaluation.models import Monitor

BRINGERS = (Role.ML_ENGINEER, Role.AUDITOR, Role.CLINICIAN_LEAD)


def check_may_deliver(user: User, monitor: Monitor) -> None:
    """An engineer, an auditor or a clinician lead, and nobody who submitted the version: they could choose the data."""
    check_role(user, *BRINGERS, to="deliver studies to a monitor")
    if same_person(monitor.deployment.version.submitted_by, user):
        raise DeniedError(
            "You submitted the version that this monitor watches, so you cannot bring it data.",
            remedy="Let another engineer, an auditor or a clinician lead send them.",
        )
