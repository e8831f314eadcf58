"""People and the ledger."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Role(models.TextChoices):
    """What a person is in the house. What each may do is decided in the ``access`` modules."""

    ML_ENGINEER = "ml_engineer", "ML engineer"
    AUDITOR = "auditor", "Auditor"
    COMMITTEE_CHAIR = "committee_chair", "Committee chair"
    COMMITTEE_MEMBER = "committee_member", "Committee member"
    DPO = "dpo", "Data protection officer"
    CLINICIAN_LEAD = "clinician_lead", "Clinician lead"
    REGULATOR = "regulator", "Regulator"
    ADMINISTRATOR = "administrator", "Administrator"


class User(AbstractUser):
    """A person who signs in. Shown by their full name, bound in the ledger by their user name."""

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class RoleGrant(models.Model):
    """A role that a person holds."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=32, choices=Role.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "role"], name="role_granted_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


class LedgerEntry(models.Model):
    """One act, written in the same transaction as the act itself; never changed, never deleted.

    ``body`` is the canonical JSON that the leaf hash covers; the other columns repeat parts of it for searching.
    There are no foreign keys: an entry outlives what it tells of.
    """

    index = models.BigIntegerField(primary_key=True)
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    act = models.CharField(max_length=80)
    subject_kind = models.CharField(max_length=80)
    subject_id = models.CharField(max_length=80)
    body = models.TextField()
    leaf_hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["index"]
        indexes = [
            models.Index(fields=["subject_kind", "subject_id"], name="ledger_subject"),
            models.Index(fields=["act"], name="ledger_act"),
        ]

    def __str__(self) -> str:
        return f"#{self.index} {self.act} by {self.actor}"


class LedgerNode(models.Model):
    """Hash of a full subtree of the ledger: ``2**level`` leaves beginning at ``position * 2**level``."""

    level = models.PositiveSmallIntegerField()
    position = models.BigIntegerField()
    node_hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["level", "position"], name="ledger_node_once")]

    def __str__(self) -> str:
        return f"{self.level}:{self.position}"


class LedgerHead(models.Model):
    """The number of entries. One row, locked while an entry is appended, so that appends queue up."""

    size = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.size} entries"
