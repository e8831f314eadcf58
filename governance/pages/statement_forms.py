"""The form of a statement: one control for each required field, by its type, and the text.

What is typed becomes the JSON form of ``governance.rules.values`` and is checked field by field before the service is
asked, so that one page names everything that is wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils import timezone
from django.utils.translation import gettext

from core.errors import AuscultError
from core.pages.forms import HouseForm
from governance.requirements import Catalogue, RequiredField, Requirement
from governance.rules import table_columns
from governance.services.attachments import Attachment, seal, unseal, value_of
from governance.standing.field_values import LONGEST_TEXT, MOST_ROWS, check_field
from models_registry.models import ModelVersion

PREFIX = "v-"
SPARE_ROWS = 2
MORE_ROWS = 5
INLINE = 80
"""Letters that options in one line may have together."""
NOT_STATED = ("", "Not stated")
SIGNATURE = ("name", "role", "signed_on")
HINTS = {
    "person": "Name, and role where it matters.",
    "ref": "Name and version of a document or record.",
    "int": "A whole number.",
    "number": "A number, with a point before decimals.",
    "duration": "A number of days, weeks, months or years: 6 months.",
    "list": "One in each line.",
    "url": "With https:// or http:// at the front.",
    "file": "20 MB at most. It is kept by its SHA-256 and given out as a download only.",
}


class PartsWidget(forms.Widget):
    """Several inputs that make one value; the page lays them out. ``name-part`` names each."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.parts = parts
        super().__init__()

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> dict[str, str]:
        return {part: data.get(f"{name}-{part}", "").strip() for part in self.parts}


class TableWidget(PartsWidget):
    """Rows of inputs: ``name-3-part`` is in the fourth row; ``name-rows`` tells how many rows were sent."""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        sent = data.get(f"{name}-rows", "0")
        rows = min(int(sent), MOST_ROWS) if sent.isdecimal() and len(sent) < 9 else 0
        return [super(TableWidget, self).value_from_datadict(data, files, f"{name}-{row}") for row in range(rows)]


class FileWidget(forms.Widget):
    """Files that were kept before, as sealed tokens, without those that are ticked to be dropped."""

    needs_multipart_form = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        dropped = set(data.getlist(f"{name}-drop"))
        return [token for token in data.getlist(f"{name}-kept") if token not in dropped]


def _django_field(field: RequiredField, label: str, columns: tuple[str, ...]) -> forms.Field:
    kind, _brace, rest = field.type.partition("{")
    about: dict[str, Any] = {"label": label, "required": False, "help_text": HINTS.get(kind, "")}
    if kind == "enum":
        options = [(one, one.replace("_", " ")) for one in rest.rstrip("}").split("|")]
        widget = forms.RadioSelect if len(options) < 7 else forms.Select
        return forms.ChoiceField(choices=[*options, NOT_STATED], widget=widget, **about)
    if kind == "bool":
        return forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No"), NOT_STATED], widget=forms.RadioSelect, **about)
    if kind == "table":
        return forms.Field(widget=TableWidget(tuple(name.removesuffix("?") for name in columns)), **about)
    if kind == "signature":
        return forms.Field(widget=PartsWidget(SIGNATURE), **about)
    if kind == "file":
        return forms.Field(widget=FileWidget(), **about)
    if kind in ("text", "list"):
        return forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), **about)
    if kind == "datetime":
        about["help_text"] = gettext("In the time zone %(x)s.") % {"x": timezone.get_current_timezone_name()}
    html = {"date": "date", "datetime": "datetime-local", "url": "url"}.get(kind, "text")
    return forms.CharField(widget=forms.TextInput(attrs={"type": html}), **about)


def typed_value(kind: str, raw: Any) -> Any:
    """What was typed, in the JSON form of its kind; None for nothing. What does not fit is left for the check."""
    if kind == "table":
        return [row for row in raw or [] if any(row.values())] or None
    if kind == "signature":
        return {part: text for part, text in (raw or {}).items() if text} or None
    text = str(raw or "").strip()
    if not text:
        return None
    if kind == "list":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "bool":
        return {"yes": True, "no": False}.get(text, text)
    if kind in ("int", "number"):
        return _number(text)
    return _with_zone(text) if kind == "datetime" else text


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _with_zone(text: str) -> str:
    """A point in time with its offset: what a browser sends has none and is meant in the zone of the page."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).isoformat()


def shown_value(kind: str, value: Any) -> Any:
    """A value as its control takes it."""
    if value is None:
        return "" if kind not in ("table", "signature") else None
    if kind == "list" and isinstance(value, list):
        return "\n".join(map(str, value))
    if kind == "bool" and isinstance(value, bool):
        return "yes" if value else "no"
    if kind == "datetime":
        return _local(str(value))
    return value


def _local(text: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.strftime("%Y-%m-%dT%H:%M")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: its part of the name, and its label."""

    name: str
    label: str
    optional: bool


