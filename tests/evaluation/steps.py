"""What workers do with a run, step by step, without workers."""

from __future__ import annotations

from typing import Any

from evaluation import execution
from evaluation.models import AuditRun, Shard


def work(run: AuditRun, *, backwards: bool = False) -> None:
    """Run every share, as workers do when they get the messages."""
    for shard in sorted(run.shards.all(), key=lambda shard: shard.index, reverse=backwards):
        execution.execute_shard(shard.pk)


def finish(run: AuditRun, **how: Any) -> AuditRun:
    """Run every share, and judge."""
    work(run, **how)
    execution.judge(run.pk)
    return fresh(run)


def fresh(run: AuditRun) -> AuditRun:
    return AuditRun.objects.get(pk=run.pk)


def only_shard(run: AuditRun, index: int = 0) -> Shard:
    return run.shards.get(index=index)
