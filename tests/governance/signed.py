"""A proof of identity for tests: what a person gets by entering their password a moment ago."""

from __future__ import annotations

from django.utils import timezone

from core.models import User
from core.stepup import StepUp


def signed(user: User) -> StepUp:
    return StepUp(user_id=user.pk, at=timezone.now())
