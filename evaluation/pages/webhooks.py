"""Webhooks: other systems that are told of alerts. A secret is shown once; what could not be sent is listed."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_http_methods, require_POST

from core.access import can
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.readers import HouseRequest, reads
from evaluation import selectors_alerts
from evaluation import selectors_monitors as selectors
from evaluation.access_alerts import check_may_keep_webhooks
from evaluation.models import Alert
from evaluation.services import webhooks as services

PAGE_SIZE = 40
private = cache_control(private=True, no_store=True)


class MonitorChoice(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> str:
        return f"{row.name}, {row.deployment}"


class WebhookForm(HouseForm):
    name = forms.CharField(label="Name", max_length=120, help_text="What it is, such as: Radiology on-call channel.")
    url = forms.URLField(
        label="Address",
        max_length=500,
        assume_scheme="https",
        help_text="It begins with https://. Messages are posted there as JSON and hold no patient.",
    )
    least_severity = forms.ChoiceField(
        label="From which severity", choices=Alert.Severity.choices, initial=Alert.Severity.WARNING
    )
    monitor = MonitorChoice(
        queryset=None, label="Of which monitor", required=False, empty_label="Every monitor, also later ones"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["monitor"]
        field.queryset = selectors.list_monitors(every=False)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
@private
def webhook_list(request: HouseRequest) -> HttpResponse:
    """All webhooks, and the form for another. The secret of a new one is in the answer to the form alone."""
    form = bind(WebhookForm, request)
    made = attempt(form, partial(services.add_webhook, by=request.user))
    context = {
        "rows": selectors_alerts.list_webhooks(),
        "form": WebhookForm() if made else form,
        "made": made[0] if made else None,
        "secret": made[1] if made else "",
        "permission": can(check_may_keep_webhooks, request.user),
    }
    return render(request, "evaluation/webhooks.html", context, status=200 if made else form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
@private
def webhook_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One webhook with its messages, those that could not be sent first. A POST makes a new secret, shown once."""
    webhook, form = selectors_alerts.get_webhook(pk), bind(HouseForm, request)
    secret = attempt(form, partial(services.renew_secret, webhook=webhook, by=request.user)) or ""
    context = {
        "webhook": selectors_alerts.get_webhook(pk) if secret else webhook,
        "form": form,
        "secret": secret,
        "rests": webhook.active and webhook.rests_until is not None and webhook.rests_until > timezone.now(),
        "page": Paginator(selectors_alerts.deliveries_of(webhook), PAGE_SIZE).get_page(request.GET.get("page")),
        "permission": can(check_may_keep_webhooks, request.user),
    }
    return render(request, "evaluation/webhook.html", context, status=form.status)


ACTS: dict[str, tuple[str, str]] = {
    "test": ("send_test", "A test message is on its way. Reload this page to see whether it arrived."),
    "stop": ("stop_webhook", "The webhook is stopped: nothing is sent to it."),
    "resume": ("resume_webhook", "The webhook is told of alerts again."),
}
MESSAGE_ACTS: dict[str, tuple[str, str]] = {
    "resend": ("resend_delivery", "The message is sent again."),
    "drop": ("drop_delivery", "The message is given up."),
}


@require_POST
@reads
def webhook_act(request: HouseRequest, pk: int, act: str) -> HttpResponse:
    """Send a test message, stop, or go on."""
    if act not in ACTS:
        raise Http404
    webhook, (name, done) = selectors_alerts.get_webhook(pk), ACTS[act]
    run = partial(getattr(services, name), webhook=webhook, by=request.user)
    return perform(request, run, done=done, back=reverse("webhook", args=[pk]))


@require_POST
@reads
def message_act(request: HouseRequest, pk: int, message: int, act: str) -> HttpResponse:
    """Send a message again, or give it up."""
    delivery = selectors_alerts.get_message(message)
    if act not in MESSAGE_ACTS or delivery.webhook_id != pk:
        raise Http404
    name, done = MESSAGE_ACTS[act]
    run = partial(getattr(services, name), delivery=delivery, by=request.user)
    return perform(request, run, done=done, back=reverse("webhook", args=[pk]))
