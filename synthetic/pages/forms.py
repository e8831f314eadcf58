"""Forms that order generators and their patients."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from core.digests import sha256_json
from core.errors import AuscultError
from core.pages.forms import HouseForm
from synthetic import selectors
from synthetic.generators.parts import LARGEST
from synthetic.generators.settings import GeneratorSettings

EFFORTS = {"0.05": "A try: minutes, and poor patients", "0.5": "Half", "1.0": "Full", "2.0": "Twice, for large cohorts"}
LINE = re.compile(r"\s*([\w.-]+)\s*(>=|<=|=)(?!=)\s*(\S.*?)\s*")


class CohortField(forms.ModelChoiceField):
    def label_from_instance(self, version: Any) -> str:
        return f"{version}: {version.n_studies:,} studies of {version.n_patients:,} patients"


class GeneratorForm(HouseForm):
    """What is learnt, from whom, and how."""

    cohort: Any = CohortField(
        queryset=None, empty_label="Choose a cohort", help_text="At least 200 patients. What it lacks is left out."
    )
    system: Any = forms.ModelChoiceField(
        queryset=None, label="Registered as", empty_label="Choose a system", help_text="An AI system of its own."
    )
    version_label = forms.CharField(label="Version", max_length=80, help_text="For example 1.0.0.")
    effort = forms.ChoiceField(label="Training", choices=EFFORTS.items(), initial="1.0")
    image_size = forms.TypedChoiceField(
        label="Images", choices=[(size, f"{size} x {size} pixels") for size in (32, 64, 96, 128)], coerce=int,
        initial=64,
    )  # fmt: skip
    rare_below = forms.IntegerField(
        label="Values and words that fewer patients have are not learnt", min_value=2, max_value=1000, initial=11
    )
    canaries = forms.IntegerField(
        label="Planted texts", min_value=0, max_value=1000, initial=100,
        help_text="Invented texts that are learnt beside the reports, for the audit to look for.",
    )  # fmt: skip
    seed = forms.IntegerField(min_value=0, max_value=2**32 - 1, initial=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["cohort"].queryset = selectors.learnable_cohorts()
        fields["system"].queryset = selectors.systems_of_generators()

    def settings(self) -> dict[str, Any]:
        """The settings, complete.

        Raises:
            AuscultError: one of them cannot be.
        """
        given = self.cleaned_data
        names = ("image_size", "rare_below", "canaries", "seed")
        wanted = {name: given[name] for name in names} | {"effort": float(given["effort"])}
        return GeneratorSettings.from_dict(wanted).to_dict()


class PatientsForm(HouseForm):
    """How many patients, and whom."""

    version: Any = forms.ModelChoiceField(queryset=None, label="Generator", empty_label="Choose a generator")
    cohort_name = forms.CharField(label="Name of the cohort", max_length=200)
    patients = forms.IntegerField(label="Patients", min_value=1, max_value=1_000_000, initial=1000)
    people = forms.CharField(
        label="Each patient is", required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One condition a line: sex = F, or age >= 80. Empty for patients as they come.",
    )  # fmt: skip
    findings = forms.CharField(
        label="At least one study has", required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One finding a line: pneumothorax = present, or effusion = left small. Empty for any.",
    )  # fmt: skip
    seed = forms.IntegerField(
        min_value=0, max_value=2**32 - 1, initial=1, help_text="Equal orders with equal seeds make equal patients."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["version"].queryset = selectors.generators()

    def clean_people(self) -> dict[str, dict[str, Any]]:
        version = self.cleaned_data.get("version")
        numbers = selectors.number_columns(version) if version else frozenset()
        wish: dict[str, dict[str, Any]] = {"attributes": {}, "least": {}, "most": {}}
        for line, (name, sign, value) in self._lines("people", signs=("=", ">=", "<=")):
            kind = {"=": "attributes", ">=": "least", "<=": "most"}[sign]
            number = _number(value)
            if number is None and (sign != "=" or name in numbers):
                raise forms.ValidationError(f"Line {line}: '{value}' is no number. Write, for example, age >= 80.")
            if name in wish[kind]:
                raise forms.ValidationError(f"Line {line}: there is a condition of this kind on {name} already.")
            # What the cohort holds as text is asked for as text: 007 is no 7.
            wish[kind][name] = number if sign != "=" or name in numbers else value
        return wish

    def clean_findings(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line, (name, _, value) in self._lines("findings", signs=("=",)):
            if name in found:
                raise forms.ValidationError(f"Line {line}: there is a line on {name} already. Write its words in one.")
            found[name] = value
        return found

    def _lines(self, field: str, *, signs: tuple[str, ...]) -> list[tuple[int, tuple[str, str, str]]]:
        """Number and parts of each line that is not empty."""
        found = []
        for number, line in enumerate(self.cleaned_data[field].splitlines(), start=1):
            if not line.strip():
                continue
            parts = LINE.fullmatch(line)
            if parts is None or parts[2] not in signs:
                example = "sex = F" if field == "people" else "pneumothorax = present"
                raise forms.ValidationError(f"Line {number} cannot be read. Write it such as: {example}.")
            found.append((number, (parts[1], parts[2], parts[3])))
        return found

    def wish(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {"patients": given["patients"], "findings": given["findings"]} | given["people"]

    def in_words(self) -> str:
        """Who will be made, in a sentence."""
        given = self.cleaned_data
        people, said = given["people"], [f"{given['patients']:,} patients"]
        said += [f"{name} {value}" for name, value in people["attributes"].items()]
        said += [f"{name} at least {value}" for name, value in people["least"].items()]
        said += [f"{name} at most {value}" for name, value in people["most"].items()]
        having = [
            name.replace("_", " ") + ("" if word == "present" else f" ({word})")
            for name, word in given["findings"].items()
        ]
        tail = f", each with at least one study with {' and '.join(having)}" if having else ""
        return f"{', '.join(said)}{tail}."


def checked(form: HouseForm) -> str:
    """Digest of what was typed: what is sent has to be what was shown."""
    return sha256_json({name: form.data.get(name, "") for name in form.fields})


def attempt_at(form: HouseForm, act: Any) -> Any:
    """What ``act`` gives; None where it refuses, which the form then shows."""
    try:
        return act()
    except AuscultError as error:
        form.refusal = error
        return None


def _number(value: str) -> int | float | None:
    for kind in (int, float):
        try:
            found: int | float = kind(value)
        except ValueError:
            continue
        return found if abs(found) < LARGEST else None
    return None
