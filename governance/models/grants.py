"""What a regulator may see."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from governance.models.documents import Bundle
from models_registry.models import AISystem

PERSON = settings.AUTH_USER_MODEL


class Grant(models.Model):
    """That a regulator may see what was issued about some systems, until a day, for a purpose."""

    regulator = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="grants")
    systems = models.ManyToManyField(AISystem, related_name="grants")
    purpose = models.TextField()
    expires_at = models.DateTimeField()
    granted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    revocation = models.TextField(blank=True, help_text="Why it was revoked")

    class Meta:
        ordering = ["-granted_at"]
        constraints = [
            models.CheckConstraint(name="grant_by_another", condition=~Q(granted_by=F("regulator"))),
            models.CheckConstraint(name="grant_has_purpose", condition=~Q(purpose="")),
        ]

    def __str__(self) -> str:
        return f"Grant {self.pk} to {self.regulator}"


class DownloadLink(models.Model):
    """A link that gives one bundle once, to the holder of a grant. Only the digest of its token is kept."""

    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="links")
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="links")
    token_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Link {self.pk} to bundle {self.bundle_id}"
