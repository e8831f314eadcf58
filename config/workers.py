"""What a Celery worker does when it starts, begins and ends a task, and stops."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_init, worker_ready, worker_shutdown

log = logging.getLogger(__name__)
MODELS = "gpu"
POOL = "celery.concurrency.solo"
WARM = {"gpu": ("torch", "transformers.modeling_utils", "models_registry.cohorts"), "cpu": ("models_registry.cohorts",)}
"""Imported before the first message, which would wait for seconds."""
WORDS = {
    "evaluation.tasks.judge": "Judges audit {}",
    "evaluation.tasks.prepare_monitor": "Makes the reference of monitor {}",
    "evaluation.tasks.collect_window": "Reads the data of window {}",
    "evaluation.tasks.judge_window": "Judges window {}",
    "evaluation.tasks.explain_window": "Looks for causes in window {}",
    "models_registry.tasks.train": "Trains a model, job {}",
    "models_registry.tasks.inspect_cohort": "Reads a cohort, import {}",
    "models_registry.tasks.register_cohort": "Registers a cohort, import {}",
}
"""What a worker says that it does. Shares tell more of themselves; a task that is not here is too short to tell."""


@worker_init.connect
def prepare_worker(sender: Any, **_: Any) -> None:
    """Refuse what cannot work, then import what the first task would wait for.

    torch must not compute in a process that forks: its children hang. So models run in the worker's own process, and
    only a worker that does not fork is warmed up by computing.
    """
    queues = set(sender.app.amqp.queues.consume_from)
    if MODELS in queues:
        _check_pool(sender.pool_cls)
        _prepare_device()
    for queue in sorted(queues & set(WARM)):
        for module in WARM[queue]:
            importlib.import_module(module)
    if queues & set(WARM) and _is_solo(sender.pool_cls):
        from evaluation.engine import warm_up
        from evaluation.execution.environment import full_environment

        warm_up()
        full_environment()
        if MODELS in queues:
            from evaluation.engine.text.reading import read_text

            read_text("No effusion.")  # the vocabulary, which the first share with reports would wait for


def _check_pool(pool: Any) -> None:
    """
    Raises:
        SystemExit: any pool but solo; a signal's handler can stop a worker in no other way.
    """
    if not _is_solo(pool):
        name = _pool_name(pool).rpartition(".")[2]
        raise SystemExit(
            f"A worker of the queue '{MODELS}' cannot use the pool {name}: torch hangs in processes "
            "that were forked from one that has computed, and a model answers one batch at a time.\n"
            "What to do: start it with -P solo, one worker for each device, for example:\n"
            f"  celery -A config worker -Q {MODELS} -P solo -n gpu0@%h"
        )


def _is_solo(pool: Any) -> bool:
    name = _pool_name(pool)
    return name in {"solo", POOL} or name.startswith(f"{POOL}:")


def _pool_name(pool: Any) -> str:
    """Celery gives the pool by its name, its path or its class."""
    return str(pool if isinstance(pool, str) else pool.__module__)


def _prepare_device() -> None:
    from core.errors import EnvironmentProblemError
    from evaluation.execution.devices import check_device, prepare_process

    try:
        prepare_process()
        check_device()
    except EnvironmentProblemError as error:
        raise SystemExit(f"{error.message}\nWhat to do: {error.remedy}") from error


@worker_ready.connect
def announce_worker(sender: Any, **_: Any) -> None:
    """Make the worker known to the page of workers."""
    from evaluation.execution import workers

    workers.announce(name=sender.hostname, queues=sorted(sender.app.amqp.queues.consume_from))


@worker_shutdown.connect
def dismiss_worker(**_: Any) -> None:
    from evaluation.execution import workers

    workers.leave()


@task_prerun.connect
def tell_begin(task: Any, args: Any, **_: Any) -> None:
    if task.name in WORDS:
        from evaluation.execution import workers

        workers.tell(WORDS[task.name].format(*args))


@task_postrun.connect
def tell_end(task: Any, **_: Any) -> None:
    if task.name in WORDS:
        from evaluation.execution import workers

        workers.tell()
