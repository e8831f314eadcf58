"""Forms that keep what was typed, and acts that are refused in words.

A view with fields calls :func:`bind` and :func:`attempt`; a view behind a single button calls :func:`perform`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.functional import Promise
from django.utils.translation import gettext

from core.errors import AuscultError, ConflictError, DeniedError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SummaryLine:
    """One line of the error summary: what is wrong, what to do, and the field to go to."""

    message: str
    remedy: str = ""
    target: str = ""


class HouseForm(forms.Form):
    """A form with an error summary. ``refusal`` is what the service said when it would not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            # The summary stands apart from the fields: "This field is required" would not say which one.
            if field.error_messages.get("required") == forms.Field.default_error_messages["required"]:
                told = field.label or name.replace("_", " ").capitalize()
                field.error_messages["required"] = gettext("Fill in or choose: %(field)s.") % {
                    "field": gettext(str(told))
                }
        self.refusal: AuscultError | None = None
        for field in self.fields.values():
            say_choices(field)

    @property
    def status(self) -> int:
        """The HTTP status of the page that shows this form."""
        if isinstance(self.refusal, DeniedError):
            return 403
        if isinstance(self.refusal, ConflictError):
            return 409
        return 422 if self.is_bound and (self.refusal or self.errors) else 200

    @property
    def error_lines(self) -> list[SummaryLine]:
        lines = [
            SummaryLine(message=str(message), target="" if name == "__all__" else f"id_{self.add_prefix(name)}")
            for name, found in self.errors.items()
            for message in found
        ]
        if self.refusal:
            lines.append(line_of(self.refusal))
        return lines


def say_choices(field: forms.Field) -> None:
    """Words of fixed choices in the language of the page; rows of the database keep their names.

    A form that adds fields after its beginning calls it for them.
    """
    if isinstance(field, forms.ModelChoiceField):
        field.empty_label = field.empty_label and gettext(str(field.empty_label))
        return
    if not isinstance(field, forms.ChoiceField):
        return
    pairs: list[Any] = list(field.choices)  # type: ignore[arg-type]
    if pairs and all(isinstance(word, str | Promise) for _, word in pairs):
        field.choices = [(value, gettext(str(word)) if word else word) for value, word in pairs]


F = TypeVar("F", bound=HouseForm)


def bind(form: type[F], request: HttpRequest, **initial: Any) -> F:
    """The form with what was sent, or empty when the page is only opened."""
    if request.method == "POST":
        return form(request.POST, request.FILES)
    return form(initial=initial)


def line_of(error: AuscultError) -> SummaryLine:
    """An error of the house as a line of an error summary, with its place."""
    place = f"{error.place}: " if error.place else ""
    return SummaryLine(message=f"{place}{error.message}", remedy=error.remedy)


def attempt(form: HouseForm, act: Callable[..., T]) -> T | None:
    """Call ``act`` with the form's values; None when the form is not valid or the service refuses.

    The refusal stays on the form, so that the page shows it above what was typed.
    """
    if not form.is_valid():
        return None
    try:
        return act(**form.cleaned_data)
    except AuscultError as error:
        form.refusal = error
        return None


def perform(request: HttpRequest, act: Callable[[], Any], *, done: str, back: str) -> HttpResponseRedirect:
    """Do what a single button stands for, say what happened, and go to ``back``."""
    try:
        act()
    except AuscultError as error:
        line = line_of(error)
        messages.error(request, f"{line.message} {line.remedy}".strip())
    else:
        messages.success(request, done)
    return HttpResponseRedirect(back)
