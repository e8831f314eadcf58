"""Protocols: the list, one of them, locking and approving."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from evaluation.access import check_may_approve_protocol, check_may_lock_protocol
from evaluation.models import Protocol
from evaluation.pages.runs import RUNS_OF_PROTOCOL
from evaluation.selectors import get_protocol, list_protocols, runs_by_protocol
from evaluation.services.protocols import approve_protocol, lock_protocol

LARGEST_PROTOCOL = 1_000_000


class ProtocolForm(HouseForm):
    """A protocol by upload or by pasting; ``clean`` leaves the text alone under ``source``."""

    upload = forms.FileField(required=False, label="YAML file")
    source = forms.CharField(
        required=False,
        strip=False,
        label="Or paste the YAML",
        widget=forms.Textarea(attrs={"rows": 16, "class": "code", "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        upload = self.cleaned_data.pop("upload", None)
        if upload is not None:
            if upload.size > LARGEST_PROTOCOL:
                raise forms.ValidationError(
                    "The file is larger than 1 MB. A protocol is a short text: choose another file."
                )
            try:
                self.cleaned_data["source"] = upload.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise forms.ValidationError(
                    "The file is not UTF-8 text. Save it as UTF-8 and choose it again."
                ) from error
        if not (self.cleaned_data.get("source") or "").strip():
            self.add_error("upload", "Choose a file, or paste the text below.")
        return self.cleaned_data


PROTOCOLS = ListPlan(
    columns=(
        Column(title="Protocol", key="name", order=("name",)),
        Column(title="Status", key="status", order=("status", "name")),
        Column(title="Digest"),
        Column(title="Locked", key="locked", order=("locked_at",), down=True),
        Column(title="Approved", key="approved", order=("approved_at",), down=True),
        Column(title="Audits", key="audits", order=("n_runs",), down=True, numeric=True),
    ),
    search=("name", "title"),
    searched="Name or title",
    choices=(
        Choice(
            name="status", title="Status", every="In any state", field="status",
            options=tuple((str(state.value), str(state.label)) for state in Protocol.Status),
        ),
    ),
    size=50,
)  # fmt: skip


@require_safe
@reads_within
def protocol_list(request: HouseRequest) -> HttpResponse:
    context = {
        "listing": read_list(request.GET, list_protocols(), PROTOCOLS),
        "may_lock": can(check_may_lock_protocol, request.user),
    }
    return render(request, "evaluation/protocols.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def protocol_new(request: HouseRequest) -> HttpResponse:
    form = bind(ProtocolForm, request)
    protocol = attempt(form, partial(lock_protocol, by=request.user))
    if protocol:
        return redirect("protocol", pk=protocol.pk)
    context = {"form": form, "permission": can(check_may_lock_protocol, request.user)}
    return render(request, "evaluation/protocol_new.html", context, status=form.status)


@require_safe
@reads_within
def protocol_detail(request: HouseRequest, pk: int) -> HttpResponse:
    protocol = get_protocol(pk)
    context = {
        "protocol": protocol,
        "body": protocol.body,
        "listing": read_list(request.GET, runs_by_protocol(protocol), RUNS_OF_PROTOCOL),
        "may_approve": can(check_may_approve_protocol, request.user),
    }
    return render(request, "evaluation/protocol.html", context)


@require_POST
@reads
def protocol_approve(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(approve_protocol, protocol=get_protocol(pk), by=request.user)
    return perform(
        request, act, done="The protocol is approved. Audits may use it.", back=reverse("protocol", args=[pk])
    )
