"""The Celery application. Two queues: ``gpu`` runs models, ``cpu`` does everything else."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if (_threads := os.environ.get("AUSCULT_THREADS", "0")) != "0":
    # Read by OpenMP and by the linear algebra of numpy when they are first imported: this is the first import of all.
    os.environ.setdefault("OMP_NUM_THREADS", _threads)

app = Celery("auscult")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

from config import workers  # noqa: E402 - it connects itself to the signals of the application above

__all__ = ["app", "workers"]
