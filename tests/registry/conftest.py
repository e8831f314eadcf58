"""Fixtures of the registry's tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.registry.fixtures import broken_ledger, files, home, people, sent
from tests.registry.scene import Files, make_system

__all__ = ["broken_ledger", "files", "home", "people", "sent"]


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    """People, files of a cohort and of predictions, and a system to register versions of."""
    return SimpleNamespace(people=people, files=files, system=make_system(people))
