"""What beat calls: nothing stays behind because a worker died or a message was lost."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from evaluation.execution.judging import runs_without_advice
from evaluation.execution.shards import finish_run
from evaluation.models import AuditRun, RunStatus, Shard
from models_registry import leases

GIVEN_UP_AFTER = timedelta(days=1)
"""Advice that could not be worked out for so long, because the sketches are gone say, is not tried again."""


def requeue_work() -> None:
    """Send again expired shares, shares whose message is lost, and runs that nobody handed on."""
    from evaluation import tasks

    leases.requeue(Shard.objects.filter(run__status__in=[RunStatus.QUEUED, RunStatus.RUNNING]), tasks.run_shard)
    for pk in AuditRun.objects.filter(status=RunStatus.RUNNING).values_list("pk", flat=True):
        finish_run(pk)
    abandoned = Q(judge_token="") | Q(judge_expires__lt=timezone.now())
    for pk in AuditRun.objects.filter(abandoned, status=RunStatus.JUDGING).values_list("pk", flat=True):
        tasks.judge.delay(pk)
    lost = timezone.now() - timedelta(seconds=settings.AUSCULT_LEASE_SECONDS)
    waiting = runs_without_advice().filter(finished_at__lt=lost, finished_at__gt=lost - GIVEN_UP_AFTER)
    for pk in waiting.values_list("pk", flat=True):
        tasks.advise.delay(pk)
