"""The registry's and the audits' part of the small house: people, a system, versions, cohorts, runs with results."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from core.models import Role, RoleGrant, User
from core.store import Store
from evaluation.models import AuditRun, Measurement, Protocol, Shard, Verdict
from models_registry.models import AISystem, Cohort, CohortVersion, ModelVersion

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
