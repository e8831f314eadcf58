"""The forms of deployments. Several stand on one page; the field ``act`` says which of them was sent."""

from __future__ import annotations

from typing import Any, TypeVar

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest
from core.pages.signing import SigningForm, ask_or_skip
from governance.selectors.deployments import deployable_versions
from models_registry.models import ModelVersion
from models_registry.services.suspensions import LEAST_REASON, MOST_REASON

F = TypeVar("F", bound=HouseForm)
FEW = {
    "min_length": format_lazy(_("Give the reason in at least {least} characters."), least=LEAST_REASON),
    "required": _("Give the reason."),
}


def reason_field(help_text: str, label: str = "Reason") -> forms.CharField:
    return forms.CharField(
        label=label,
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=LEAST_REASON,
        max_length=MOST_REASON,
        help_text=help_text,
        error_messages=FEW,
    )


class SuspendForm(HouseForm):
    reason = reason_field("At least 20 characters. It goes to the sites, word for word: name no patient.")


class ResumeForm(SigningForm):
    reason = reason_field("What was found and mended since. At least 20 characters.")


class EndForm(HouseForm):
    reason = reason_field("At least 20 characters.")


class RollBackForm(SigningForm):
    reason = reason_field("At least 20 characters.")


class AcknowledgeForm(HouseForm):
    name = forms.CharField(
        label="Who at the site confirmed it",
        max_length=200,
        help_text="The name of the person who said that it is stopped there.",
        error_messages={"required": "Say who at the site confirmed it."},
    )


class VersionChoice(forms.ModelChoiceField):
    def label_from_instance(self, version: ModelVersion) -> str:  # type: ignore[override]
        return f"{version} ({version.get_status_display().lower()})"


class DeployForm(SigningForm):
    """Where a version is to run. The version is chosen first, by the page, so that its gate is read before."""

    site = forms.CharField(
        label="Site", max_length=200, help_text="The hospital or practice, as the questionnaire of the system names it."
    )
    unit = forms.CharField(
        label="Unit",
        max_length=200,
        required=False,
        help_text="Department or device, where it is not used in the whole site.",
    )
    share = forms.IntegerField(
        label="Share of the studies there, in per cent",
        min_value=1,
        max_value=100,
        initial=100,
        help_text="All versions of a system at one place sum to 100 at most; suspended ones keep their share.",
    )
    contact_name = forms.CharField(
        label="Contact at the site", max_length=200, help_text="Who can stop it there, day and night."
    )
    contact_email = forms.EmailField(
        label="E-mail of the contact", help_text="Notices of suspension go there. One that is read every day."
    )


class VersionForm(HouseForm):
    version = VersionChoice(
        queryset=ModelVersion.objects.none(), label="Version", empty_label="Choose one", required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["version"]
        field.queryset = ModelVersion.objects.filter(
            pk__in=[version.pk for version in deployable_versions()]
        ).select_related("system")


def one_of(form: type[F], name: str, request: HouseRequest) -> F:
    """A form among several: bound if it is the one that was sent. One that signs asks for no password that is fresh."""
    sent = request.method == "POST" and request.POST.get("act") == name
    made = form(request.POST, prefix=name) if sent else form(prefix=name)
    if isinstance(made, SigningForm):
        ask_or_skip(made, request)
    return made
