"""Dossiers without a database: the answers of a class IIa device, an audit, and statements with valid fields."""

from __future__ import annotations

from typing import Any

from core.digests import sha256_bytes
from governance.questions import load_questions
from governance.requirements import Requirement, load_requirements
from governance.rules import table_columns
from governance.standing.bindings import binding_of
from tests.governance import example_answers

AS_OF = "2026-11-22T12:00:00+00:00"
DAY = "2026-11-20"
DEVICE = {key: value for key, value in example_answers.DEVICE.items() if key != "published_fakes"} | {
    "role": "both",
    "sites": ["Charité Mitte"],
    "deployer_kind": "public_law",
    "public_authority": False,
    "workplace": False,
    "third_party_model": False,
    "generated_content": ["none"],
    "synthetic_data": False,
    "dpia_national_list": False,
    **{f"wp248_c{number}": number == 4 for number in range(1, 10)},
}
"""A class IIa device in a public hospital, used for nothing in Annex III."""


def digest(name: str) -> str:
    return sha256_bytes(name.encode())


def answers_of(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        key: {"value": value, "reason": "As the file says.", "author": "dora", "at": "2026-11-20T09:00:00+00:00"}
        for key, value in sorted(values.items())
    }


def everything_applies() -> dict[str, Any]:
    """Every question answered, so that as much applies as can at once: every kind of data, device and use."""
    told: dict[str, Any] = {}
    for question in load_questions():
        options = [option.key for option in question.options if option.key != "none"]
        told[question.key] = {
            "yes_no": True,
            "choice": options[-1] if options else "",
            "several": options or ["Charité Mitte"],
            "text": "ACME GmbH",
            "date": "2025-01-10",
            "number": 3,
        }[question.kind]
    told |= {f"art5_{limb}": False for limb in ("a", "b", "c", "d", "e", "f", "g", "h", "ba", "bb")}
    return told | {
        "research_only": False,
        "role": "both",
        "device_law": "mdr",
        "mdr_class": "IIa",
        "in_house": False,
        "annex_i_section": "A",
        "deployer_kind": "public_law",
        "data_role": "both",
        "art_25_changes": ["none"],
    }


def version_row(label: str = "1.1", day: str = "2026-11-20") -> dict[str, Any]:
    return {
        "label": label,
        "digest": digest(f"version {label}"),
        "submitted_at": f"{day}T08:00:00+00:00",
        "status": "in_review",
    }


def audit_of(
    kinds: tuple[str, ...] = ("fairness_audit", "performance_evaluation"), *, run: int = 4, **given: Any
) -> dict[str, Any]:
    """A finished audit on real patients that passed."""
    name = given.pop("name", "imaging-classifier-v1")
    body = {
        "run": run,
        "attempt": 1,
        "protocol": {
            "name": name,
            "title": "Equal detection across patient groups",
            "digest": digest(name),
            "locked_by": "amir",
            "locked_at": "2026-11-01T09:00:00+00:00",
            "approved_by": "clara",
            "approved_at": "2026-11-02T09:00:00+00:00",
        },
        "cohort": {"name": "Held out", "digest": digest("cohort"), "simulated": False},
        "status": "done",
        "outcome": "pass",
        "evidence_digest": digest(f"evidence {run}"),
        "result_digest": digest(f"result {run}"),
        "requested_by": "amir",
        "requested_at": "2026-11-20T10:00:00+00:00",
        "finished_at": "2026-11-20T10:05:00+00:00",
        "hardware": "NVIDIA L4",
        "kinds": sorted(kinds),
        "attributes": ["age_band", "sex"],
        "primary": {"passed": 4, "failed": 0, "insufficient": 0},
        "criteria": [
            {
                "id": "sex-tpr",
                "title": "Findings are missed equally often",
                "metric": "equal_opportunity_difference",
                "direction": "at_most",
                "margin": 0.1,
            }
        ],
        "without_value": [],
    }
    return body | given


def failed(audit: dict[str, Any]) -> dict[str, Any]:
    return audit | {"outcome": "fail", "primary": {"passed": 3, "failed": 1, "insufficient": 0}}


