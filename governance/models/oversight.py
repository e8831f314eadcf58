"""Human oversight: the measures of Art. 14 and 26, and how often clinicians overrule the system's output."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from models_registry.models import AISystem, Deployment

PERSON = settings.AUTH_USER_MODEL


class OversightMeasure(OfSystem):
    """What lets people understand, watch, overrule or stop the system. Counts once another person has verified it.

    ``limb`` is the part of Art. 14(4), (a) to (e), that it serves. A row is ended, never changed otherwise.
    """

    class Limb(models.TextChoices):
        UNDERSTAND = "a", "Understand its capacities and limits, Art. 14(4)(a)"
        BIAS = "b", "Be aware of automation bias, Art. 14(4)(b)"
        INTERPRET = "c", "Interpret its output, Art. 14(4)(c)"
        OVERRULE = "d", "Decide not to use or to overrule it, Art. 14(4)(d)"
        STOP = "e", "Stop it, Art. 14(4)(e)"

    class Kind(models.TextChoices):
        BUILT_IN = "built_in", "Built in by the provider"
        DEPLOYER = "deployer", "Carried out by the deployer"

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="oversight_measures")
    limb = models.CharField(max_length=2, choices=Limb.choices)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    text = models.TextField()
    role = models.CharField(max_length=200, help_text="Who carries it out, by function")
    moment = models.CharField(max_length=200, help_text="When: before, while or after the output is used")
    site = models.CharField(max_length=200, blank=True, help_text="Empty: at every site")
    responsible = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="oversight_measures")
    recorded_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)
    verified_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    verified_on = models.DateField(null=True, blank=True)
    verification = models.TextField(blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ending = models.TextField(blank=True)

    class Meta:
        ordering = ["system", "limb", "pk"]
        constraints = [
            models.CheckConstraint(name="measure_has_text", condition=~Q(text="")),
            models.CheckConstraint(
                name="measure_verified_by_another",
                condition=Q(verified_by__isnull=True)
                | (~Q(verified_by=F("recorded_by")) & ~Q(verified_by=F("responsible")) & ~Q(verification="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_limb_display()}: {self.text[:60]}"


class Override(OfSystem):
    """That a clinician did not follow an output. No patient is in it: no identifier, no date of birth, no free text
    about the patient. ``case_digest`` is a keyed digest of the study's identifier, so that one case counts once.

    ``group`` holds coarse attributes only, such as ``{"sex": "F", "age_band": "65-79"}``.
    """

    class Action(models.TextChoices):
        CHANGED = "changed", "Changed the output"
        DISREGARDED = "disregarded", "Did not use the output"
        STOPPED = "stopped", "Stopped the system"

    class Reason(models.TextChoices):
        FALSE_POSITIVE = "false_positive", "It saw what is not there"
        FALSE_NEGATIVE = "false_negative", "It missed what is there"
        WRONG_DETAIL = "wrong_detail", "Wrong side, place, degree or number"
        NOT_APPLICABLE = "not_applicable", "Not fit for this patient or image"
        POOR_INPUT = "poor_input", "Poor image or missing data"
        OTHER = "other", "Other"

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="overrides")
    happened_at = models.DateTimeField()
    action = models.CharField(max_length=16, choices=Action.choices)
    reason = models.CharField(max_length=16, choices=Reason.choices)
    label = models.CharField(max_length=120, blank=True, help_text="The output's label, as the model names it")
    group = models.JSONField(default=dict)
    case_digest = models.CharField(max_length=64, blank=True)
    role = models.CharField(max_length=80, blank=True, help_text="The clinician's function")
    key = models.CharField(max_length=80, help_text="Given by the sender, so that sending twice records once")
    recorded_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-happened_at"]
        indexes = [models.Index(fields=["deployment", "happened_at"], name="override_when")]
        constraints = [models.UniqueConstraint(fields=["deployment", "key"], name="override_once")]

    def __str__(self) -> str:
        return f"{self.get_action_display()} at {self.happened_at:%d %b %Y}"


class OutputCount(OfSystem):
    """How many outputs clinicians were shown on one day, in one group: what a rate of overrides is a share of."""

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="output_counts")
    day = models.DateField()
    group = models.JSONField(default=dict)
    group_key = models.CharField(max_length=200, blank=True, help_text="The group as text, for uniqueness")
    n = models.PositiveIntegerField()
    recorded_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "day", "group_key"], name="output_count_once"),
        ]

    def __str__(self) -> str:
        return f"{self.n} outputs on {self.day}"
