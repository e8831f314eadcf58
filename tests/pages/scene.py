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
from core.models import Role, RoleGrant, User
from core.store import Store
from evaluation.models import AuditRun, Measurement, Protocol, Shard, Verdict
from governance.models import Bundle, Grant, Report, Review, Vote
from models_registry.models import AISystem, Cohort, CohortImport, CohortVersion, ModelVersion, TrainingJob
from synthetic.models import Generation

PASSWORD = "a-long-password-for-tests"
PEOPLE = {
    "elena": ("Elena Rossi", Role.ML_ENGINEER),
    "amir": ("Amir Haddad", Role.AUDITOR),
    "clara": ("Clara Weiss", Role.COMMITTEE_CHAIR),
    "mina": ("Mina Park", Role.COMMITTEE_MEMBER),
    "tom": ("Tom Okafor", Role.COMMITTEE_MEMBER),
    "lea": ("Léa Martin", Role.CLINICIAN_LEAD),
    "dora": ("Dora Novak", Role.DPO),
    "rita": ("Rita Lind", Role.REGULATOR),
    "ada": ("Ada Byrne", Role.ADMINISTRATOR),
}


def person(username: str) -> User:
    """One of the people above, or somebody without a role."""
    name, role = PEOPLE.get(username, (username.title(), None))
    first, _, last = name.partition(" ")
    user, made = User.objects.get_or_create(username=username, defaults={"first_name": first, "last_name": last})
    if made:
        user.set_password(PASSWORD)
        user.save()
        if role:
            RoleGrant.objects.create(user=user, role=role)
    return user


def store() -> Store:
    return Store(settings.AUSCULT_HOME / "store")


def digest_of(text: str) -> str:
    return store().put_bytes(text.encode())


def system(name: str = "Chest model") -> AISystem:
    slug = name.lower().replace(" ", "-")
    found = AISystem.objects.filter(slug=slug).first()
    return found or AISystem.objects.create(
        name=name,
        slug=slug,
        provider="Example Imaging Ltd",
        intended_purpose="Flags pleural effusion, pneumothorax and consolidation on chest X-rays of adults, for the "
        "radiologist who reads the study.",
        risk_class="MDR class IIa; high-risk by Art. 6(1) AI Act",
        created_by=person("elena"),
    )


def version(label: str = "1.0", *, status: str = "in_audit", of: AISystem | None = None) -> ModelVersion:
    of = of or system()
    manifest = {
        "config.json": digest_of(f"config {of.slug} {label}"),
        "model.safetensors": digest_of(f"{of.slug} {label}"),
    }
    return ModelVersion.objects.create(
        system=of,
        label=label,
        adapter="fusion",
        digest=digest_of(f"manifest {of.slug} {label}"),
        manifest=manifest,
        config={
            "capabilities": ["classify"],
            "labels": ["effusion", "pneumothorax", "consolidation"],
            "modalities": ["image", "text.report", "series.crp", "age", "sex"],
            "required": ["image"],
            "runs_weights": True,
            "details": {"architecture": "fusion of four encoders", "parameters": 1012480},
        },
        status=status,
        submitted_by=person("elena"),
    )


SUMMARY = {
    "n_studies": 5210,
    "n_patients": 2100,
    "studies_per_patient": {"min": 1, "median": 2.0, "max": 6},
    "labels": {
        "effusion": {"n": 5210, "positive": 1104, "negative": 4106, "missing": 0},
        "pneumothorax": {"n": 5180, "positive": 402, "negative": 4778, "missing": 30},
        "consolidation": {"n": 5210, "positive": 911, "negative": 4299, "missing": 0},
    },
    "attributes": {
        "sex": {"type": "text", "missing": 12, "distinct": 2, "values": {"F": 2707, "M": 2491}},
        "age": {"type": "integer", "missing": 4, "min": 18, "median": 61, "max": 155},
        "view": {
            "type": "text",
            "missing": 0,
            "distinct": 3,
            "values": {"PA": 3050, "AP": 2152, "LL": "<11"},
        },
    },
    "modalities": {"image": 1.0, "text.report": 0.874, "series.crp": 0.512},
    "splits": {"test": 5210},
    "warnings": [
        {
            "severity": "warning",
            "code": "implausible-age",
            "message": "The column holds ages below 0 or above 120: 155.",
            "remedy": "Check the source. The value is kept; a protocol's 'plausible' range moves it to Unknown.",
            "file": "cohort.parquet",
            "column": "age",
            "row": 4017,
            "count": 1,
        }
    ],
}


