"""What a system and a model version are, and where a version came from."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.scope import OfSystem

PERSON = settings.AUTH_USER_MODEL


class SystemKind(models.TextChoices):
    """What is registered: something with an intended purpose, or what such things are built on."""

    SYSTEM = "system", "AI system"
    BACKBONE = "backbone", "Backbone of other systems"


class AISystem(OfSystem):
    """A system with an intended purpose, of which there are versions.

    A backbone is a general-purpose model that other systems put light heads on. It is registered like a system, so
    that it is bound, audited and documented like one; whoever builds on it depends on its digest.
    """

    kind = models.CharField(max_length=16, choices=SystemKind.choices, default=SystemKind.SYSTEM)
    name = models.CharField(max_length=200, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    provider = models.CharField(max_length=200, blank=True)
    intended_purpose = models.TextField()
    risk_class = models.CharField(
        max_length=200, blank=True, help_text="For example: MDR class IIa; high-risk by Art. 6(1)"
    )
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class VersionStatus(models.TextChoices):
    """States of a model version. The transitions are in ``models_registry.services.versions``."""

    DRAFT = "draft", "Draft"
    SUBMITTED = "submitted", "Submitted"
    IN_AUDIT = "in_audit", "In audit"
    IN_REVIEW = "in_review", "In review"
    APPROVED = "approved", "Approved"
    CONDITIONAL = "conditional", "Approved with conditions"
    REJECTED = "rejected", "Rejected"
    DEPLOYED = "deployed", "Deployed"
    SUSPENDED = "suspended", "Suspended"
    VOID = "void", "Approval void"
    RETIRED = "retired", "Retired"


class ModelVersion(OfSystem):
    """One set of weights (or one prediction log), bound by the digest of its content.

    ``manifest`` maps each file to its SHA-256; ``digest`` is the SHA-256 of the manifest. ``config`` is what the
    adapter declared when the version was registered: labels, modalities, preprocessing, parameters. ``sizes`` maps
    each file to its bytes; ``card`` is what its README says (see ``models_registry.cards``). ``backbone_digest`` is
    the SHA-256 of the weights that it shares with its backbone, or of a backbone's own; empty where there are none.
    ``void_cause`` is the version of the backbone whose registration voided the approval.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="versions")
    label = models.CharField(max_length=80)
    adapter = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    manifest = models.JSONField()
    sizes = models.JSONField(default=dict)
    config = models.JSONField(default=dict)
    card = models.JSONField(default=dict)
    source = models.CharField(max_length=300, blank=True, help_text="The folder, archive, upload or run it came from")
    backbone_digest = models.CharField(max_length=64, blank=True, db_index=True)
    void_reason = models.TextField(blank=True)
    void_at = models.DateTimeField(null=True, blank=True)
    void_cause = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="voided")
    notes = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=VersionStatus.choices, default=VersionStatus.SUBMITTED)
    submitted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    submitted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["system", "-submitted_at"]
        constraints = [
            models.UniqueConstraint(fields=["system", "label"], name="version_label_once_per_system"),
            models.UniqueConstraint(fields=["system", "digest"], name="version_digest_once_per_system"),
        ]

    def __str__(self) -> str:
        return f"{self.system.name} {self.label}"


class Relation(models.TextChoices):
    """How a version came to be what it is."""

    BACKBONE = "backbone", "Built on"
    FINE_TUNED = "fine_tuned", "Fine-tuned from"
    TRAINED_ON = "trained_on", "Trained on"
    SAME_WEIGHTS = "same_weights", "Shares weights with"


class Origin(OfSystem):
    """One edge of the lineage: what a version was made from. Written when the version is registered, never changed.

    Exactly one of ``source_version``, ``source_cohort`` and ``source_name`` is given; the name stands for what is not
    registered here, such as a base model that the card names. ``digest`` is what the source was when it was written.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="origins")
    relation = models.CharField(max_length=16, choices=Relation.choices)
    source_version = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="descendants"
    )
    source_cohort = models.ForeignKey(
        "models_registry.CohortVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="trained"
    )
    source_name = models.CharField(max_length=300, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    told_by = models.CharField(
        max_length=40, help_text="How it is known: equal weights, the card, the training, the person who registered"
    )
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["version", "relation", "pk"]
        constraints = [
            models.CheckConstraint(
                name="origin_has_one_source",
                condition=(
                    models.Q(source_version__isnull=False, source_cohort__isnull=True, source_name="")
                    | models.Q(source_version__isnull=True, source_cohort__isnull=False, source_name="")
                    | models.Q(source_version__isnull=True, source_cohort__isnull=True) & ~models.Q(source_name="")
                ),
            ),
            models.UniqueConstraint(
                fields=["version", "relation", "source_version"],
                condition=models.Q(source_version__isnull=False),
                name="origin_version_once",
            ),
        ]

    def __str__(self) -> str:
        source = self.source_version or self.source_cohort or self.source_name
        return f"{self.version} {self.get_relation_display().lower()} {source}"
