"""The programming interface as a source: what was sent is held already, and nothing is to be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evaluation.monitoring.sources.base import SOURCES, Arrived, Job, check_keys, columns_of


class Interface:
    """Settings: ``mapping``."""

    repeats = False

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        check_keys(given, {"mapping": dict}, ())
        return {"mapping": columns_of(given).to_dict()}

    def gives(self, settings: dict[str, Any]) -> tuple[str, ...] | None:
        return None

    def pull(self, job: Job) -> Iterator[Arrived]:
        return iter(())


SOURCES.register("api")(Interface())
