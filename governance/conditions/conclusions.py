"""The rules that draw conclusions from answers: one for every trigger and every duty bearer of the catalogue.

Each rule is its logic and its sentences. The law it follows is named in the question's source and in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.utils.translation import gettext_lazy as _

from governance.conditions.plain_conclusions import PLAIN
from governance.conditions.reading import ALWAYS, Reading, Rule, Text
from governance.conditions.truth import Term, all_of, any_of, at_least, negate

RULES: dict[str, Rule] = dict(PLAIN)
Logic = Callable[[Reading], Term]
CRITERIA = tuple(f"wp248_c{number}" for number in range(1, 10))
LEAST_CRITERIA = 2
NOT_POINT_2 = ("1a", "1b", "1c", "3", "4", "5a", "5b", "5c", "5d", "6", "7", "8")
POINTS = (*NOT_POINT_2, "2")
KINDS = ("a_health", "b_infrastructure", "c_fundamental_rights", "d_property_environment")


def _concludes(
    key: str,
    *,
    yes: Text,
    no: Text,
    whether: Text,
    by: Mapping[str, Text] | None = None,
    yes_by: Mapping[str, Text] | None = None,
) -> Callable[[Logic], Logic]:
    def add(logic: Logic) -> Logic:
        RULES[key] = Rule(term=logic, yes=yes, no=no, whether=whether, by=by or {}, yes_by=yes_by or {})
        return logic

    return add


# ---- Scope and roles


@_concludes(
    "always",
    yes=_("It applies without a condition"),
    no=_("It never applies"),
    whether=_("whether it applies"),
)
def _always(reading: Reading) -> Term:
    return ALWAYS


@_concludes(
    "union_scope",
    yes=_("The AI Act reaches what is placed on the market or used in the Union"),
    no=_("The AI Act does not reach what is neither placed on the market nor used in the Union"),
    whether=_("whether the AI Act reaches the system at all"),
    by={"research_only": _("The AI Act does not apply to what serves scientific research alone (Art. 2(6))")},
)
def _union_scope(reading: Reading) -> Term:
    return all_of(reading.fact("union_market", True), negate(reading.fact("research_only", True)))


@_concludes(
    "ai_act",
    yes=_("It is an AI system within the reach of the AI Act"),
    no=_("The AI Act does not reach what is neither placed on the market nor used in the Union"),
    whether=_("whether the AI Act applies to the system"),
    by={
        "ai_system": _("It is no AI system by Art. 3(1) of the AI Act"),
        "research_only": _("The AI Act does not apply to what serves scientific research alone (Art. 2(6))"),
    },
)
def _ai_act(reading: Reading) -> Term:
    return all_of(reading.fact("ai_system", True), reading.of("union_scope"))


@_concludes(
    "provider",
    yes=_("Your organisation is the provider"),
    no=_("Your organisation is not the provider"),
    whether=_("whether your organisation is the provider"),
)
def _provider(reading: Reading) -> Term:
    changes = ("rebranded", "substantial_modification", "purpose_changed")
    return any_of(reading.fact("role", "provider", "both"), reading.fact("art_25_changes", *changes))


@_concludes(
    "manufacturer",
    yes=_("Your organisation is the manufacturer of the device"),
    no=_("Your organisation is not the manufacturer of a device"),
    whether=_("whether your organisation is the manufacturer of the device"),
    by={
        "in_house": _("For a device made and used within one health institution the manufacturer's duties do not apply")
    },
)
def _manufacturer(reading: Reading) -> Term:
    return all_of(reading.fact("manufacturer", True), negate(reading.fact("in_house", True)))


# ---- High-risk by product law, Art. 6(1)


@_concludes(
    "hr_6_1_mdr",
    yes=_(
        "The device is high-risk by Art. 6(1): its class needs a notified body and its act stands in Annex I Section A"
    ),
    no=_("It is not high-risk as a device by Art. 6(1)"),
    whether=_("whether it is high-risk as a device by Art. 6(1)"),
    by={
        "device_law": _("It is no device, so it is not high-risk as a device by Art. 6(1)"),
        "class_i_notified_body": _("Its class needs no notified body, so it is not high-risk by Art. 6(1)"),
        "in_house": _(
            "No notified body assesses an in-house device, so it is not high-risk by Art. 6(1) (MDCG 2025-6)"
        ),
        "annex_i_section": _(
            "The act on devices stands in Annex I Section B, so Art. 2(2) leaves out the high-risk duties"
        ),
    },
)
def _hr_device(reading: Reading) -> Term:
    third_party = any_of(
        reading.fact("mdr_class", "IIa", "IIb", "III"),
        reading.fact("ivdr_class", "B", "C", "D"),
        reading.fact("class_i_notified_body", True),
    )
    device, section = reading.of("annex_i_device"), reading.fact("annex_i_section", "A")
    return all_of(device, third_party, negate(reading.fact("in_house", True)), section)


# ---- High-risk by use, Art. 6(2) and Annex III


@_concludes(
    "annex_iii_filtered",
    yes=_("The exemption of Art. 6(3) is claimed on one of its conditions, and nobody is profiled"),
    no=_("The exemption of Art. 6(3) is not claimed"),
    whether=_("whether the exemption of Art. 6(3) holds"),
    by={
        "annex_iii_points": _("The use falls under no point of Annex III, so there is nothing to exempt"),
        "art_6_3_condition": _("The exemption of Art. 6(3) fails: none of its conditions is met"),
        "profiling": _("The exemption of Art. 6(3) fails: profiling of people always defeats it"),
    },
)
def _filtered(reading: Reading) -> Term:
    return all_of(
        reading.fact("art_6_3_claimed", True),
        reading.fact("art_6_3_condition", "a", "b", "c", "d"),
        negate(reading.fact("profiling", True)),
    )


def _annex_iii(reading: Reading, *points: str) -> Term:
    use = reading.fact("annex_iii_points", *points)
    return all_of(use, negate(reading.of("annex_iii_filtered")), reading.of("ai_act"))


NOT_LISTED = _("The use falls under no point of Annex III")
EXEMPT = _("The use is listed in Annex III but exempt by Art. 6(3)")
NOT_REACHED = {
    "profiling": EXEMPT,
    "ai_system": _("It is no AI system, so Annex III does not concern it"),
    "union_market": _("The AI Act does not reach it, so Annex III does not concern it"),
    "research_only": _("The AI Act does not apply to what serves scientific research alone (Art. 2(6))"),
}


@_concludes(
    "annex_iii",
    yes=_("The use is high-risk by Art. 6(2): it falls under Annex III"),
    no=NOT_LISTED,
    whether=_("whether the use is high-risk by Annex III"),
    by=NOT_REACHED,
)
def _any_point(reading: Reading) -> Term:
    return _annex_iii(reading, *POINTS)


@_concludes(
    "annex_iii_not_2",
    yes=_("The use is high-risk by a point of Annex III other than 2"),
    no=_("The use falls under no point of Annex III other than 2"),
    whether=_("whether the use is high-risk by a point of Annex III other than 2"),
    by=NOT_REACHED,
)
def _not_point_2(reading: Reading) -> Term:
    return _annex_iii(reading, *NOT_POINT_2)


@_concludes(
    "annex_iii_1a",
    yes=_("It identifies people remotely by biometrics"),
    no=_("It does not identify people remotely by biometrics"),
    whether=_("whether it identifies people remotely by biometrics"),
    by=NOT_REACHED,
)
def _remote_identification(reading: Reading) -> Term:
    return _annex_iii(reading, "1a")


@_concludes(
    "fria_deployer",
    yes=_("A fundamental rights impact assessment is owed by Art. 27(1)"),
    no=_("No fundamental rights impact assessment is owed by Art. 27(1)"),
    whether=_("whether Art. 27(1) wants a fundamental rights impact assessment"),
    by={
        "annex_iii_points": _("Art. 27(1) concerns Annex III uses other than point 2, and this is none"),
        "deployer_kind": _("Art. 27(1) does not concern a private deployer without public services in this use"),
        "role": _("Art. 27(1) concerns deployers, and your organisation is none"),
        **NOT_REACHED,
    },
)
def _fria(reading: Reading) -> Term:
    public = reading.fact("deployer_kind", "public_law", "private_public_service")
    credit = all_of(reading.fact("annex_iii_points", "5b", "5c"), reading.of("deployer"))
    return all_of(reading.of("annex_iii_not_2"), any_of(credit, public))


@_concludes(
    "hr",
    yes=_("The system is high-risk by Art. 6(2)"),
    yes_by={
        "annex_i_section": _("The system is high-risk by Art. 6(1), as a device"),
        "other_product_law": _("The system is high-risk by Art. 6(1), as a product of another act of Annex I"),
    },
    no=_("The system is high-risk neither by Art. 6(1) nor by Art. 6(2)"),
    whether=_("whether the system is high-risk"),
    by={
        "ai_system": _("It is no AI system, so it is no high-risk one"),
        "union_market": _("The AI Act does not reach what is neither placed on the market nor used in the Union"),
        "research_only": _("The AI Act does not apply to what serves scientific research alone (Art. 2(6))"),
    },
)
def _high_risk(reading: Reading) -> Term:
    product = any_of(reading.of("hr_6_1_mdr"), reading.fact("other_product_law", True))
    return all_of(reading.of("ai_act"), any_of(product, reading.of("annex_iii")))


# ---- Incidents


@_concludes(
    "ai_act_incident",
    yes=_("The incident is to be reported under the AI Act"),
    no=_("No incident is to be reported under the AI Act"),
    whether=_("whether an incident is to be reported under the AI Act"),
    by={
        "device_law": _(
            "Of a device only infringements of fundamental rights are reported under the AI Act (Art. 73(10));"
            " harm goes through the vigilance of MDR Art. 87 or IVDR Art. 82"
        )
    },
)
def _reported_by_ai_act(reading: Reading) -> Term:
    rights = reading.fact("incident_kinds", "c_fundamental_rights")
    any_kind = reading.fact("incident_kinds", *KINDS)
    return all_of(any_kind, any_of(rights, negate(reading.of("annex_i_device"))))


@_concludes(
    "ai_act_death",
    yes=_("The incident harmed health, and its report runs under the AI Act"),
    no=_("No harm to health is to be reported under the AI Act"),
    whether=_("whether harm to health is to be reported under the AI Act"),
    by={
        "device_law": _(
            "Harm by a device goes through the vigilance of MDR Art. 87 or IVDR Art. 82, not the AI Act (Art. 73(10))"
        )
    },
)
def _death(reading: Reading) -> Term:
    return all_of(reading.of("health_incident"), negate(reading.of("annex_i_device")))


# ---- Personal data


@_concludes(
    "dpia_required",
    yes=_("A data protection impact assessment is necessary, or chosen"),
    no=_("No data protection impact assessment is necessary: no case of Art. 35 and less than two criteria are met"),
    whether=_("whether a data protection impact assessment is necessary"),
    by={"personal_data": _("Without personal data there is no data protection impact assessment")},
)
def _dpia(reading: Reading) -> Term:
    cases = [reading.fact(f"dpia_case_{case}", True) for case in "abc"]
    named = [reading.fact(key, True) for key in ("dpia_national_list", "dpia_chosen")]
    criteria = at_least(LEAST_CRITERIA, [reading.fact(key, True) for key in CRITERIA])
    return all_of(reading.of("personal_data"), any_of(*cases, *named, criteria))


# ---- General-purpose models


@_concludes(
    "gpai_model_provider",
    yes=_("Your organisation is the provider of a general-purpose AI model"),
    no=_("Your organisation is not the provider of a general-purpose AI model"),
    whether=_("whether your organisation is the provider of a general-purpose AI model"),
)
def _gpai(reading: Reading) -> Term:
    return any_of(reading.fact("gpai_provider", True), reading.fact("gpai_modified", True))


RULES["gpai_provider"] = RULES["gpai_model_provider"]


@_concludes(
    "emotion_or_biocat",
    yes=_("People are to be informed by Art. 50(3) or (4)"),
    no=_("There is no emotion recognition, no biometric categorisation and no published deep fake or text"),
    whether=_("whether people are to be informed by Art. 50(3) or (4)"),
)
def _disclosed(reading: Reading) -> Term:
    keys = ("emotion_recognition", "biometric_categorisation", "published_fakes")
    return any_of(*(reading.fact(key, True) for key in keys))
