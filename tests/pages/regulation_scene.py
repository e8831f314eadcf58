"""What the rules are about: answers, statements in every state, and reports, put into the small house."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from evaluation.models import AuditRun
from governance.dossier import gather_dossier
from governance.models import Answer, Report, Statement
from governance.requirements import load_requirements
from governance.standing.bindings import binding_of
from models_registry.models import AISystem, ModelVersion
from tests.governance.example_answers import DEVICE
from tests.pages import scene
from tests.reports.conftest import make_evidence

OPEN = ("dpia_national_list", "dpia_chosen", "high_residual_risk")
"""Questions that stay unanswered."""


def answers(system: AISystem, by: str = "dora", **changes: Any) -> None:
    """The class IIa device, answered but for three questions; ``None`` leaves another one out."""
    given = {key: value for key, value in (DEVICE | changes).items() if value is not None and key not in OPEN}
    Answer.objects.bulk_create(
        Answer(system=system, question=key, value=value, author=scene.person(by), reason="")
        for key, value in given.items()
    )


def statement(version: ModelVersion, requirement: str, *, status: str = "draft", **given: Any) -> Statement:
    """One revision, bound to what stands now unless told otherwise."""
    asked = load_requirements().requirement(requirement)
    decided = status in ("accepted", "returned")
    about = {
        "fields": {},
        "text": "",
        "author": scene.person("elena"),
        "binding": binding_of(gather_dossier(version), asked),
        "revision": 1 + Statement.objects.filter(version=version, requirement=requirement).count(),
        "decided_by": scene.person("amir") if decided else None,
        "decided_at": timezone.now() if decided else None,
        "remark": "Compared with the technical file." if decided else "",
    }
    return Statement.objects.create(version=version, requirement=requirement, status=status, **about | given)


def evidence(run: AuditRun, outcome: str) -> None:
    """Evidence that reports can be written from, about the version of this run."""
    version = run.version
    told = make_evidence(
        outcome,
        run={"id": run.pk},
        version={"label": version.label, "digest": version.digest, "manifest": version.manifest},
        cohort={"digest": run.cohort.digest, "name": run.cohort.cohort.name},
        protocol={"digest": run.protocol.digest, "name": run.protocol.name},
    )
    run.evidence_digest = scene.store().put_json(told)
    run.save()


ROWS = [
    {"impact": "health data become known outside the hospital", "whom": "patients"},
    {"impact": "a report is delayed", "whom": "patients"},
]


def regulate(house: dict[str, Any]) -> dict[str, Any]:
    """The house with a system that is answered for, statements about two of its versions, and two reports."""
    twin, first = house["twin"], house["version"]
    for name, outcome in (("pass", "pass"), ("fail", "fail"), ("short", "insufficient")):
        evidence(house[name], outcome)
    answers(house["system"])
    old = {"version": first.digest, "cohort": None, "sites": None, "timeline": []}
    made = {
        "draft": statement(
            twin,
            "AIA-Art3-1",
            fields={"qualification_reasoning": "A network infers scores from images.", "decided_by": "Clara Weiss"},
            text="<b>No rule</b> was written by a person.\nSee the design file.",
        ),
        "returned": statement(twin, "CNIL-access", status="returned", fields={"impacts": ROWS}, remark="Add controls."),
        "accepted": statement(
            twin,
            "GDPR-22",
            status="accepted",
            fields={"solely_automated": False, "reasoning": "A radiologist reads every study."},
        ),
        "stale": statement(twin, "AIA-Art19", status="accepted", fields={"retention_period": "12 months"}, binding=old),
        "own": statement(twin, "MDR-R11", author=scene.person("clara"), fields={"mdr_class": "IIa"}),
    }
    report = house["report"]
    Report.objects.filter(pk=report.pk).update(
        html_digest=scene.digest_of("<p>html</p>"),
        docx_digest=scene.digest_of("docx"),
        dossier_digest=scene.digest_of("{}"),
        signed_by=scene.digest_of("certificate"),
        as_of=timezone.now() - timedelta(days=1),
    )
    house["bundle"].verification = {
        "ok": True,
        "verified_at": timezone.now().isoformat(),
        "timestamp": None,
        "checks": [{"title": "The zip is in its one canonical form, byte for byte", "ok": True, "problems": []}],
    }
    house["bundle"].save()
    return house | made
