"""What runs by itself, again and again: each sweep may run twice, and one that fails does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module

log = logging.getLogger(__name__)

SWEEPS = (
    "governance.execution:requeue_waiting",
    "governance.execution_alerts:follow_alerts",
    "governance.execution_conditions:lapse_conditions",
    "governance.execution_deployments:escalate_unconfirmed",
    "governance.execution_deployments:tell_of_marks",
    "governance.execution_escalation:escalate_unread",
    "governance.execution_findings:follow_findings",
    "governance.execution_incidents:recount_incidents",
    "governance.execution_incidents:escalate_clocks",
    "governance.execution_policies:tell_what_runs_out",
    "governance.execution_risks:expire_risk_acceptances",
)
"""``module:function`` of each. They take no argument and return how many things they did."""


def run_sweeps() -> dict[str, int]:
    """Run every sweep; returns what each did. What nobody foresaw goes to the worker's log with its traceback."""
    done: dict[str, int] = {}
    for name in SWEEPS:
        module, _, function = name.partition(":")
        sweep: Callable[[], int] = getattr(import_module(module), function)
        try:
            done[name] = sweep()
        except Exception:
            log.exception("The sweep %s failed; it is tried again", name)
    return done