@dataclass(frozen=True, kw_only=True)
class Control:
    """A field on the page: how it is laid out, and what it holds."""

    name: str
    field: BoundField
    kind: str
    columns: tuple[Column, ...] = ()
    rows: tuple[dict[str, str], ...] = ()
    files: tuple[tuple[str, Attachment], ...] = ()
    held: Any = None

    @property
    def inline(self) -> bool:
        """Whether its options are few and short."""
        options = getattr(self.field.field, "choices", ())
        return bool(options) and sum(len(str(word)) + 6 for _key, word in options) < INLINE


class StatementForm(HouseForm):
    """What is stated about one requirement for one version; cleaned to the arguments of ``write_statement``.

    Args:
        received: Files that came with this request and are kept already, by field.
        refused: Why a file that came with it was not kept, by field.
    """

    text = forms.CharField(
        label="Statement in words",
        required=False,
        max_length=LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="What a reader needs besides the fields. It is printed as plain text, with your name and the day.",
    )

    def __init__(
        self,
        *args: Any,
        asked: Requirement,
        version: ModelVersion,
        catalogue: Catalogue,
        received: Mapping[str, list[Attachment]] | None = None,
        refused: Mapping[str, list[str]] | None = None,
        spare: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.asked, self.version, self.catalogue = asked, version, catalogue
        self.received, self.refused, self.spare = received or {}, refused or {}, spare or {}
        super().__init__(*args, **kwargs)
        text = self.fields.pop("text")
        for one in asked.required_fields:
            columns = table_columns(asked.id, one.name) if one.type == "table" else ()
            self.fields[PREFIX + one.name] = _django_field(one, catalogue.field_label(one.name), columns)
        self.fields["text"] = text

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for one in self.asked.required_fields:
            name = PREFIX + one.name
            for problem in self.refused.get(one.name, ()):
                self.add_error(name, problem)
            if name in self.errors:
                continue
            try:
                value = self._value(one, self.cleaned_data.get(name))
            except AuscultError as error:
                told = error.message.replace(f"The field '{one.name}'", self.catalogue.field_label(one.name))
                self.add_error(name, f"{told} {error.remedy}")
                continue
            if value is not None:
                fields[one.name] = value
        return {"fields": fields, "text": self.cleaned_data.get("text", "")}

    def _value(self, one: RequiredField, raw: Any) -> Any:
        kind = one.type.partition("{")[0]
        value = value_of(self.kept_files(one.name, raw or [])) if kind == "file" else typed_value(kind, raw)
        columns = table_columns(self.asked.id, one.name) if kind == "table" else ()
        return None if value is None else check_field(one, value, columns=columns)

    def kept_files(self, name: str, tokens: list[str]) -> list[Attachment]:
        """The files of a field: those that the form carried, and those that came with this request."""
        carried = [unseal(token, version=self.version, requirement=self.asked.id) for token in tokens]
        return list(dict.fromkeys([file for file in carried if file is not None] + self.received.get(name, [])))

    def sealed(self, file: Attachment) -> str:
        return seal(file, version=self.version, requirement=self.asked.id)

    def as_typed(self) -> dict[str, Any]:
        """What was sent, as the beginning of a form that nobody has checked yet."""
        return {
            name: field.widget.value_from_datadict(self.data, self.files, name) for name, field in self.fields.items()
        }

    def controls(self, held: Mapping[str, Any]) -> list[Control]:
        """Every required field as the page lays it out. ``held`` is what the platform fills by itself."""
        return [self._control(one, held.get(one.name)) for one in self.asked.required_fields]

    def _control(self, one: RequiredField, held: Any) -> Control:
        field, kind = self[PREFIX + one.name], one.type.partition("{")[0]
        if kind == "table":
            names = table_columns(self.asked.id, one.name)
            columns = tuple(
                Column(name=name.removesuffix("?"), label=_words(name), optional=name.endswith("?")) for name in names
            )
            filled = [row for row in field.value() or [] if isinstance(row, dict) and any(row.values())]
            empty: list[dict[str, str]] = [{}] * self.spare.get(one.name, SPARE_ROWS)
            return Control(
                name=one.name, field=field, kind=kind, columns=columns, rows=(*filled, *empty)[:MOST_ROWS], held=held
            )
        if kind == "file":
            files = tuple((self.sealed(file), file) for file in self.kept_files(one.name, field.value() or []))
            return Control(name=one.name, field=field, kind=kind, files=files, held=held)
        return Control(name=one.name, field=field, kind=kind, held=held)


def _words(column: str) -> str:
    text = column.removesuffix("?").replace("_", " ")
    return text[:1].upper() + text[1:]
