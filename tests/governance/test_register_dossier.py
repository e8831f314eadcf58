"""From the rows of the register to the dossier, and from the dossier to a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

from django.db import connection
from django.test.utils import CaptureQueriesContext

from evaluation.models import AuditRun
from governance.dossier import gather_dossier
from governance.execution_findings import follow_findings
from governance.reports.dpia import Dpia
from governance.services.risks import close_risk
from tests.governance.conftest import make_version
from tests.governance.risk_scene import a_risk, acceptable, accepted, planned, verified
from tests.governance.test_findings import plant
from tests.governance.test_rules_register import control, risk
from tests.reports.conftest import make_evidence
from tests.reports.scenes import context_of

Audited = Callable[..., AuditRun]


def test_the_dossier_tells_ratings_controls_acceptance_and_findings(people: SimpleNamespace, audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {})
    follow_findings()
    found = acceptable(people)
    acceptance = accepted(found, people.clara)
    shut = a_risk(people)
    close_risk(risk=shut, reason="Gone.", hazard_gone=True, by=people.amir)
    dossier = gather_dossier(run.version)
    first, second, third = dossier["registers"]["risks"]
    assert first["findings"] == [
        {
            "run": run.pk,
            "version": "1.0",
            "criterion": "tpr-gap",
            "attribute": "sex",
            "n_failed": 1,
            "evidence_digest": run.evidence_digest,
        }
    ]
    assert first["ratings"] == {"before": None, "after": None} and first["owner"] is None
    assert second["ratings"]["before"] == {"severity": 4, "likelihood": 3}
    assert [(one["status"], one["verified_by"]) for one in second["controls"]] == [("verified", "amir")]
    assert (second["acceptance"]["by"], second["acceptance"]["severity"]) == ("clara", 2)
    assert (third["status"], third["acceptance"]) == ("closed", None)
    assert json.loads(json.dumps(dossier)) == dossier
    later = gather_dossier(run.version, as_of=acceptance.expires_at + timedelta(seconds=1))
    assert later["registers"]["risks"][1]["acceptance"] is None


def test_gathering_asks_no_more_when_the_register_grows(people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    accepted(acceptable(people), people.lea)
    with CaptureQueriesContext(connection) as few:
        gather_dossier(version)
    for _ in range(5):
        found = a_risk(people)
        planned(found, people)
        verified(found, people)
        accepted(acceptable(people), people.lea)
    with CaptureQueriesContext(connection) as many:
        assert len(gather_dossier(version)["registers"]["risks"]) == 11
    assert len(many) == len(few) <= 26


def test_the_impact_assessment_prints_what_the_register_holds() -> None:
    """With a planned control 4 x 3 stays and asks for consultation; the same control, verified, leaves 2 x 2."""
    evidence = make_evidence("pass")
    for status, product, done in (("planned", 12, None), ("verified", 4, "2026-11-20")):
        entry = risk((4, 3), (2, 2), control(status))
        document = Dpia().draft(evidence, context_of(evidence, registers={"risks": [entry]}))
        row = next(row for row in document.data["content"]["risks"] if row["key"] == "bias")
        assert (row["residual"]["product"], row["lowered"]) == (product, status == "planned")
        assert row["measures"][0]["done_on"] == done
        assert "A second reader" in document.html and "Risk register, entry 1" in document.html
