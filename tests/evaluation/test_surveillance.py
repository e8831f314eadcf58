"""Audits of versions that are in use: they renew evidence and leave the version where it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evaluation.models import AuditRun, RunStatus
from evaluation.services.runs import resume_run
from tests.evaluation.test_services import ask, world

__all__ = ["world"]  # the scene of the other file


@pytest.mark.parametrize("status", ["approved", "conditional", "deployed", "suspended"])
def test_what_is_in_use_is_audited_and_stays_where_it_is(
    world: SimpleNamespace,
    status: str,
) -> None:
    type(world.version).objects.filter(pk=world.version.pk).update(status=status)
    run = ask(world, world.people.amir)
    world.version.refresh_from_db()
    assert (run.status, world.version.status) == (RunStatus.QUEUED, status)
    AuditRun.objects.update(status=RunStatus.FAILED)
    run.refresh_from_db()
    assert resume_run(run=run, by=world.people.amir).status == RunStatus.QUEUED
