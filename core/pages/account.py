"""A person's own account: who they are here, second factors, where they are signed in, password, single sign-on."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.account import end_sessions, remove_sign_on, sessions_of, sign_ons_of
from core.factors import Kind, factors_of, key_challenge, must_have_factor
from core.models import User
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.readers import HouseRequest, guarded
from core.pages.signing import keep_step_up
from core.stepup import VALID_FOR, confirm_identity
from core.tokens import own_tokens


def _check_account(user: User) -> None:
    """Everybody with an account has one to look at."""


has_account = guarded(_check_account, opens="every account")


class ProveForm(HouseForm):
    """The password, and the answer of a security key that the browser fills in."""

    password = forms.CharField(
        label=gettext_lazy("Your password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        strip=False,
    )
    credential = forms.JSONField(
        widget=forms.HiddenInput,
        error_messages={"required": gettext_lazy("The security key gave no answer. Try again.")},
    )


@require_safe
@has_account
@never_cache
def account(request: HouseRequest) -> HttpResponse:
    person = request.user
    kinds = factors_of(person)
    context = {
        "sessions": sessions_of(person, current=request.session.session_key or ""),
        "app": Kind.TOTP in kinds,
        "keys": list(Authenticator.objects.filter(user=person, type=Kind.WEBAUTHN).order_by("pk")),
        "has_factor": bool(kinds),
        "must_have_factor": must_have_factor(person),
        "identities": sign_ons_of(person),
        "sign_on": sign_on_offer(process="connect"),
        "tokens": own_tokens(person),
    }
    return render(request, "core/account.html", context)


@require_POST
@has_account
def sessions_end(request: HouseRequest) -> HttpResponseRedirect:
    """End one session, or all but this."""
    told = request.POST.get("session", "")
    act = partial(
        end_sessions, person=request.user, keep=request.session.session_key or "",
        only=int(told) if told.isdecimal() else None, by=request.user,
    )  # fmt: skip
    return perform(request, act, done=_("Signed out there."), back=reverse("account"))


@require_POST
@has_account
def sign_on_remove(request: HouseRequest, pk: int) -> HttpResponseRedirect:
    act = partial(remove_sign_on, person=request.user, identity=pk, by=request.user)
    return perform(request, act, done=_("Single sign-on does not open your account any more."), back=reverse("account"))


@require_http_methods(["GET", "HEAD", "POST"])
@has_account
@never_cache
def prove(request: HouseRequest) -> HttpResponse:
    """Prove who one is with the password and a security key, for what is signed in the next minutes."""
    if Kind.WEBAUTHN not in factors_of(request.user):
        return redirect("account")
    form = bind(ProveForm, request)
    proof = attempt(form, lambda password, credential: confirm_identity(
        user=request.user, password=password, key=credential))  # fmt: skip
    if proof is not None:
        keep_step_up(request, proof)
        return render(request, "core/proved.html", {"minutes": VALID_FOR.seconds // 60})
    context = {"form": form, "js_data": {"request_options": key_challenge(request.user)}}
    return render(request, "core/prove.html", context, status=form.status)


def sign_on_offer(*, process: str = "login", back: str = "") -> dict[str, str] | None:
    """Where a button of single sign-on leads, and what stands on it; None where there is none."""
    apps: list[dict[str, Any]] = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    if not apps:
        return None
    asked = {"process": process} | ({"next": back} if back else {})
    href = reverse("openid_connect_login", kwargs={"provider_id": apps[0]["provider_id"]})
    return {"href": f"{href}?{urlencode(asked)}", "name": apps[0]["name"]}
