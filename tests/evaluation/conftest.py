"""Fixtures of the audits' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.execution import loading
from evaluation.models import AuditRun
from evaluation.services.runs import request_audit
from tests.registry.fixtures import broken_ledger, files, home, people, sent
from tests.registry.scene import Files, make_cohort, make_protocol, make_version

__all__ = ["broken_ledger", "files", "home", "people", "sent"]


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """A worker that has no model in memory, as after its start."""
    loading._loaded.clear()
    yield
    loading._loaded.clear()


@pytest.fixture
def order(people: SimpleNamespace, files: Files) -> Callable[..., AuditRun]:
    """Requests the same audit, as often as it is called."""
    facts = {
        "version": make_version(people, files.predictions),
        "cohort": make_cohort(people, files.shards),
        "protocol": make_protocol(people),
    }

    def request(**changes: Any) -> AuditRun:
        return request_audit(**facts | {"by": people.amir} | changes)

    return request


@pytest.fixture
def run(order: Callable[..., AuditRun]) -> AuditRun:
    return order()
