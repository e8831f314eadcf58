"""The Celery application. Two queues: ``gpu`` runs models, ``cpu`` does everything else."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("auscult")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
