"""Forms about incidents. Times are typed as the clock of the place shows them; the zone is a field of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django import forms
from django.forms.boundfield import BoundField
from django.utils.translation import gettext

from core.errors import AuscultError
from core.models import User
from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest
from governance.conditions.conclusions import KINDS
from governance.member_states import ZONES
from governance.models import Incident
from governance.questions import question
from governance.selectors.incidents import possible_owners
from governance.services.incident_intake import MOMENTS, IncidentReport
from models_registry.models import AISystem, Deployment, ModelVersion

T = TypeVar("T")
F = TypeVar("F", bound=HouseForm)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Fields of a form that belong together, with what they are about."""

    title: str
    hint: str
    fields: tuple[BoundField, ...]


def attempt_fields(form: HouseForm, act: Callable[..., T]) -> T | None:
    """Like :func:`core.pages.forms.attempt`; a refusal that names a field of the form is shown at that field."""
    if not form.is_valid():
        return None
    try:
        return act(**form.cleaned_data)
    except AuscultError as error:
        if error.column in form.fields:
            form.add_error(error.column, f"{error.message} {error.remedy}".strip())
        else:
            form.refusal = error
        return None


def bind_made(make: Callable[..., F], request: HouseRequest, **initial: Any) -> F:
    """Like :func:`core.pages.forms.bind`, for a form that needs more than what was sent to be made."""
    return make(request.POST, request.FILES) if request.method == "POST" else make(initial=initial)


class LocalMoment(forms.CharField):
    """A date and a time without a zone, as a browser sends it; the form gives it its zone."""

    def __init__(self, **given: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"})
        super().__init__(widget=widget, required=given.pop("required", False), **given)

    def clean(self, value: Any) -> dt.datetime | None:  # type: ignore[override]
        text = super().clean(value)
        if not text:
            return None
        try:
            found = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise forms.ValidationError("Give the day and the time, such as 22 Nov 2026 and 14:05.") from error
        return found.replace(tzinfo=None) if found.tzinfo is None else found


def in_zone(form: HouseForm, name: str, zone: str) -> dt.datetime | None:
    """A typed time in its zone. One that the clocks left out is an error; of one that came twice the earlier counts."""
    typed: dt.datetime | None = form.cleaned_data.get(name)
    if typed is None or typed.tzinfo is not None:
        return typed
    there = ZoneInfo(zone)
    moment = typed.replace(tzinfo=there)
    if moment.astimezone(dt.UTC).astimezone(there).replace(tzinfo=None) != typed:
        form.add_error(
            name,
            gettext("This time did not exist in %(zone)s: the clocks went forward. Give the time after it.")
            % {"zone": zone},
        )
        return None
    return moment


def typed(moment: dt.datetime | None, zone: str) -> str:
    """A moment as the control takes it, in the zone."""
    return "" if moment is None else f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M:%S}"


def known_zone(zone: str) -> str:
    """The zone, if it is that of a Member State; else none, so that nobody's days end at midnight of a server."""
    return zone if zone in {own for _name, own in ZONES.values()} else ""


def zone_choices(*others: str) -> list[tuple[str, str]]:
    """Member States with their zones, behind an empty choice."""
    named = {zone: f"{name} ({zone})" for name, zone in ZONES.values()}
    for zone in ("UTC", *others):
        named.setdefault(zone, zone)
    return [("", "Choose the Member State"), *named.items()]


def _tick(label: str, hint: str = "") -> forms.BooleanField:
    return forms.BooleanField(required=False, label=label, help_text=hint)


