"""Forms that sign: the password is asked for again, unless it was given a few minutes ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django import forms
from django.urls import reverse

from core.errors import AuscultError
from core.factors import Kind, factors_of
from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest
from core.stepup import StepUp, confirm_identity

T = TypeVar("T")
KEY = "stepped_up"


class SigningForm(HouseForm):
    """A form whose last field is the password of whoever signs."""

    password = forms.CharField(
        label="Your password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        strip=False,
        help_text="You are about to sign. It is asked for again, so that nobody signs from a session you left open.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A subclass declares its own fields after this one; the signature comes last on the page.
        self.fields["password"] = self.fields.pop("password")


def step_up_of(request: HouseRequest) -> StepUp | None:
    """The proof that is kept in the session, while it is fresh and this person's."""
    kept = request.session.get(KEY)
    if not kept or kept["user"] != request.user.pk:
        return None
    proof = StepUp(user_id=kept["user"], at=datetime.fromisoformat(kept["at"]), method=kept["method"])
    return proof if proof.fresh else None


def _factors(request: HouseRequest) -> frozenset[str]:
    """The person's kinds of second factor, asked once for each request: a page may show many forms that sign."""
    if not hasattr(request, "_auscult_factors"):
        request._auscult_factors = factors_of(request.user)  # type: ignore[attr-defined]
    kept: frozenset[str] = request._auscult_factors  # type: ignore[attr-defined]
    return kept


def keep_step_up(request: HouseRequest, proof: StepUp) -> None:
    """Keep a proof in the session, for the next few acts."""
    request.session[KEY] = {"user": proof.user_id, "at": proof.at.isoformat(), "method": proof.method}


def ask_or_skip(form: SigningForm, request: HouseRequest) -> SigningForm:
    """Take the password field away where a proof is at hand; ask for a code too where the person has a second factor.

    Call it before the form is validated or shown.
    """
    if step_up_of(request) is not None:
        form.fields.pop("password", None)
    elif found := _factors(request):
        app = "The code of your authenticator app, or a recovery code."
        form.fields["code"] = forms.CharField(
            label="Code",
            widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
            help_text=app if Kind.TOTP in found else "A recovery code.",
            error_messages={"required": "Fill in or choose: Code."},
        )
        if Kind.WEBAUTHN in found:
            form.fields["code"].widget.proof_page = reverse("account-prove")
    return form


def attempt_signed(form: SigningForm, request: HouseRequest, act: Callable[..., T]) -> T | None:
    """Like :func:`core.pages.forms.attempt`, with ``signed`` passed to the act. The proof stays in the session."""
    if not form.is_valid():
        return None
    values = dict(form.cleaned_data)
    try:
        proof = step_up_of(request)
        if proof is None:
            proof = confirm_identity(
                user=request.user, password=values.get("password", ""), code=values.get("code", "")
            )
            keep_step_up(request, proof)
        values.pop("password", None)
        values.pop("code", None)
        return act(**values, signed=proof)
    except AuscultError as error:
        form.refusal = error
        return None
