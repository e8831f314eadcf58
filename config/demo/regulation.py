"""What the demo's people answer and state about one system, so that its documents have something to say.

The system is a test subject and on no market. It is answered for as if it were a medical device of class IIa that a
hospital both provides and uses: each answer says so in its reason. What nobody states stays missing, on purpose.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

AS_IF = "Answered as if the system were placed on the market as a device of class IIa; it is a test subject."
PURPOSE = "Score four chest findings from image, indication, labs and demographics, to support radiologists."

DOCUMENTS = (("annex_iv", "en"), ("committee_one_pager", "en"))
MORE_DOCUMENTS = (
    ("dpia", "en"),
    ("instructions_for_use_art13", "en"),
    ("model_card", "en"),
    ("committee_one_pager", "de"),
)
"""Kind and language of what is issued about every decided version, and of what the second one gets besides."""
GRANTED_FOR = timedelta(days=90)

ANSWERS: dict[str, Any] = {
    "ai_system": True,
    "union_market": True,
    "research_only": False,
    "role": "both",
    "provider_outside_union": False,
    "placed_on_market": False,
    **{f"art5_{limb}": False for limb in ("a", "b", "c", "d", "e", "f", "g", "h", "ba", "bb")},
    "device_law": "mdr",
    "mdr_class": "IIa",
    "in_house": False,
    "annex_i_section": "A",
    "other_product_law": False,
    "manufacturer": True,
    "notified_body": False,
    "implantable": False,
    "annex_iii_points": ["none"],
    "sites": ["Demonstration Hospital"],
    "deployer_kind": "public_law",
    "public_authority": False,
    "workplace": False,
    "trains_on_data": True,
    "learns_after_market": False,
    "predetermined_changes": False,
    "third_party_model": False,
    "gpai_provider": False,
    "gpai_modified": False,
    "direct_interaction": False,
    "generated_content": ["none"],
    "emotion_recognition": False,
    "biometric_categorisation": False,
    "personal_data": True,
    "synthetic_data": True,
    "data_role": "controller",
    "special_categories": ["health"],
    "minors": False,
    "bias_special_data": False,
    "reuse_of_data": True,
    "ehds_data": False,
    "us_data": False,
    "dpia_case_a": False,
    "dpia_case_b": True,
    "dpia_case_c": False,
    "wp248_c1": True,
    "wp248_c2": False,
    "wp248_c3": False,
    "wp248_c4": True,
    "wp248_c5": True,
    "wp248_c6": False,
    "wp248_c7": True,
    "wp248_c8": True,
    "wp248_c9": False,
    "breach": False,
    "incident": False,
}
"""Three questions stay open, so that the demo shows what an open one does: the national list, the choice of an
assessment, the residual risk."""


def _statement(
    requirement: str,
    *,
    by: str = "elena",
    accepted_by: str | None = "amir",
    text: str = "",
    generated: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    return {
        "requirement": requirement,
        "by": by,
        "accepted_by": accepted_by,
        "text": text,
        "generated": generated,
        "fields": fields,
    }


STATEMENTS = (
    _statement(
        "AIA-Art3-1",
        qualification_reasoning="A neural network infers scores of findings from images and records; no person "
        "wrote the rules by which it does so.",
        decided_by="Clara Lindqvist",
        decided_on="2026-11-16",
    ),
    _statement(
        "AIA-Art6-1",
        mdr_class="IIa",
        mdr_rule="Annex VIII, Rule 11",
        is_device_itself=True,
        notified_body_required=True,
        reasoning="Software that gives information used for diagnosis is of class IIa at least.",
    ),
    _statement(
        "MDR-R11",
        mdr_class="IIa",
        harm_reasoning="A finding that is missed delays treatment; a radiologist reads every image beside it.",
    ),
    _statement(
        "AIA-AnnexIV-1-a",
        intended_purpose=PURPOSE,
        provider_name="Auscult project",
        provider_address="Demonstration Street 1, 10115 Berlin, Germany",
    ),
    _statement("AIA-Art13-3-a", provider_contact="Auscult project, Demonstration Street 1, 10115 Berlin, Germany"),
    _statement(
        "AIA-Art13-3-b-i",
        intended_purpose=PURPOSE,
        intended_users=["radiologist", "radiology resident under supervision"],
        patient_population="Adults with a chest radiograph taken in hospital.",
    ),
    _statement(
        "AIA-Art19",
        retention_period="12 months",
        justification="Two quarterly reviews after the post-market report that a log serves.",
        erasure_rule="Deleted by a job on the first day of each month.",
    ),
    _statement(
        "GDPR-5-1-d",
        correction_process="A radiologist who corrects a score writes the correction into the record; the score "
        "is marked as superseded.",
    ),
    _statement(
        "CNIL-access",
        risk_sources=["outsider", "employee"],
        threats=["theft of a server", "misuse of an account"],
        impacts=[{"impact": "health data become known outside the hospital", "whom": "patients"}],
        existing_controls=["disk encryption", "two-factor sign-in", "access log"],
        severity="3",
        likelihood="2",
    ),
    _statement(
        "CNIL-loss",
        risk_sources=["hardware", "employee"],
        threats=["failure of a disk", "deletion by mistake"],
        impacts=[{"impact": "a report is delayed until the image is read again", "whom": "patients"}],
        existing_controls=["daily backup, restored each quarter"],
        severity="2",
        likelihood="2",
    ),
    _statement(
        "GDPR-35-2",
        by="dora",
        accepted_by="clara",
        dpo="Dora Marino",
        advice_text="Keep training data of this hospital out of the weights until attacks on them were measured.",
        advice_date="2026-11-18",
    ),
    _statement(
        "AIA-Art15-5",
        accepted_by=None,
        text="Proposed by a program: the service runs in a network segment of its own. Nobody has checked it yet.",
        generated=True,
    ),
)
"""What is stated, by whom, and who accepts it; one is a draft that nobody has looked at."""


def tell_regulation(version: Any, *, people: dict[str, Any]) -> None:
    """Answer the questionnaire and write the statements, each once, however often the demo is started."""
    from governance.services.answers import record_answers
    from governance.services.statements import accept_statement, write_statement

    record_answers(system=version.system, answers=ANSWERS, reasons=dict.fromkeys(ANSWERS, AS_IF), by=people["elena"])
    told = set(version.statements.values_list("requirement", flat=True))
    for item in STATEMENTS:
        if item["requirement"] in told:
            continue
        content = {name: item[name] for name in ("requirement", "fields", "text", "generated")}
        statement = write_statement(version=version, by=people[item["by"]], **content)
        if item["accepted_by"]:
            remark = "Compared with the requirement's rule and with what the version's page shows."
            accept_statement(statement=statement, remark=remark, by=people[item["accepted_by"]])


def grant_access(system: Any, *, people: dict[str, Any]) -> None:
    """Let the regulator see what was issued about the system."""
    from django.utils import timezone

    from governance.models import Grant
    from governance.services.grants import give_grant

    if not Grant.objects.filter(regulator=people["rita"], systems=system).exists():
        give_grant(
            regulator=people["rita"],
            systems=[system],
            purpose="Market surveillance: examine how the chest model was audited and decided.",
            expires_at=timezone.now() + GRANTED_FOR,
            by=people["clara"],
        )
