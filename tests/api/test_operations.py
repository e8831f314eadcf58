"""What programs do from one end to the other: each operation by whom it is for, and refused to others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.models import LedgerEntry, Role, RoleGrant, User
from evaluation.models import AuditRun
from governance.models import Bundle, Report
from models_registry import execution, execution_intake
from models_registry.models import AISystem, CohortImport, VersionIntake
from synthetic.models import Generation, GeneratorTraining
from tests.api.program import check_problem
from tests.api.test_schema import OPERATIONS
from tests.registry.scene import Files, make_cohort, make_protocol, make_version, write_files

SYSTEM = {"name": "New model", "intended_purpose": "Finds effusion."}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return write_files(tmp_path_factory.mktemp("files"), monkeypatch)


def last_act() -> tuple[str, str]:
    row = LedgerEntry.objects.latest("index")
    return row.actor, row.act


def test_a_version_comes_in_from_a_pipeline(program: Any, house: Any, files: Files) -> None:
    elena = program("elena", "register", "read")
    made = elena.post("/systems", SYSTEM)
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/systems/new-model")
    assert elena.get(made.headers["Location"]).json() == made.json()
    content = (files.predictions / "predictions.parquet").read_bytes()
    promised = {"label": "1.0", "adapter": "recorded", "files": [{"path": "predictions.parquet", "size": len(content)}]}
    started = elena.post("/systems/new-model/intakes", promised)
    assert (started.status_code, started.json()["status"]) == (201, "receiving")
    place = started.headers["Location"]
    check_problem(elena.post(f"{place}/finish"), "conflict")
    half = len(content) // 2
    first = elena.put(f"{place}/files?path=predictions.parquet&offset=0", content[:half])
    assert first.json() == {"path": "predictions.parquet", "size": len(content), "received": half}
    check_problem(elena.put(f"{place}/files?path=predictions.parquet&offset=1", content[half:]), "conflict")
    assert elena.get(place).json()["files"][0]["received"] == half
    elena.put(f"{place}/files?path=predictions.parquet&offset={half}", content[half:])
    assert elena.post(f"{place}/finish").json()["status"] == "queued"
    execution_intake.check_intake(started.json()["id"])
    told = elena.get(place).json()
    assert (told["status"], {check["state"] for check in told["checks"]} <= {"ok", "warning"}) == ("ready", True)
    assert elena.post(f"{place}/confirm", {}).json()["status"] == "registering"
    execution_intake.register_intake(told["id"])
    told = elena.get(place).json()
    assert told["status"] == "registered"
    version = elena.get(f"/versions/{told['version']}").json()
    assert version["manifest"] == {"predictions.parquet": hashlib.sha256(content).hexdigest()}
    assert [
        row["id"] for row in elena.get("/systems/new-model/versions", digest=version["digest"]).json()["items"]
    ] == [version["id"]]


def test_an_intake_is_checked_again_and_discarded(program: Any, house: Any, files: Files, settings: Any) -> None:
    elena, slug = program("elena"), house.system.slug
    body = {"label": "7.0", "adapter": "recorded", "kind": "folder", "path": str(files.predictions)}
    check_problem(elena.post(f"/systems/{slug}/intakes", body), "not-allowed")
    settings.AUSCULT_IMPORT_ROOTS = [files.predictions.parent]
    row = elena.post(f"/systems/{slug}/intakes", body).json()
    execution_intake.check_intake(row["id"])
    assert elena.post(f"/intakes/{row['id']}/recheck", {"label": "7.1"}).json()["label"] == "7.1"
    assert elena.post(f"/intakes/{row['id']}/discard").json()["status"] == "discarded"
    check_problem(elena.post(f"/intakes/{row['id']}/discard"), "conflict")
    assert [item["id"] for item in elena.get("/intakes", status="discarded").json()["items"]] == [row["id"]]


def test_a_cohort_comes_in_and_no_row_is_told(program: Any, house: Any, files: Files, tmp_path: Path) -> None:
    amir = program("amir", "register", "read")
    content = files.cohort.read_bytes()
    url = "/cohort-imports/uploads?name=Ward+B&licence=none&file_name=ward.parquet"
    made = amir.post(url, content, kind="application/vnd.apache.parquet", key="up-1")
    assert made.status_code == 201, made.content
    again = amir.post(url, content, kind="application/vnd.apache.parquet", key="up-1")
    assert (again.headers["Idempotency-Replayed"], again.json()) == ("true", made.json())
    check_problem(amir.post(url, content + b"x", kind="application/vnd.apache.parquet", key="up-1"), "key-used")
    row = CohortImport.objects.get(name="Ward B")
    assert Path(row.source_path).read_bytes() == content and not list((tmp_path / "received").iterdir())
    execution.inspect_import(row.pk)
    told = amir.get(made.headers["Location"])
    assert (told.json()["status"], told.json()["summary"]["n_patients"]) == ("ready", 240)
    assert "p000" not in told.content.decode() and "preview" not in told.json()
    assert amir.post(f"/cohort-imports/{row.pk}/confirm").json()["status"] == "registering"
    execution.register_import(row.pk)
    version = amir.get(made.headers["Location"]).json()["cohort_version"]
    assert amir.get(f"/cohort-versions/{version}").json()["patients"] == 240
    assert not Path(row.source_path).exists()


def test_a_file_on_the_server_and_its_columns(program: Any, house: Any, tmp_path: Path) -> None:
    elena = program("elena")
    (tmp_path / "sources" / "a.csv").write_text("Pat,study_id,label.effusion\np1,s1,1\n")
    given = {"name": "Ward C", "path": str(tmp_path / "sources" / "a.csv")}
    check_problem(elena.post("/cohort-imports", given | {"path": "/etc/passwd"}), "not-allowed")
    check_problem(elena.post("/cohort-imports", given | {"path": "a.csv"}), "not-as-asked")
    made = elena.post("/cohort-imports", given).json()
    execution.inspect_import(made["id"])
    told = elena.get(f"/cohort-imports/{made['id']}").json()
    assert (told["status"], told["errors"] > 0) == ("blocked", True)
    mapping = {"columns": {"Pat": "patient_id"}}
    mapped = elena.post(f"/cohort-imports/{made['id']}/mapping", {"mapping": mapping}).json()
    assert (mapped["status"], mapped["mapping"]) == ("queued", mapping)
    assert elena.post(f"/cohort-imports/{made['id']}/discard").json()["status"] == "discarded"
    assert (tmp_path / "sources" / "a.csv").exists()


def test_an_audit_is_asked_for_stopped_and_gone_on_with(program: Any, house: Any, files: Files) -> None:
    people = SimpleNamespace(**{name: person_called(name) for name in ("elena", "amir", "clara")})
    version = make_version(people, files.predictions, system=house.system, label="9.0")
    cohort, rules = make_cohort(people, files.shards), make_protocol(people)
    body = {"version": version.pk, "cohort": cohort.pk, "protocol": rules.pk}
    check_problem(program("elena").post("/audits", body), "not-allowed")
    amir = program("amir", "audit", "read")
    check_problem(amir.post("/audits", body | {"cohort": 99999}), "not-found")
    made = amir.post("/audits", body)
    assert (made.status_code, made.json()["status"], last_act()) == (201, "queued", ("amir", "run.requested"))
    check_problem(amir.post("/audits", body), "conflict")
    place = made.headers["Location"]
    assert amir.get(place).json()["progress"]["studies_total"] == 480
    assert amir.post(f"{place}/cancel").json()["status"] == "cancelled"
    assert amir.post(f"{place}/resume").json()["status"] == "queued"
    check_problem(amir.get(f"{place}/evidence.json"), "not-found")


def person_called(name: str) -> Any:
    from tests.pages.scene import person

    return person(name)


def test_what_an_audit_found(program: Any, house: Any) -> None:
    amir, run = program("mina", "read"), house.fail
    verdicts = amir.get(f"/audits/{run.pk}/verdicts").json()["items"]
    assert [row["outcome"] for row in verdicts] == list(run.verdicts.values_list("outcome", flat=True))
    rows = amir.get(f"/audits/{run.pk}/measurements", limit=200, label="effusion").json()["items"]
    assert rows and {row["label"] for row in rows} == {"effusion"}
    assert len(rows) == min(200, run.measurements.filter(label="effusion").count())
    evidence = amir.get(f"/audits/{run.pk}/evidence.json")
    assert hashlib.sha256(evidence.content).hexdigest() == run.evidence_digest
    assert amir.get(f"/audits/{run.pk}").json()["evidence_digest"] == run.evidence_digest
    assert [row["id"] for row in amir.get("/audits", status="running").json()["items"]] == [house.running.pk]
    assert amir.get(f"/protocols/{house.protocol.pk}").json()["body"] == house.protocol.body
    assert [row["id"] for row in amir.get("/protocols", status="locked").json()["items"]] == [house.waiting.pk]


def test_reviews_reports_and_bundles(program: Any, house: Any) -> None:
    clara = program("clara", "read", "report")
    told = clara.get(f"/reviews/{house.decided.pk}").json()
    assert (told["status"], told["approve"], {vote["voter"] for vote in told["votes"]}) == (
        "approved",
        2,
        {"tom", "mina"},
    )
    assert [row["id"] for row in clara.get("/reviews", status="open").json()["items"]] == [house.review.pk]
    report = clara.get(f"/reports/{house.report.pk}").json()
    assert report["files"] == {"pdf": house.report.pdf_digest, "json": house.report.json_digest}
    file = clara.get(f"/reports/{house.report.pk}/files/pdf")
    assert (file.content, last_act()) == (b"%PDF-1.7 test", ("clara", "report.downloaded"))
    check_problem(clara.get(f"/reports/{house.report.pk}/files/docx"), "not-found")
    bundle = clara.get(f"/bundles/{house.bundle.pk}/download")
    assert (b"".join(bundle), last_act()) == (b"PK test", ("clara", "bundle.downloaded"))
    check_problem(clara.post("/bundles", {"review": house.review.pk}), "conflict")
    check_problem(program("elena").post("/bundles", {"review": house.decided.pk}), "not-allowed")
    made = clara.post("/bundles", {"review": house.decided.pk})
    assert (made.status_code, Bundle.objects.get(pk=made.json()["id"]).status) == (201, "queued")
    made = clara.post("/reports", {"kind": "model_card", "version": house.twin.pk})
    assert (made.status_code, Report.objects.get(pk=made.json()["id"]).issued_by.username) == (201, "clara")
    check_problem(clara.post("/reports", {"kind": "poem", "version": house.twin.pk}), "not-as-asked")


def test_synthetic_patients_are_ordered(program: Any, house: Any) -> None:
    elena = program("elena", "synthetic", "read")
    body = {"system": house.system.slug, "label": "g1", "cohort": house.cohort.pk, "settings": {"seed": 1}}
    check_problem(program("amir").post("/synthetic/generators", body), "not-allowed")
    check_problem(elena.post("/synthetic/generators", body | {"settings": {"seed": "x"}}), "not-as-asked")
    made = elena.post("/synthetic/generators", body)
    assert made.status_code == 201, made.content
    place = made.headers["Location"]
    assert elena.post(f"{place}/cancel").json()["status"] == "cancelled"
    assert elena.post(f"{place}/resume").json()["status"] == "queued"
    assert elena.get("/synthetic/generators").json()["items"][0]["label"] == "g1"
    wish = {"version": house.version.pk, "cohort_name": "Made", "wish": {"patients": 5}}
    check_problem(elena.post("/synthetic/patients", wish), "conflict")
    order = Generation.objects.create(
        generator="linked", version=house.version, cohort_name="Made", requested_by=house.version.submitted_by
    )
    assert elena.get(f"/synthetic/patients/{order.pk}").json()["generator"] == house.version.pk
    assert elena.post(f"/synthetic/patients/{order.pk}/cancel").json()["status"] == "cancelled"
    assert GeneratorTraining.objects.count() == 1


def filled(path: str, house: Any) -> str:
    return path.replace("{slug}", house.system.slug).replace("{pk}", str(house.fail.pk)).replace("{form}", "pdf")


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_asks_for_its_scope_and_for_somebody_of_the_house(name: str, house: Any, program: Any) -> None:
    from config.api_schema import openapi
    from core.models import ApiToken

    path, method = OPERATIONS[name]
    (scope,) = openapi()["paths"][path][method]["security"][0]["token"]
    others = [value for value in ApiToken.Scope.values if value != scope]
    url = filled(path, house)
    before = LedgerEntry.objects.count()
    for one in (program("clara", *others), program("rita"), program("nobody")):
        sent = {"get": one.get, "post": one.post}.get(method, lambda at, one=one: one.put(at, b"x"))
        count = LedgerEntry.objects.count()
        check_problem(sent(url), "not-allowed")
        assert LedgerEntry.objects.count() == count
    assert LedgerEntry.objects.count() >= before


def test_what_is_not_there_answers_alike(house: Any, program: Any) -> None:
    one = program("clara")
    told = []
    for pk in (0, 99999, 2**70):
        told.append(check_problem(one.get(f"/versions/{pk}"), "not-found"))
        check_problem(one.get(f"/audits/{pk}"), "not-found")
    assert told[0] == told[1] == told[2]
    check_problem(one.get("/systems/none"), "not-found")


@pytest.mark.parametrize("path", ["/api", "/api/v2/systems", "/api/v1/", "/api/v1/poems", "/api/v1/systems/"])
def test_an_address_that_nobody_has(path: str, db: None, program: Any) -> None:
    check_problem(program("clara").get(path), "not-found")


def test_other_methods_forms_and_sizes(house: Any, program: Any, settings: Any) -> None:
    one = program("elena")
    told = one.put("/systems", b"x")
    check_problem(told, "method")
    assert set(told.headers["Allow"].split(", ")) == {"GET", "POST"}
    check_problem(one.post("/systems", "name=x", kind="text/plain"), "media-type")
    check_problem(one.post("/systems", "{", kind="application/json"), "unreadable")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    check_problem(one.post("/systems", SYSTEM | {"provider": "x" * 150}), "too-large")
    settings.AUSCULT_IMPORT_BYTES = 3
    check_problem(one.post("/cohort-imports/uploads?name=A", b"a,b\n", kind="text/csv"), "too-large")
    check_problem(one.post("/cohort-imports/uploads?name=A", b"a,b\n", kind="text/html"), "media-type")
    assert not AISystem.objects.filter(slug="new-model").exists() and not VersionIntake.objects.exists()


def test_a_token_asks_so_often_in_a_minute(house: Any, program: Any, settings: Any) -> None:
    settings.AUSCULT_API_RATE = 2
    one, other = program("clara"), program("clara")
    assert [one.get("/systems").status_code for _ in range(2)] == [200, 200]
    told = one.get("/systems")
    check_problem(told, "too-many")
    assert 1 <= int(told.headers["Retry-After"]) <= 60
    assert other.get("/systems").status_code == 200
    settings.AUSCULT_API_RATE = 0
    assert one.get("/systems").status_code == 200


def test_an_audit_s_error_is_never_a_page(house: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.api.audits.audit_out", lambda row: 1 / 0)
    told = check_problem(program("clara").get("/audits"), "failed")
    assert "ZeroDivision" not in str(told) and AuditRun.objects.exists()


def test_a_role_on_one_system_counts_there_and_nothing_else_exists(house: Any, program: Any) -> None:
    person = User.objects.create(username="nora")
    for role in (Role.ML_ENGINEER, Role.AUDITOR):
        RoleGrant.objects.create(user=person, role=role, system_key=house.system.pk)
    nora = program(person)
    other = AISystem.objects.exclude(pk=house.system.pk).get()
    theirs = other.versions.get()
    assert [row["slug"] for row in nora.get("/systems").json()["items"]] == [house.system.slug]
    missing = check_problem(nora.get("/versions/99999"), "not-found")
    assert check_problem(nora.get(f"/versions/{theirs.pk}"), "not-found") == missing
    check_problem(nora.get(f"/systems/{other.slug}/versions"), "not-found")
    check_problem(nora.get(f"/audits/{house.broken.pk}"), "not-found")
    mine = {row["system"] for row in nora.get("/audits").json()["items"]}
    assert mine == {house.system.slug}
    promised = {"label": "8.0", "adapter": "recorded", "files": [{"path": "a.parquet", "size": 1}]}
    assert nora.post(f"/systems/{house.system.slug}/intakes", promised).status_code == 201
    check_problem(nora.post(f"/systems/{other.slug}/intakes", promised), "not-found")
    check_problem(nora.post("/systems", SYSTEM), "not-allowed")
    for path in ("/cohorts", f"/cohort-versions/{house.cohort.pk}", "/cohort-imports", "/protocols"):
        check_problem(nora.get(path), "not-allowed")
