"""Tells monitors that an audit of theirs ended: a window's, or that of a reference."""

from __future__ import annotations

from evaluation.models import Monitor, MonitorWindow


def tell_monitor(run_id: int) -> None:
    """Enqueue what comes after a run that is done or failed, when the transaction is through. Twice is harmless.

    A window is judged, or told to have failed; a monitor's preparation goes on with the run of its reference.
    """
    from evaluation import tasks

    for pk in MonitorWindow.objects.filter(run_id=run_id).values_list("pk", flat=True):
        tasks.judge_window.delay_on_commit(pk)
    for pk in Monitor.objects.filter(reference_run_id=run_id).values_list("pk", flat=True):
        tasks.prepare_monitor.delay_on_commit(pk)
