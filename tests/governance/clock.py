"""A clock that tests set: every module asks ``django.utils.timezone`` for the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Clock:
    """Stands still until it is moved, but for a millisecond at each look, so that no two moments are equal."""

    def __init__(self, monkeypatch: Any, *, begin: datetime = BEGIN) -> None:
        self.moment = begin
        monkeypatch.setattr(timezone, "now", self.now)

    def now(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def pass_by(self, **span: float) -> datetime:
        self.moment += timedelta(**span)
        return self.moment
