"""Codes that FHIR resources bear: of findings, of laboratory values, and of being synthetic."""

from __future__ import annotations

import re
from typing import Any

from synthetic.release.facts import ReleaseFacts
from synthetic.release.naming import MARK

BASE = "https://auscult.invalid/fhir"
"""Root of addresses that by RFC 2606 never lead anywhere: no server holds these resources."""
SNOMED, LOINC, UCUM = "http://snomed.info/sct", "http://loinc.org", "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
LOCAL = f"{BASE}/CodeSystem/names"
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"

FINDINGS = {
    "effusion": "60046008",
    "pneumothorax": "36118008",
    "consolidation": "95436008",
    "cardiomegaly": "8186001",
    "sarcoidosis": "31541009",
    "pulmonary_hypertension": "70995007",
    "lymphangioleiomyomatosis": "277844007",
}
"""Label -> code of SNOMED CT. Other labels bear a local code alone, unless the facts name one."""
ANALYTES = {
    "crp": ("1988-5", ("mg/L", "mg/dL")),
    "spo2": ("59408-5", ("%",)),
    "heart_rate": ("8867-4", ("/min",)),
    "nt_probnp": ("33762-6", ("pg/mL", "ng/L")),
}
"""Series -> code of LOINC, and the units in which it means that: another quantity has another code."""
STUDY_REPORT = {"coding": [{"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}]}

META: dict[str, Any] = {
    "security": [{"system": f"{HL7}/v3-ActReason", "code": "HTEST", "display": "test health data"}],
    "tag": [{"system": f"{BASE}/CodeSystem/origin", "code": MARK, "display": "no real person"}],
}
"""What each resource says of itself."""


def label_concept(name: str, facts: ReleaseFacts) -> dict[str, Any]:
    """The code of a label. Its own name in the local system stands last."""
    known = facts.codes.get(name) or (f"{SNOMED}|{FINDINGS[name]}" if name in FINDINGS else "")
    return _concept(name, known)


def series_concept(name: str, unit: str, facts: ReleaseFacts) -> dict[str, Any]:
    """The code of a series in this unit."""
    code, units = ANALYTES.get(name, ("", ()))
    return _concept(name, facts.codes.get(name) or (f"{LOINC}|{code}" if unit in units else ""))


def _concept(name: str, known: str) -> dict[str, Any]:
    system, _, code = known.partition("|")
    coding = [{"system": system, "code": code}] if known else []
    return {"coding": [*coding, {"system": LOCAL, "code": UNSAFE.sub("-", name)}], "text": name}
