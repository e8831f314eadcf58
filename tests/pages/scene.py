"""A small house with everything in it, made directly in the database: what the pages are tested on.

The services have tests of their own; here the states are needed, not the ways into them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import ledger
from evaluation.models import AuditRun
from governance.models import Bundle, Grant, Report, Review, Vote
from models_registry.models import AISystem, CohortImport, CohortVersion, TrainingJob
from synthetic.models import Generation
from tests.pages.scene_audits import (
    FINDINGS,
    GROUPS,
    LABELS,
    PASSWORD,
    PEOPLE,
    SUMMARY,
    cohort,
    digest_of,
    person,
    protocol,
    results,
    run,
    store,
    system,
    version,
)

__all__ = [
    "FINDINGS",
    "GROUPS",
    "LABELS",
    "PASSWORD",
    "PEOPLE",
    "SUMMARY",
    "bundle",
    "cohort",
    "cohort_import",
    "digest_of",
    "entries",
    "grant",
    "house",
    "inspection",
    "jobs",
    "person",
    "protocol",
    "report",
    "results",
    "review",
    "run",
    "store",
    "system",
    "version",
]


def review(of: AuditRun, *, status: str = "open", votes: tuple[tuple[str, str], ...] = ()) -> Review:
    made = Review.objects.create(
        version=of.version,
        run=of,
        evidence_digest=of.evidence_digest,
        version_digest=of.version.digest,
        submitter=of.version.submitted_by,
        runner=of.requested_by,
        protocol_approver=of.protocol_approved_by,
        opened_by=person("clara"),
    )
    for username, choice in votes:
        Vote.objects.create(
            review=made,
            voter=person(username),
            choice=choice,
            rationale="The gap in women over 80 is far beyond the margin, and its interval excludes chance.",
            submitter=made.submitter,
            runner=made.runner,
            protocol_approver=made.protocol_approver,
        )
    if status != "open":  # closed after the votes: the database takes none on a closed review
        made.status, made.closed_at = status, timezone.now()
        made.save()
    return made


def report(of: AuditRun, *, kind: str = "annex_iv", status: str = "issued") -> Report:
    issued = status == "issued"
    return Report.objects.create(
        kind=kind,
        version=of.version,
        run=of,
        status=status,
        as_of=timezone.now(),
        counts={"complete": 7, "partial": 3, "missing": 12, "not_applicable": 1} if issued else {},
        pdf_digest=digest_of("%PDF-1.7 test") if issued else "",
        json_digest=digest_of("{}") if issued else "",
        error="" if issued else "The evidence is not in the store.",
        issued_by=person("clara"),
    )


def bundle(of: Review, *, status: str = "issued") -> Bundle:
    folder = settings.AUSCULT_HOME / "bundles"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"auscult-review-{of.pk}.zip"
    (folder / name).write_bytes(b"PK test")
    return Bundle.objects.create(
        review=of,
        status=status,
        digest=digest_of("PK test") if status == "issued" else "",
        file_name=name if status == "issued" else "",
        key_id=digest_of("key")[:32],
        issued_by=person("clara"),
    )


def grant(*systems: AISystem, days: float = 30, revoked: bool = False) -> Grant:
    """Rita's access to these systems; expired for negative days."""
    now = timezone.now()
    made = Grant.objects.create(
        regulator=person("rita"),
        purpose="Market surveillance under Article 74(12) of the AI Act, case 17/2026.",
        expires_at=now + timedelta(days=days),
        granted_by=person("dora"),
        revoked_at=now if revoked else None,
        revoked_by=person("clara") if revoked else None,
        revocation="The case was closed." if revoked else "",
    )
    made.systems.set(systems)
    return made


ERRORS = [
    ("error", "missing-column", "study_id", None, 1,
     "There is no column 'study_id'. The file's column 'Accession' may be it.",
     "Add it, or map one of yours to it: columns: {\"Accession\": study_id}"),
    ("error", "label-value", "label.effusion", 3, 1204, "The column holds yes, no, unsure; a label is 1, 0 or empty.",
     "Say what they mean under 'values' in the mapping."),
    ("warning", "implausible-age", "age", 17, 2, "The column holds ages below 0 or above 120: 155, -1.",
     "Check the source. The value is kept; a protocol's 'plausible' range moves it to the group Unknown."),
]  # fmt: skip


