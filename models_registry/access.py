"""Who may register what."""

from __future__ import annotations

from core.access import check_role
from core.models import Role, User


def check_may_create_system(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="register a system")


def check_may_register_version(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="register a model version")


def check_may_train(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="train a model")


def check_may_import_cohort(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, Role.AUDITOR, to="register a cohort")
