"""The forms of the risk register: each has the fields of the service that it calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext

from core.models import User
from core.pages.forms import HouseForm
from core.pages.signing import SigningForm
from evaluation.models import AuditRun
from governance.models import Control, RiskRating
from governance.requirements import load_requirements
from governance.services.risks import MOST_TITLE, RiskReport, latest_acceptance_end
from governance.standing.risk_rows import KINDS, risk_title
from models_registry.models import AISystem

CHOOSE = ("", "Choose one")


def _day(**attrs: str) -> forms.DateInput:
    return forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", **attrs})


def _text(rows: int = 3) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows})


def kind_choices() -> list[tuple[str, str]]:
    return [(key, risk_title(key)) for key in KINDS]


class PeopleForm(HouseForm):
    """A form that names a person; who can be named is read once for a page that shows several."""

    owner = forms.ChoiceField(label="Owner", error_messages={"required": "Choose who owns it."})

    def name_people(self, people: Mapping[str, User], *, none: str = "Choose one") -> PeopleForm:
        self.people = people
        told = [(key, f"{user} ({user.username})") for key, user in people.items()]
        self.fields["owner"].choices = [("", none), *told]  # type: ignore[attr-defined]
        return self

    def clean_owner(self) -> User | None:
        return self.people.get(self.cleaned_data["owner"])


class RiskForm(PeopleForm):
    """A new risk, in the terms of ISO 14971."""

    system = forms.ModelChoiceField(
        queryset=AISystem.objects.none(),
        to_field_name="slug",
        empty_label="Choose one",
        error_messages={"required": "Choose the system."},
    )
    title = forms.CharField(max_length=MOST_TITLE, help_text="What can go wrong, in a few words.")
    kind = forms.ChoiceField(
        choices=lambda: [CHOOSE, *kind_choices()],
        help_text="The data protection impact assessment has a row for each of the first seven.",
        error_messages={"required": "Choose what it is about."},
    )
    hazard = forms.CharField(widget=_text(), help_text="The source of harm.")
    cause = forms.CharField(widget=_text(), help_text="The sequence of events that leads to a hazardous situation.")
    harm = forms.CharField(widget=_text(), help_text="What happens to whom. Never name a patient.")
    field_order = ("system", "title", "kind", "hazard", "cause", "harm", "owner")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["system"].queryset = AISystem.objects.all()  # type: ignore[attr-defined]
        self.fields["owner"].required = False
        self.fields["owner"].help_text = "Who watches it. A chair names one later where none is chosen."

    def report(self) -> RiskReport:
        values = self.cleaned_data
        return RiskReport(**{name: values[name] for name in ("title", "kind", "hazard", "cause", "harm")})


class OwnerForm(PeopleForm):
    pass


class RateForm(HouseForm):
    stage = forms.ChoiceField(choices=RiskRating.Stage.choices, widget=forms.RadioSelect, label="Rated")
    severity = forms.TypedChoiceField(coerce=int, error_messages={"required": "Choose how severe it is."})
    likelihood = forms.TypedChoiceField(coerce=int, error_messages={"required": "Choose how likely it is."})
    reason = forms.CharField(
        label="Why so",
        widget=_text(),
        help_text="On which facts the rating rests. It stays in the history, and is never changed.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        matrix = load_requirements().risk_matrix
        for name, scale in (("severity", matrix.severity), ("likelihood", matrix.likelihood)):
            told = [(number, f"{number}: {words}") for number, words in scale.items()]
            self.fields[name].choices = [CHOOSE, *told]  # type: ignore[attr-defined]


class PlanForm(PeopleForm):
    kind = forms.ChoiceField(
        choices=[CHOOSE, *Control.Kind.choices],
        help_text="In the order of ISO 14971: a safer design before a protection, a protection before a warning. "
        "Information lowers how likely the harm is, not how severe.",
        error_messages={"required": "Choose what kind of control it is."},
    )
    text = forms.CharField(label="The control", widget=_text(), help_text="What will be done.")
    due_on = forms.DateField(label="Due on", widget=_day(), error_messages={"required": "Choose the day."})
    field_order = ("kind", "text", "owner", "due_on")


class ImplementForm(HouseForm):
    implementation = forms.CharField(
        label="What was implemented", widget=_text(), help_text="Where it can be seen: a version, a setting, a page."
    )
    implemented_on = forms.DateField(label="On", widget=_day(), error_messages={"required": "Choose the day."})


class VerifyForm(HouseForm):
    verification = forms.CharField(
        label="What you checked, and what you found", widget=_text(), help_text="Others must be able to repeat it."
    )
    run = forms.ChoiceField(
        label="Audit that shows it",
        required=False,
        help_text="An audit of this system on real patients that passed after the control was implemented.",
    )

    def offer_runs(self, runs: Iterable[AuditRun]) -> VerifyForm:
        self.runs = {str(run.pk): run for run in runs}
        told = [
            (
                key,
                gettext("Audit %(key)s of %(version)s, %(name)s")
                % {"key": key, "version": run.version, "name": run.protocol.name},
            )
            for key, run in self.runs.items()
        ]
        none = "None" if told else "None: no audit on real patients has passed"
        self.fields["run"].choices = [("", none), *told]  # type: ignore[attr-defined]
        return self

    def clean_run(self) -> AuditRun | None:
        return self.runs.get(self.cleaned_data["run"])


class ReasonForm(HouseForm):
    reason = forms.CharField(
        label="Why",
        widget=_text(),
        max_length=1_000,
        help_text="It is entered in the ledger word for word. Never name a patient.",
        error_messages={"required": "Give the reason."},
    )


class CloseForm(ReasonForm):
    hazard_gone = forms.BooleanField(label="The hazard no longer exists", required=False)


class AcceptForm(SigningForm):
    rationale = forms.CharField(
        label="Why it is acceptable", widget=_text(4), help_text="Why the benefit outweighs what remains of the risk."
    )
    expires_at = forms.DateField(
        label="Until the end of",
        widget=_day(),
        help_text="Two years at most. A new rating, a dropped control or a new finding ends it before.",
        error_messages={"required": "Choose the last day."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = timezone.now()
        last = timezone.localdate(latest_acceptance_end(now))
        bounds = {"min": timezone.localdate(now).isoformat(), "max": last.isoformat()}
        self.fields["expires_at"].widget.attrs.update(bounds)

    def clean_expires_at(self) -> datetime:
        day: date = self.cleaned_data["expires_at"]
        return timezone.make_aware(datetime.combine(day, time.max) - timedelta(microseconds=999_999))
