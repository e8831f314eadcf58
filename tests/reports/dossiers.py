"""Dossiers as ``governance.dossier`` gathers them: a version with its audit, answers, and what people stated."""

from __future__ import annotations

from typing import Any

from core.digests import sha256_bytes, sha256_json
from governance.requirements import load_requirements
from governance.standing.kinds import kinds_of

AT = "2026-11-22T14:05:00+00:00"

MDR_DEVICE: dict[str, Any] = {
    "ai_system": True,
    "union_market": True,
    "research_only": False,
    "role": "both",
    "provider_outside_union": False,
    **{f"art5_{limb}": False for limb in ("a", "b", "c", "d", "e", "f", "g", "h", "ba", "bb")},
    "device_law": "mdr",
    "mdr_class": "IIa",
    "annex_i_section": "A",
    "manufacturer": True,
    "notified_body": True,
    "implantable": False,
    "annex_iii_points": ["none"],
    "deployer_kind": "public_law",
    "public_authority": False,
    "workplace": False,
    "trains_on_data": True,
    "learns_after_market": False,
    "predetermined_changes": False,
    "third_party_model": False,
    "gpai_provider": False,
    "direct_interaction": False,
    "generated_content": ["none"],
    "gpai_modified": False,
    "in_house": False,
    "other_product_law": False,
    "emotion_recognition": False,
    "biometric_categorisation": False,
    "published_fakes": False,
    "bias_special_data": False,
    "reuse_of_data": False,
    "synthetic_data": True,
    "high_residual_risk": False,
    "ehds_data": False,
    "us_data": False,
    "breach": False,
    "incident": False,
    "minors": False,
    "personal_data": True,
    "data_role": "controller",
    "special_categories": ["health"],
    "dpia_case_a": False,
    "dpia_case_b": True,
    "dpia_case_c": False,
    "dpia_chosen": True,
    "wp248_c1": True,
    "wp248_c4": True,
    "wp248_c5": True,
    "wp248_c7": True,
    "wp248_c2": False,
    "wp248_c3": False,
    "sites": ["Ward A", "Ward B"],
}
"""What the provider of a class IIa device, which a public hospital uses, would answer."""


def make_answers(**given: Any) -> dict[str, dict[str, Any]]:
    """Answers of one person; a value of None takes the answer out."""
    values = {key: value for key, value in (MDR_DEVICE | given).items() if value is not None}
    return {
        key: {
            "value": value,
            "reason": "The declaration of the manufacturer says so." if key == "mdr_class" else "",
            "author": "elena",
            "at": "2026-11-21T10:00:00+00:00",
        }
        for key, value in sorted(values.items())
    }


def make_audit(evidence: dict[str, Any], **replaced: Any) -> dict[str, Any]:
    """An audit of the dossier, made from its evidence."""
    run, protocol, cohort, result = (evidence[key] for key in ("run", "protocol", "cohort", "result"))
    outcomes = [item["outcome"] for item in result["verdicts"] if item["primary"]]
    suites = protocol["body"].get("suites", ["fairness"])
    return {
        "run": run["id"],
        "attempt": run["attempt"],
        "protocol": {
            key: protocol[key]
            for key in ("name", "title", "digest", "locked_by", "locked_at", "approved_by", "approved_at")
        },
        "cohort": {key: cohort[key] for key in ("name", "digest", "simulated")},
        "status": "done",
        "outcome": result["outcome"],
        "evidence_digest": sha256_json(evidence),
        "result_digest": evidence["result_digest"],
        "requested_by": run["requested_by"],
        "requested_at": run["requested_at"],
        "finished_at": run["finished_at"],
        "hardware": "",
        "kinds": kinds_of(suites, result["verdicts"]),
        "attributes": sorted({item["attribute"] for item in result["verdicts"] if item["attribute"]}),
        "primary": {
            "passed": outcomes.count("pass"),
            "failed": outcomes.count("fail"),
            "insufficient": outcomes.count("insufficient"),
        },
        "criteria": [
            {name: item.get(name) for name in ("id", "title", "metric", "direction", "margin")}
            for item in protocol["body"]["criteria"]
            if item.get("primary", True)
        ],
        "without_value": [],
    } | replaced


def make_statement(number: int, requirement: str, fields: dict[str, Any], **replaced: Any) -> dict[str, Any]:
    """An accepted statement; its binding is filled in by :func:`make_dossier` unless one is given."""
    return {
        "id": number,
        "requirement": requirement,
        "revision": 1,
        "status": "accepted",
        "fields": fields,
        "text": "",
        "generated": False,
        "author": "dora",
        "written_at": "2026-11-21T12:00:00+00:00",
        "decided_by": "lea",
        "decided_at": "2026-11-21T16:30:00+00:00",
        "remark": "Checked.",
        "binding": None,
        "version": None,
    } | replaced


def make_dossier(evidence: dict[str, Any], **replaced: Any) -> dict[str, Any]:
    """A dossier of the version that the evidence is about, with the audit that left it.

    ``audits=[...]`` and the like replace whole parts. ``statements`` without a binding get the one they would have.
    """
    from governance.standing.bindings import binding_of

    catalogue, version, cohort = load_requirements(), evidence["version"], evidence["cohort"]
    own = {
        "label": version["label"],
        "digest": version["digest"],
        "adapter": version["adapter"],
        "status": "in_review",
        "submitted_by": version["submitted_by"],
        "submitted_at": version["submitted_at"],
        "card": version.get("card", {}),
        "origins": version.get("origins", []),
        "config": version["config"],
        "void": None,
    }
    dossier: dict[str, Any] = {
        "schema": "auscult/dossier/1",
        "as_of": AT,
        "catalogue": {
            "version": catalogue.version,
            "as_of": catalogue.as_of.isoformat(),
            "digest": catalogue.digest,
        },
        "system": evidence["system"],
        "version": own,
        "versions": [
            {key: own[key] for key in ("label", "digest", "submitted_at", "status")},
        ],
        "previous": None,
        "cohort": {
            key: cohort.get(key) for key in ("name", "digest", "simulated", "n_studies", "n_patients", "source")
        },
        "sites": ["Ward A", "Ward B"],
        "answers": make_answers(),
        "statements": [],
        "audits": [make_audit(evidence)],
        "earlier_audits": [],
        "reviews": [],
        "reports": [],
        "run": {"id": evidence["run"]["id"]},
        "ledger": {"size": 61, "root": sha256_bytes(b"root")},
    } | replaced
    dossier["statements"] = [
        row
        | {
            "version": row["version"] or own["label"],
            "binding": row["binding"] or binding_of(dossier, catalogue.requirement(row["requirement"])),
        }
        for row in dossier["statements"]
    ]
    return dossier
