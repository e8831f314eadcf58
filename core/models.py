"""People, what they are told, and the ledger."""

from __future__ import annotations

from django.conf import settings
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
    PATIENT_READER = "patient_reader", "Reader of patient-level content"


INSIDERS = tuple(role for role in Role if role not in (Role.REGULATOR, Role.PATIENT_READER))
"""Roles that make a person one of the house. A regulator opens what was granted to them alone; reading patient-level
content comes on top of what a person is, and opens nothing by itself."""


class User(AbstractUser):
    """A person who signs in. Shown by their full name, bound in the ledger by their user name.

    ``merged_into`` is the account that a second account of the same person was merged into. Separation of duties asks
    for :attr:`identity_id`, in the services and in the triggers of the database, so that two accounts are one person.
    """

    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged_accounts"
    )
    time_zone = models.CharField(max_length=64, blank=True, help_text="IANA name; empty: that of the installation")
    language = models.CharField(max_length=8, blank=True, help_text="Of mails; empty: that of the installation")
    digest_hour = models.PositiveSmallIntegerField(default=7, help_text="Hour of the daily digest, in the time zone")
    digest_sent_on = models.DateField(null=True, blank=True)

    @property
    def mail_language(self) -> str:
        """The language in which they are written to: that of the installation where they chose none that there is."""
        known = dict(settings.LANGUAGES)
        return self.language if self.language in known else settings.LANGUAGE_CODE

    @property
    def identity_id(self) -> int:
        """The key of the account that stands for the person."""
        return self.merged_into_id or self.pk

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class RoleGrant(models.Model):
    """A role that a person holds, everywhere or on one AI system.

    ``system_key`` is no foreign key: systems belong to a higher floor, and none is ever deleted.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=32, choices=Role.choices)
    system_key = models.PositiveBigIntegerField(default=0, help_text="Key of the one AI system; 0: everywhere")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "role", "system_key"], name="role_granted_once")]

    def __str__(self) -> str:
        limited = f", on system {self.system_key}" if self.system_key else ""
        return f"{self.user}: {self.get_role_display()}{limited}"


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
    """The number of entries. One row, locked while an entry is appended, so that appends queue up.

    ``recorded_at`` is the latest moment that an entry was recorded at: a clock that was set back shows against it.
    """

    size = models.BigIntegerField(default=0)
    recorded_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.size} entries"


class SignedHead(models.Model):
    """The size and root of the ledger at one moment, signed. Never changed, never deleted.

    ``document`` is the canonical JSON that the signature covers; it is exported, so that whoever keeps a copy can show
    later that nothing up to this size was changed.
    """

    size = models.BigIntegerField(unique=True)
    root = models.CharField(max_length=64)
    signed_at = models.DateTimeField()
    key_id = models.CharField(max_length=64)
    document = models.TextField()
    signature = models.TextField(help_text="Ed25519, base64")

    class Meta:
        ordering = ["-size"]

    def __str__(self) -> str:
        return f"Head of {self.size} entries"


class LedgerReader(models.Model):
    """How far something that follows the ledger has read: ``next_index`` is the first entry it has not seen."""

    name = models.CharField(max_length=80, unique=True)
    next_index = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} at {self.next_index}"


class Topic(models.TextChoices):
    """What a notification is about; each person chooses by topic how it reaches them."""

    REVIEWS = "reviews", "Reviews and votes"
    CONDITIONS = "conditions", "Conditions of approvals"
    POLICIES = "policies", "Policies and accepted gaps"
    RISKS = "risks", "Risks"
    INCIDENTS = "incidents", "Incidents and their clocks"
    DEPLOYMENTS = "deployments", "Deployments and suspensions"
    MONITORS = "monitors", "Monitors and alerts"
    OVERSIGHT = "oversight", "Human oversight"
    DOCUMENTS = "documents", "Statements, reports and bundles"
    LEDGER = "ledger", "The ledger"


class Posted(models.Model):
    """How it stands with the e-mail of a row: what :mod:`core.mail` claims, sends and tries again.

    ``mail_after`` is the moment from which it may be tried: that of the next try, or when the claim of a worker that
    died runs out.
    """

    class Mail(models.TextChoices):
        NONE = "none", "Not by e-mail"
        DUE = "due", "To be sent"
        DIGEST = "digest", "In the next digest"
        SENT = "sent", "Sent"
        FAILED = "failed", "Could not be sent"

    mail = models.CharField(max_length=8, choices=Mail.choices, default=Mail.NONE)
    mail_attempts = models.PositiveSmallIntegerField(default=0)
    mail_after = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    mail_error = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True


class OutgoingMail(Posted):
    """A message to an address: to a site's contact, who has no account, or a person's daily digest.

    ``key`` keeps the same message from being sent twice. Never patient-level data.
    """

    address = models.EmailField()
    name = models.CharField(max_length=200, blank=True)
    subject = models.CharField(max_length=200)
    text = models.TextField()
    html = models.TextField(blank=True)
    key = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["mail"], name="outgoing_mail")]

    def __str__(self) -> str:
        return f"{self.subject} to {self.address}"


class Notification(Posted):
    """One message to one person. ``key`` keeps the same event from telling them twice.

    An urgent one is sent by e-mail at once, whatever the person chose. ``digest`` is the digest that it went out with.
    """

    class Urgency(models.TextChoices):
        INFO = "info", "For information"
        ACTION = "action", "Something waits for you"
        URGENT = "urgent", "Urgent"

    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    topic = models.CharField(max_length=16, choices=Topic.choices)
    urgency = models.CharField(max_length=8, choices=Urgency.choices, default=Urgency.INFO)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    href = models.CharField(max_length=300, blank=True)
    key = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True, blank=True)
    digest = models.ForeignKey(
        OutgoingMail, null=True, blank=True, on_delete=models.SET_NULL, related_name="notifications"
    )

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["recipient", "key"], name="notified_once")]
        indexes = [
            models.Index(fields=["recipient", "read_at"], name="notification_unread"),
            models.Index(fields=["mail"], name="notification_mail"),
            models.Index(fields=["key"], name="notification_key"),
        ]

    def __str__(self) -> str:
        return f"{self.title} to {self.recipient}"


class NotificationPreference(models.Model):
    """How a person wants one topic by e-mail. Without a row: at once what waits for them, the rest in the digest."""

    class Mail(models.TextChoices):
        AT_ONCE = "at_once", "At once"
        DIGEST = "digest", "In the daily digest"
        NEVER = "never", "Not by e-mail"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences")
    topic = models.CharField(max_length=16, choices=Topic.choices)
    mail = models.CharField(max_length=8, choices=Mail.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "topic"], name="preference_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.topic} {self.mail}"


class Invitation(models.Model):
    """Lets somebody make an account with roles that an administrator signed for. Only the secret's digest is kept.

    ``system_key`` is the one AI system that the roles are limited to; 0: everywhere.
    """

    email = models.EmailField()
    roles = models.JSONField(default=list)
    system_key = models.PositiveBigIntegerField(default=0)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    token_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]

    @property
    def roles_in_words(self) -> str:
        return ", ".join(str(Role(role).label) for role in self.roles)

    def __str__(self) -> str:
        return f"Invitation {self.pk} of {self.email}"


class ApiToken(models.Model):
    """Lets a program act for a person, for some purposes, until a day. Only the digest of the secret is kept."""

    class Scope(models.TextChoices):
        OVERSIGHT = "oversight", "Record overrides and numbers of outputs"
        GATE = "gate", "Ask whether a version meets a policy"
        INCIDENTS = "incidents", "Report incidents"
        MONITORS = "monitors", "Deliver studies to monitors, read their state and hand them over"
        READ = "read", "Read what its person may read"
        REGISTER = "register", "Register systems, versions and cohorts"
        AUDIT = "audit", "Request, cancel and resume audits"
        SYNTHETIC = "synthetic", "Order generators and synthetic patients"
        REPORT = "report", "Ask for reports and bundles, and download them"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=120)
    scopes = models.JSONField(default=list)
    token_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class ApiRequest(models.Model):
    """A request that a program sent with a key of its own, and how it was answered, for a day.

    ``key`` and ``digest`` are keyed digests: a sender's key may be the number of an examination. ``status`` is None
    while the request is being answered; ``claim`` is whose turn that is. See ``core.api.idempotency``.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=64)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=300)
    digest = models.CharField(max_length=64)
    claim = models.CharField(max_length=32)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="api_request_once")]

    def __str__(self) -> str:
        return f"{self.method} {self.path} of {self.user}"
