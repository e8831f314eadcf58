"""Administration: inviting people, and the page on which somebody who was invited makes their account."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import NotFoundError
from core.models import Invitation, Role, User
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.readers import HouseRequest
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from governance.pages.people import administers, days_field, where_field
from governance.selectors.people import invitation_by_id, invitations
from governance.services.invitations import (
    MOST_DAYS,
    accept_invitation,
    invite,
    open_invitation,
    send_invitation,
    withdraw_invitation,
)
from models_registry.models import AISystem

STATES = (("open", _("Open")), ("accepted", _("Used")), ("over", _("Withdrawn or expired")))


def _in_state(rows: Any, value: str) -> Any:
    now = timezone.now()
    if value == "accepted":
        return rows.exclude(accepted_at=None)
    if value == "open":
        return rows.filter(accepted_at=None, revoked_at=None, expires_at__gt=now)
    return rows.filter(accepted_at=None).exclude(revoked_at=None, expires_at__gt=now)


INVITATIONS = ListPlan(
    columns=(
        Column(title=_("Address"), key="email", order=("email",)),
        Column(title=_("Roles")),
        Column(title=_("Invited by"), key="by", order=("invited_by__username",)),
        Column(title=_("Until"), key="until", order=("expires_at",), down=True),
        Column(title=_("State")),
    ),
    search=("email", "invited_by__username"),
    choices=(Choice(name="state", title=_("State"), every=_("Any state"), options=STATES, keep=_in_state),),
)


class InviteForm(SigningForm):
    """Who is invited, and with which roles."""

    email = forms.EmailField(label=_("E-mail address"))
    roles = forms.TypedMultipleChoiceField(
        label=_("Roles"), choices=Role.choices, coerce=Role, widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one role.")},
    )  # fmt: skip
    system = where_field()
    days = days_field("Days that the link holds", most=MOST_DAYS, initial=7)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["system"].queryset = AISystem.objects.order_by("name")  # type: ignore[attr-defined]


class AcceptForm(HouseForm):
    """What somebody who was invited says of themselves."""

    username = forms.CharField(
        label=_("User name"), max_length=150,
        help_text=_("You sign in with it, and the ledger records your acts under it."),
        validators=[User.username_validator], widget=forms.TextInput(attrs={"autocomplete": "username"}),
    )  # fmt: skip
    first_name = forms.CharField(label=_("First name"), max_length=150)
    last_name = forms.CharField(label=_("Last name"), max_length=150)
    password = forms.CharField(
        label=_("Password"), strip=False, help_text=_("Twelve characters or more."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )  # fmt: skip
    again = forms.CharField(
        label=_("The password again"), strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError(gettext("This user name is taken. Choose another one."))
        return name

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        password, again = told.get("password"), told.pop("again", None)
        if password:
            person = User(**{name: told.get(name, "") for name in ("username", "first_name", "last_name")})
            try:
                validate_password(password, person)
            except ValidationError as error:
                self.add_error("password", error)
            if again is not None and again != password:
                self.add_error("again", gettext("The two passwords are not the same."))
        return told


@require_http_methods(["GET", "HEAD", "POST"])
@administers
@never_cache
def invitation_list(request: HouseRequest) -> HttpResponse:
    """Who is invited. A POST invites somebody, mails the link, and shows it this once."""
    form: HouseForm = ask_or_skip(InviteForm(request.POST or None), request)
    made = attempt_signed(form, request, partial(invite, by=request.user))  # type: ignore[arg-type]
    context: dict[str, Any] = {"listing": read_list(request.GET, invitations(), INVITATIONS), "now": timezone.now()}
    if made:
        form = ask_or_skip(InviteForm(), request)
        link = request.build_absolute_uri(reverse("invitation", args=[made[1]]))
        context |= {"made": made[0], "link": link, "unsent": send_invitation(made[0], link)}
    return render(request, "governance/invitations.html", context | {"form": form}, status=form.status)


@require_POST
@administers
def invitation_withdraw(request: HouseRequest, pk: int) -> HttpResponseRedirect:
    act = partial(withdraw_invitation, invitation=invitation_by_id(pk), by=request.user)
    return perform(request, act, done=gettext("The link does not hold any more."), back=reverse("invitations"))


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
@never_cache
def invitation_accept(request: HttpRequest, secret: str) -> HttpResponse:
    """The page behind the link: it opens while the invitation holds, and says the same of every one that does not."""
    try:
        row: Invitation = open_invitation(secret)
    except NotFoundError as missing:
        return render(request, "governance/invitation_gone.html", {"error": missing}, status=404)
    form = bind(AcceptForm, request)
    person = attempt(form, partial(accept_invitation, secret=secret))
    if person is not None:
        messages.success(request, gettext("Your account is made. Sign in as %(name)s.") % {"name": person.username})
        return redirect("sign-in")
    roles = [Role(role).label for role in row.roles]
    return render(
        request, "governance/invitation.html", {"invitation": row, "form": form, "roles": roles}, status=form.status
    )
