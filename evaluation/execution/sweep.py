"""What beat calls: nothing stays behind because a worker died or a message was lost."""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from evaluation.execution.shards import finish_run
from evaluation.models import AuditRun, RunStatus, Shard
from models_registry import leases


def requeue_work() -> None:
    """Send again expired shares, shares whose message is lost, and runs that nobody handed on."""
    from evaluation import tasks

    leases.requeue(Shard.objects.filter(run__status__in=[RunStatus.QUEUED, RunStatus.RUNNING]), tasks.run_shard)
    for pk in AuditRun.objects.filter(status=RunStatus.RUNNING).values_list("pk", flat=True):
        finish_run(pk)
    abandoned = Q(judge_token="") | Q(judge_expires__lt=timezone.now())
    for pk in AuditRun.objects.filter(abandoned, status=RunStatus.JUDGING).values_list("pk", flat=True):
        tasks.judge.delay(pk)
