"""Who may register what."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from models_registry.models import ModelVersion


def check_may_create_system(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="register a system")


def check_may_register_version(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="register a model version")


def check_may_submit_version(user: User, version: ModelVersion) -> None:
    """Whoever registered the draft: they answer for it from then on."""
    if not same_person(version.submitted_by, user):
        raise DeniedError(
            f"Only {version.submitted_by} may submit this draft.", remedy="Ask them, or register it yourself."
        )
    check_may_register_version(user)


def check_may_retire_version(user: User) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, to="retire a version")


def check_may_train(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="train a model")


def check_may_import_cohort(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, Role.AUDITOR, to="register a cohort")