def cohort(name: str = "Simulated chest cohort", *, simulated: bool = True) -> CohortVersion:
    slug = name.lower().replace(" ", "-")
    parent, _ = Cohort.objects.get_or_create(
        slug=slug,
        defaults={
            "name": name,
            "simulated": simulated,
            "description": "Held-out patients with image, report, laboratory series and demographics.",
            "source": "patient simulator" if simulated else "hospital archive 2019 to 2024",
            "licence": "none needed" if simulated else "data use agreement 12/2025",
            "created_by": person("elena"),
        },
    )
    return CohortVersion.objects.create(
        cohort=parent,
        digest=digest_of(f"cohort {slug} {parent.versions.count()}"),
        n_studies=5210,
        n_patients=2100,
        summary=SUMMARY,
        registered_by=person("elena"),
    )


def protocol(name: str = "imaging-classifier-v1", *, approved: bool = True) -> Protocol:
    body = {
        "auscult_protocol": 1,
        "name": name,
        "title": "Fairness of an imaging classifier, version 1",
        "intended_use": "A classifier of findings on chest X-rays of adults, read by a radiologist.",
        "suites": ["fairness"],
        "labels": [{"name": "effusion", "threshold": {"value": 0.5, "source": "tuned on the validation split"}}],
        "attributes": [{"name": "sex", "column": "sex"}, {"name": "age", "column": "age"}],
        "intersections": [["sex", "age"]],
        "underdiagnosis": None,
        "criteria": [
            {
                "id": "tpr-gap-age",
                "title": "No age group is missed more often",
                "metric": "tpr_difference",
                "labels": ["effusion"],
                "attribute": "age",
                "direction": "at_most",
                "margin": 0.1,
                "primary": True,
            }
        ],
        "minimum": {"cell": 11, "rate_denominator": 30},
        "alpha": 0.05,
        "bootstrap": {"replicates": 2000},
        "seed": 0,
    }
    return Protocol.objects.create(
        name=name,
        title=body["title"],
        digest=digest_of(f"protocol {name}"),
        source=f"auscult_protocol: 1\nname: {name}\n",
        body=body,
        status="approved" if approved else "locked",
        locked_by=person("amir"),
        approved_by=person("clara") if approved else None,
        approved_at=timezone.now() if approved else None,
    )


def run(
    of: ModelVersion,
    on: CohortVersion,
    by: Protocol,
    *,
    status: str = "done",
    outcome: str = "fail",
    shards: int = 6,
) -> AuditRun:
    now = timezone.now()
    done = status == "done"
    made = AuditRun.objects.create(
        version=of,
        cohort=on,
        protocol=by,
        spec_digest=digest_of(f"spec {of.pk} {on.pk} {by.pk} {AuditRun.objects.count()}"),
        settings={"batch_size": 64, "precision": "float32", "seed": 0},
        status=status,
        outcome=outcome if done else "",
        n_studies=on.n_studies,
        version_submitted_by=of.submitted_by,
        protocol_approved_by=by.approved_by,
        requested_by=person("amir"),
        started_at=None if status == "queued" else now - timedelta(seconds=95),
        finished_at=now if status in {"done", "failed", "cancelled"} else None,
        error="share 3: the checkpoint does not match its digest. What to do: restore it."
        if status == "failed"
        else "",
    )
    _shards(made, shards)
    if done:
        results(made, outcome)
    return made


