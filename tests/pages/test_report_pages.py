"""Reports and bundles: found, previewed in a frame that can do nothing, issued or refused, stale or not, downloaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import LedgerEntry
from evaluation.models import AuditRun
from governance.bundle import layout
from governance.models import Answer, Bundle, Report
from governance.reports.base import REPORTS
from governance.selectors.documents import WHAT, changes_of
from governance.services.answers import record_answers
from governance.services.statements import accept_statement, write_statement
from models_registry.models import ModelVersion
from tests.pages import regulation_scene, scene

SignIn = Callable[[str], Client]


@pytest.fixture
def ruled(db: None) -> SimpleNamespace:
    return SimpleNamespace(**regulation_scene.regulate(scene.house()))


def page(house: SimpleNamespace, kind: str) -> str:
    return f"/systems/chest-model/versions/{house.twin.pk}/reports/{kind}/"


# ---- The list


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("", ["committee_one_pager", "annex_iv"]),
        ("?kind=annex_iv", ["annex_iv"]),
        ("?status=failed", ["committee_one_pager"]),
        ("?language=de", []),
        ("?system=chest-model&status=issued", ["annex_iv"]),
        ("?system=nobody", []),
        ("?kind=%3Cscript%3E", []),
    ],
)
def test_reports_are_filtered_by_the_address(
    ruled: SimpleNamespace, sign_in: SignIn, query: str, kinds: list[str]
) -> None:
    response = sign_in("mina").get(f"/reports/{query}")
    assert sorted(row.report.kind for row in response.context["reports"]) == sorted(kinds)
    assert ("No report fits these filters" in response.content.decode()) is (not kinds)


def test_the_list_asks_no_more_when_there_is_more(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")

    def count() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get("/reports/").status_code == 200
        return len(asked)

    before = count()
    for number in range(5):
        version = scene.version(f"7.{number}", of=scene.system(f"Further {number}"))
        scene.report(scene.run(version, ruled.cohort, ruled.protocol))
        regulation_scene.answers(version.system)
    assert count() == before


# ---- Stale


@pytest.fixture
def fresh(ruled: SimpleNamespace) -> Report:
    """An issued report that everything in the house is older than."""
    Report.objects.filter(pk=ruled.report.pk).update(as_of=timezone.now())
    return Report.objects.select_related("version__system").get(pk=ruled.report.pk)


def told(report: Report) -> list[str]:
    return [change.what for change in changes_of([report])[report.pk]]


def test_a_report_is_current_while_nothing_changed(fresh: Report, sign_in: SignIn) -> None:
    assert told(fresh) == []
    assert "Stale" not in sign_in("mina").get(f"/reports/{fresh.pk}/").content.decode()


def test_an_answer_that_changes_makes_it_stale(fresh: Report, sign_in: SignIn) -> None:
    record_answers(system=fresh.version.system, answers={"mdr_class": "IIb"}, reasons={}, by=scene.person("dora"))
    assert told(fresh) == ["The answer to “MDR class” changed."]
    client, at = sign_in("mina"), Answer.objects.latest("pk").answered_at
    text = client.get(f"/reports/{fresh.pk}/").content.decode()
    assert f"Stale since {at.day} {at:%b %Y %H:%M}" in text and "The answer to “MDR class” changed." in text
    assert "The answer to “MDR class” changed." in client.get("/reports/").content.decode()


def test_only_what_came_later_and_is_about_the_same_system_counts(fresh: Report, ruled: SimpleNamespace) -> None:
    other = scene.version("1.0", of=scene.system("Another"))
    elsewhere = scene.report(scene.run(other, scene.cohort("Elsewhere"), scene.protocol("elsewhere")))
    record_answers(system=other.system, answers={"role": "provider"}, reasons={}, by=scene.person("dora"))
    record_answers(system=fresh.version.system, answers={"mdr_class": "IIb"}, reasons={}, by=scene.person("dora"))
    later = scene.report(getattr(ruled, "pass"), kind="dpia")
    found = changes_of([fresh, elsewhere, later])
    assert {pk: [change.what for change in changes] for pk, changes in found.items()} == {
        fresh.pk: ["The answer to “MDR class” changed."],
        elsewhere.pk: ["The answer to “Role under the AI Act” changed."],
        later.pk: [],
    }


def test_a_draft_changes_nothing_until_it_is_accepted(fresh: Report, ruled: SimpleNamespace) -> None:
    fields = {"retention_period": "12 months"}
    by = scene.person("lea")
    draft = write_statement(version=ruled.twin, requirement="AIA-Art19", fields=fields, text="", by=by)
    assert told(fresh) == []
    accept_statement(statement=draft, remark="Compared with the policy.", by=scene.person("dora"))
    assert told(fresh) == ["A statement about AIA-Art19 was accepted."]


def test_a_newer_audit_and_a_void_approval_make_it_stale(fresh: Report, ruled: SimpleNamespace) -> None:
    later = timezone.now() + timedelta(minutes=5)
    run = scene.run(ruled.twin, ruled.real, ruled.protocol)
    AuditRun.objects.filter(pk=run.pk).update(finished_at=later)
    ModelVersion.objects.filter(pk=ruled.twin.pk).update(
        void_at=later + timedelta(minutes=1), void_reason="New weights."
    )
    fresh.refresh_from_db()
    assert told(fresh) == [f"Audit {run.pk} finished.", "The approval of the version became void. New weights."]


# ---- One report


def test_a_report_shows_its_forms_with_digests_and_who_signed(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("mina").get(f"/reports/{ruled.report.pk}/").content.decode()
    report = Report.objects.get(pk=ruled.report.pk)
    for form in ("pdf", "html", "json", "docx"):
        assert f'href="/reports/{report.pk}/{form}/"' in text
        assert getattr(report, f"{form}_digest") in text
    assert report.signed_by in text and report.dossier_digest in text and "Not ready" in text


@pytest.mark.parametrize(
    ("form", "kind", "body"),
    [
        ("pdf", "application/pdf", b"%PDF-1.7 test"),
        ("html", "text/html; charset=utf-8", b"<p>html</p>"),
        ("json", "application/json", b"{}"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"docx"),
    ],
)
def test_every_form_is_a_download_and_in_the_ledger(
    ruled: SimpleNamespace, sign_in: SignIn, form: str, kind: str, body: bytes
) -> None:
    response = sign_in("mina").get(f"/reports/{ruled.report.pk}/{form}/")
    assert (response.content, response.headers["Content-Type"]) == (body, kind)
    assert response.headers["Content-Disposition"] == f'attachment; filename="annex_iv-chest-model-1.1.{form}"'
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert LedgerEntry.objects.filter(act="report.downloaded", actor="mina").count() == 1
    assert sign_in("rita").get(f"/reports/{ruled.report.pk}/{form}/").status_code == 403


def test_what_is_being_written_asks_again_and_what_failed_says_why(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    failed = client.get(f"/reports/{ruled.report_failed.pk}/").content.decode()
    assert "It was not written" in failed and "The evidence is not in the store." in failed
    Report.objects.filter(pk=ruled.report_failed.pk).update(status="queued")
    waiting = client.get(f"/reports/{ruled.report_failed.pk}/").content.decode()
    assert 'hx-trigger="every 3s"' in waiting and "It is being written" in waiting


# ---- Preview


def test_every_kind_is_previewed_without_leaving_a_trace(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, run = sign_in("mina"), getattr(ruled, "pass")
    before = (LedgerEntry.objects.count(), Report.objects.count(), len(list(scene.store().root.rglob("*"))))
    for kind, _report in REPORTS:
        response = client.get(f"{page(ruled, kind)}preview/?run={run.pk}")
        assert response.status_code == 200, kind
        assert "Chest model" in response.content.decode(), kind
    assert (LedgerEntry.objects.count(), Report.objects.count(), len(list(scene.store().root.rglob("*")))) == before


def test_the_preview_may_run_load_and_send_nothing(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").get(f"{page(ruled, 'dpia')}preview/")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "sandbox" in policy and "allow-" not in policy and "script-src" not in policy
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN" and "frame-ancestors 'self'" in policy
    assert response.headers["Cache-Control"] == "private, no-store"
    text = sign_in("mina").get(page(ruled, "dpia")).content.decode()
    assert '<iframe class="preview-frame" title="Preview of Data protection impact assessment" sandbox src=' in text
    policy = sign_in("mina").get(page(ruled, "dpia")).headers["Content-Security-Policy"]
    assert "frame-src 'self'" in policy and "unsafe" not in policy


def test_the_preview_says_that_it_is_not_signed_and_what_changed_since(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    text = client.get(f"{page(ruled, 'dpia')}preview/").content.decode()
    assert "This is a preview: it is neither issued nor signed." in text
    assert "A radiologist reads every study." in text  # accepted
    record_answers(system=ruled.system, answers={"sites": ["Ward <b>9</b>"]}, reasons={}, by=scene.person("dora"))
    assert "Ward &lt;b&gt;9&lt;/b&gt;" in client.get(f"{page(ruled, 'dpia')}preview/").content.decode()


def test_a_preview_that_cannot_be_made_says_why(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    for query in ("?run=", "?language=xx", f"?run={ruled.fail.pk}"):  # none; unknown; of another version
        kind = "dpia" if "language" in query else "committee_one_pager"
        response = client.get(f"{page(ruled, kind)}preview/{query}")
        assert response.status_code == 409, query
        assert "There is no preview" in response.content.decode()
        assert "sandbox" in response.headers["Content-Security-Policy"]


# ---- Issue


def test_the_page_says_whether_it_is_ready_and_offers_audits_and_languages(
    ruled: SimpleNamespace, sign_in: SignIn
) -> None:
    run = getattr(ruled, "pass")
    response = sign_in("clara").get(f"{page(ruled, 'dpia')}?language=de&run=")
    text = response.content.decode()
    assert "Why it is not ready" in text and "binding requirements are missing" in text
    assert f"audit {run.pk}: imaging-classifier-v1 on Simulated chest cohort, pass" in text
    assert "preview/?language=de&amp;run=" in text and "in German" in text
    assert response.context["form"].chosen == {"language": "de", "run": ""}
    assert (
        "no audit: the version alone" not in sign_in("clara").get(page(ruled, "committee_one_pager")).content.decode()
    )


def test_a_report_is_asked_for_in_a_language_about_an_audit(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    run = getattr(ruled, "pass")
    response = sign_in("clara").post(page(ruled, "dpia"), {"language": "de", "run": str(run.pk)}, follow=True)
    made = Report.objects.latest("pk")
    assert response.redirect_chain == [(f"/reports/{made.pk}/", 302)]
    assert (made.kind, made.language, made.run, made.status) == ("dpia", "de", run, "queued")
    assert "The report is being written." in response.content.decode()
    assert LedgerEntry.objects.filter(act="report.requested", actor="clara").count() == 1


def test_a_refusal_is_told_with_its_remedy(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, typed = sign_in("clara"), {"language": "en", "run": ""}
    assert client.post(page(ruled, "dpia"), typed).status_code == 302
    response = client.post(page(ruled, "dpia"), typed)
    text = response.content.decode()
    assert response.status_code == 409 and "error-summary" in text
    assert "is being written already." in text and "Wait until it is issued" in text
    assert LedgerEntry.objects.filter(act="report.refused").count() == 1


def test_about_a_prohibited_practice_nothing_is_issued(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    record_answers(system=ruled.system, answers={"art5_a": True}, reasons={}, by=scene.person("dora"))
    text = client.get(page(ruled, "dpia")).content.decode()
    assert "Article 5 prohibits the practice, so no document is issued about it." in text
    assert "Issue the report" not in text
    refused = client.post(page(ruled, "dpia"), {"language": "en", "run": ""})
    assert refused.status_code == 409 and "Article 5 of the AI Act prohibits" in refused.content.decode()
    assert not Report.objects.filter(kind="dpia").exists()
    assert "Issue the report" in client.get(page(ruled, "serious_incident")).content.decode()


def test_who_may_not_issue_reads_why(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    assert "may issue reports and bundles." in client.get(page(ruled, "dpia")).content.decode()
    assert client.post(page(ruled, "dpia"), {"language": "en", "run": ""}).status_code == 403
    assert sign_in("rita").get(page(ruled, "dpia")).status_code == 403
    assert sign_in("rita").get(f"{page(ruled, 'dpia')}preview/").status_code == 403


def test_an_audit_of_another_version_cannot_be_chosen(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("clara").post(page(ruled, "dpia"), {"language": "en", "run": str(ruled.fail.pk)})
    assert response.status_code == 422 and not Report.objects.filter(kind="dpia").exists()


def test_a_report_that_needs_an_audit_says_so_where_there_is_none(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    version = scene.version("3.0")
    url = f"/systems/chest-model/versions/{version.pk}/reports/committee_one_pager/"
    text = sign_in("clara").get(url).content.decode()
    assert "No audit of this version is finished" in text and "<iframe" not in text


# ---- Bundles


def test_a_bundle_tells_what_is_in_it_and_how_to_verify_it(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in ("evidence.json", "reports/dpia-de.pdf", "status.json", "unknown.bin"):
            archive.writestr(name, b"x" * 1500)
    (settings.AUSCULT_HOME / "bundles" / ruled.bundle.file_name).write_bytes(body.getvalue())
    text = sign_in("mina").get(f"/reports/bundles/{ruled.bundle.pk}/").content.decode()
    for said in (
        "what the audit measured and judged",
        "Data protection impact assessment, PDF, language de",
        "unknown.bin",
        "1.5 kB",
        ruled.bundle.digest,
        ruled.bundle.key_id,
        f"auscult verify {ruled.bundle.file_name} --trust FINGERPRINT",
        f"python verify.py {ruled.bundle.file_name}",
        "openssl pkey -pubin -in key.pem -outform DER | sha256sum",
        "The zip is in its one canonical form, byte for byte",
        "none: no authority is set up",
        f'href="/reports/bundles/{ruled.bundle.pk}/download/"',
    ):
        assert said in text, said


def test_every_file_of_the_layout_has_words() -> None:
    assert set(WHAT) == layout.REQUIRED | layout.ADDED | {layout.TIMESTAMP}


def test_a_bundle_tells_its_time_stamp_and_a_check_that_failed(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    problem = {"file": "evidence.json", "message": "is not what the manifest says"}
    Bundle.objects.filter(pk=ruled.bundle.pk).update(
        verification={
            "ok": False,
            "timestamp": {"time": "2026-11-22T13:00:00+00:00", "authority": "CN=Example TSA", "certificate": "0" * 64},
            "checks": [{"title": "Every file has its digest", "ok": False, "problems": [problem]}],
        }
    )
    text = sign_in("mina").get(f"/reports/bundles/{ruled.bundle.pk}/").content.decode()
    assert "22 Nov 2026 13:00 UTC by CN=Example TSA" in text
    assert "Not verified" in text and "is not what the manifest says" in text


def test_a_bundle_whose_file_is_gone_or_broken_says_so(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), f"/reports/bundles/{ruled.bundle.pk}/"
    assert "cannot be read" in client.get(url).content.decode()  # the scene's file is no zip
    (settings.AUSCULT_HOME / "bundles" / ruled.bundle.file_name).unlink()
    text = client.get(url).content.decode()
    assert "has no file" in text and f'href="{url}download/"' not in text
    Bundle.objects.filter(pk=ruled.bundle.pk).update(status="queued", file_name="", digest="")
    assert 'hx-trigger="every 3s"' in client.get(url).content.decode()
    Bundle.objects.filter(pk=ruled.bundle.pk).update(status="failed", error="A vote is missing.")
    assert "A vote is missing." in client.get(url).content.decode()
