"""Sending messages to webhooks: claimed, signed, sent, tried again, given up.

A message that is due is claimed by a conditional UPDATE before it is sent, so that of two deliveries of one task one
sends. A worker that dies while it sends lets its claim run out; the message then goes again under the same id.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import SplitResult

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.errors import AuscultError, TransientError
from core.models import Role, Topic
from core.notifications import Urgency, notify
from evaluation.models import Webhook, WebhookDelivery
from evaluation.monitoring.addresses import resolve
from evaluation.monitoring.signing import ID, SIGNATURE, TIMESTAMP, house_secrets, sign, unseal

log = logging.getLogger(__name__)

Status = WebhookDelivery.Status
WAITS = (
    timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14),
)  # fmt: skip
"""Between the attempts: about 32 hours in all, so that a receiver that is mended the next morning misses nothing."""
MOST_ATTEMPTS = len(WAITS) + 1
CLAIM = timedelta(minutes=2)
LOST_AFTER = timedelta(minutes=2)
AT_A_TIME = 50
TIMEOUT, WHOLE = 10.0, 20.0
"""Seconds for each step of the connection, and for the whole message."""
MOST_ANSWER = 2048
GONE = 410


LONGEST_REST = timedelta(minutes=5)
"""A receiver that gives no answer at all rests: each attempt holds a worker for up to ``WHOLE`` seconds, and of all its
messages one is tried at a time. Others wait without an attempt being counted."""


class GivenUpError(AuscultError):
    """What no further attempt would mend."""


class SilentError(TransientError):
    """There was no answer, from a receiver that may be hanging."""


def send_webhook(delivery_id: int) -> bool:
    """Send one message, if it is due and nobody else is sending it. True where the receiver has taken it."""
    row = _claim(delivery_id)
    if row is None:
        return False
    try:
        answer = _post(row)
    except SilentError as error:
        rest = min(LONGEST_REST, WAITS[min(row.attempts, len(WAITS)) - 1])
        Webhook.objects.filter(pk=row.webhook_id).update(rests_until=timezone.now() + rest)
        _put_back(row, error.message)
    except TransientError as error:
        _put_back(row, error.message)
    except AuscultError as error:
        _give_up(row, error.message)
    else:
        _settle(row, status=Status.SENT, sent_at=timezone.now(), answer=answer)
        return True
    return False


def resend_due() -> int:
    """Hand over again what is due and was lost, or waits for its next attempt. Returns how many."""
    from evaluation import tasks

    now = timezone.now()
    lost = Q(after__isnull=True, created_at__lte=now - LOST_AFTER) | Q(after__lte=now)
    awake = Q(webhook__rests_until=None) | Q(webhook__rests_until__lte=now)
    rows = WebhookDelivery.objects.filter(lost, awake, status=Status.DUE, webhook__active=True)
    for row in list(rows.filter(attempts__gte=MOST_ATTEMPTS)[:AT_A_TIME]):
        # The worker of the last attempt died: it ends as dead, not as due for ever.
        _give_up(row, row.answer or "The last attempt was not finished.")
    due = list(rows.filter(attempts__lt=MOST_ATTEMPTS).order_by("created_at", "pk").values_list("pk", flat=True))
    for pk in due[:AT_A_TIME]:
        tasks.send_webhook.delay(pk)
    return len(due[:AT_A_TIME])


def _claim(pk: int) -> WebhookDelivery | None:
    now = timezone.now()
    due = WebhookDelivery.objects.filter(Q(after__isnull=True) | Q(after__lte=now), pk=pk, status=Status.DUE)
    due = due.filter(Q(webhook__rests_until=None) | Q(webhook__rests_until__lte=now), webhook__active=True)
    due = due.filter(attempts__lt=MOST_ATTEMPTS)
    claimed = due.order_by().update(after=now + CLAIM, attempts=F("attempts") + 1)
    return WebhookDelivery.objects.select_related("webhook__created_by").get(pk=pk) if claimed else None


def _settle(row: WebhookDelivery, **changes: object) -> bool:
    """Write what became of a claim, unless it has run out and somebody else has taken the row since."""
    mine = WebhookDelivery.objects.filter(pk=row.pk, status=Status.DUE, attempts=row.attempts)
    return bool(mine.update(**changes))


def _put_back(row: WebhookDelivery, answer: str) -> None:
    if row.attempts >= MOST_ATTEMPTS:
        _give_up(row, answer)
    else:
        _settle(row, after=timezone.now() + WAITS[row.attempts - 1], answer=answer[:300])


@transaction.atomic
def _give_up(row: WebhookDelivery, answer: str) -> None:
    """A dead letter: listed, told to whoever keeps webhooks, entered in the ledger. It can be sent again by hand."""
    if not _settle(row, status=Status.DEAD, after=None, answer=answer[:300]):
        return
    webhook, tries = row.webhook, "1 attempt" if row.attempts == 1 else f"{row.attempts} attempts"
    ledger.record(
        actor="system",
        act="webhook.given_up",
        subject=("Webhook", webhook.pk),
        payload={"delivery": row.pk, "event": row.event, "attempts": row.attempts, "name": webhook.name},
    )
    notify(
        to=[webhook.created_by, *people_with(Role.ADMINISTRATOR)],
        topic=Topic.MONITORS,
        title=f"Webhook {webhook.name} could not be told",
        text=f"{row.event}: {tries}, the last answer: {answer} It can be sent again by hand.",
        href=reverse("webhook", args=[webhook.pk]),
        # One a day for each webhook: a receiver that is down for a week shall not fill the inbox.
        key=f"webhook:{webhook.pk}:dead:{timezone.now():%Y%m%d}",
        urgency=Urgency.ACTION,
    )


def _post(row: WebhookDelivery) -> str:
    """Post the message; what the receiver answered.

    Raises:
        TransientError: no connection, or an answer that is not 2xx.
        AuscultError: what no further attempt would mend: an address that is refused, a secret that cannot be read, a
            receiver that says it is gone for good.
    """
    production = settings.PRODUCTION
    parts, addresses = resolve(row.webhook.url, production=production)
    secret = unseal(row.webhook.secret, keys=house_secrets())
    body, now = row.body.encode(), int(timezone.now().timestamp())
    headers = {
        "content-type": "application/json",
        "user-agent": "Auscult-Webhook/1",
        ID: row.event,
        TIMESTAMP: str(now),
        SIGNATURE: sign(secret, event=row.event, timestamp=now, body=body),
    }
    status = _exchange(parts, addresses, body=body, headers=headers)
    if 200 <= status < 300:
        return f"Taken: {status}."
    if status == GONE:
        raise GivenUpError(f"The receiver says that it is gone for good ({status}).", remedy="Stop the webhook.")
    moved = " It leads elsewhere, and messages follow no redirect." if 300 <= status < 400 else ""
    raise TransientError(f"The receiver answered {status}.{moved}", remedy="Look into the receiver's log.")


def _exchange(parts: SplitResult, addresses: Sequence[str], *, body: bytes, headers: dict[str, str]) -> int:
    """Post to one of these very IP addresses under the name of the host; the status of the answer."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection, late = http.client.HTTPConnection(host, port, timeout=TIMEOUT), threading.Event()
    try:
        connection.sock = _connect(addresses, port)
        # A receiver that sends one byte every nine seconds never runs into the timeout of a step.
        guard = threading.Timer(WHOLE, _cut, args=(connection, late))
        guard.daemon = True
        guard.start()
        try:
            if parts.scheme == "https":
                _shake_hands(connection, host)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body=body, headers=headers)
            response = connection.getresponse()
            response.read(MOST_ANSWER)
            return response.status
        finally:
            guard.cancel()
    except (OSError, http.client.HTTPException) as error:
        said = f"it took longer than {WHOLE:g} seconds" if late.is_set() else _why(error)
        remedy = "Check the network and the receiver."
        raise SilentError(f"{host} could not be told: {said}.", remedy=remedy) from error
    finally:
        connection.close()


def _why(error: OSError | http.client.HTTPException) -> str:
    """What went wrong between two machines, for people."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "its answer is not HTTP"
    return error.strerror or type(error).__name__


def _connect(addresses: Sequence[str], port: int) -> socket.socket:
    """A connection to the first of some addresses that takes it."""
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=TIMEOUT)
        except OSError as error:
            log.info("A webhook's host does not answer at one of its addresses: %s", error)
    return socket.create_connection((addresses[-1], port), timeout=TIMEOUT)


def _shake_hands(connection: http.client.HTTPConnection, host: str) -> None:
    """Go on by TLS; the certificate must be of the host. In two steps: what is being shaken can then be cut."""
    context = ssl.create_default_context()
    secure = context.wrap_socket(connection.sock, server_hostname=host, do_handshake_on_connect=False)
    connection.sock = secure
    secure.do_handshake()


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    try:
        connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("The connection had ended: %s", error)
