"""A monitor's owner who may not request audits any more: windows wait, and people are told how to hand it over."""

from __future__ import annotations

from core.errors import DeniedError
from evaluation.access_monitors import check_may_own_monitor
from evaluation.models import Alert, Monitor, MonitorWindow

OWNER_KEY = "stale:owner"
"""The one matter of windows that wait because the monitor's owner may not request audits."""


def check_owner(monitor: Monitor) -> None:
    """Raise unless audits of its windows can be requested in the owner's name.

    Raises:
        DeniedError: the account is closed, has lost the role, or is not separate from model and protocol any more.
    """
    check_may_own_monitor(monitor.owner, deployment=monitor.deployment, protocol=monitor.protocol)


def hand_over_words(monitor: Monitor) -> str:
    """How a monitor is given to another owner."""
    return (
        "Give the owner the role back, or hand the monitor over to another auditor: on its page under 'Hand it over', "
        f"or by auscult monitor hand-over {monitor.pk} --owner NAME --reason WHY --by YOU."
    )


def tell_waiting(window: MonitorWindow, denial: DeniedError) -> None:
    """Raise the alert of windows that wait for an owner, in the caller's transaction; the same again is no news."""
    from evaluation.services.alerts import raise_alert

    monitor = window.monitor
    waits = f"Window {window.index} and those after it wait; none of them is lost."
    raise_alert(
        monitor=monitor,
        kind=Alert.Kind.STALE,
        severity=Alert.Severity.WARNING,
        key=OWNER_KEY,
        title=f"Windows wait: the owner of {monitor.name} may not request audits",
        text=f"{denial.message} {waits} {hand_over_words(monitor)}",
        window=window,
    )


def settle_waiting(window: MonitorWindow) -> None:
    """Close that alert when a window goes on, in the caller's transaction."""
    from evaluation.services.alerts import settle_alert

    why = f"Window {window.index} went on: {window.monitor.owner} owns the monitor."
    settle_alert(monitor=window.monitor, key=OWNER_KEY, why=why)
