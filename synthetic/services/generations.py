"""Ordering simulated patients."""

from __future__ import annotations

from typing import Any

from core import ledger
from core.access import check_role
from core.models import Role, User
from core.reach import service
from synthetic.models import Generation


def check_may_generate(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="order simulated patients")


@service
def request_generation(*, cohort_name: str, settings: dict[str, Any], by: User) -> Generation:
    """Ask a worker to simulate a cohort and to register it.

    Args:
        settings: Fields of ``synthetic.simulator.SimulatorSettings``; unknown ones are refused.

    Raises:
        DeniedError: ``by`` is no ML engineer.
    """
    from synthetic.simulator import SimulatorSettings

    check_may_generate(by)
    complete = SimulatorSettings.from_dict(settings).to_dict()
    job = Generation.objects.create(cohort_name=cohort_name, settings=complete, requested_by=by)
    ledger.record(
        actor=by.username,
        act="generation.requested",
        subject=("Generation", job.pk),
        payload={"cohort": cohort_name, "settings": complete},
    )
    from synthetic import tasks

    tasks.generate.delay_on_commit(job.pk)
    return job
