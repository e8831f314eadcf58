"""Who holds a role that asks for a second factor sets one up before anything else."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from core.factors import HAS_FACTOR, factors_of, must_have_factor

OPEN = ("/account/", "/sign-in/", "/sign-out/", "/theme/", "/language/", "/static/", "/api/")


class FactorGate:
    """Middleware. Costs nothing while ``AUSCULT_MFA_ROLES`` is empty, and one query a session where it is not.

    The programming interface is for tokens, which are not people: each was signed for by an administrator.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.AUSCULT_MFA_ROLES or request.path.startswith(OPEN) or not request.user.is_authenticated:
            return self.get_response(request)
        if request.session.get(HAS_FACTOR) or not must_have_factor(request.user):
            return self.get_response(request)
        if factors_of(request.user):
            request.session[HAS_FACTOR] = True
            return self.get_response(request)
        if request.headers.get("HX-Request"):
            return HttpResponseClientRedirect(reverse("account"))
        messages.info(request, _("Your role asks for a second factor. Set one up to go on."))
        return HttpResponseRedirect(reverse("account"))
