"""Answers about a system, and statements about a version."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from models_registry.models import AISystem, ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Answer(OfSystem):
    """What a person said to one question about a system; what applies to it is worked out from these.

    A row is never changed: the newest of a question counts, the others are its history. ``value`` is True, False, a
    text, a list of texts, or None where an answer was taken back.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="answers")
    question = models.CharField(max_length=80)
    value = models.JSONField(null=True)
    reason = models.TextField(blank=True)
    author = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["question", "-pk"]
        indexes = [models.Index(fields=["system", "question", "-id"], name="answer_newest")]

    def __str__(self) -> str:
        return f"{self.question}: {self.value}"


class Statement(OfSystem):
    """What a person states to show one requirement for one version: its facts, and a text.

    A row is one revision. It begins as a draft and is decided once, by somebody else; an accepted one is never
    changed, but followed by another. ``binding`` tells what it was written about (see ``governance.dossier``): where
    that has changed since, the statement is stale. ``generated`` marks a text that a program proposed; it counts as
    little as any other draft until a person accepts it.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACCEPTED = "accepted", "Accepted"
        RETURNED = "returned", "Returned"
        WITHDRAWN = "withdrawn", "Withdrawn"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="statements")
    requirement = models.CharField(max_length=80)
    revision = models.PositiveIntegerField()
    fields = models.JSONField(default=dict, help_text="Values of the requirement's required fields, by name")
    text = models.TextField(blank=True)
    generated = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.DRAFT)
    binding = models.JSONField(default=dict)
    author = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    written_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    remark = models.TextField(blank=True, help_text="Why it was returned, or what was checked when it was accepted")

    class Meta:
        ordering = ["requirement", "-revision"]
        constraints = [
            models.UniqueConstraint(fields=["version", "requirement", "revision"], name="statement_revision_once"),
            models.UniqueConstraint(
                fields=["version", "requirement"], condition=Q(status="draft"), name="statement_one_draft"
            ),
            models.CheckConstraint(
                name="statement_accepted_by_another",
                condition=~Q(status="accepted") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("author"))),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.requirement}, revision {self.revision}"
