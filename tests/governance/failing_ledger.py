"""A ledger that cannot be written to, and a picture of everything else, to see that nothing was half written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps

from core import ledger


class DiskGone(RuntimeError):
    """What the failing ledger raises."""


@contextmanager
def failing_on(act: str) -> Iterator[None]:
    """Within, entries of this act cannot be written."""
    real = ledger.record

    def record(**entry: Any) -> Any:
        if entry["act"] == act:
            raise DiskGone(act)
        return real(**entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "record", record)
        yield


def picture() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the house, the ledger's own included."""
    labels = ("core", "models_registry", "evaluation", "governance")
    models = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return {model._meta.db_table: list(model._default_manager.order_by("pk").values()) for model in models}
