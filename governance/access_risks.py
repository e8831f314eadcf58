"""Who may act on the risk register. Nobody verifies their own control, nor accepts or closes their own risk."""

from __future__ import annotations

from core.access import check_role, roles_of, same_person
from core.errors import DeniedError
from core.models import Role, User
from governance.access import STATERS
from governance.models import Control, Risk, RiskRating

ASSIGNERS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.AUDITOR, Role.DPO)
VERIFIERS = ASSIGNERS
CLOSERS = ASSIGNERS
ACCEPTORS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD)


def check_may_record_risk(user: User) -> None:
    """Whoever works on systems, records, rates, plans; who oversees or only administers does not."""
    check_role(user, *STATERS, to="record and rate risks, and plan controls")


def check_may_be_named(person: User) -> None:
    """Whether somebody can own a risk or a control: an open account of the house, the one that stands for the person.

    Raises:
        DeniedError: it is not.
    """
    if not person.is_active or person.merged_into_id is not None:
        raise DeniedError(f"The account {person.username} is closed.", remedy="Choose somebody else.")
    if not roles_of(person) & set(STATERS):
        raise DeniedError(
            f"{person} works on no system, so they cannot own a risk or a control.",
            remedy="Choose somebody who has a role in the house.",
        )


def check_may_assign_risk(user: User) -> None:
    check_role(user, *ASSIGNERS, to="say who owns a risk")


def check_may_implement(user: User, control: Control) -> None:
    """The owner of the control, or an ML engineer."""
    if not same_person(user, control.owner):
        check_role(user, Role.ML_ENGINEER, to="implement a control that somebody else owns")
    else:
        check_may_record_risk(user)


def check_may_verify(user: User, control: Control) -> None:
    """Neither its owner nor who implemented it, by no account."""
    if same_person(user, control.owner):
        raise DeniedError("You own this control, so you cannot verify it.", remedy="Somebody else has to check it.")
    if same_person(user, control.implemented_by):
        raise DeniedError(
            "You implemented this control, so you cannot verify it.", remedy="Somebody else has to check it."
        )
    check_role(user, *VERIFIERS, to="verify a control")


def check_may_drop(user: User, control: Control) -> None:
    """Its owner, who planned it, or somebody with a role that verifies: dropping never makes a risk milder."""
    if same_person(user, control.owner) or same_person(user, control.proposed_by):
        check_may_record_risk(user)
    else:
        check_role(user, *VERIFIERS, to="drop a control that somebody else planned and owns")


def check_may_accept_residual(user: User, risk: Risk) -> None:
    """A chair or a clinician lead, and never the owner of the risk, nor who rated what is to be accepted."""
    another = "Another chair or clinician lead has to."
    if same_person(user, risk.owner):
        raise DeniedError("You own this risk, so you cannot accept what remains of it.", remedy=another)
    check_role(user, *ACCEPTORS, to="accept what remains of a risk")
    latest = risk.ratings.filter(stage=RiskRating.Stage.AFTER).select_related("rated_by").order_by("-pk").first()
    if latest is not None and same_person(user, latest.rated_by):
        raise DeniedError("You gave the rating after controls, so you cannot accept it.", remedy=another)


def check_may_end_acceptance(user: User) -> None:
    check_role(user, *ASSIGNERS, to="end the acceptance of a risk")


def check_may_close_risk(user: User, risk: Risk) -> None:
    """Neither who opened it nor its owner."""
    if same_person(user, risk.opened_by):
        raise DeniedError("You opened this risk, so you cannot close it.", remedy="Somebody else has to.")
    if same_person(user, risk.owner):
        raise DeniedError("You own this risk, so you cannot close it.", remedy="Somebody else has to.")
    check_role(user, *CLOSERS, to="close a risk")
