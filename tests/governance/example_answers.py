"""Worked examples of answered questionnaires, in the form in which a dossier holds answers."""

from __future__ import annotations

from typing import Any

Answers = dict[str, dict[str, Any]]
ART_5 = {f"art5_{limb}": False for limb in ("a", "b", "c", "d", "e", "f", "g", "h", "ba", "bb")}
DPIA = {
    "dpia_case_a": False,
    "dpia_case_b": True,
    "dpia_case_c": False,
    "dpia_national_list": True,
    **{f"wp248_c{number}": number in (1, 4, 5, 7, 8) for number in range(1, 10)},
    "dpia_chosen": False,
    "high_residual_risk": False,
}
DEVICE: dict[str, Any] = {
    "ai_system": True,
    "union_market": True,
    "research_only": False,
    "role": "provider",
    "provider_outside_union": False,
    "placed_on_market": False,
    **ART_5,
    "device_law": "mdr",
    "mdr_class": "IIa",
    "in_house": False,
    "annex_i_section": "A",
    "manufacturer": True,
    "other_product_law": False,
    "notified_body": True,
    "implantable": False,
    "annex_iii_points": ["none"],
    "sites": ["Radiology North"],
    "trains_on_data": True,
    "learns_after_market": False,
    "predetermined_changes": False,
    "third_party_model": True,
    "gpai_provider": False,
    "gpai_modified": False,
    "direct_interaction": False,
    "generated_content": ["text"],
    "published_fakes": False,
    "emotion_recognition": False,
    "biometric_categorisation": False,
    "personal_data": True,
    "data_role": "controller",
    "special_categories": ["health"],
    "minors": False,
    "bias_special_data": False,
    "reuse_of_data": True,
    "synthetic_data": True,
    "ehds_data": False,
    "us_data": False,
    "breach": False,
    "incident": False,
    **DPIA,
}
"""A device of class IIa under MDR and nothing else, of its provider and manufacturer, not on the market yet: a model
that drafts chest X-ray reports. Every question that is asked of it is answered."""


def as_answers(values: dict[str, Any], *, author: str = "dora", at: str = "2026-11-20T09:00:00+00:00") -> Answers:
    """Values by question in the form of a dossier."""
    return {key: {"value": value, "reason": "", "author": author, "at": at} for key, value in values.items()}


def device(**changes: Any) -> Answers:
    """The pure device, with other answers: ``device(mdr_class="III")``. None leaves a question unanswered."""
    given = {**DEVICE, **changes}
    return as_answers({key: value for key, value in given.items() if value is not None})


def triage_device(**changes: Any) -> Answers:
    """The same device in emergency triage, at a public hospital that provides and deploys it."""
    given: dict[str, Any] = {
        "annex_iii_points": ["5d"],
        "art_6_3_claimed": False,
        "role": "both",
        "deployer_kind": "public_law",
        "public_authority": True,
        "workplace": False,
    }
    return device(**(given | changes))
