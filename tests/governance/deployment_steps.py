"""A deployable version and what the tests of deployments ask of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.models import LedgerEntry
from models_registry.models import ModelVersion
from tests.governance.deployment_scene import approved

LATER = datetime(2099, 1, 1, tzinfo=UTC)
FOUND = "The patient identifier is taken from the right field again; tested on 40 studies."


@pytest.fixture
def version(people: SimpleNamespace, home: Path) -> ModelVersion:
    return approved(people, home)


def size() -> int:
    return LedgerEntry.objects.count()


def state(version: ModelVersion) -> str:
    return ModelVersion.objects.get(pk=version.pk).status
