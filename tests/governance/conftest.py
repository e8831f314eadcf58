"""People, an audited version and its evidence in a store of the test's own, with the ledger as services write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from core import ledger
from core.digests import manifest_digest, sha256_bytes, sha256_json
from core.models import Role, RoleGrant, User
from core.store import Store
from evaluation.models import AuditRun, Protocol, RunStatus
from governance import execution, execution_bundles
from governance.bundle.build import BundleContent, build_bundle
from governance.bundle.verify import verify_bytes
from governance.models import Bundle, Review
from governance.reports.base import REPORTS, ReportContext, ReportDocument
from governance.services.bundles import request_bundle
from governance.services.reports import request_report
from governance.services.reviews import cast_vote, open_review
from models_registry.models import AISystem, Cohort, CohortVersion, ModelVersion, VersionStatus
from tests.governance.forging import KEY
from tests.governance.signed import signed

ROLES = {
    "elena": [Role.ML_ENGINEER],
    "amir": [Role.AUDITOR],
    "clara": [Role.COMMITTEE_CHAIR],
    "mina": [Role.COMMITTEE_MEMBER],
    "tom": [Role.COMMITTEE_MEMBER],
    "lea": [Role.CLINICIAN_LEAD],
    "dora": [Role.DPO],
    "rita": [Role.REGULATOR],
    "ada": [Role.ADMINISTRATOR],
}
PROTOCOL = {"name": "imaging-classifier-v1", "labels": ["effusion"], "criteria": [{"id": "tpr-gap", "margin": 0.1}]}
PROTOCOL_YAML = "name: imaging-classifier-v1\nlabels: [effusion]\ncriteria: [{id: tpr-gap, margin: 0.1}]\n"


def make_people() -> SimpleNamespace:
    """Every demo user, by name."""
    people = {}
    for name, roles in ROLES.items():
        people[name] = User.objects.create(username=name, first_name=name.capitalize(), last_name="Example")
        RoleGrant.objects.bulk_create(RoleGrant(user=people[name], role=role) for role in roles)
    return SimpleNamespace(**people)


def verdict(outcome: str, **given: Any) -> dict[str, Any]:
    return {
        "criterion": "tpr-gap",
        "label": "effusion",
        "attribute": "sex",
        "outcome": outcome,
        "primary": True,
        "statement": "Missed findings differ by .030 (.010 to .060) between women and men.",
    } | given


def make_evidence(run: AuditRun, outcome: str) -> dict[str, Any]:
    """What an audit leaves, without the parts that governance does not read."""
    version, cohort, protocol = run.version, run.cohort, run.protocol
    measurements = [{"metric": "tpr_gap", "value": 0.03}]
    result = {"outcome": outcome, "measurements": measurements, "verdicts": [verdict(outcome)]}
    spec = {"version": version.digest, "cohort": cohort.digest, "protocol": protocol.digest}
    return {
        "schema": "auscult/evidence/1",
        "run": {"id": run.pk, "attempt": 1, "requested_by": run.requested_by.username},
        "system": {"name": version.system.name, "slug": version.system.slug},
        "version": {
            "label": version.label,
            "digest": version.digest,
            "manifest": version.manifest,
            "submitted_by": version.submitted_by.username,
        },
        "cohort": {"name": cohort.cohort.name, "digest": cohort.digest},
        "protocol": {
            "name": protocol.name,
            "digest": protocol.digest,
            "body": protocol.body,
            "locked_by": protocol.locked_by.username,
            "approved_by": protocol.approved_by.username,
        },
        "execution": {"settings": run.settings},
        "result": result,
        "result_digest": sha256_json({**spec, "settings": run.settings, "result": result}),
    }


def record(by: User | None, act: str, subject: Any, payload: dict[str, Any]) -> None:
    with transaction.atomic():
        actor = by.username if by else "system"
        ledger.record(actor=actor, act=act, subject=(type(subject).__name__, subject.pk), payload=payload)


def make_version(people: SimpleNamespace, label: str) -> ModelVersion:
    system, _ = AISystem.objects.get_or_create(
        name="Chest model",
        slug="chest-model",
        defaults={"intended_purpose": "Finds effusion.", "created_by": people.elena},
    )
    manifest = {"model.safetensors": sha256_bytes(label.encode())}
    version = ModelVersion.objects.create(
        system=system,
        label=label,
        adapter="fusion",
        digest=manifest_digest(manifest),
        manifest=manifest,
        status=VersionStatus.IN_AUDIT,
        submitted_by=people.elena,
    )
    record(people.elena, "version.registered", version, {"digest": version.digest, "label": label})
    return version


def make_protocol(people: SimpleNamespace) -> Protocol:
    digest = sha256_json(PROTOCOL)
    known = Protocol.objects.filter(digest=digest).first()
    if known:
        return known
    protocol = Protocol.objects.create(
        name=PROTOCOL["name"],
        title="Imaging classifier",
        digest=digest,
        source=PROTOCOL_YAML,
        body=PROTOCOL,
        status=Protocol.Status.APPROVED,
        locked_by=people.amir,
        approved_by=people.clara,
        approved_at=timezone.now(),
    )
    record(people.amir, "protocol.locked", protocol, {"digest": digest})
    record(people.clara, "protocol.approved", protocol, {"digest": digest})
    return protocol


def make_run(people: SimpleNamespace, home: Path, *, outcome: str = "pass", label: str = "1.0") -> AuditRun:
    """A run that is done, with its evidence in the store and its entries in the ledger."""
    version, protocol = make_version(people, label), make_protocol(people)
    held_out, _ = Cohort.objects.get_or_create(name="Held out", slug="held-out", defaults={"created_by": people.amir})
    cohort, _ = CohortVersion.objects.get_or_create(
        cohort=held_out,
        digest=sha256_bytes(b"cohort"),
        defaults={"n_studies": 500, "n_patients": 200, "summary": {}, "registered_by": people.amir},
    )
    run = AuditRun.objects.create(
        version=version,
        cohort=cohort,
        protocol=protocol,
        spec_digest=sha256_bytes(label.encode()),
        settings={"batch_size": 64},
        status=RunStatus.DONE,
        finished_at=timezone.now(),
        outcome=outcome,
        n_studies=500,
        version_submitted_by=people.elena,
        protocol_approved_by=people.clara,
        requested_by=people.amir,
    )
    spec = {"version": version.digest, "cohort": cohort.digest, "protocol": protocol.digest}
    record(people.amir, "run.requested", run, spec)
    evidence = make_evidence(run, outcome)
    run.evidence_digest = Store(home / "store").put_json(evidence)
    run.result_digest = evidence["result_digest"]
    run.save()
    found = {"outcome": outcome, "evidence": run.evidence_digest, "result": run.result_digest}
    record(None, "run.judged", run, found)
    return run


class PlainReport:
    """A report kind that needs no page layout."""

    key = "plain"
    title = "Plain report"
    needs_run = False
    editable = True

    def build(self, evidence: dict[str, Any] | None, context: ReportContext) -> ReportDocument:
        dossier = context.dossier
        subject = {
            "evidence_digest": sha256_json(evidence) if evidence else None,
            "dossier_digest": sha256_json(dossier),
            "version": {"digest": dossier["version"]["digest"]},
        }
        decisions = [review["status"] for review in dossier["reviews"]]
        data = {"subject": subject, "decisions": decisions, "size": dossier["ledger"]["size"]}
        return ReportDocument(
            kind="plain", title=self.title, data=data, html="<p>", pdf=b"%PDF-1.7 plain", docx=b"PK plain",
            counts={"complete": 3},
        )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.AUSCULT_HOME = tmp_path
    return tmp_path


@pytest.fixture
def people(db: None) -> SimpleNamespace:
    return make_people()


@pytest.fixture
def audited(people: SimpleNamespace, home: Path) -> Callable[..., AuditRun]:
    """Makes finished runs: ``audited(outcome="fail", label="2.0")``."""
    return lambda **given: make_run(people, home, **given)


@pytest.fixture
def decided(people: SimpleNamespace, audited: Callable[..., AuditRun]) -> Callable[..., Review]:
    """Makes decided reviews."""

    def make(outcome: str = "pass", choice: str = "approve", label: str = "1.0") -> Review:
        review = open_review(run=audited(outcome=outcome, label=label), by=people.clara)
        cast_vote(
            review=review,
            choice=choice,
            rationale="The evidence is clear.",
            by=people.mina,
            signed=signed(people.mina),
        )
        cast_vote(
            review=review,
            choice=choice,
            rationale="I read it – and agree.",
            by=people.tom,
            signed=signed(people.tom),
        )
        review.refresh_from_db()
        return review

    return make


@pytest.fixture
def plain_report(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PlainReport]]:
    """The only report kind there is, so that no page layout is needed."""
    monkeypatch.setattr(REPORTS, "_members", {"plain": PlainReport()})
    monkeypatch.setattr(REPORTS, "_sources", {"plain": "tests"})
    monkeypatch.setattr(REPORTS, "_scanned", True)
    monkeypatch.setattr(execution, "sign_pdf", lambda pdf, **_: pdf)  # Its PDF is none that could be signed.
    yield PlainReport


@pytest.fixture
def content(decided: Callable[..., Review], people: SimpleNamespace, plain_report: Any) -> BundleContent:
    """What goes into the bundle of an approved version with one report."""
    review = decided()
    execution.write_report(request_report(kind="plain", version=review.version, run=review.run, by=people.amir).pk)
    return execution_bundles.gather(request_bundle(review=review, by=people.clara))


@pytest.fixture
def raw(content: BundleContent) -> bytes:
    """A bundle that verifies."""
    data = build_bundle(content, KEY)
    assert verify_bytes(data).ok
    return data


@pytest.fixture
def bundle(decided: Callable[..., Review], people: SimpleNamespace, plain_report: Any) -> Bundle:
    """An issued bundle with one report."""
    review = decided()
    execution.write_report(request_report(kind="plain", version=review.version, run=review.run, by=people.amir).pk)
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    return bundle
