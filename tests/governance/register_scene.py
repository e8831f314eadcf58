"""Entries of the registers as a dossier tells them, for tests of rules."""

from __future__ import annotations

from typing import Any

from tests.governance.dossiers import digest, make_dossier

SITE = "Charité Mitte"
VERSION = {"label": "1.1", "digest": digest("version 1.1")}


def clock(deadline: str, due: str | None, **given: Any) -> dict[str, Any]:
    body = {
        "regime": deadline.rsplit("-", 2)[0],
        "deadline": deadline,
        "owed": "yes",
        "started_at": None,
        "due_at": due,
        "sent_at": None,
        "late_at_intake": False,
        "reference": "",
        "delay_reason": "",
    }
    return body | given


def incident(*clocks: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Harm to health by version 1.1, of which the manufacturer is aware since 1 November."""
    body = {
        "id": 30,
        "number": 3,
        "title": "Pneumothorax not flagged",
        "status": "open",
        "version": VERSION["digest"],
        "site": SITE,
        "zone": "Europe/Berlin",
        "kinds": ["a_health"],
        "death": False,
        "unanticipated_deterioration": False,
        "public_health_threat": False,
        "widespread": False,
        "breach": False,
        "breach_risk": "risk",
        "affected_persons": 2,
        "occurred_at": None,
        "aware_at": "2026-11-01T10:00:00+00:00",
        "deployer_aware_at": None,
        "controller_aware_at": None,
        "recorded_at": "2026-11-01T11:00:00+00:00",
        "closed_at": None,
        "root_cause": "",
        "correction": "",
        "clocks": list(clocks),
    }
    return body | given


def deployment(site: str = SITE, status: str = "running", **given: Any) -> dict[str, Any]:
    body = {
        "id": 5,
        "version": VERSION,
        "site": site,
        "unit": "",
        "share": 100,
        "status": status,
        "started_at": "2026-11-10T08:00:00+00:00",
        "suspended_at": "2026-11-15T08:00:00+00:00" if status == "suspended" else None,
        "acknowledged_at": None,
        "ended_at": "2026-11-15T08:00:00+00:00" if status == "ended" else None,
        "replaces": None,
        "gate_digest": "",
    }
    return body | given


def measure(limb: str, *, verified: bool = True, **given: Any) -> dict[str, Any]:
    body = {
        "limb": limb,
        "by": "deployer",
        "text": f"The radiologist sees the image first, limb {limb}.",
        "role": "radiologist",
        "moment": "while reading",
        "site": "",
        "verified_on": "2026-11-21" if verified else None,
    }
    return body | given


def counted(overrides: int | None = 20, outputs: int | None = 400, **given: Any) -> dict[str, Any]:
    shown = bool(outputs) and overrides is not None
    body = {
        "deployment": 5,
        "version": "1.1",
        "site": SITE,
        "overrides": overrides,
        "outputs": outputs,
        "rate": overrides / outputs if shown and outputs and overrides is not None else None,
        "low": 0.03 if shown else None,
        "high": 0.08 if shown else None,
        "reason": None,
        "mark": None,
    }
    return body | given


BIAS = {
    "kind": "automation_bias",
    "overrides": 1,
    "outputs": 900,
    "error_low": 0.1,
    "error_high": 0.2,
    "source": "Audit 4",
    "probability": 0.002,
}


def with_registers(answers: dict[str, Any] | None = None, **registers: list[dict[str, Any]]) -> Any:
    """A dossier with these registers; the others are empty."""
    from governance.standing.places import sites_of

    dossier = make_dossier(answers=answers)
    empty: dict[str, list[Any]] = {
        name: [] for name in ("risks", "incidents", "deployments", "oversight", "overrides", "conditions")
    }
    told = empty | registers
    sites = sites_of(dossier["answers"], told["deployments"], dossier["version"]["digest"])
    return dossier | {"registers": told, "sites": sites}
