"""The order of a generator, in steps: from whom it learns, what, and how."""

from __future__ import annotations

from typing import Any

from django import forms

from core.pages.steps import Step, StepForm
from synthetic import selectors
from synthetic.generators.parts import PARTS
from synthetic.generators.settings import ROLES, GeneratorSettings

EFFORTS = {"0.05": "A try: minutes, and poor patients", "0.5": "Half", "1.0": "Full", "2.0": "Twice, for large cohorts"}
ROLE_WORDS = {
    "tables": "Rows: who comes, when, and with what",
    "series": "Series of values over time",
    "critic": "Critic, which refuses images that do not show their plan",
    "image": "Images",
    "report": "Texts",
}
NONE = "none"
DEFAULTS = dict(GeneratorSettings(seed=0).parts)


class CohortField(forms.ModelChoiceField):
    def label_from_instance(self, version: Any) -> str:
        return f"{version}: {version.n_studies:,} studies of {version.n_patients:,} patients"


class WhomForm(StepForm):
    """From whom is learnt, and as what the generator is registered."""

    cohort: Any = CohortField(
        queryset=None, empty_label="Choose a cohort", help_text="At least 200 patients. What it lacks is left out."
    )
    system: Any = forms.ModelChoiceField(
        queryset=None, label="Registered as", empty_label="Choose a system", help_text="An AI system of its own."
    )
    version_label = forms.CharField(label="Version", max_length=80, help_text="For example 1.0.0.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["cohort"].queryset = selectors.learnable_cohorts()
        fields["system"].queryset = selectors.systems_of_generators()


class PartsForm(StepForm):
    """What is learnt: the findings that plans tell, and who plays each part."""

    findings = forms.MultipleChoiceField(
        label="Findings of the plans", required=False, widget=forms.CheckboxSelectMultiple,
        help_text="With side, zone and size where the reports tell them. None ticked: all of them.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cohort = self.earlier.get("cohort")
        if cohort is None:
            return
        plan = selectors.plan_of(cohort)
        findings: Any = self.fields["findings"]
        findings.choices = [(name, name.replace("_", " ")) for name in plan["findings"]]
        if not plan["findings"]:
            del self.fields["findings"]
        for role in ROLES:
            if reason := plan["lacking"].get(role):
                self.fields[role] = forms.ChoiceField(
                    label=ROLE_WORDS[role], choices=[(NONE, "Left out")], required=False, initial=NONE, help_text=reason
                )
                continue
            choices = [(name, name.replace("_", " ")) for name in installed(role)]
            choices += [] if role == "tables" else [(NONE, "Left out")]
            self.fields[role] = forms.ChoiceField(
                label=ROLE_WORDS[role], choices=choices, required=False, initial=DEFAULTS.get(role, NONE)
            )

    def parts(self) -> dict[str, str]:
        """Role -> name of the part; what was not said is as it comes."""
        told = {role: self.cleaned_data.get(role) or DEFAULTS.get(role, NONE) for role in ROLES}
        return {role: name for role, name in told.items() if name != NONE}


class HowForm(StepForm):
    """How long is learnt, and what protects those who are learnt from."""

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

    def settings(self) -> dict[str, Any]:
        given = self.cleaned_data
        names = ("image_size", "rare_below", "canaries", "seed")
        return {name: given[name] for name in names} | {"effort": float(given["effort"])}


GENERATOR_STEPS = (
    Step(title="From whom", form=WhomForm),
    Step(title="What is learnt", form=PartsForm),
    Step(title="How", form=HowForm),
)


def generator_settings(said: list[StepForm]) -> dict[str, Any]:
    """The settings that an order says, complete.

    Raises:
        AuscultError: one of them cannot be.
    """
    _, parts, how = said
    assert isinstance(parts, PartsForm) and isinstance(how, HowForm)
    wanted = how.settings() | {"parts": parts.parts(), "findings": parts.cleaned_data.get("findings", [])}
    return GeneratorSettings.from_dict(wanted).to_dict()


def installed(role: str) -> list[str]:
    """Names of the parts that can play a role, the usual one first."""
    names = [key.partition(":")[2] for key in PARTS.keys() if key.startswith(f"{role}:")]  # noqa: SIM118
    return sorted(names, key=lambda name: (name != DEFAULTS.get(role), name))
