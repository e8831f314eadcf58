"""Conclusions that are one answer: which question, which values mean yes, and the sentences that tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext_lazy as _

from governance.conditions.reading import Reading, Rule, Text
from governance.conditions.truth import Term

PLAIN: dict[str, Rule] = {}


def _answered(key: str, question: str, *values: Any, yes: Text, no: Text, whether: Text) -> None:
    """Yes when the question is answered with one of the values; with yes, where none is named."""
    PLAIN[key] = Rule(term=_logic(question, *(values or (True,))), yes=yes, no=no, whether=whether)


def _logic(question: str, *values: Any) -> Callable[[Reading], Term]:
    return lambda reading: reading.fact(question, *values)


# ---- Roles

_answered(
    "deployer",
    "role",
    *("deployer", "both"),
    yes=_("Your organisation is a deployer"),
    no=_("Your organisation is not a deployer"),
    whether=_("whether your organisation is a deployer"),
)
_answered(
    "controller",
    "data_role",
    *("controller", "both"),
    yes=_("Your organisation is a controller"),
    no=_("Your organisation is not a controller"),
    whether=_("whether your organisation is a controller"),
)
_answered(
    "processor",
    "data_role",
    *("processor", "both"),
    yes=_("Your organisation is a processor"),
    no=_("Your organisation is not a processor"),
    whether=_("whether your organisation is a processor"),
)
_answered(
    "data_user",
    "ehds_user",
    yes=_("Your organisation uses health data under a permit"),
    no=_("Your organisation holds no permit to use health data"),
    whether=_("whether your organisation holds a permit to use health data"),
)
_answered(
    "covered_entity",
    "hipaa_entity",
    yes=_("Your organisation is a covered entity or a business associate of one"),
    no=_("Your organisation is no covered entity"),
    whether=_("whether your organisation is a covered entity"),
)
_answered(
    "third_country_provider",
    "provider_outside_union",
    yes=_("The provider is established outside the Union"),
    no=_("Your organisation is no provider established outside the Union"),
    whether=_("whether the provider is established outside the Union"),
)
_answered(
    "public_deployer",
    "public_authority",
    yes=_("The deployer is a public authority or acts for one"),
    no=_("Your organisation is no deployer that is a public authority or acts for one"),
    whether=_("whether the deployer is a public authority"),
)
_answered(
    "workplace",
    "workplace",
    yes=_("Staff of the deployer are subject to the system at work"),
    no=_("No staff of a deployer are subject to the system at work"),
    whether=_("whether staff are subject to the system at work"),
)

# ---- Product

_answered(
    "mdr_device",
    "device_law",
    "mdr",
    yes=_("It is a medical device under MDR"),
    no=_("It is no medical device under MDR"),
    whether=_("whether it is a medical device under MDR"),
)
_answered(
    "annex_i_device",
    "device_law",
    *("mdr", "ivdr"),
    yes=_("It is a device under MDR or IVDR"),
    no=_("It is no device under MDR or IVDR"),
    whether=_("whether it is a device under MDR or IVDR"),
)
_answered(
    "nb_involved",
    "notified_body",
    yes=_("A notified body took part in the conformity assessment"),
    no=_("No notified body took part in the conformity assessment"),
    whether=_("whether a notified body took part in the conformity assessment"),
)

# ---- How it is made, and what people see of it

_answered(
    "trains_on_data",
    "trains_on_data",
    yes=_("A model in it was trained with data"),
    no=_("No model in it was trained with data"),
    whether=_("whether a model in it was trained with data"),
)
_answered(
    "learns_after_market",
    "learns_after_market",
    yes=_("It keeps learning after release"),
    no=_("It does not learn after release"),
    whether=_("whether it keeps learning after release"),
)
_answered(
    "predetermined_changes",
    "predetermined_changes",
    yes=_("Future changes were fixed at the first assessment"),
    no=_("No future changes were fixed at the first assessment"),
    whether=_("whether future changes were fixed at the first assessment"),
)
_answered(
    "uses_third_party_model",
    "third_party_model",
    yes=_("A model or component of another supplier is integrated"),
    no=_("No model or component of another supplier is integrated"),
    whether=_("whether a model of another supplier is integrated"),
)
_answered(
    "gpai_systemic",
    "gpai_systemic",
    yes=_("The general-purpose AI model is classified as one with systemic risk"),
    no=_("Your organisation provides no general-purpose AI model with systemic risk"),
    whether=_("whether the general-purpose AI model has systemic risk"),
)
_answered(
    "direct_interaction",
    "direct_interaction",
    yes=_("It interacts with people directly"),
    no=_("It does not interact with people directly"),
    whether=_("whether it interacts with people directly"),
)
_answered(
    "generates_content",
    "generated_content",
    *("text", "image", "audio", "video"),
    yes=_("It puts out synthetic content"),
    no=_("It puts out no synthetic content"),
    whether=_("whether it puts out synthetic content"),
)

# ---- Data

_answered(
    "personal_data",
    "personal_data",
    yes=_("Personal data are processed"),
    no=_("No personal data are processed"),
    whether=_("whether personal data are processed"),
)
_answered(
    "special_category",
    "special_categories",
    *("health", "genetic", "biometric", "other"),
    yes=_("Special categories of personal data are processed"),
    no=_("No special categories of personal data are processed"),
    whether=_("whether special categories of personal data are processed"),
)
_answered(
    "bias_special_data",
    "bias_special_data",
    yes=_("Special categories of data are used against bias"),
    no=_("No special categories of data are used against bias"),
    whether=_("whether special categories of data are used against bias"),
)
_answered(
    "reuse_of_data",
    "reuse_of_data",
    yes=_("Personal data were first collected for another purpose"),
    no=_("No personal data were first collected for another purpose"),
    whether=_("whether personal data were first collected for another purpose"),
)
_answered(
    "synthetic_data",
    "synthetic_data",
    yes=_("Synthetic data are produced or used"),
    no=_("No synthetic data are produced or used"),
    whether=_("whether synthetic data are produced or used"),
)
_answered(
    "high_residual_risk",
    "high_residual_risk",
    yes=_("The risk to people stays high after the measures"),
    no=_("No high risk to people stays after the measures"),
    whether=_("whether the risk to people stays high after the measures"),
)
_answered(
    "ehds_data",
    "ehds_data",
    yes=_("Data come from a health data access body"),
    no=_("No data come from a health data access body"),
    whether=_("whether data come from a health data access body"),
)
_answered(
    "us_data",
    "us_data",
    yes=_("Protected health information of the United States is among the data"),
    no=_("No protected health information of the United States is among the data"),
    whether=_("whether protected health information of the United States is among the data"),
)

# ---- Events

_answered(
    "breach",
    "breach",
    yes=_("A personal-data breach has occurred"),
    no=_("No personal-data breach has occurred"),
    whether=_("whether a personal-data breach has occurred"),
)
_answered(
    "incident",
    "incident",
    yes=_("A possible serious incident has occurred"),
    no=_("No possible serious incident has occurred"),
    whether=_("whether a serious incident has occurred"),
)
_answered(
    "health_incident",
    "incident_kinds",
    "a_health",
    yes=_("The incident led to death or serious harm to health"),
    no=_("No incident led to death or serious harm to health"),
    whether=_("whether an incident led to death or serious harm to health"),
)
