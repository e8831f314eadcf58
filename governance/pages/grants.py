"""Regulator access as the house sees it: who was let in, to what, until when, what they opened; and how it ends."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.models import User
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads
from governance.access import check_may_grant
from governance.models import Grant
from governance.selectors import grants as selectors
from governance.services.grants import give_grant, latest_end, revoke_grant
from models_registry.models import AISystem

PAGE_SIZE = 50
GRANTS = ListPlan(
    columns=(
        Column(title=_("Regulator"), key="regulator", value=lambda row: str(row.grant.regulator).casefold()),
        Column(title=_("Status"), key="status", value=lambda row: row.standing),
        Column(title=_("Systems")),
        Column(title=_("Purpose")),
        Column(title=_("Until"), key="until", value=lambda row: row.grant.revoked_at or row.grant.expires_at),
        Column(title=_("Views"), key="views", value=lambda row: row.views, down=True, numeric=True),
        Column(title=_("Downloads"), key="downloads", value=lambda row: row.downloads, down=True, numeric=True),
        Column(title=_("Last used"), key="used", value=lambda row: row.last_used, down=True),
    ),
    text=lambda row: " ".join([
        str(row.grant.regulator), row.grant.regulator.username, row.grant.purpose, *(item.name for item in row.systems),
    ]),
    searched=_("Regulator, system or purpose"),
    choices=(
        Choice(
            name="status", title=_("Status"), every=_("Any status"),
            options=tuple((item.value, item.value.capitalize()) for item in selectors.Standing),
            keep=lambda rows, value: [row for row in rows if row.standing == value],
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip


class RegulatorChoice(forms.ModelChoiceField):
    def label_from_instance(self, user: User) -> str:  # type: ignore[override]
        return f"{user} ({user.username})"


class GrantForm(HouseForm):
    regulator = RegulatorChoice(
        queryset=User.objects.none(),
        label="Regulator",
        help_text="A person with the role Regulator.",
        empty_label="Choose one",
        error_messages={"required": "Choose who gets access."},
    )
    systems = forms.ModelMultipleChoiceField(
        queryset=AISystem.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        label="Systems",
        help_text="Every version of these systems, also those to come: their issued bundles and requirement status.",
        error_messages={"required": "Choose at least one system."},
    )
    expires_at = forms.DateField(
        label="Until the end of",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="One year at most.",
        error_messages={"required": "Choose the last day of the access.", "invalid": "Give the last day as a date."},
    )
    purpose = forms.CharField(
        label="Purpose",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=20,
        help_text="What was asked for, and by which right. At least 20 characters; the regulator reads it too.",
        error_messages={"required": "Write the purpose.", "min_length": "Write the purpose in at least 20 characters."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        today = timezone.localdate()
        self.fields["regulator"].queryset = selectors.regulators()  # type: ignore[attr-defined]
        self.fields["systems"].queryset = AISystem.objects.all()  # type: ignore[attr-defined]
        bounds = {"min": today.isoformat(), "max": latest_end(today).isoformat()}
        self.fields["expires_at"].widget.attrs.update(bounds)

    def clean_expires_at(self) -> datetime:
        day: date = self.cleaned_data["expires_at"]
        return timezone.make_aware(datetime.combine(day, time.max) - timedelta(microseconds=999_999))


class RevokeForm(HouseForm):
    """A reason, and the user name of the regulator, typed: a grant is not ended by a slip of the hand."""

    expected = ""
    reason = forms.CharField(
        label="Why the access ends",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=10,
        error_messages={"required": "Give the reason.", "min_length": "Give the reason in at least 10 characters."},
    )
    confirmation = forms.CharField(
        label="User name of the regulator",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Type the user name of the regulator."},
    )

    def expect(self, username: str) -> None:
        self.expected = username
        self.fields["confirmation"].help_text = gettext("Type %(username)s to confirm whose access ends.") % {
            "username": username
        }

    def clean_confirmation(self) -> str:
        typed: str = self.cleaned_data["confirmation"]
        if typed != self.expected:
            raise forms.ValidationError(f"Type {self.expected} to confirm whose access ends.")
        return typed


@require_safe
@reads
def grant_list(request: HouseRequest) -> HttpResponse:
    listing: Listing[selectors.GrantRow] = read_list(request.GET, selectors.grants_list(), GRANTS)
    context = {"listing": listing, "may_grant": can(check_may_grant, request.user)}
    return render(request, "governance/grants.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def grant_new(request: HouseRequest) -> HttpResponse:
    form = bind(GrantForm, request)
    grant = attempt(form, partial(give_grant, by=request.user))
    if grant:
        messages.success(request, gettext("%(regulator)s has access now.") % {"regulator": grant.regulator})
        return redirect("grant", pk=grant.pk)
    context = {
        "form": form,
        "permission": can(check_may_grant, request.user),
        "nobody": not selectors.regulators().exists(),
        "nothing": not AISystem.objects.exists(),
    }
    return render(request, "governance/grant_new.html", context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def grant_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One grant with everything that was opened or refused under it, and the form that ends it."""
    grant, form = selectors.grant_by_id(pk), bind(RevokeForm, request)
    form.expect(grant.regulator.username)
    if attempt(form, partial(_revoke, grant=grant, by=request.user)):
        messages.success(
            request, gettext("The access of %(regulator)s ended at this moment.") % {"regulator": grant.regulator}
        )
        return redirect("grant", pk=pk)
    page = Paginator(selectors.entries_of(grant), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "row": selectors.grant_row(grant),
        "grant": grant,
        "page": page,
        "activity": selectors.in_words(page),
        "may_grant": can(check_may_grant, request.user),
        "form": form,
    }
    return render(request, "governance/grant.html", context, status=form.status)


def _revoke(*, grant: Grant, by: User, reason: str, confirmation: str) -> Grant:
    """``confirmation`` was compared by the form."""
    return revoke_grant(grant=grant, reason=reason, by=by)
