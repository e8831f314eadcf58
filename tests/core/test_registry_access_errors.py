"""Registries, rules about people, and errors that tell what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from core.access import Permission, can, check_role, roles_of
from core.errors import AuscultError, CohortError, DeniedError
from core.models import Role, RoleGrant, User
from core.registry import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty package that registries can scan."""
    home = tmp_path / "plugins_of_a_test"
    home.mkdir()
    (home / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield home.name
    for name in [name for name in sys.modules if name.startswith(home.name)]:
        del sys.modules[name]


def make(package: str) -> Registry[Any]:
    return Registry(kind="widget", package=package, group="auscult.test-widgets")


class Widget:
    pass


class Other:
    pass


def test_members_are_found_by_key(package: str) -> None:
    registry = make(package)
    registry.register("b")(Widget)
    registry.register("a")(Other)
    assert registry.get("b") is Widget
    assert registry.keys() == ["a", "b"]
    assert list(registry) == [("a", Other), ("b", Widget)]
    assert registry.resolved() == {"a": f"{__name__}.Other", "b": f"{__name__}.Widget"}


def test_a_duplicate_key_raises_and_names_both(package: str) -> None:
    registry = make(package)
    registry.register("a")(Widget)
    with pytest.raises(AuscultError, match="Two members") as raised:
        registry.register("a")(Other)
    assert "Widget" in raised.value.remedy and "Other" in raised.value.remedy
    assert registry.get("a") is Widget


def test_an_unknown_key_lists_the_known(package: str) -> None:
    registry = make(package)
    with pytest.raises(AuscultError, match="Use one of: none"):
        registry.get("x")
    registry.register("b")(Widget)
    registry.register("a")(Other)
    with pytest.raises(AuscultError, match=r"There is no widget called 'x'\. What to do: Use one of: a, b\."):
        registry.get("x")


def test_modules_of_the_package_register_themselves(package: str, tmp_path: Path) -> None:
    code = "from tests.core.test_registry_access_errors import CURRENT\nCURRENT[0].register('scanned')(object)\n"
    (tmp_path / package / "member.py").write_text(code)
    registry = make(package)
    CURRENT[:] = [registry]
    assert registry.keys() == ["scanned"]


CURRENT: list[Registry[Any]] = []


def test_a_module_that_cannot_be_imported_is_no_silent_gap(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "broken.py").write_text("import a_module_that_is_not_there\n")
    registry = make(package)
    with pytest.raises(ModuleNotFoundError):
        registry.keys()


def test_a_module_that_cannot_be_imported_is_no_gap_when_asked_again(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "broken.py").write_text("import a_module_that_is_not_there\n")
    registry = make(package)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.keys()


@pytest.mark.django_db
def test_a_role_is_needed_and_the_denial_says_which() -> None:
    user = User.objects.create(username="mina")
    RoleGrant.objects.create(user=user, role=Role.COMMITTEE_MEMBER)
    assert roles_of(user) == {"committee_member"}
    check_role(user, Role.AUDITOR, Role.COMMITTEE_MEMBER, to="look")
    with pytest.raises(DeniedError) as denied:
        check_role(user, Role.AUDITOR, Role.DPO, to="request an audit")
    message = "Only people with the role auditor or data protection officer may request an audit."
    assert denied.value.message == message
    assert can(check_role, user, Role.AUDITOR, Role.DPO, to="request an audit") == Permission(
        allowed=False, reason=message
    )


@pytest.mark.django_db
def test_a_closed_account_and_a_stranger_may_nothing() -> None:
    closed = User.objects.create(username="gone", is_active=False)
    RoleGrant.objects.create(user=closed, role=Role.AUDITOR)
    assert not can(check_role, closed, Role.AUDITOR, to="look")
    assert not can(check_role, User(username="unsaved"), *Role, to="look")
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    assert not can(check_role, root, *Role, to="look")


@pytest.mark.django_db
def test_roles_are_read_once(django_assert_num_queries: Any) -> None:
    user = User.objects.create(username="amir")
    with django_assert_num_queries(1):
        for _ in range(3):
            can(check_role, user, Role.AUDITOR, to="look")


def test_can_answers_only_denials() -> None:
    """A fault is not a no."""

    def broken() -> None:
        raise CohortError("unreadable")

    with pytest.raises(CohortError):
        can(broken)
    assert can(lambda: None)


def test_an_error_names_the_place_and_the_remedy() -> None:
    error = CohortError("'x' is not a number.", remedy="Correct it.", file="cohort.csv", column="age", row=17)
    assert error.place == "cohort.csv, column age, row 17"
    assert str(error) == "cohort.csv, column age, row 17: 'x' is not a number. What to do: Correct it."
    assert str(AuscultError("Plain.")) == "Plain."
