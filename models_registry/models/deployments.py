"""Where versions run."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.scope import OfSystem
from models_registry.models.systems import ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Deployment(OfSystem):
    """That a version runs at a site, since when, for which share of the studies, and whom to call.

    ``gate_digest`` names the gate's findings in the store, as they were when it began. One that is suspended keeps its
    place at the site, so that nothing else quietly takes its share.
    """

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        SUSPENDED = "suspended", "Suspended"
        ENDED = "ended", "Ended"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployments")
    site = models.CharField(max_length=200)
    unit = models.CharField(max_length=200, blank=True, help_text="Department or device; empty: the whole site")
    share = models.PositiveSmallIntegerField(default=100, help_text="Share of the studies there, in per cent")
    contact_name = models.CharField(max_length=200)
    contact_email = models.EmailField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    gate_digest = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField()
    started_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    suspension = models.TextField(blank=True, help_text="Why, and what the site was told")
    acknowledged_at = models.DateTimeField(null=True, blank=True, help_text="When the site confirmed that it stopped")
    acknowledged_by = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    ending = models.TextField(blank=True)
    replaces = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_by")

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.CheckConstraint(name="deployment_share_in_per_cent", condition=Q(share__gte=1, share__lte=100)),
            models.CheckConstraint(
                name="deployment_suspended_has_reason",
                condition=~Q(status="suspended") | (~Q(suspension="") & Q(suspended_at__isnull=False)),
            ),
            models.UniqueConstraint(
                fields=["version", "site", "unit"],
                condition=Q(status__in=["running", "suspended"]),
                name="deployment_once_per_place",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} at {self.site}"
