"""The order of a generator, in steps: from whom it learns, how they are protected, what is learnt, and how."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext

from core.errors import AuscultError
from core.pages.steps import Step, StepForm
from synthetic import selectors
from synthetic.generators.parts import PARTS, HoldsPrivacy
from synthetic.generators.private.domain import missing_domain
from synthetic.generators.settings import PLAIN, PRIVATE, ROLES, GeneratorSettings, Privacy
from synthetic.selectors_spending import spending_of

EFFORTS = {"0.05": "A try: minutes, and poor patients", "0.5": "Half", "1.0": "Full", "2.0": "Twice, for large cohorts"}
ROLE_WORDS = {
    "tables": "Rows: who comes, when, and with what",
    "series": "Series of values over time",
    "critic": "Critic, which refuses images that do not show their plan",
    "image": "Images",
    "report": "Texts",
}
NONE = "none"
WITHOUT, DIFFERENTIAL = "without", "differential"
PROTECTIONS = {
    WITHOUT: "None beyond leaving rare values out; attacks are tried on what was learnt",
    DIFFERENTIAL: "Differential privacy: a bound on what anybody can tell of one patient, paid for in likeness",
}
EXAMPLE = """{"findings": ["effusion", "pneumothorax"],
 "attributes": {"sex": ["F", "M"], "age": [0, 100, 10]},
 "series": {"crp": [0, 400]}, "texts": ["reference"], "image": true}"""


class CohortField(forms.ModelChoiceField):
    def label_from_instance(self, version: Any) -> str:
        return gettext("%(version)s: %(n_studies)s studies of %(n_patients)s patients") % {
            "version": version,
            "n_studies": f"{version.n_studies:,}",
            "n_patients": f"{version.n_patients:,}",
        }


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


class ProtectionForm(StepForm):
    """Whether what is learnt holds differential privacy, and what is public then."""

    protection = forms.ChoiceField(label="Protection", choices=PROTECTIONS.items(), initial=WITHOUT, required=False)
    epsilon = forms.FloatField(
        label="Epsilon, over all parts together", required=False, initial=4.0,
        help_text="With differential privacy only: the smaller, the less anybody can tell of a patient. .1 to 100.",
    )  # fmt: skip
    delta = forms.FloatField(
        label="Delta", required=False, initial=1e-6,
        help_text="With differential privacy only: below one over the number of patients.",
    )  # fmt: skip
    domain = forms.CharField(
        label="What is public", required=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "code", "spellcheck": "false", "placeholder": EXAMPLE}),
        help_text="With differential privacy only, as JSON: findings, categories, bounds, bins of general knowledge, "
        "never read off the patients. What it does not name is not learnt.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cohort = self.earlier.get("cohort")
        if cohort is None:
            return
        proposal, domain = selectors.proposed_domain(cohort), self.fields["domain"]
        domain.initial = json.dumps(proposal.body, indent=1)
        if proposal.unknown:
            left = ", ".join(proposal.unknown)
            domain.help_text = gettext(
                "%(help_text)s This proposal knows names of columns alone, and nothing of: %(left)s."
            ) % {"help_text": domain.help_text, "left": left}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = self.cleaned_data
        given["privacy"] = None
        if given.get("protection") != DIFFERENTIAL or self.errors:
            return given
        try:
            body = {name: given[name] for name in ("epsilon", "delta")} | {"domain": _read(given["domain"])}
            given["privacy"] = Privacy.from_dict(body).to_dict()
        except AuscultError as error:
            field = str(error.column or "").removeprefix("privacy.").split(".")[0]
            self.add_error(field if field in self.fields else "domain", f"{error.message} {error.remedy}")
        return given

    def lines(self) -> list[tuple[str, str]]:
        privacy = self.cleaned_data["privacy"]
        if privacy is None:
            return [("Protection", PROTECTIONS[WITHOUT]), *self._before()]
        told = [("Protection", PROTECTIONS[DIFFERENTIAL]), ("Epsilon", f"{privacy['epsilon']:g}")]
        told += [("Delta", f"{privacy['delta']:g}"), *self._before()]
        return [*told, ("What is public", self.cleaned_data["domain"])]

    def _before(self) -> list[tuple[str, str]]:
        """What was learnt from the cohort before: this training adds to it."""
        cohort = self.earlier.get("cohort")
        told = spending_of(cohort).told() if cohort is not None else ""
        return [("Learnt from this cohort before", told)] if told else []


def _read(text: str) -> Any:
    """JSON, or an error that says where it ends to be any."""
    if not text.strip():
        raise missing_domain()
    try:
        return json.loads(text)
    except ValueError as error:
        raise AuscultError(
            f"What is public cannot be read as JSON: {error}.", remedy="Write it as in the example.", column="domain"
        ) from error


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
        self.private = self.earlier.get("privacy") is not None
        findings: Any = self.fields["findings"]
        findings.choices = [(name, name.replace("_", " ")) for name in plan["findings"]]
        if self.private or not plan["findings"]:  # with differential privacy, the domain names them
            del self.fields["findings"]
        for role in ROLES:
            self.fields[role] = self._part(role, plan["lacking"].get(role, ""))

    def _part(self, role: str, lacking: str) -> forms.ChoiceField:
        names = [] if lacking else installed(role, private=self.private)
        choices = [(name, name.replace("_", " ")) for name in names]
        choices += [] if role == "tables" and names else [(NONE, "Left out")]
        usual = self._usual(role)
        return forms.ChoiceField(
            label=ROLE_WORDS[role], choices=choices, required=False, help_text=lacking,
            initial=usual if usual in names else NONE,
        )  # fmt: skip

    def _usual(self, role: str) -> str:
        return (PRIVATE if self.private else PLAIN).get(role, NONE)

    def parts(self) -> dict[str, str]:
        """Role -> name of the part; what was not said is as it comes."""
        told = {role: self.cleaned_data.get(role) or self._usual(role) for role in ROLES}
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
    Step(title="Protection", form=ProtectionForm),
    Step(title="What is learnt", form=PartsForm),
    Step(title="How", form=HowForm),
)


def generator_settings(said: list[StepForm]) -> dict[str, Any]:
    """The settings that an order says, complete.

    Raises:
        AuscultError: one of them cannot be.
    """
    _, protection, parts, how = said
    assert isinstance(parts, PartsForm) and isinstance(how, HowForm)
    wanted = how.settings() | {"parts": parts.parts(), "findings": parts.cleaned_data.get("findings", [])}
    wanted["privacy"] = protection.cleaned_data["privacy"]
    return GeneratorSettings.from_dict(wanted).to_dict()


def installed(role: str, *, private: bool) -> list[str]:
    """Names of the parts that can play a role, with differential privacy or without; the usual one first."""
    usual = (PRIVATE if private else PLAIN).get(role)
    keys = [key for key in PARTS.keys() if key.startswith(f"{role}:")]  # noqa: SIM118
    names = [key.partition(":")[2] for key in keys if isinstance(PARTS.get(key), HoldsPrivacy) == private]
    return sorted(names, key=lambda name: (name != usual, name))
