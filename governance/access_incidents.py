"""Who may report incidents, answer for them, and say that a report was sent."""

from __future__ import annotations

from core.access import check_role, roles_of, same_person
from core.errors import DeniedError
from core.models import INSIDERS, Role, User
from governance.models import Incident

REPORTERS = INSIDERS
KEEPERS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO)
"""Who acts on every incident. Its owner acts on one."""


def check_may_report(user: User) -> None:
    """Whoever works here may report an incident, and add to its history: nobody is kept from telling of harm."""
    check_role(user, *REPORTERS, to="report incidents")


def check_may_keep(user: User, incident: Incident) -> None:
    """Amend, investigate, say what was sent, close: the owner of the incident, a chair, clinician lead or DPO."""
    if same_person(user, incident.owner) and user.is_active and roles_of(user) & set(REPORTERS):
        return
    try:
        check_role(user, *KEEPERS, to="act on this incident")
    except DeniedError as denial:
        owner = f"{incident.owner}, who owns it" if incident.owner else "nobody owns it yet"
        raise DeniedError(
            f"{denial.message.rstrip('.')}, or its owner: {owner}.",
            remedy="Ask one of them. Anybody may add a note.",
        ) from denial


def check_may_assign(user: User) -> None:
    check_role(user, *KEEPERS, to="say who owns an incident")


def check_may_explain(user: User) -> None:
    """That no report is sent although a clock runs is said by somebody who answers for it, not by any owner."""
    check_role(user, *KEEPERS, to="say why no report is sent")


def check_can_own(user: User) -> None:
    """Raise unless the person can act on an incident at all."""
    if not user.is_active or not roles_of(user) & set(REPORTERS) or user.merged_into_id is not None:
        raise DeniedError(
            f"{user} cannot own an incident: the account is closed, merged, or has no role here.",
            remedy="Choose somebody who works with the system.",
        )
