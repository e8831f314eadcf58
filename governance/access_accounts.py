"""Who may say that two accounts are one person, and who gives and takes roles."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User


def check_may_merge(user: User, *, source: User, target: User) -> None:
    """An administrator, and never about accounts of their own: they would choose which of their acts count."""
    if same_person(user, source) or same_person(user, target):
        raise DeniedError("You cannot merge an account of your own.", remedy="Ask another administrator.")
    check_role(user, Role.ADMINISTRATOR, to="merge accounts")


def check_may_change_roles(user: User, *, person: User) -> None:
    """An administrator, and never of their own account: nobody gives themselves access to patients."""
    if same_person(user, person):
        raise DeniedError("You cannot change roles of your own.", remedy="Ask another administrator.")
    check_role(user, Role.ADMINISTRATOR, to="give roles and take them away")


def check_may_administer(user: User) -> None:
    check_role(user, Role.ADMINISTRATOR, to="administer people, roles and tokens")


def check_may_close_account(user: User, *, person: User) -> None:
    """An administrator, and never their own: an installation is not left without anybody who can open it again."""
    if same_person(user, person):
        raise DeniedError("You cannot close an account of your own.", remedy="Ask another administrator.")
    check_role(user, Role.ADMINISTRATOR, to="close and open accounts")
