"""The order of synthetic patients, in steps: by whom and how many, who, and with what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext

from core.pages.steps import Step, StepForm
from synthetic import selectors
from synthetic.generators.parts import LARGEST
from synthetic.generators.plans import NONE, PARTS, PRESENT

SINGLE_WORDS = tuple(word for words in PARTS.values() for word in words)
LINE = re.compile(r"\s*([\w.-]+)\s*(>=|<=|=)(?!=)\s*(\S.*?)\s*")


class ByWhomForm(StepForm):
    """Which generator makes how many."""

    version: Any = forms.ModelChoiceField(queryset=None, label="Generator", empty_label="Choose a generator")
    cohort_name = forms.CharField(label="Name of the cohort", max_length=200)
    patients = forms.IntegerField(label="Patients", min_value=1, max_value=1_000_000, initial=1000)
    seed = forms.IntegerField(
        min_value=0, max_value=2**32 - 1, initial=1, help_text="Equal orders with equal seeds make equal patients."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["version"].queryset = selectors.generators()


class WhoForm(StepForm):
    """Whom: a choice or bounds for each attribute that the generator learnt, and lines for what has no field."""

    people = forms.CharField(
        label="Further conditions", required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One condition a line: sex = F, or age >= 80. Empty for patients as they come.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.earlier.get("version")
        self.choices = selectors.attributes_of(version) if version else []
        made: dict[str, Any] = {}
        for item in self.choices:
            name = item["name"].replace("_", " ").capitalize()
            if item["values"]:
                told = [
                    (
                        value,
                        gettext("%(value)s (%(count)s of the studies learnt from)")
                        % {"value": value, "count": f"{count:,}"},
                    )
                    for value, count in item["values"]
                ]
                made[f"is_{item['name']}"] = forms.ChoiceField(label=name, choices=[("", "any"), *told], required=False)
                continue
            hint = gettext("What was learnt from lies between %(least)s and %(most)s.") % {
                "least": f"{item['least']:g}",
                "most": f"{item['most']:g}",
            }
            for bound, word in (("least", "at least"), ("most", "at most")):
                made[f"{bound}_{item['name']}"] = forms.FloatField(
                    label=f"{name} {word}", required=False, help_text=hint
                )
        self.fields = made | self.fields  # type: ignore[assignment]

    def clean_people(self) -> dict[str, dict[str, Any]]:
        version = self.earlier.get("version")
        numbers = selectors.number_columns(version) if version else frozenset()
        wish = self._chosen()
        for line, (name, sign, value) in _lines(self, "people", signs=("=", ">=", "<=")):
            kind = {"=": "attributes", ">=": "least", "<=": "most"}[sign]
            number = _number(value)
            if number is None and (sign != "=" or name in numbers):
                raise forms.ValidationError(f"Line {line}: '{value}' is no number. Write, for example, age >= 80.")
            if name in wish[kind]:
                raise forms.ValidationError(f"Line {line}: there is a condition of this kind on {name} already.")
            # What the cohort holds as text is asked for as text: 007 is no 7.
            wish[kind][name] = number if sign != "=" or name in numbers else value
        return wish

    def _chosen(self) -> dict[str, dict[str, Any]]:
        """What the fields say; they are cleaned before the lines."""
        wish: dict[str, dict[str, Any]] = {"attributes": {}, "least": {}, "most": {}}
        for item in self.choices:
            for prefix, kind in (("is", "attributes"), ("least", "least"), ("most", "most")):
                value = self.cleaned_data.get(f"{prefix}_{item['name']}")
                if value not in (None, ""):
                    wish[kind][item["name"]] = int(value) if isinstance(value, float) and value.is_integer() else value
        return wish

    def lines(self) -> list[tuple[str, str]]:
        return [("Each patient", said) for said in selectors.wish_in_words(self.cleaned_data["people"])]


class WithWhatForm(StepForm):
    """What at least one study of each patient has."""

    findings = forms.CharField(
        label="In other words", required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One finding a line: pneumothorax = present, or effusion = left small. Empty for any.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.earlier.get("version")
        self.choices = selectors.findings_of(version) if version else []
        words = [(PRESENT, "present, wherever"), (NONE, "absent"), *((word, word) for word in SINGLE_WORDS)]
        made: dict[str, Any] = {
            f"has_{name}": forms.ChoiceField(
                label=name.replace("_", " ").capitalize(), choices=[("", "any"), *words], required=False
            )
            for name in self.choices
        }
        self.fields = made | self.fields  # type: ignore[assignment]

    def clean_findings(self) -> dict[str, str]:
        found = {name: word for name in self.choices if (word := self.cleaned_data.get(f"has_{name}"))}
        for line, (name, _, value) in _lines(self, "findings", signs=("=",)):
            if name in found:
                raise forms.ValidationError(f"Line {line}: there is a line on {name} already. Write its words in one.")
            found[name] = value
        return found

    def lines(self) -> list[tuple[str, str]]:
        told = selectors.wish_in_words({"findings": self.cleaned_data["findings"]})
        return [("Each patient", said) for said in told]


PATIENTS_STEPS = (
    Step(title="How many, by whom", form=ByWhomForm),
    Step(title="Who", form=WhoForm),
    Step(title="With what", form=WithWhatForm),
)


def wish_of(answers: Mapping[str, Any]) -> dict[str, Any]:
    """The wish that an order says."""
    return {"patients": answers["patients"], "findings": answers["findings"]} | answers["people"]


def in_words(wish: Mapping[str, Any]) -> str:
    """Who will be made, in a sentence."""
    said = [gettext("%(patients)s patients") % {"patients": f"{wish['patients']:,}"}]
    said += [f"{name} {value}" for name, value in wish["attributes"].items()]
    said += [
        gettext("%(name)s at least %(value)s") % {"name": name, "value": value} for name, value in wish["least"].items()
    ]
    said += [
        gettext("%(name)s at most %(value)s") % {"name": name, "value": value} for name, value in wish["most"].items()
    ]
    having = [
        name.replace("_", " ") + ("" if word == PRESENT else f" ({word})") for name, word in wish["findings"].items()
    ]
    tail = (
        gettext(", each with at least one study with %(having)s") % {"having": " and ".join(having)} if having else ""
    )
    return f"{', '.join(said)}{tail}."


def _lines(form: StepForm, field: str, *, signs: tuple[str, ...]) -> list[tuple[int, tuple[str, str, str]]]:
    """Number and parts of each line that is not empty."""
    found = []
    for number, line in enumerate(form.cleaned_data[field].splitlines(), start=1):
        if not line.strip():
            continue
        parts = LINE.fullmatch(line)
        if parts is None or parts[2] not in signs:
            example = "sex = F" if field == "people" else "pneumothorax = present"
            raise forms.ValidationError(f"Line {number} cannot be read. Write it such as: {example}.")
        found.append((number, (parts[1], parts[2], parts[3])))
    return found


def _number(value: str) -> int | float | None:
    for kind in (int, float):
        try:
            found: int | float = kind(value)
        except ValueError:
            continue
        return found if abs(found) < LARGEST else None
    return None
