"""A furnished house, and a program for each person of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache

from core.models import ApiToken, Role, RoleGrant, User
from core.tokens import issue_token
from tests.api.program import Program
from tests.pages import scene
from tests.registry.fixtures import sent

__all__ = ["sent"]


@pytest.fixture(autouse=True)
def own_home(settings: Any, tmp_path: Path) -> Iterator[None]:
    """A store and an upload folder of the test's own, and no count of another test's requests."""
    settings.AUSCULT_HOME = tmp_path
    settings.MEDIA_ROOT = tmp_path / "uploads"
    settings.AUSCULT_IMPORT_ROOTS = [tmp_path / "sources", tmp_path / "uploads"]
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    (tmp_path / "sources").mkdir()
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def house(db: None) -> SimpleNamespace:
    return SimpleNamespace(**scene.house())


@pytest.fixture
def program(db: None) -> Callable[..., Program]:
    """``program("amir", "read")`` acts for a person with some scopes; without any named, with all."""

    def make(who: str | User, *scopes: str) -> Program:
        user = who if isinstance(who, User) else scene.person(who)
        secret = issue_token(user=user, name="Tests", scopes=scopes or ApiToken.Scope.values, days=1, by=None)[1]
        return Program(secret)

    return make


@pytest.fixture
def everybody(db: None) -> User:
    """One person with all roles of the house, for what asks who may in other tests."""
    user = User.objects.create(username="omar", first_name="Omar", last_name="Example")
    roles = (Role.ML_ENGINEER, Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO)
    RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role) for role in roles)
    return user
