"""What people would state for the documents that are made of statements: plans, declarations, incidents, logs."""

from __future__ import annotations

from typing import Any

from tests.reports.dossiers import make_statement

PURPOSE = (
    "Helps radiologists to find pleural effusion and pneumothorax on chest X-rays of adults. It does not replace their "
    "reading."
)
PLAN: dict[str, dict[str, Any]] = {
    "AIA-Art72-1": {
        "scope_versions": ["1.0-biased"],
        "owner": "Dora Lind, head of regulatory affairs",
        "proportionality_reason": "A class IIa device in two wards: monthly figures by group show a change in time.",
    },
    "AIA-Art72-2": {
        "data_sources": [
            {"site": "Ward A", "source": "Reading system, monthly export of calls and final reports"},
            {"site": "Ward B", "source": "None yet", "gap": "Export planned for January 2027"},
        ],
        "deployer_agreements": ["Agreement of 3 November 2026 with the hospital"],
        "interacting_ai": ["none"],
    },
    "AIA-Art72-2-eval": {
        "indicators": [
            {"requirement": "Art. 15", "indicator": "Sensitivity", "interval": "monthly", "last_value": ".79 (run 4)"},
            {"requirement": "Art. 14", "indicator": "Share overruled", "interval": "monthly", "last_value": "none yet"},
        ],
        "alert_limits": [{"indicator": "Sensitivity", "limit": "below .75 in any group"}],
        "subgroup_indicators": ["sex", "age band"],
    },
    "AIA-Art72-2-act": {
        "review_interval": "3 months",
        "escalation_matrix": [
            {"alert": "Sensitivity below .75", "decision": "Suspend use in that group", "owner": "Dora Lind"}
        ],
    },
    "MDR-86": {"last_psur": "2026-03-31", "mdr_class": "IIa"},
}
DECLARATION: dict[str, dict[str, Any]] = {
    "AIA-AnnexV-1": {
        "system_name": "Reference multimodal chest model",
        "type": "Chest X-ray reading support",
        "version": "1.0-biased",
        "udi_di": "04012345678901",
    },
    "AIA-AnnexV-2": {"name": "Auscult reference implementation", "address": "Musterweg 1, 10115 Berlin, Germany"},
    "AIA-AnnexV-6": {
        "references": [{"standard": "EN 18286:2026", "oj_cited": "no", "presumption": "no"}],
    },
    "AIA-Art47-3": {
        "union_acts": ["Regulation (EU) 2024/1689", "Regulation (EU) 2017/745"],
        "basic_udi_di": "4012345CHESTXR",
        "mdr_class": "IIa",
    },
    "MDR-29": {
        "srn": "DE-MF-000012345",
        "basic_udi_di": "4012345CHESTXR",
        "udi_di": "04012345678901",
        "registered_on": "2026-10-01",
    },
}
INCIDENT: dict[str, dict[str, Any]] = {
    "AIA-Art73-10": {
        "incident_category": "a_health",
        "member_state": "Germany",
        "authority": "Federal Institute for Drugs and Medical Devices",
    },
    "AIA-Art3-49": {
        "facts": "A pneumothorax was not marked; the reader relied on it. The patient died the next day.",
        "harm_type": "death",
        "causal_link": "likely",
        "affected_persons": 1,
        "model_version": "1.0-biased",
        "site": "Ward A",
    },
    "MDR-87": {
        "aware_at": "2026-11-20T23:30:00+01:00",
        "type": "death_or_deterioration",
        "reported_at": "2026-11-22T09:00:00+01:00",
    },
    "GDPR-33": {
        "aware_at": "2026-11-21T22:15:00+01:00",
        "notified_at": "2026-11-22T10:00:00+01:00",
        "risk_assessment": "Names of 40 patients were visible to another ward for two hours.",
    },
    "AIA-Art20": {
        "nonconformity": "Pneumothorax is missed on supine images.",
        "action": "disable",
        "informed_parties": [
            {"party": "Ward A", "informed_on": "2026-11-21", "record": "Letter 17"},
            {"party": "Ward B", "informed_on": "2026-11-21", "record": "Letter 18"},
        ],
    },
}
LOGS: dict[str, dict[str, Any]] = {
    "AIA-Art12-1": {"log_schema_version": "chest-log/2"},
    "AIA-Art12-2-a": {
        "event_types": [
            {"event": "version", "fields": "label, digest"},
            {"event": "output", "fields": "label, score, threshold"},
            {"event": "error", "fields": "code, time"},
        ]
    },
    "AIA-Art19": {
        "retention_period": "12 months",
        "justification": "Two reporting cycles of the monitoring plan.",
        "erasure_rule": "Erased on the first day of the thirteenth month.",
    },
    "AIA-Art26-6": {
        "control_split": [{"stream": "reading system", "party": "hospital", "period": "3 months"}],
        "retention_period": "3 months",
    },
}
REGISTRATION: dict[str, dict[str, Any]] = {
    "AIA-AnnexVIII-A-4": {"trade_name": "ChestRead", "reference": "1.0-biased"},
    "AIA-AnnexVIII-A-5": {"purpose": PURPOSE, "supported_functions": ["marking of findings"]},
    "AIA-AnnexVIII-A-10": {"member_states": ["Germany", "Austria"]},
}
INSTRUCTIONS: dict[str, dict[str, Any]] = {
    "AIA-Art13-3-a": {
        "provider_contact": "Auscult reference implementation, Musterweg 1, 10115 Berlin, Germany; safety@example.org",
        "authorised_representative": "none: the provider is in the Union",
    },
    "AIA-Art13-3-b-i": {
        "intended_purpose": PURPOSE,
        "intended_users": ["radiologists"],
        "patient_population": "Adults with a chest X-ray.",
    },
    "AIA-Art13-3-b-iii": {
        "warnings": [{"warning": "Findings are missed more often in women.", "risk": "bias"}],
    },
    "AIA-Art13-3-b-vii": {
        "interpretation_guide": "A score is no probability.",
        "abstention_rule": "No score without an image.",
    },
}
TRIAGE = {"annex_iii_points": ["5d"], "art_6_3_claimed": False}
"""Answers that put the same device among the uses of Annex III as well: emergency triage, point 5(d)."""
HARM = {"incident": True, "incident_kinds": ["a_health"], "breach": True}
"""Answers after an incident that harmed somebody and a breach."""


def make_statements(*scenes: dict[str, dict[str, Any]], **replaced: Any) -> list[dict[str, Any]]:
    """An accepted statement for each requirement of some scenes."""
    fields = {key: value for scene in scenes for key, value in scene.items()}
    return [
        make_statement(number, requirement, value, **replaced)
        for number, (requirement, value) in enumerate(fields.items(), start=11)
    ]
