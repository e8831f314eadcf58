"""Signing in and out, and the choice of light or dark and of the language."""

from __future__ import annotations

from collections.abc import Container
from typing import Any
from urllib.parse import quote, urlsplit

from allauth.account.forms import LoginForm
from allauth.account.views import LoginView
from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from core import preferences
from core.models import User

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "theme"
ONE_YEAR = 365 * 24 * 3600


class SignInForm(LoginForm):  # type: ignore[misc]
    """One message for every failure, so that it does not tell which user names exist."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("User name or e-mail")
        for name in ("login", "password"):
            self.fields[name].widget.attrs.pop("placeholder", None)

    def add_prefix(self, field_name: str) -> str:
        """The first field is called ``username`` on the page and in what is sent."""
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):  # type: ignore[misc]
    template_name = "core/sign_in.html"
    form_class = SignInForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """A part of a page that is asked for after the session ended: the whole page goes to sign-in, not the part."""
        if request.headers.get("HX-Request"):
            back = quote(urlsplit(request.headers.get("HX-Current-URL", "/")).path)
            return HttpResponseClientRedirect(f"{request.path}?next={back}")
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        from core.pages.account import sign_on_offer

        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"sign_on": sign_on_offer(back=context.get("redirect_field_value") or "")}

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)
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
    return _chosen(request, THEME_COOKIE, request.POST.get("theme", "auto"), THEMES)


@login_not_required
@require_POST
def choose_language(request: HttpRequest) -> HttpResponseRedirect:
    """Keep the language in a cookie, write to who is signed in in it, and go back to where it was chosen."""
    language, known = request.POST.get("language", ""), dict(settings.LANGUAGES)
    if language in known and isinstance(request.user, User):
        preferences.choose_language(by=request.user, language=language)
    return _chosen(request, settings.LANGUAGE_COOKIE_NAME, language, known)


def _chosen(request: HttpRequest, cookie: str, value: str, known: Container[str]) -> HttpResponseRedirect:
    back = request.POST.get("back", "/")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    if value in known:
        response.set_cookie(cookie, value, max_age=ONE_YEAR, samesite="Lax", secure=request.is_secure(), httponly=True)
    return response
