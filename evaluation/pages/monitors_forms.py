"""Forms of monitors. Times are typed as the clock of the monitor's zone shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from django import forms
from django.utils.translation import gettext

from core.access import holders_of
from core.errors import AuscultError
from core.kept import kept
from core.models import Role, User
from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest
from core.preferences import zones
from evaluation import selectors_monitors as selectors
from evaluation.models import Monitor, Protocol

F = TypeVar("F", bound=HouseForm)
T = TypeVar("T")
CRON_PARTS = 5
EVERY = {"minutes": 60, "hours": 3600, "days": 86400}
SOURCE_FIELDS: dict[str, dict[str, str]] = {
    "folder": {"path": "folder_path", "mapping": "mapping"},
    "table": {
        "url_env": "table_url_env", "table": "table_name", "time_column": "table_time_column", "mapping": "mapping",
    },
    "fhir": {
        "url_env": "fhir_url_env", "token_env": "fhir_token_env", "group": "fhir_group", "labels": "fhir_labels",
        "series": "fhir_series",
    },
    "api": {"mapping": "mapping"},
}  # fmt: skip
"""Kind of source -> its setting -> the field of the form."""
TOLD_LAST = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.AUDITOR)
"""Roles of whom alerts may escalate to."""
IN_YAML = ("mapping", "fhir_labels", "fhir_series")


class PauseForm(HouseForm):
    reason = forms.CharField(
        label="Reason",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        help_text="It is kept in the ledger. Name no patient.",
        error_messages={"required": "Give the reason."},
    )


def attempt_at_fields(form: HouseForm, act: Callable[..., T]) -> T | None:
    """Like :func:`core.pages.forms.attempt`; a refusal that names a field of the form is shown at that field."""
    if not form.is_valid():
        return None
    try:
        return act(**form.cleaned_data)
    except AuscultError as error:
        field = form.field_of(error.column) if isinstance(form, MonitorForm) else error.column
        if field in form.fields:
            form.add_error(field, f"{error.message} {error.remedy}".strip())
        else:
            form.refusal = error
        return None


def one_of(form: type[F], name: str, request: HouseRequest, **made: Any) -> F:
    """A form among several of one page: bound if it is the one that was sent."""
    sent = request.method == "POST" and request.POST.get("act") == name
    return form(request.POST, prefix=name, **made) if sent else form(prefix=name, **made)


class DeploymentChoice(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> str:
        return (gettext("%(version)s at %(site)s") % {"version": row.version, "site": row.site}) + (
            f", {row.unit}" if row.unit else ""
        )


class PersonChoice(forms.ModelChoiceField):
    def label_from_instance(self, user: User) -> str:  # type: ignore[override]
        return f"{user} ({user.username})"


class CohortChoice(forms.ModelChoiceField):
    def label_from_instance(self, row: Any) -> str:
        return gettext("%(name)s (%(digest8)s), %(n_studies)s studies") % {
            "name": row.cohort.name,
            "digest8": row.digest[:8],
            "n_studies": f"{row.n_studies:,}",
        }


def _text(label: str, hint: str = "", **given: Any) -> forms.CharField:
    return forms.CharField(label=label, help_text=hint, required=given.pop("required", False), **given)


def _yaml(label: str, hint: str) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false"})
    return forms.CharField(label=label, help_text=hint, required=False, widget=widget)


class MonitorForm(HouseForm):
    """Everything that makes a monitor, in the order in which one decides it."""

    deployment = DeploymentChoice(queryset=None, label="Deployment", empty_label="Choose a deployment")
    name = forms.CharField(
        label="Name", max_length=120, help_text="Such as: Weekly watch. Once for each deployment that is watched."
    )
    protocol: Any = forms.ModelChoiceField(
        queryset=None,
        empty_label="Choose a protocol",
        help_text="An approved one with a section on drift: what is watched, the margins, how rare a false alarm is.",
    )
    reference_cohort = CohortChoice(
        queryset=None,
        label="Reference cohort",
        empty_label="Choose a cohort",
        help_text="What windows are compared with. Best are patients of this very site, from when all was well.",
    )
    source_kind = forms.ChoiceField(
        label="Where new studies come from", choices=Monitor.Source.choices, widget=forms.RadioSelect, initial="folder"
    )
    folder_path = _text("Folder on the server", "Below one of the folders that this installation may read.")
    folder_marks = forms.BooleanField(
        required=False, label="A file counts only when an empty file of the same name and .done lies beside it"
    )
    table_url_env = _text(
        "Environment variable with the address of the database",
        "Its name, which begins with AUSCULT_SOURCE_. The address holds a password, so it is not typed here.",
    )
    table_name = _text("Table or view", "Only read. Such as radiology.studies.")
    table_time_column = _text("Column with the time of the study")
    fhir_url_env = _text(
        "Environment variable with the address of the FHIR server", "Its name, which begins with AUSCULT_SOURCE_."
    )
    fhir_token_env = _text("Environment variable with the access token", "Empty, if the server asks for none.")
    fhir_group = _text("Group", "The id of the group of patients to be exported; empty for all.")
    fhir_labels = _yaml("Findings", "Label: codes. Such as: effusion: ['http://snomed.info/sct|60046008']")
    fhir_series = _yaml("Lab values", "Series: codes and unit. Such as: crp: {codes: ['http://loinc.org|1988-5']}")
    mapping = _yaml(
        "Mapping of columns", "As for cohorts, in YAML. Such as: columns: {Accession: study_id}. Empty if names fit."
    )
    window_size = forms.IntegerField(label="Length of a window", min_value=1, max_value=1_000_000, initial=1)
    window_unit = forms.ChoiceField(label="Unit of the length", choices=Monitor.Unit.choices, initial="week")
    zone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name.replace("_", " ")) for name in zones()],
        help_text="Days, weeks and months begin and end there, over changes of the clock, too.",
    )
    first_opens_at = forms.CharField(
        label="First window opens",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="By the clock of that zone. It may lie in the past: windows since then are judged one by one.",
        error_messages={"required": "Say when the first window opens."},
    )
    grace_hours = forms.IntegerField(
        label="Hours to wait for late data",
        min_value=0,
        max_value=24 * 90,
        initial=0,
        help_text="After a window closes. Labels that come days later need days here.",
    )
    rhythm = forms.ChoiceField(
        label="When it looks",
        choices=(("crontab", "At set times"), ("interval", "Again and again after a pause")),
        widget=forms.RadioSelect,
        initial="crontab",
    )
    crontab = _text(
        "Set times", "Minute, hour, day of the month, month, day of the week. 0 6 * * 1 is Mondays at 06:00.",
        initial="0 6 * * 1",
    )  # fmt: skip
    every = forms.IntegerField(label="Every", min_value=1, required=False, initial=6)
    every_unit = forms.ChoiceField(
        label="Unit of the pause", choices=[(name, name.capitalize()) for name in EVERY], initial="hours"
    )
    owner = PersonChoice(
        queryset=None,
        empty_label="Choose an auditor",
        help_text="Is told of every alert, and requests the audits of the windows: an auditor who did not submit the "
        "version and did not approve the protocol.",
    )
    escalate_to = PersonChoice(
        queryset=None, label="Who is told when nobody reacts", required=False, empty_label="The committee chairs alone"
    )
    escalate_after_hours = forms.IntegerField(label="After how many hours", min_value=1, max_value=24 * 30, initial=24)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["deployment"].queryset = selectors.watchable_deployments()
        usable = [row.pk for row in selectors.watching_protocols()]
        fields["protocol"].queryset = Protocol.objects.filter(pk__in=usable).defer("source", "body")
        fields["reference_cohort"].queryset = selectors.reference_cohorts()
        _offer_people(fields["owner"], Role.AUDITOR)
        _offer_people(fields["escalate_to"], *TOLD_LAST)

    def clean(self) -> dict[str, Any]:
        """What the service takes; each thing that is wrong stands at its field."""
        given = dict(super().clean() or self.cleaned_data)
        for name in IN_YAML:
            given[name] = self._yaml(name)
        made = {name: given.get(name) for name in PLAIN}
        made["first_opens_at"] = self._moment(given.get("first_opens_at", ""), given.get("zone", ""))
        made["source"] = self._source(given)
        made |= self._rhythm(given)
        return made

    def _yaml(self, name: str) -> Any:
        text = str(self.cleaned_data.get(name) or "").strip()
        if not text:
            return None
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            found = None
        if not isinstance(found, dict):
            self.add_error(
                name,
                gettext("%(label)s: this is no YAML with a name in each line.") % {"label": self.fields[name].label},
            )
            return None
        return found

    def _moment(self, text: str, zone: str) -> dt.datetime | None:
        if not text or not zone:
            return None
        try:
            found = dt.datetime.fromisoformat(text)
        except ValueError:
            self.add_error("first_opens_at", "Give the day and the time, such as 22 Nov 2026 and 00:00.")
            return None
        there = ZoneInfo(zone)
        moment = found.replace(tzinfo=there) if found.tzinfo is None else found
        if moment.astimezone(dt.UTC).astimezone(there).replace(tzinfo=None) != moment.replace(tzinfo=None):
            self.add_error(
                "first_opens_at",
                gettext("This time did not exist in %(zone)s: the clocks went forward.") % {"zone": zone},
            )
            return None
        return moment

    def _source(self, given: dict[str, Any]) -> dict[str, Any]:
        """The settings of the chosen kind alone; what is empty is left out."""
        kind = given.get("source_kind", "")
        settings = {name: given.get(field) for name, field in SOURCE_FIELDS.get(kind, {}).items()}
        found = {name: value for name, value in settings.items() if value}
        if kind == Monitor.Source.FOLDER and given.get("folder_marks"):
            found["marks"] = True
        return found

    def _rhythm(self, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("rhythm") == "interval":
            if not given.get("every"):
                self.add_error("every", "Say how long the pause is.")
            return {"crontab": "", "every_seconds": (given.get("every") or 1) * EVERY[given.get("every_unit", "hours")]}
        crontab = " ".join(str(given.get("crontab") or "").split())
        if len(crontab.split()) != CRON_PARTS:
            self.add_error("crontab", "Set times are five parts: minute, hour, day of the month, month, weekday.")
        return {"crontab": crontab, "every_seconds": None}

    def field_of(self, column: str | None) -> str:
        """The field that a setting was typed in; "" for what is none of the form's."""
        settings = SOURCE_FIELDS.get(self.data.get("source_kind", ""), {}) | {"every_seconds": "every"}
        return settings.get(column or "", column or "")


