"""The top floor: settings, workers, commands. Exporting the Celery app here gives tasks ``delay_on_commit``."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
