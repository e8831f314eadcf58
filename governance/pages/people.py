"""Administration: people, what they may do and where, and the programs that act for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.factors import factors_of
from core.models import ApiToken, Role, User
from core.pages.forms import HouseForm, perform
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, guarded
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from core.tokens import MOST_DAYS, token_by_id
from governance.access_accounts import check_may_administer, check_may_change_roles, check_may_close_account
from governance.selectors import people as selectors
from governance.services.people import close_account, give_token, open_account, take_factors, take_token
from governance.services.roles import grant_role, withdraw_role
from models_registry.models import AISystem

administers = guarded(check_may_administer, opens="administrators")
ENTRIES = 20
STATES = (("open", "Open"), ("closed", "Closed"))
PEOPLE = ListPlan(
    columns=(
        Column(title="Person", key="name", order=("first_name", "last_name")),
        Column(title="User name", key="user", order=("username",)),
        Column(title="Roles"),
        Column(title="Programs", key="programs", order=("n_tokens",), down=True, numeric=True),
        Column(title="Last signed in", key="seen", order=("last_login",), down=True),
        Column(title="Account"),
    ),
    search=("username", "first_name", "last_name", "email"),
    choices=(
        Choice(
            name="role", title="Role", every="Any role", options=tuple((role.value, str(role.label)) for role in Role),
            keep=lambda rows, value: rows.filter(role_grants__role=value).distinct(),
        ),
        Choice(
            name="state", title="Account", every="Open and closed", options=STATES,
            keep=lambda rows, value: rows.filter(is_active=value == "open"),
        ),
    ),
)  # fmt: skip
TOKENS = ListPlan(
    columns=(
        Column(title="Program", key="name", order=("name",)),
        Column(title="Acts for", key="user", order=("user__username",)),
        Column(title="May"),
        Column(title="Until", key="until", order=("expires_at",)),
        Column(title="Last used", key="used", order=("used_at",), down=True),
        Column(title="State"),
    ),
    search=("name", "user__username"),
)


class SystemChoice(forms.ModelChoiceField):
    def label_from_instance(self, system: AISystem) -> str:  # type: ignore[override]
        return system.name


class PersonChoice(forms.ModelChoiceField):
    def label_from_instance(self, user: User) -> str:  # type: ignore[override]
        return f"{user} ({user.username})"


def where_field() -> SystemChoice:
    """Where roles count: everywhere, or on one system. The form gives it the systems."""
    return SystemChoice(
        queryset=AISystem.objects.none(), required=False, label="Where", empty_label="Everywhere",
        help_text="Limited to one system, the person sees that system and nothing of another. "
                  "Administrators and regulators cannot be limited.",
    )  # fmt: skip


def days_field(label: str, *, most: int, initial: int) -> forms.IntegerField:
    """How many days something holds."""
    return forms.IntegerField(
        label=label, min_value=1, max_value=most, initial=initial,
        help_text=format_lazy(gettext_lazy("{days} at most."), days=most),
    )  # fmt: skip


class GiveRoleForm(SigningForm):
    """A role, everywhere or on one system."""

    role = forms.TypedChoiceField(
        label="Role", choices=[("", "Choose one"), *Role.choices], coerce=Role,
        error_messages={"required": "Choose the role."},
    )  # fmt: skip
    system = where_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["system"].queryset = AISystem.objects.order_by("name")  # type: ignore[attr-defined]


class TakeRoleForm(SigningForm):
    """One of the roles that a person holds."""

    held = forms.ChoiceField(label="Role to take away", error_messages={"required": "Choose the role."})

    def offer(self, held: list[selectors.Held]) -> TakeRoleForm:
        self.offered = {item.value: item for item in held}
        self.fields["held"].choices = [(item.value, item.words) for item in held]  # type: ignore[attr-defined]
        return self


class CloseForm(SigningForm):
    reason = forms.CharField(
        label="Why", max_length=500, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="It stands in the ledger: name no patient.", error_messages={"required": "Say why."},
    )  # fmt: skip


class FactorsForm(CloseForm):
    """Why somebody's second factors are taken away."""