class HandOverForm(HouseForm):
    """Whose the monitor is from now on. Whom it has stands in it at first, where that person may still be chosen."""

    owner = PersonChoice(
        queryset=None,
        label="New owner",
        empty_label="Choose an auditor",
        help_text="Requests the audits of the windows from now on: an auditor who did not submit the version and did "
        "not approve the protocol.",
    )
    escalate_to = PersonChoice(
        queryset=None, label="Who is told when nobody reacts", required=False, empty_label="The committee chairs alone"
    )
    reason = forms.CharField(
        label="Reason",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        help_text="Its digest is kept in the ledger. Name no patient.",
        error_messages={"required": "Give the reason."},
    )

    def __init__(self, *args: Any, monitor: Monitor, **kwargs: Any) -> None:
        begun = {"owner": monitor.owner_id, "escalate_to": monitor.escalate_to_id}
        super().__init__(*args, initial=begun, **kwargs)
        fields: dict[str, Any] = self.fields
        _offer_people(fields["owner"], Role.AUDITOR)
        _offer_people(fields["escalate_to"], *TOLD_LAST)


PLAIN = (
    "deployment", "name", "protocol", "reference_cohort", "source_kind", "window_unit", "window_size", "zone",
    "grace_hours", "owner", "escalate_to", "escalate_after_hours",
)  # fmt: skip
"""Fields that the service takes as they are."""


def _offer_people(field: PersonChoice, *roles: Role) -> None:
    """Accounts with one of the roles, as options."""
    people = holders_of(*roles).order_by("first_name", "username")
    field.queryset = people

    def shown() -> list[tuple[str, str]]:
        return [(str(person.pk), field.label_from_instance(person)) for person in people]

    field.choices = [("", field.empty_label), *kept("people", *roles, make=shown)]