def inspection(*, blocked: bool) -> dict[str, Any]:
    names = ("severity", "code", "column", "row", "count", "message", "remedy")
    found = [dict(zip(names, item, strict=True)) | {"file": "export.csv"} for item in ERRORS]
    return {
        "file": "export.csv",
        "kind": "cohort",
        "usable": not blocked,
        "problems": found if blocked else found[2:],
        "columns": [
            {"original": "Patient ID ", "name": "patient_id", "role": "patient_id"},
            {"original": "Accession", "name": "Accession", "role": "covariate"},
            {"original": "Effusion?", "name": "label.effusion", "role": "label"},
            {"original": "Age", "name": "age", "role": "covariate"},
        ],
        "preview": {
            "columns": ["patient_id", "Accession", "label.effusion", "age"],
            "originals": ["Patient ID ", "Accession", "Effusion?", "Age"],
            "rows": [
                ["p1", "A-1", "yes", "61"],
                ["p1", "A-2", "no", "61"],
                ["<b>p2</b>", "A-3", "unsure", "155"],
            ],
        },
        "summary": SUMMARY,
        "mapping": {"columns": {"Effusion?": "label.effusion"}},
        "suggested_mapping": {
            "columns": {"Patient ID ": "patient_id", "Accession": "study_id", "Effusion?": "label.effusion"},
            "values": {"label.effusion": {"yes": 1, "no": 0}},
        },
    }


def cohort_import(*, status: str = "blocked") -> CohortImport:
    read = status in {"ready", "blocked"}
    return CohortImport.objects.create(
        name="Ward export 2026",
        description="Chest X-rays of the emergency department.",
        source_path="/data/export.csv",
        status=status,
        inspection=inspection(blocked=status == "blocked") if read else {},
        mapping={},
        created_by=person("elena"),
    )


def entries(number: int) -> None:
    with transaction.atomic():
        for place in range(number):
            ledger.record(actor="amir", act="run.requested", subject=("AuditRun", place), payload={"spec": f"s{place}"})


def jobs(of: AISystem, on: CohortVersion) -> None:
    """A training and a generation under way, and one of each that failed."""
    facts = {"requested_by": person("elena"), "progress": 0.4, "message": "epoch 4 of 10"}
    for status in ("running", "failed"):
        error = "The disk is full. What to do: free some space." if status == "failed" else ""
        label, name = f"1.3-{status}", f"Next cohort, {status}"
        TrainingJob.objects.create(system=of, version_label=label, cohort=on, status=status, error=error, **facts)
        Generation.objects.create(cohort_name=name, status=status, error=error, **facts)


def house() -> dict[str, Any]:
    """Everything, once: each page has something to show."""
    for username in PEOPLE:
        person(username)
    rules, waiting = protocol(), protocol("follow-up-v1", approved=False)
    patients, real = cohort(), cohort("Emergency department 2024", simulated=False)
    biased, twin = version("1.0-biased", status="in_review"), version("1.1", status="approved")
    candidate, recorded = version("1.2"), version("2017", of=system("Text-mined labels"))
    recorded.config["runs_weights"] = False
    recorded.save()
    failed_run, passed_run = run(biased, patients, rules), run(twin, patients, rules, outcome="pass")
    made = {
        "system": system(),
        "version": biased,
        "twin": twin,
        "candidate": candidate,
        "cohort": patients,
        "real": real,
        "protocol": rules,
        "waiting": waiting,
        "fail": failed_run,
        "pass": passed_run,
        "short": run(candidate, patients, rules, outcome="insufficient"),
        "running": run(candidate, real, rules, status="running"),
        "broken": run(recorded, real, rules, status="failed"),
        "review": review(failed_run, votes=(("tom", "reject"),)),
        "decided": review(passed_run, status="approved", votes=(("tom", "approve"), ("mina", "approve"))),
        "report": report(passed_run),
        "report_failed": report(failed_run, kind="committee_one_pager", status="failed"),
        "blocked": cohort_import(),
        "ready": cohort_import(status="ready"),
        "reading": cohort_import(status="inspecting"),
    }
    jobs(made["system"], made["cohort"])
    made["bundle"] = bundle(made["decided"])
    made["grant"] = grant(made["system"])
    entries(3)
    return made
