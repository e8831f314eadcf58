"""Reading alerts and webhooks. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Case, Count, Q, QuerySet, Value, When
from django.utils import timezone

from core.access import roles_of
from core.errors import NotFoundError
from core.models import Role, User
from evaluation.models import Alert, Webhook, WebhookDelivery
from evaluation.selectors_monitors import UNCLOSED
from models_registry.selectors import unshown

GRAVITY = Case(When(severity="critical", then=Value(0)), When(severity="warning", then=Value(1)), default=Value(2))
"""The gravest is the least."""
PROGRESS = Case(
    When(status="open", then=Value(0)), When(status="acknowledged", then=Value(1)),
    When(status="snoozed", then=Value(2)), default=Value(3),
)  # fmt: skip
"""What nobody has taken up is the least."""


def held_by(person: User) -> Q:
    """Alerts that concern a person: assigned to them, or of a monitor that they own."""
    return Q(assigned_to__in=_accounts(person)) | Q(assigned_to=None, monitor__owner__in=_accounts(person))


def _accounts(person: User) -> list[int]:
    """Every account of one person, in no query."""
    return list({person.pk, person.identity_id})


@dataclass(frozen=True, kw_only=True)
class AlertFilter:
    """Which alerts to show. ``state``: ``unclosed``, one of the states, or ``all``; what is empty does not narrow."""

    state: str = "unclosed"
    severity: str = ""
    kind: str = ""
    monitor: str = ""
    mine: str = ""

    @property
    def query(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value}


def list_alerts(chosen: AlertFilter, *, person: User) -> QuerySet[Alert]:
    """Alerts, the unclosed and gravest first."""
    rows = Alert.objects.select_related(
        "monitor__deployment__version__system", "window", "assigned_to", "monitor__owner"
    )
    rows = in_state(rows, chosen.state)
    rows = rows.filter(severity=chosen.severity) if chosen.severity else rows
    rows = rows.filter(kind=chosen.kind) if chosen.kind else rows
    rows = rows.filter(monitor=int(chosen.monitor)) if chosen.monitor.isdecimal() else rows
    rows = rows.filter(held_by(person)) if chosen.mine else rows
    return rows.order_by(PROGRESS, GRAVITY, "-last_at", "-pk")


def in_state(rows: QuerySet[Alert], state: str) -> QuerySet[Alert]:
    """Alerts in one state, ``unclosed`` for every state but closed, ``all`` for any."""
    if state == "unclosed":
        return rows.filter(status__in=UNCLOSED)
    return rows if state == "all" else rows.filter(status=state)


def get_alert(pk: int) -> Alert:
    """One alert with what its page shows.

    Raises:
        NotFoundError: there is none with this number.
    """
    people = ("assigned_to", "acknowledged_by", "closed_by", "monitor__owner", "monitor__escalate_to")
    related = ("monitor__deployment__version__system", "monitor__protocol", "window__run", *people)
    found = Alert.objects.select_related(*related).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such alert.", remedy="Begin at the list of alerts.")
    return found


def waiting_alerts(person: User) -> QuerySet[Alert]:
    """Alerts that wait for a person: open, or snoozed until a time that is past, the information ones left out."""
    due = Q(status=Alert.Status.OPEN) | Q(status=Alert.Status.SNOOZED, snoozed_until__lte=timezone.now())
    concerns = held_by(person)
    if Role.COMMITTEE_CHAIR in roles_of(person):
        concerns |= Q(severity=Alert.Severity.CRITICAL)
    rows = Alert.objects.filter(due, concerns).exclude(severity=Alert.Severity.INFO)
    rows = rows.select_related("monitor__deployment__version__system")
    return rows.defer(*unshown("monitor__deployment__version")).order_by("-first_at")


def list_webhooks() -> QuerySet[Webhook]:
    """Webhooks with how many messages were sent, wait, and could not be sent."""
    counts = {
        f"n_{state}": Count("deliveries", filter=Q(deliveries__status=state)) for state in ("sent", "due", "dead")
    }
    rows = Webhook.objects.select_related("monitor__deployment__version__system", "created_by").annotate(**counts)
    return rows.defer(*unshown("monitor__deployment__version"))


def get_webhook(pk: int) -> Webhook:
    """One webhook.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = list_webhooks().filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such webhook.", remedy="Begin at the list of webhooks.")
    return found


def deliveries_of(webhook: Webhook) -> QuerySet[WebhookDelivery]:
    """Messages to a webhook, those that could not be sent first."""
    dead = Case(When(status="dead", then=Value(0)), When(status="due", then=Value(1)), default=Value(2))
    return webhook.deliveries.select_related("alert").defer("body").order_by(dead, "-created_at", "-pk")


def get_message(pk: int) -> WebhookDelivery:
    """One message to a webhook.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = WebhookDelivery.objects.select_related("webhook").filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such message.", remedy="Begin at the list of webhooks.")
    return found