def make_dossier(
    *, answers: dict[str, Any] | None = None, audits: tuple[dict[str, Any], ...] = (), **given: Any
) -> Any:
    """A dossier of version 1.1, judged on the newest audit's cohort."""
    values = DEVICE if answers is None else answers
    newest = audits[0]["cohort"] if audits else None
    catalogue = load_requirements()
    body: dict[str, Any] = {
        "schema": "auscult/dossier/1",
        "as_of": AS_OF,
        "catalogue": {
            "version": catalogue.version,
            "as_of": catalogue.as_of.isoformat(),
            "digest": catalogue.digest,
        },
        "system": {
            "slug": "chest-model",
            "name": "Chest model",
            "provider": "ACME GmbH",
            "intended_purpose": "Helps radiologists to find effusion on chest X-rays of adults.",
            "risk_class": "MDR class IIa; high-risk by Art. 6(1) (declared)",
        },
        "version": version_row()
        | {
            "adapter": "fusion",
            "submitted_by": "elena",
            "card": {"licence": "Apache-2.0"},
            "origins": [],
            "config": {
                "runs_weights": True,
                "modalities": ["image", "text"],
                "details": {"architecture": "late fusion", "training": {"cohort_digest": digest("training")}},
            },
            "void": None,
        },
        "versions": [version_row("1.0", "2026-10-01"), version_row()],
        "previous": {name: version_row("1.0", "2026-10-01")[name] for name in ("label", "digest", "submitted_at")},
        "cohort": newest and newest | {"n_studies": 500, "n_patients": 200, "source": "PACS of the hospital"},
        "sites": list(values.get("sites", [])),
        "answers": answers_of(values),
        "statements": [],
        "audits": list(audits),
        "earlier_audits": [],
        "reviews": [],
        "reports": [],
        "run": {"id": audits[0]["run"]} if audits else None,
        "ledger": {"size": 9, "root": digest("root")},
    }
    return body | given


def requirement(key: str) -> Requirement:
    return load_requirements().requirement(key)


def valid_value(key: str, name: str, kind: str) -> Any:
    """Some valid value of a field, the same for the same field wherever it stands."""
    base = kind.partition("{")[0]
    if base == "enum":
        return kind[len("enum{") :].rstrip("}").split("|")[0]
    columns = [column.rstrip("?") for column in table_columns(key, name)]
    return {
        "string": f"{name} ABC",
        "text": f"{name} in words",
        "person": "Dr. Vera Muster",
        "ref": f"{name}, document 7",
        "url": "https://example.org/entry",
        "bool": True,
        "int": 3,
        "number": 0.5,
        "date": DAY,
        "datetime": f"{DAY}T09:30:00+01:00",
        "duration": "10 years",
        "list": ["sex", "age band"],
        "table": [dict.fromkeys(columns, "health")],
        "file": {"name": "file.pdf", "digest": digest(name)},
        "signature": {"name": "Dr. Vera Muster", "signed_on": DAY},
    }[base]


def valid_fields(key: str) -> dict[str, Any]:
    item = requirement(key)
    return {one.name: valid_value(key, one.name, one.type) for one in item.required_fields}


def statement(dossier: dict[str, Any], key: str, *, status: str = "accepted", **given: Any) -> dict[str, Any]:
    """A statement about this dossier's version, with fields as given or else valid ones."""
    fields = given.pop("fields", None)
    decided = status == "accepted"
    body = {
        "id": 100 + len(dossier["statements"]),
        "requirement": key,
        "revision": 1,
        "status": status,
        "fields": valid_fields(key) if fields is None else fields,
        "text": "As described in the file.",
        "generated": False,
        "author": "elena",
        "written_at": "2026-11-20T09:00:00+00:00",
        "decided_by": "clara" if decided else None,
        "decided_at": "2026-11-21T09:00:00+00:00" if decided else None,
        "remark": "",
        "binding": binding_of(dossier, requirement(key)),
        "version": dossier["version"]["label"],
    }
    return body | given


def with_statements(dossier: dict[str, Any], *rows: dict[str, Any]) -> dict[str, Any]:
    numbered = [row | {"id": 100 + index} for index, row in enumerate([*dossier["statements"], *rows])]
    return dossier | {"statements": numbered}


def stated(dossier: dict[str, Any], key: str, **fields: Any) -> dict[str, Any]:
    """The dossier with one more accepted statement: valid fields, but those that are given."""
    return with_statements(dossier, statement(dossier, key, fields=valid_fields(key) | fields))


def fully_stated(dossier: dict[str, Any]) -> dict[str, Any]:
    """The dossier with an accepted statement with valid fields about every requirement."""
    return with_statements(dossier, *(statement(dossier, item.id) for item in load_requirements().requirements))


def report_row(kind: str, *, ready: bool = True, **given: Any) -> dict[str, Any]:
    body = {
        "id": 7,
        "kind": kind,
        "language": "en",
        "as_of": "2026-11-21T10:00:00+00:00",
        "pdf_digest": digest(kind),
        "json_digest": digest(f"{kind} json"),
        "dossier_digest": digest(f"{kind} dossier"),
        "ready": ready,
    }
    return body | given
