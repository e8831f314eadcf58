"""Who may deploy a version, stop it, and let it run again."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import INSIDERS, Role, User
from governance.selectors.deployments import who_suspended
from models_registry.models import Deployment, ModelVersion

DEPLOYERS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD)
STOPPERS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO, Role.AUDITOR)
RECORDERS = tuple(role for role in INSIDERS if role != Role.ADMINISTRATOR)
ANOTHER = "Somebody else with the role committee chair or clinician lead has to decide."


def check_may_deploy(user: User) -> None:
    check_role(user, *DEPLOYERS, to="deploy a version, move a site to another, or end a deployment")


def check_may_suspend(user: User) -> None:
    """One person is enough to stop what may harm: no second person and no password is asked for."""
    check_role(user, *STOPPERS, to="suspend a deployment")


def check_may_decide(user: User) -> None:
    """Who answers for what is in use without its evidence."""
    check_role(user, Role.COMMITTEE_CHAIR, to="decide about versions in use")


def check_may_acknowledge(user: User) -> None:
    check_role(user, *RECORDERS, to="record that a site confirmed a suspension")


def check_may_resume(user: User, deployment: Deployment) -> None:
    """Another person than who suspended the deployment, and than who suspended its version if that is suspended."""
    if same_person(user, deployment.suspended_by):
        raise DeniedError("You suspended this deployment, so you cannot resume it.", remedy=ANOTHER)
    check_may_lift(user, deployment.version)


def check_may_lift(user: User, version: ModelVersion) -> None:
    """Another person than who suspended the version."""
    if same_person(user, who_suspended(version)):
        raise DeniedError(f"You suspended {version}, so you cannot lift its suspension.", remedy=ANOTHER)
    check_role(user, *DEPLOYERS, to="lift a suspension")
