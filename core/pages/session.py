"""Signing in and out, and the choice of light or dark."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "theme"
ONE_YEAR = 365 * 24 * 3600


class SignInForm(AuthenticationForm):
    """One message for every failure, so that it does not tell which user names exist."""

    error_messages = {
        "invalid_login": "The user name or the password is not right. Both are case-sensitive.",
        "inactive": "The user name or the password is not right. Both are case-sensitive.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"


@method_decorator(login_not_required, name="dispatch")
class SignIn(auth_views.LoginView):
    template_name = "core/sign_in.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """A part of a page that is asked for after the session ended: the whole page goes to sign-in, not the part."""
        if request.headers.get("HX-Request"):
            back = quote(urlsplit(request.headers.get("HX-Current-URL", "/")).path)
            return HttpResponseClientRedirect(f"{request.path}?next={back}")
        return super().dispatch(request, *args, **kwargs)

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        response.status_code = 422
        return response


class SignOut(auth_views.LogoutView):
    http_method_names = ["post"]


def theme_of(request: HttpRequest) -> str:
    """The reader's choice; ``auto`` leaves it to their system."""
    chosen = request.COOKIES.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


@login_not_required
@require_POST
def choose_theme(request: HttpRequest) -> HttpResponseRedirect:
    """Keep the choice in a cookie and go back to where it was made."""
    chosen, back = request.POST.get("theme", "auto"), request.POST.get("back", "/")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    if chosen in THEMES:
        response.set_cookie(
            THEME_COOKIE, chosen, max_age=ONE_YEAR, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    return response