def _shards(made: AuditRun, number: int) -> None:
    states = {"done": "done", "running": "running", "failed": "failed", "judging": "done"}
    size = made.n_studies // number
    for index in range(number):
        status = states.get(made.status, "queued")
        if made.status in {"running", "failed"}:
            status = "done" if index < number // 2 else status if index == number // 2 else "queued"
        studies = {"done": size, "running": size // 3, "failed": size // 4}.get(status, 0)
        Shard.objects.create(
            run=made,
            index=index,
            cohort_shard_digest=digest_of(f"shard {index}"),
            n_studies=size,
            studies_done=studies,
            status=status,
            worker="gpu@node-1" if studies else "",
            attempts=1 if studies else 0,
            error="the checkpoint does not match its digest" if status == "failed" else "",
        )


GROUPS = (("F & <60", 0.87, 412), ("F & 60-79", 0.84, 390), ("F & >=80", 0.61, 188), ("M & <60", 0.88, 401))
FINDINGS = {
    "fail": "Fails: effusion is missed more often in women over 80 than in men under 60: the true positive rate is "
    ".61 against .88, a difference of .27 (.18-.36), where at most .10 is accepted; n = 589 studies of 402 patients.",
    "pass": "Passes: pneumothorax is found about equally often in women and men: the difference of the true positive "
    "rate is .02 (-.03-.07), where at most .10 is accepted; n = 402 studies of 361 patients.",
    "insufficient": "Insufficient evidence: consolidation cannot be judged in every group: the group M & >=80 has 22 "
    "studies with the finding, and 30 are needed.",
}
LABELS = {"fail": "effusion", "pass": "pneumothorax", "insufficient": "consolidation"}


def results(made: AuditRun, outcome: str) -> None:
    """Verdicts of every kind (a passing run has only passes), measurements, and the evidence in the store."""
    kinds = (
        ["pass"] if outcome == "pass" else ["pass", "insufficient", "fail"] if outcome == "fail" else ["insufficient"]
    )
    verdicts = [_verdict(kind) for kind in kinds]
    measurements = [_measurement(LABELS[kind], *group) for kind in kinds for group in GROUPS]
    measurements.append(_measurement("=effusion", "@all", None, 8))
    result = {"outcome": outcome, "measurements": measurements, "verdicts": verdicts, "cross_checks": []}
    evidence = {
        "run": {"id": made.pk},
        "execution": {
            "shards": 6,
            "shards_from_cache": 0,
            "device": "cpu",
            "environment": {"python": "3.11.7", "platform": "Linux", "packages": {"numpy": "2.4.6"}},
        },
        "result": result | {"notes": ["The age of 4 studies is unknown or not plausible; they are the group Unknown."]},
    }
    made.evidence_digest = store().put_json(evidence)
    made.result_digest = store().put_json(result)
    made.save()
    fields = (
        "suite",
        "metric",
        "label",
        "attribute",
        "group",
        "value",
        "low",
        "high",
        "n",
        "patients",
        "reason",
    )
    Measurement.objects.bulk_create(
        Measurement(run=made, position=place, detail=item, **{name: item[name] for name in fields})
        for place, item in enumerate(measurements)
    )
    judged = ("criterion", "label", "attribute", "outcome", "primary", "statement")
    Verdict.objects.bulk_create(
        Verdict(run=made, position=place, detail=item, **{name: item[name] for name in judged})
        for place, item in enumerate(verdicts)
    )


def _verdict(kind: str) -> dict[str, Any]:
    known = kind != "insufficient"
    return {
        "criterion": "tpr-gap-sex-age",
        "metric": "tpr_difference",
        "label": LABELS[kind],
        "attribute": "sex & age",
        "groups": ["F & >=80", "M & <60"],
        "outcome": kind,
        "primary": True,
        "direction": "at_most",
        "margin": 0.1,
        "value": {"fail": -0.27, "pass": 0.02}.get(kind),
        "low": {"fail": -0.36, "pass": -0.03}.get(kind),
        "high": {"fail": -0.18, "pass": 0.07}.get(kind),
        "n": 589 if known else None,
        "patients": 402 if known else None,
        "p_value": {"fail": 0.0002, "pass": 1.0}.get(kind),
        "p_adjusted": {"fail": 0.0006, "pass": 1.0}.get(kind),
        "statement": FINDINGS[kind],
        "needed": "" if known else "about 140 more studies with the finding in group M & >=80",
    }


def _measurement(label: str, group: str, value: float | None, n: int) -> dict[str, Any]:
    return {
        "suite": "fairness",
        "metric": "tpr",
        "metric_version": "1",
        "label": label,
        "attribute": "sex & age",
        "group": group,
        "value": value,
        "reason": "" if value is not None else "suppressed: fewer than 11 patients",
        "low": None if value is None else value - 0.05,
        "high": None if value is None else value + 0.05,
        "level": 0.95,
        "n": n,
        "patients": n - 5,
        "method": "patient-cluster bootstrap",
        "seed": 0,
        "detail": {},
    }


def review(of: AuditRun, *, status: str = "open", votes: tuple[tuple[str, str], ...] = ()) -> Review:
    made = Review.objects.create(
        version=of.version,
        run=of,
        evidence_digest=of.evidence_digest,
        version_digest=of.version.digest,
        status=status,
        submitter=of.version.submitted_by,
        runner=of.requested_by,
        protocol_approver=of.protocol_approved_by,
        opened_by=person("clara"),
        closed_at=None if status == "open" else timezone.now(),
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