class TokenForm(SigningForm):
    """What a program may do, for whom, how long."""

    user = PersonChoice(
        queryset=User.objects.none(), label="Acts for", empty_label="Choose one",
        help_text="What the program does is recorded as done by this person, who must have the role for it.",
        error_messages={"required": "Choose for whom it acts."},
    )  # fmt: skip
    name = forms.CharField(label="What it is for", max_length=120, help_text="Such as PACS at North Hospital.")
    scopes = forms.MultipleChoiceField(
        label="It may", choices=ApiToken.Scope.choices, widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )  # fmt: skip
    days = days_field("Days that it holds", most=MOST_DAYS, initial=90)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = User.objects.filter(is_active=True, merged_into=None).order_by("username")
        self.fields["user"].queryset = rows  # type: ignore[attr-defined]


@require_safe
@administers
def people_list(request: HouseRequest) -> HttpResponse:
    listing: Listing[User] = read_list(request.GET, selectors.people(), PEOPLE)
    shown = list(listing.page)
    held = selectors.roles_held(shown)
    rows = [(person, held.get(person.pk, [])) for person in shown]
    return render(request, "governance/people.html", {"listing": listing, "rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@administers
def person_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One person: roles, programs, what the ledger has on the account. A POST gives, takes, closes or opens."""
    person = selectors.person_by_id(pk)
    held = selectors.roles_held([person]).get(pk, [])
    made = _forms(request, person, held)
    form = made.get(request.POST.get("act", ""))
    if form is not None and _done(request, form, person):
        return redirect("person", pk=pk)
    context = {
        "person": person,
        "held": held,
        "forms": made,
        "tokens": selectors.tokens().filter(user=person)[:ENTRIES],
        "entries": selectors.entries_about(person)[:ENTRIES],
        "may_change": can(check_may_change_roles, request.user, person=person),
        "may_close": can(check_may_close_account, request.user, person=person),
        "now": timezone.now(),
        "has_factor": bool(factors_of(person)),
        "form": form,
    }
    return render(request, "governance/person.html", context, status=form.status if form else 200)


def _forms(request: HouseRequest, person: User, held: list[selectors.Held]) -> dict[str, SigningForm]:
    """The form of each act; what was sent is bound to its own."""
    kinds = {
        "give": GiveRoleForm,
        "take": TakeRoleForm,
        "close": CloseForm,
        "open": SigningForm,
        "factors": FactorsForm,
    }
    sent = request.POST.get("act", "") if request.method == "POST" else ""
    made: dict[str, SigningForm] = {
        name: ask_or_skip(kind(request.POST if name == sent else None, prefix=name), request)
        for name, kind in kinds.items()
    }
    made["take"].offer(held)  # type: ignore[attr-defined]
    return made


def _done(request: HouseRequest, form: SigningForm, person: User) -> bool:
    """Whether the act that was sent is done; a message says it."""
    acts: dict[type[SigningForm], Callable[..., None]] = {
        GiveRoleForm: grant_role, TakeRoleForm: partial(_take, form=form), CloseForm: close_account,
        SigningForm: open_account, FactorsForm: take_factors,
    }  # fmt: skip
    attempt_signed(form, request, partial(acts[type(form)], person=person, by=request.user))
    if form.refusal or not form.is_valid():
        return False
    messages.success(request, "Done. It is in the ledger.")
    return True


def _take(*, form: SigningForm, person: User, by: User, held: str, signed: Any) -> None:
    assert isinstance(form, TakeRoleForm)
    item = form.offered[held]
    withdraw_role(person=person, role=item.role, system=item.system, by=by, signed=signed)


@require_http_methods(["GET", "HEAD", "POST"])
@administers
def token_list(request: HouseRequest) -> HttpResponse:
    """Programs that act for people. A POST makes a token and shows its secret, this once."""
    form: HouseForm = ask_or_skip(TokenForm(request.POST or None), request)
    made = attempt_signed(form, request, partial(give_token, by=request.user))  # type: ignore[arg-type]
    if made:
        form = ask_or_skip(TokenForm(), request)
    context = {
        "listing": read_list(request.GET, selectors.tokens(), TOKENS),
        "form": form,
        "made": made[0] if made else None,
        "secret": made[1] if made else "",
        "now": timezone.now(),
    }
    response = render(request, "governance/tokens.html", context, status=form.status)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@administers
def token_revoke(request: HouseRequest, pk: int) -> HttpResponseRedirect:
    token = token_by_id(pk)
    return perform(
        request, partial(take_token, token=token, by=request.user),
        done=gettext("%(name)s has no access any more.") % {"name": token.name},
        back=reverse("tokens"),
    )  # fmt: skip
