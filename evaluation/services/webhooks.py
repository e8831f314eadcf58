"""Webhooks: addresses of other systems that are told of alerts. How a message goes out is in
``evaluation.monitoring.webhooks``."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.digests import canonical_json, sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.notifications import resolve
from core.plain_text import written
from core.reach import service
from evaluation.access_alerts import check_may_keep_webhooks
from evaluation.models import Alert, Monitor, MonitorWindow, Webhook, WebhookDelivery
from evaluation.monitoring.addresses import check_address
from evaluation.monitoring.signing import house_secrets, new_secret, seal

Status = WebhookDelivery.Status
MOST_NAME = 120
RANK: dict[str, int] = {Alert.Severity.INFO: 0, Alert.Severity.WARNING: 1, Alert.Severity.CRITICAL: 2}
SCHEMA = "auscult/webhook/1"
EVENTS = {"raised", "risen", "woken", "escalated", "acknowledged", "closed"}
"""What a message can be about."""


@service
def add_webhook(
    *, name: str, url: str, by: User, least_severity: str = Alert.Severity.WARNING, monitor: Monitor | None = None
) -> tuple[Webhook, str]:
    """Add an address that is told of alerts.

    Args:
        url: ``https://``; ``http://`` to this machine alone. Its host is looked up when a message is sent.
        least_severity: Alerts below it are not told there.
        monitor: Only this monitor's; None: every monitor's.

    Returns:
        The webhook, and its secret: it is shown now and never again.

    Raises:
        DeniedError: ``by`` may not.
        AuscultError: a name or address that cannot be.
        ConflictError: there is one of this name.
    """
    check_may_keep_webhooks(by)
    name = " ".join(written(name, name="The name", most=MOST_NAME, column="name").split())
    url = check_address(url, production=settings.PRODUCTION)
    if least_severity not in RANK:
        raise AuscultError(f"'{least_severity}' is no severity.", remedy=f"Use one of: {', '.join(RANK)}.")
    secret = new_secret()
    facts: dict[str, Any] = {"url": url, "least_severity": least_severity, "monitor": monitor, "created_by": by}
    try:
        with transaction.atomic():
            webhook = Webhook.objects.create(name=name, secret=_sealed(secret), **facts)
    except IntegrityError as error:
        raise ConflictError(f"There is a webhook called '{name}'.", remedy="Choose another name.") from error
    _record("webhook.added", webhook, {"least_severity": least_severity}, by=by)
    return webhook, secret


@service
def renew_secret(*, webhook: Webhook, by: User) -> str:
    """Give a webhook a new secret; the old one signs nothing from now on. Returns it: it is never shown again."""
    check_may_keep_webhooks(by)
    secret = new_secret()
    Webhook.objects.filter(pk=webhook.pk).update(secret=_sealed(secret))
    webhook.refresh_from_db()
    _record("webhook.secret_renewed", webhook, {}, by=by)
    return secret


@service
def stop_webhook(*, webhook: Webhook, by: User) -> Webhook:
    """Tell nothing there any more. What waits to be sent is dropped."""
    check_may_keep_webhooks(by)
    if not Webhook.objects.filter(pk=webhook.pk, active=True).update(active=False):
        raise ConflictError("The webhook is stopped already.", remedy=RELOAD)
    dropped = webhook.deliveries.filter(status=Status.DUE).update(status=Status.DROPPED, answer="Webhook stopped.")
    webhook.active = False
    _record("webhook.stopped", webhook, {"dropped": dropped}, by=by)
    resolve(f"webhook:{webhook.pk}")
    return webhook


@service
def resume_webhook(*, webhook: Webhook, by: User) -> Webhook:
    """Tell of alerts there again, from now on."""
    check_may_keep_webhooks(by)
    if not Webhook.objects.filter(pk=webhook.pk, active=False).update(active=True, rests_until=None):
        raise ConflictError("The webhook is not stopped.", remedy=RELOAD)
    webhook.active, webhook.rests_until = True, None
    _record("webhook.resumed", webhook, {}, by=by)
    return webhook


@service
def send_test(*, webhook: Webhook, by: User) -> WebhookDelivery:
    """Send a message that is about nothing, to see whether it arrives."""
    check_may_keep_webhooks(by)
    if not webhook.active:
        raise ConflictError("The webhook is stopped.", remedy="Resume it first.")
    _wake(webhook)
    event = f"test:{webhook.pk}:{webhook.deliveries.count() + 1}"
    body = {"schema": SCHEMA, "type": "test", "event": event, "at": timezone.now().isoformat(), "sent_by": "Auscult"}
    delivery = _put_out(webhook, event=event, body=body, alert=None)
    if delivery is None:
        raise ConflictError("Two tests were sent at this moment.", remedy="Look below: one of them is on its way.")
    _record("webhook.tested", webhook, {"delivery": delivery.pk}, by=by)
    return delivery


@service
def resend_delivery(*, delivery: WebhookDelivery, by: User) -> WebhookDelivery:
    """Try a dead letter again, under its old id, from the first attempt on.

    Raises:
        ConflictError: it was sent, still waits, or its webhook is stopped.
    """
    check_may_keep_webhooks(by)
    again = WebhookDelivery.objects.filter(
        pk=delivery.pk, status__in=[Status.DEAD, Status.DROPPED], webhook__active=True
    )
    if not again.update(status=Status.DUE, attempts=0, after=None, answer=""):
        raise ConflictError("It is on its way, was sent, or its webhook is stopped.", remedy=RELOAD)
    delivery.refresh_from_db()
    _wake(delivery.webhook)
    _record("webhook.resent", delivery.webhook, {"delivery": delivery.pk, "event": delivery.event}, by=by)
    _send_soon(delivery)
    _settle_notice(delivery)
    return delivery


def _wake(webhook: Webhook) -> None:
    """Who sends by hand has mended the receiver, or wants to see: that does not wait until it has rested."""
    Webhook.objects.filter(pk=webhook.pk).update(rests_until=None)


@service
def drop_delivery(*, delivery: WebhookDelivery, by: User) -> WebhookDelivery:
    """Give up a message that waits or is dead.

    Raises:
        ConflictError: it was sent, or was given up before.
    """
    check_may_keep_webhooks(by)
    rows = WebhookDelivery.objects.filter(pk=delivery.pk, status__in=[Status.DUE, Status.DEAD])
    if not rows.update(status=Status.DROPPED):
        raise ConflictError("It was sent, or given up before.", remedy=RELOAD)
    delivery.refresh_from_db()
    _record("webhook.dropped", delivery.webhook, {"delivery": delivery.pk, "event": delivery.event}, by=by)
    _settle_notice(delivery)
    return delivery


def enqueue_event(*, alert: Alert, step: str) -> int:
    """Put a message about an alert to each webhook that wants it, once per step. Needs a transaction.

    Args:
        step: What happened, of ``EVENTS``; with ``:`` and what tells it from an earlier one of its kind.

    Returns:
        How many messages are new.
    """
    kind = step.partition(":")[0]
    if kind not in EVENTS:
        raise ValueError(f"webhooks are not told of {kind!r}")
    wanted = [name for name, rank in RANK.items() if rank <= RANK[alert.severity]]
    rows = Webhook.objects.filter(active=True, least_severity__in=wanted)
    event = f"alert:{alert.pk}:{step}:{alert.times}"
    made = 0
    for webhook in [row for row in rows.order_by("pk") if row.monitor_id in (None, alert.monitor_id)]:
        body = message_of(alert, kind=f"alert.{kind}", event=event)
        made += _put_out(webhook, event=event, body=body, alert=alert) is not None
    return made


def message_of(alert: Alert, *, kind: str, event: str) -> dict[str, Any]:
    """What a receiver is told: the alert, its monitor and where it runs. No patient, and no number below a cell."""
    from evaluation.services.alert_notices import address_of

    monitor, window = alert.monitor, alert.window
    deployment, version = monitor.deployment, monitor.deployment.version
    facts = {name: str(getattr(alert, name)) for name in ("kind", "severity", "status", "key", "title", "text")}
    times = {"times": alert.times, "first_at": alert.first_at.isoformat(), "last_at": alert.last_at.isoformat()}
    return {
        "schema": SCHEMA,
        "type": kind,
        "event": event,
        "at": timezone.now().isoformat(),
        "alert": {"id": alert.pk, "url": address_of(alert), "resolution": str(alert.resolution)} | facts | times,
        "monitor": {"id": monitor.pk, "name": monitor.name},
        "window": _bounds(window) if window else None,
        "deployment": {"id": deployment.pk, "site": deployment.site, "unit": deployment.unit},
        "version": {"system": version.system.slug, "label": version.label, "digest": version.digest},
    }


def _bounds(window: MonitorWindow) -> dict[str, Any]:
    opens, closes = window.opens_at.isoformat(), window.closes_at.isoformat()
    return {"index": window.index, "opens_at": opens, "closes_at": closes}


def _put_out(webhook: Webhook, *, event: str, body: dict[str, Any], alert: Alert | None) -> WebhookDelivery | None:
    """The new message; None where this event was put to this webhook before."""
    delivery, new = WebhookDelivery.objects.get_or_create(
        webhook=webhook, event=event, defaults={"body": canonical_json(body).decode(), "alert": alert}
    )
    if not new:
        return None
    _send_soon(delivery)
    return delivery


def _send_soon(delivery: WebhookDelivery) -> None:
    from evaluation import tasks

    # Robust: the act stands although the broker is away. The sweep finds what was not handed over.
    transaction.on_commit(partial(tasks.send_webhook.delay, delivery.pk), robust=True)


def _settle_notice(delivery: WebhookDelivery) -> None:
    """No dead letter waits for anybody any more: what was told of them is read."""
    if not delivery.webhook.deliveries.filter(status=Status.DEAD).exists():
        resolve(f"webhook:{delivery.webhook_id}")


def _sealed(secret: str) -> str:
    return seal(secret, keys=house_secrets())


def _record(act: str, webhook: Webhook, facts: dict[str, Any], *, by: User) -> None:
    payload = {"name": webhook.name, "url_sha256": sha256_text(webhook.url), "monitor": webhook.monitor_id}
    ledger.record(actor=by.username, act=act, subject=("Webhook", webhook.pk), payload=payload | facts)