class IncidentForm(HouseForm):
    """Everything that is asked of an incident, in groups. Nothing here names a patient."""

    title = forms.CharField(
        max_length=200,
        label="In one line",
        help_text="Such as: Large pneumothorax not flagged, drained nine hours later.",
        error_messages={"required": "Say in one line what happened."},
    )
    description = forms.CharField(
        label="What happened",
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="What the system did, what people did, what followed for the patient. Never a name, a date of birth, "
        "a telephone number or the number of a patient or record: write a patient over 80, the radiologist on duty.",
        error_messages={"required": "Describe what happened."},
    )
    version = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        required=False,
        label="Version",
        empty_label="Not known yet",
        help_text="Which version ran. A report can be drafted when it is known.",
    )
    deployment = forms.ModelChoiceField(
        queryset=Deployment.objects.none(),
        required=False,
        label="Where it ran",
        empty_label="Not known, or not deployed by us",
        help_text="The deployment that was in use.",
    )
    site = forms.CharField(
        max_length=200, required=False, label="Site", help_text="Hospital or department, if no deployment is chosen."
    )
    affected_persons = forms.IntegerField(
        required=False, min_value=0, label="Number of people affected", help_text="Leave it empty if not known."
    )
    zone = forms.ChoiceField(
        label="Member State and time zone",
        help_text="Of the authority that takes the report. Days begin and end there, and all times here are its own.",
        error_messages={"required": "Choose the Member State: its midnight ends the days."},
    )
    occurred_at = LocalMoment(label="When it happened", help_text="Leave it empty if not known.")
    aware_at = LocalMoment(
        label="When the provider became aware",
        help_text="Who places the system on the market; for a device its manufacturer. As soon as one person knew.",
    )
    deployer_aware_at = LocalMoment(
        label="When the deployer became aware",
        help_text="The hospital that uses it. Under the AI Act the earlier of the two starts the clock.",
    )
    kinds = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="What it led to, directly or indirectly",
        help_text="A likely link is enough; certainty is not awaited. Choose nothing if it led to none of these.",
    )
    death = _tick("Somebody died", "Shortens 15 days to 10.")
    unanticipated_deterioration = _tick(
        "Somebody's health deteriorated seriously, and nobody had to expect it", "For a device: 10 days."
    )
    public_health_threat = _tick("It threatens public health", "For a device: 2 days. Such as many patients at once.")
    widespread = _tick(
        "Rights of many people in several places are infringed", "A widespread infringement: 2 days under the AI Act."
    )
    breach = _tick(
        "Personal data were lost, changed or seen by somebody who may not", "Also for an hour, also by error."
    )
    breach_risk = forms.ChoiceField(
        choices=Incident.BreachRisk.choices,
        initial=Incident.BreachRisk.RISK,
        label="Risk of the breach to the people concerned",
        help_text="Unlikely: no notice is owed. High: the people concerned are told as well.",
    )
    controller_aware_at = LocalMoment(
        label="When the controller became aware of the breach", help_text="72 hours run from here, to the second."
    )

    GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("The incident", "", ("title", "description")),
        ("Which version, and where", "", ("version", "deployment", "site", "affected_persons")),
        (
            "When",
            "The clocks run from awareness, not from the incident. At least one time of awareness is needed.",
            ("zone", "occurred_at", "aware_at", "deployer_aware_at"),
        ),
        (
            "How serious",
            "These answers decide to which authority it is reported, and how soon. A serious incident led, or may have "
            "led, to one of the four kinds below (AI Act Art. 3(49), MDR Art. 2(65)). If in doubt, choose it: it can "
            "be amended.",
            ("kinds", "death", "unanticipated_deterioration", "public_health_threat", "widespread"),
        ),
        ("Personal data", "Only if personal data were breached.", ("breach", "breach_risk", "controller_aware_at")),
    )

    def __init__(self, *args: Any, system: AISystem, zone: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.system = system
        choices: dict[str, Any] = self.fields  # type: ignore[assignment]
        choices["version"].queryset = ModelVersion.objects.filter(system=system).select_related("system")
        choices["deployment"].queryset = Deployment.objects.filter(version__system=system).select_related(
            "version__system"
        )
        choices["zone"].choices = zone_choices(*filter(None, (zone,)))
        choices["kinds"].choices = [(key, question("incident_kinds").option_text(key)) for key in KINDS]

    def groups(self) -> list[Group]:
        """The fields in their groups, as the page shows them."""
        return [
            Group(title=title, hint=hint, fields=tuple(self[name] for name in names if name in self.fields))
            for title, hint, names in self.GROUPS
        ]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        zone = values.get("zone")
        if zone:
            for name in MOMENTS:
                values[name] = in_zone(self, name, zone)
        values["kinds"] = tuple(values.get("kinds") or ())
        return values


class AmendForm(IncidentForm):
    """The facts again, and why they change."""

    reason = forms.CharField(
        label="Why the facts change",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="What was learned, and from where. It is kept in the history with the facts as they were.",
        error_messages={"required": "Say why the facts change."},
    )
    GROUPS = (*IncidentForm.GROUPS, ("Reason", "", ("reason",)))


def initial_of(report: IncidentReport) -> dict[str, Any]:
    """The facts as the form takes them."""
    given = report.values() | {"version": report.version, "deployment": report.deployment}
    return given | {name: typed(given[name], report.zone) for name in MOMENTS}


class ReportedForm(HouseForm):
    """That a report was sent."""

    at = LocalMoment(label="When it was sent", required=True, error_messages={"required": "Say when it was sent."})
    reference = forms.CharField(
        max_length=200,
        label="Reference",
        help_text="The authority's reference, or where the proof of sending is kept.",
        error_messages={"required": "Give the reference, or where the proof is kept."},
    )
    delay_reason = forms.CharField(
        required=False,
        label="Reason of the delay",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="If it was sent late. GDPR Art. 33(1) demands it.",
    )

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.fields["at"].help_text = gettext("By the clock of %(zone)s.") % {"zone": zone}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        values["at"] = in_zone(self, "at", self.zone)
        return values


class ReasonForm(HouseForm):
    reason = forms.CharField(
        label="Reason", widget=forms.Textarea(attrs={"rows": 3}), error_messages={"required": "Give the reason."}
    )


class NoteForm(HouseForm):
    text = forms.CharField(
        label="Note",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept with your name and never changed. No patient is named.",
        error_messages={"required": "Write the note."},
    )


class CloseForm(HouseForm):
    root_cause = forms.CharField(
        label="Root cause",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Why it happened: the system, its data, its use, its surroundings.",
        error_messages={"required": "State the root cause."},
    )
    correction = forms.CharField(
        label="Correction",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What was done, so that it does not happen again.",
        error_messages={"required": "State what was corrected."},
    )


class OwnerChoice(forms.ModelChoiceField):
    def label_from_instance(self, user: User) -> str:  # type: ignore[override]
        return f"{user} ({user.username})"


class AssignForm(HouseForm):
    owner = OwnerChoice(
        queryset=User.objects.none(),
        label="Owner",
        empty_label="Choose one",
        help_text="Is told first when a clock runs, and sees to the reports.",
        error_messages={"required": "Choose the owner."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = possible_owners()  # type: ignore[attr-defined]
