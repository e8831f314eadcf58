"""A dossier holds what is known about a version, and gathering it costs the same however much that is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import ledger
from core.digests import canonical_json, sha256_bytes
from evaluation.models import AuditRun, Verdict
from governance.dossier import gather_dossier
from governance.models import Answer, Report, Review, Statement
from governance.requirements import load_requirements
from governance.standing.bindings import binding_of
from governance.standing.kinds import kinds_of
from models_registry.models import Cohort, CohortVersion, ModelVersion
from tests.governance.conftest import make_version

pytestmark = pytest.mark.django_db
Make = Callable[..., AuditRun]


def verdict_of(run: AuditRun, position: int = 0, **given: Any) -> Verdict:
    detail = {
        "criterion": "tpr-gap",
        "metric": "equal_opportunity_difference",
        "attribute": "sex",
        "outcome": "pass",
        "value": 0.03,
        "low": 0.01,
        "high": 0.06,
        "n": 500,
    } | given
    return Verdict.objects.create(
        run=run,
        position=position,
        criterion=detail["criterion"],
        attribute=detail["attribute"],
        outcome=detail["outcome"],
        primary=given.pop("primary", True),
        statement="As measured.",
        detail=detail,
    )


def answer(version: ModelVersion, by: Any, question: str, value: Any) -> Answer:
    return Answer.objects.create(system=version.system, question=question, value=value, author=by, reason="Known.")


def write(version: ModelVersion, people: SimpleNamespace, key: str, status: str = "draft", **given: Any) -> Statement:
    count = Statement.objects.filter(version=version, requirement=key).count()
    return Statement.objects.create(
        version=version,
        requirement=key,
        revision=count + 1,
        status=status,
        author=people.elena,
        decided_by=people.clara if status == "accepted" else None,
        decided_at=timezone.now() if status == "accepted" else None,
        **given,
    )


def finished(run: AuditRun, *, minutes: int = 0, **given: Any) -> AuditRun:
    run.finished_at = datetime(2026, 11, 20, 10, tzinfo=UTC) + timedelta(minutes=minutes)
    for name, value in given.items():
        setattr(run, name, value)
    run.save()
    return run


def copy_of(run: AuditRun, **given: Any) -> AuditRun:
    """Another run of the same version."""
    fields = ("version", "cohort", "protocol", "settings", "status", "outcome", "n_studies", "evidence_digest")
    people = ("version_submitted_by", "protocol_approved_by", "requested_by")
    told = {name: getattr(run, name) for name in (*fields, *people)}
    count = AuditRun.objects.count()
    return AuditRun.objects.create(**told | {"spec_digest": sha256_bytes(f"{count}".encode())} | given)


def other_cohort(people: SimpleNamespace, name: str = "Winter", *, simulated: bool = False) -> CohortVersion:
    cohort = Cohort.objects.create(name=name, slug=name.lower(), created_by=people.amir, simulated=simulated)
    return CohortVersion.objects.create(
        cohort=cohort,
        digest=sha256_bytes(name.encode()),
        n_studies=90,
        n_patients=80,
        summary={},
        registered_by=people.amir,
    )


def test_it_is_plain_json_and_names_what_it_is_about(audited: Make) -> None:
    run = finished(audited())
    verdict_of(run)
    dossier = gather_dossier(run.version, as_of=datetime(2026, 11, 22, 12, tzinfo=UTC))
    canonical_json(dossier)
    assert dossier["schema"] == "auscult/dossier/1"
    assert dossier["as_of"] == "2026-11-22T12:00:00+00:00"
    assert dossier["system"]["intended_purpose"] == "Finds effusion."
    assert dossier["version"]["digest"] == run.version.digest
    assert dossier["catalogue"]["digest"] == load_requirements().digest
    assert dossier["cohort"] == {
        "name": "Held out",
        "digest": run.cohort.digest,
        "simulated": False,
        "n_studies": 500,
        "n_patients": 200,
        "source": "",
    }
    assert (dossier["previous"], dossier["run"], dossier["sites"]) == (None, None, [])


def test_an_audit_is_told_with_its_protocol_its_outcomes_and_what_it_shows(audited: Make) -> None:
    run = finished(audited())
    verdict_of(run)
    verdict_of(run, 1, criterion="ppv", attribute="", outcome="insufficient", low=None)
    verdict_of(run, 2, criterion="oe", metric="observed_expected", outcome="fail", primary=False)
    run.protocol.body = run.protocol.body | {"suites": ["fairness"]}
    run.protocol.save()
    (audit,) = gather_dossier(run.version)["audits"]
    assert audit["protocol"]["digest"] == run.protocol.digest
    assert audit["protocol"]["approved_by"] == "clara"
    assert audit["primary"] == {"passed": 1, "failed": 0, "insufficient": 1}
    assert audit["without_value"] == ["ppv"]
    assert audit["attributes"] == ["sex"]
    assert audit["kinds"] == ["calibration_report", "fairness_audit", "performance_evaluation"]
    assert audit["evidence_digest"] == run.evidence_digest


def test_an_audit_shows_only_what_its_criteria_were_judged_on() -> None:
    value = {"metric": "auroc", "attribute": "", "value": 0.9}
    assert kinds_of(["fairness"], [value]) == ["performance_evaluation"]
    assert kinds_of(["fairness"], [value | {"attribute": "sex"}]) == ["fairness_audit", "performance_evaluation"]
    assert kinds_of(["fairness"], [value | {"metric": "calibration_slope"}]) == [
        "calibration_report",
        "performance_evaluation",
    ]
    assert kinds_of(["fairness"], [value | {"metric": "chair_i"}]) == ["hallucination_check", "performance_evaluation"]
    for metric in ("negation_flip", "prior_hallucination_difference", "pope_f1_popular", "mirage", "entropy_auroc"):
        assert "hallucination_check" in kinds_of(["fairness"], [value | {"metric": metric}])
    assert kinds_of(["hallucination"], [value | {"metric": "omission"}]) == ["hallucination_check"]
    assert kinds_of(["fairness"], [value | {"metric": "omission"}]) == ["performance_evaluation"]
    assert kinds_of(["hallucination"], [value | {"metric": "pope_f1_popular", "value": None}]) == []
    assert kinds_of(["robustness"], [value]) == ["robustness_audit"]
    assert kinds_of(["fairness"], [value | {"metric": "calibration_slope", "value": None}]) == []
    assert kinds_of(["fairness", "drift"], []) == []


def test_of_runs_by_one_protocol_on_one_cohort_the_newest_counts(audited: Make, people: SimpleNamespace) -> None:
    first = finished(audited(outcome="fail"))
    second = finished(copy_of(first, outcome="pass", attempt=2), minutes=5)
    elsewhere = finished(copy_of(first, cohort=other_cohort(people)), minutes=-5)
    unfinished = copy_of(first, status="running", outcome="")
    numbers = [audit["run"] for audit in gather_dossier(first.version)["audits"]]
    assert numbers == [second.pk, elsewhere.pk]
    assert unfinished.pk not in numbers


def test_the_run_decides_the_cohort_and_without_one_the_newest_audit(audited: Make, people: SimpleNamespace) -> None:
    first = finished(audited())
    later = finished(copy_of(first, cohort=other_cohort(people, simulated=True)), minutes=9)
    assert gather_dossier(first.version)["cohort"]["name"] == "Winter"
    assert gather_dossier(first.version)["cohort"]["simulated"] is True
    assert gather_dossier(first.version, run=first)["cohort"]["name"] == "Held out"
    assert gather_dossier(first.version, run=first)["run"] == {"id": first.pk}
    assert later.version_id == first.version_id


def test_the_version_before_is_told_with_its_audits(audited: Make) -> None:
    old, new = finished(audited(label="1.0")), audited(label="1.1")
    dossier = gather_dossier(new.version)
    assert dossier["previous"]["label"] == "1.0"
    assert [row["label"] for row in dossier["versions"]] == ["1.0", "1.1"]
    assert [(row["run"], row["version"]["label"]) for row in dossier["earlier_audits"]] == [(old.pk, "1.0")]
    assert [row["run"] for row in dossier["audits"]] == [new.pk]
    assert gather_dossier(old.version)["previous"] is None
    assert [row["label"] for row in gather_dossier(old.version)["versions"]] == ["1.0"]


def test_the_newest_answer_counts_and_one_taken_back_is_none(people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    answer(version, people.dora, "ai_system", False)
    answer(version, people.elena, "ai_system", True)
    answer(version, people.dora, "personal_data", True)
    answer(version, people.dora, "personal_data", None)
    answer(version, people.dora, "sites", [" Charité Mitte ", "Benjamin Franklin", ""])
    dossier = gather_dossier(version)
    assert dossier["answers"]["ai_system"]["value"] is True
    assert dossier["answers"]["ai_system"]["author"] == "elena"
    assert "personal_data" not in dossier["answers"]
    assert dossier["sites"] == ["Benjamin Franklin", "Charité Mitte"]


def test_statements_are_the_newest_and_the_newest_accepted(people: SimpleNamespace) -> None:
    old, new = make_version(people, "1.0"), make_version(people, "1.1")
    carried = write(old, people, "AIA-Art4", "accepted")
    write(old, people, "AIA-Art4", "draft")
    write(new, people, "AIA-Art18", "accepted")
    accepted = write(new, people, "AIA-Art18", "accepted", fields={"storage_location": "Archive"})
    draft = write(new, people, "AIA-Art18", generated=True)
    rows = gather_dossier(new)["statements"]
    assert [row["id"] for row in rows] == [carried.pk, accepted.pk, draft.pk]
    assert rows[0]["version"] == "1.0"
    assert rows[1]["fields"] == {"storage_location": "Archive"}
    assert rows[1]["decided_by"] == "clara"
    assert (rows[2]["status"], rows[2]["generated"]) == ("draft", True)


def test_reviews_and_issued_reports_of_this_version_alone(decided: Callable[..., Review], people: Any) -> None:
    review = decided()
    told = {"kind": "pmm_plan", "as_of": timezone.now(), "issued_by": people.amir}
    Report.objects.create(version=review.version, status="issued", ready=True, pdf_digest="a" * 64, **told)
    Report.objects.create(version=review.version, status="failed", **told)
    Report.objects.create(version=make_version(people, "2.0"), status="issued", **told)
    dossier = gather_dossier(review.version)
    assert [(row["kind"], row["ready"]) for row in dossier["reports"]] == [("pmm_plan", True)]
    (row,) = dossier["reviews"]
    assert (row["status"], row["run"], row["excluded"]) == ("approved", review.run_id, ["elena", "amir", "clara"])
    assert {vote["voter"] for vote in row["votes"]} == {"mina", "tom"}


def test_the_head_of_the_ledger_is_the_ledgers_own(people: SimpleNamespace) -> None:
    for label in ("1.0", "1.1", "1.2", "1.3", "1.4"):
        version = make_version(people, label)
        head = ledger.tree_head()
        assert gather_dossier(version)["ledger"] == {"size": head.size, "root": head.root}


def test_a_void_approval_is_told(people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    version.void_at, version.void_reason = datetime(2026, 11, 21, tzinfo=UTC), "The backbone changed."
    version.save()
    told = gather_dossier(version)["version"]["void"]
    assert told == {"at": "2026-11-21T00:00:00+00:00", "reason": "The backbone changed."}


def test_the_queries_do_not_grow_with_what_is_there(audited: Make, people: SimpleNamespace) -> None:
    run = finished(audited())
    verdict_of(run)
    version = run.version
    write(version, people, "AIA-Art18", "accepted")
    answer(version, people.dora, "ai_system", True)
    with CaptureQueriesContext(connection) as few:
        gather_dossier(version)
    for number in range(12):
        other = finished(copy_of(run, cohort=other_cohort(people, f"Cohort {number}")), minutes=number)
        verdict_of(other)
        answer(version, people.dora, f"wp248_c{number}", True)
        make_version(people, f"0.{number}")
    for item in load_requirements().requirements[:60]:
        write(version, people, item.id, "accepted", binding={"version": version.digest})
    with CaptureQueriesContext(connection) as many:
        dossier = gather_dossier(version)
    assert (len(dossier["audits"]), len(dossier["statements"])) == (13, 61)
    assert len(many) == len(few)
    assert len(few) <= 21  # five of them find the registers empty


def test_no_measurement_is_read(audited: Make) -> None:
    run = finished(audited())
    with CaptureQueriesContext(connection) as queries:
        gather_dossier(run.version)
    assert not any("evaluation_measurement" in query["sql"] for query in queries)


def test_a_binding_names_what_a_requirement_speaks_of(audited: Make, people: SimpleNamespace) -> None:
    run = finished(audited())
    answer(run.version, people.dora, "sites", ["Charité Mitte"])
    dossier, catalogue = gather_dossier(run.version), load_requirements()
    of_data = binding_of(dossier, catalogue.requirement("AIA-Art10-2-fg"))
    assert of_data == {
        "version": run.version.digest,
        "cohort": run.cohort.digest,
        "sites": None,
        "timeline": ["T-AIA-ANNEX-I", "2028-08-02", None],
    }
    of_use = binding_of(dossier, catalogue.requirement("AIA-Art26-2"))
    assert (of_use["cohort"], of_use["sites"]) == (None, ["Charité Mitte"])
    assert binding_of(dossier, catalogue.requirement("AIA-Art49-1"))["timeline"] == [
        "T-AIA-HR-FUNC-III",
        "2027-12-02",
        "2026-08-02",
    ]
