"""Leases: how a job is claimed by exactly one worker, and found again when that worker dies.

A job row has ``status``, ``lease_token`` and ``lease_expires``. Whoever holds the token may write; a token is
taken by a conditional UPDATE, so that a task delivered twice does its work once.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from core.errors import AuscultError
from models_registry.models import JobStatus

log = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """The job was cancelled, or another worker took it over after this one was silent for too long."""


def _until() -> Any:
    return timezone.now() + timedelta(seconds=settings.AUSCULT_LEASE_SECONDS)


def claim(rows: QuerySet[Any], **changes: Any) -> str | None:
    """Take one queued job, or a running one whose lease has run out. Returns the token, or None when it is taken."""
    token = uuid.uuid4().hex
    free = Q(status=JobStatus.QUEUED) | Q(status=JobStatus.RUNNING, lease_expires__lt=timezone.now())
    taken = rows.filter(free).update(status=JobStatus.RUNNING, lease_token=token, lease_expires=_until(), **changes)
    return token if taken else None


def renew(row: Model, token: str, **changes: Any) -> None:
    """Write progress and extend the lease.

    Raises:
        LeaseLostError: the token is no longer ours.
    """
    rows = type(row)._default_manager.filter(pk=row.pk, lease_token=token, status=JobStatus.RUNNING)
    if not rows.update(lease_expires=_until(), **changes):
        raise LeaseLostError


def finish(row: Model, token: str, *, status: str, **changes: Any) -> bool:
    """Close the job if the token is still ours; says whether it was."""
    rows = type(row)._default_manager.filter(pk=row.pk, lease_token=token, status=JobStatus.RUNNING)
    return bool(rows.update(status=status, lease_token="", lease_expires=None, **changes))


@contextmanager
def working(row: Model, token: str) -> Iterator[Path]:
    """A scratch folder for as long as a claimed job is worked on; how the work ended is written to its row.

    The caller closes the job as done. A lost lease writes nothing: the job is somebody else's now.
    """
    staging = scratch_folder()
    try:
        yield staging
    except LeaseLostError:
        log.info("%s %s was cancelled or taken over", type(row).__name__, row.pk)
    except AuscultError as error:
        finish(row, token, status=JobStatus.FAILED, error=str(error), finished_at=timezone.now())
    except Exception as error:
        finish(row, token, status=JobStatus.FAILED, error=unexpected(error), finished_at=timezone.now())
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def scratch_folder() -> Path:
    """A new private folder on the disk of ``AUSCULT_HOME``; whoever asked removes it."""
    home: Path = settings.AUSCULT_HOME / "scratch"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=home))


def requeue(rows: QuerySet[Any], task: Any) -> int:
    """Send again what a dead worker held, and what waits although its message is lost. Returns how many were sent.

    A message counts as lost when jobs wait, none is running and the queue is empty: then the broker was emptied.
    Sending twice is harmless, because a job is claimed once.
    """
    dead = rows.filter(status=JobStatus.RUNNING, lease_expires__lt=timezone.now())
    sent = set(dead.values_list("pk", flat=True))
    rows.filter(pk__in=sent, status=JobStatus.RUNNING, lease_expires__lt=timezone.now()).update(
        status=JobStatus.QUEUED, lease_token="", lease_expires=None
    )
    if not sent and not rows.filter(status=JobStatus.RUNNING).exists() and _queue_is_empty(task):
        sent = set(rows.filter(status=JobStatus.QUEUED).values_list("pk", flat=True))
    for pk in sorted(sent):
        task.delay(pk)
    return len(sent)


def resend_stale(rows: QuerySet[Any], task: Any) -> None:
    """Send again short, repeatable work (rows with ``sent_at``) that has not ended long after it was sent."""
    before = timezone.now() - timedelta(seconds=4 * settings.AUSCULT_LEASE_SECONDS)
    for pk in rows.filter(sent_at__lt=before).values_list("pk", flat=True):
        if rows.filter(pk=pk, sent_at__lt=before).update(sent_at=timezone.now()):
            task.delay(pk)


def unexpected(error: Exception) -> str:
    """What a person is told about an error that nobody foresaw; the details are in the worker's log."""
    return f"Unexpected {type(error).__name__}. What to do: see the log of the worker, then try again."


def _queue_is_empty(task: Any) -> bool:
    """Whether nothing waits in the queue that the task is routed to."""
    from kombu.exceptions import ChannelError

    queue = task.app.amqp.router.route({}, task.name)["queue"].name
    with task.app.connection_for_read() as connection:
        try:
            return bool(connection.default_channel.queue_declare(queue, passive=True).message_count == 0)
        except ChannelError:  # Nobody has used the queue since the broker started.
            return True
