"""Monitors of deployments: what is read when, in which windows, and what each window showed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.scope import OfSystem
from evaluation.models.runs import AuditRun, Protocol
from models_registry.models import CohortVersion, Deployment

PERSON = settings.AUTH_USER_MODEL


class Monitor(OfSystem):
    """That a deployment is watched: by which protocol, against which reference, on which data, how often.

    A window of time is ``[opens_at, closes_at)`` in the zone of the monitor; a window by count is the next
    ``window_size`` studies by time. A window is due ``grace_hours`` after it closes, when late data and labels are in.
    ``cycle`` counts the restarts: it rises when an alarm of drift is closed.
    """

    class Status(models.TextChoices):
        PREPARING = "preparing", "Reference is being made"
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        FAILED = "failed", "Reference could not be made"
        ENDED = "ended", "Ended"

    class Source(models.TextChoices):
        FOLDER = "folder", "Drop folder"
        TABLE = "table", "Database table"
        FHIR = "fhir", "FHIR bulk export"
        API = "api", "Programming interface"

    class Unit(models.TextChoices):
        MINUTE = "minute", "Minutes"
        HOUR = "hour", "Hours"
        DAY = "day", "Days"
        WEEK = "week", "Weeks"
        MONTH = "month", "Months"
        COUNT = "count", "Studies"

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="monitors")
    name = models.CharField(max_length=120)
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT, related_name="monitors")
    reference_cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="+")
    reference_run = models.ForeignKey(AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    frame_digest = models.CharField(max_length=64, blank=True)
    reference_digest = models.CharField(
        max_length=64, blank=True, help_text="The reference's drift sketch in the store"
    )
    reference_windows = models.JSONField(
        default=list, help_text="Windows that the reference is made of since an alarm was accepted; none: the cohort"
    )
    source_kind = models.CharField(max_length=8, choices=Source.choices)
    source = models.JSONField(default=dict, help_text="Where the data come from; secrets are named, not held")
    window_unit = models.CharField(max_length=8, choices=Unit.choices)
    window_size = models.PositiveIntegerField(default=1)
    first_opens_at = models.DateTimeField(help_text="When the first window opens")
    grace_hours = models.PositiveIntegerField(default=0)
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA name, such as Europe/Vienna")
    crontab = models.CharField(max_length=120, blank=True, help_text="minute hour day-of-month month day-of-week")
    every_seconds = models.PositiveIntegerField(null=True, blank=True)
    schedule = models.ForeignKey(
        "django_celery_beat.PeriodicTask", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    owner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="monitors")
    escalate_to = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    escalate_after_hours = models.PositiveIntegerField(default=24)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PREPARING)
    error = models.TextField(blank=True)
    reason = models.TextField(blank=True, help_text="Why it is paused or has ended")
    cycle = models.PositiveIntegerField(default=1)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    fired_at = models.DateTimeField(null=True, blank=True, help_text="When beat last asked it to look")
    next_at = models.DateTimeField(null=True, blank=True, help_text="When it is due to be asked next")

    class Meta:
        ordering = ["deployment", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "name"], condition=~Q(status="ended"), name="monitor_name_once_per_deployment"
            ),
            models.CheckConstraint(
                name="monitor_has_one_schedule",
                condition=(Q(crontab="") & Q(every_seconds__isnull=False))
                | (~Q(crontab="") & Q(every_seconds__isnull=True)),
            ),
            models.CheckConstraint(
                name="monitor_active_has_reference",
                condition=~Q(status="active") | (~Q(reference_digest="") & ~Q(frame_digest="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.deployment}"


class MonitorWindow(OfSystem):
    """One window of a monitor: made once, judged once, in the order of ``index``, which counts from 1.

    ``findings`` is what was odd about the data: ``{"kind", "severity", "message", "column", "row", "count"}``.
    ``residuals`` is what the lifetime test keeps of the window, ``look`` what it said after it (see
    ``evaluation.engine.drift.lifetime``). Digests name documents in the store.
    """

    class Status(models.TextChoices):
        DUE = "due", "Due"
        COLLECTING = "collecting", "Data are being read"
        AUDITING = "auditing", "Being audited"
        JUDGING = "judging", "Being judged"
        JUDGED = "judged", "Judged"
        EMPTY = "empty", "No studies"
        REFUSED = "refused", "Data refused"
        FAILED = "failed", "Failed"

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, related_name="windows")
    index = models.PositiveIntegerField()
    cycle = models.PositiveIntegerField(default=1)
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    due_at = models.DateTimeField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.DUE)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When the sweep last sent it to be collected")
    cohort = models.ForeignKey(CohortVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="windows")
    run = models.OneToOneField(AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="window")
    n_studies = models.PositiveBigIntegerField(default=0)
    n_patients = models.PositiveBigIntegerField(default=0)
    findings = models.JSONField(default=list)
    progress = models.JSONField(default=dict, help_text="What a source needs to go on with")
    residuals = models.JSONField(default=list)
    look = models.JSONField(default=dict)
    log_e = models.FloatField(null=True, blank=True)
    alarm = models.BooleanField(default=False)
    seen_digest = models.CharField(max_length=64, blank=True, help_text="Keyed digests of its studies")
    sketch_digest = models.CharField(max_length=64, blank=True)
    baseline_digest = models.CharField(max_length=64, blank=True, help_text="Reference with the windows before it")
    evidence_digest = models.CharField(max_length=64, blank=True)
    causes_digest = models.CharField(max_length=64, blank=True)
    causes = models.JSONField(default=list, help_text="The leading causes, without patients")
    sample_digest = models.CharField(max_length=64, blank=True, help_text="Patient-level sample; a permission to read")
    evidently_html = models.CharField(max_length=64, blank=True)
    evidently_json = models.CharField(max_length=64, blank=True)
    evidently = models.JSONField(default=dict, help_text="Its single-look verdict, and the cross-check of its numbers")
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    collected_at = models.DateTimeField(null=True, blank=True)
    judged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["monitor", "index"]
        constraints = [
            models.UniqueConstraint(fields=["monitor", "index"], name="window_once"),
            models.CheckConstraint(name="window_counts_from_one", condition=Q(index__gte=1)),
        ]

    def __str__(self) -> str:
        return f"Window {self.index} of {self.monitor}"


class StreamPoint(OfSystem):
    """One stream of one window, for one group: what the timeline draws and what one drills into."""

    window = models.ForeignKey(MonitorWindow, on_delete=models.CASCADE, related_name="points")
    stream = models.CharField(max_length=160)
    family = models.CharField(max_length=16)
    attribute = models.CharField(max_length=120, blank=True)
    group = models.CharField(max_length=200, blank=True)
    effect = models.CharField(max_length=40, help_text="What the value is, such as wasserstein_sigma")
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    margin = models.FloatField(null=True)
    p_value = models.FloatField(null=True)
    log_e = models.FloatField(null=True)
    n = models.PositiveBigIntegerField(null=True)
    reason = models.CharField(max_length=300, blank=True)
    alarming = models.BooleanField(default=False)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["window", "pk"]
        indexes = [models.Index(fields=["window", "stream"], name="point_of_stream")]

    def __str__(self) -> str:
        return f"{self.stream} {self.group} in {self.window_id}"


class Delivery(OfSystem):
    """Data that arrived for a monitor: a file of its drop folder, a query, an export, a request.

    ``content_digest`` names the normalised rows in the store; they are patient-level and never leave it. Once no
    window can need them they are deleted (``purged_at``); what is left says that this content came, and knows it again.
    """

    class Status(models.TextChoices):
        HELD = "held", "Held"
        REFUSED = "refused", "Refused"

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, related_name="deliveries")
    name = models.CharField(max_length=300)
    source_digest = models.CharField(max_length=64)
    content_digest = models.CharField(max_length=64, blank=True)
    n_studies = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.HELD)
    findings = models.JSONField(default=list)
    error = models.TextField(blank=True)
    received_at = models.DateTimeField(auto_now_add=True)
    purged_at = models.DateTimeField(null=True, blank=True, help_text="When its rows were deleted from the store")

    class Meta:
        ordering = ["monitor", "received_at"]
        constraints = [
            models.UniqueConstraint(fields=["monitor", "source_digest"], name="delivery_once"),
            models.CheckConstraint(
                name="delivery_purged_has_no_rows", condition=Q(purged_at__isnull=True) | Q(content_digest="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.monitor}"
