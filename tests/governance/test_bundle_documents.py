"""What a bundle tells besides evidence and votes: dossier, requirement status, ML-BOM, reports, time-stamp."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.digests import sha256_bytes
from core.errors import ConflictError, TransientError
from core.models import LedgerEntry
from core.store import Store
from evaluation.models import AuditRun
from governance import execution, execution_bundles, selectors
from governance.bundle.verify import verify_bundle
from governance.models import Bundle, Review, Statement
from governance.requirements import load_requirements
from governance.services.bundles import request_bundle
from governance.services.reports import request_report
from governance.standing.status_document import status_document
from models_registry.cards import ml_bom_bytes
from tests.governance.forging import findings
from tests.governance.stamping import Authority
from tests.unguarded import without_trigger

pytestmark = pytest.mark.usefixtures("plain_report")
Made = Callable[..., Any]


def contents(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(selectors.bundle_path(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def issued(review: Review, people: SimpleNamespace) -> Bundle:
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.ISSUED, bundle.error
    return bundle


def test_the_dossier_is_of_the_moment_at_which_the_bundle_was_asked_for(
    decided: Made, people: SimpleNamespace, home: Path
) -> None:
    review = decided()
    bundle = request_bundle(review=review, by=people.clara)
    late = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    execution.write_report(late.pk)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    files = contents(bundle)
    dossier = json.loads(files["dossier.json"])
    assert dossier["reports"] == []
    asked = json.loads(LedgerEntry.objects.get(act="bundle.requested").body)
    assert asked["payload"]["dossier"] == sha256_bytes(files["dossier.json"])
    assert dossier["ledger"]["size"] == asked["index"]
    assert (dossier["run"], dossier["version"]["digest"]) == ({"id": review.run_id}, review.version_digest)


def test_the_status_names_every_requirement_and_what_it_was_judged_from(bundle: Bundle) -> None:
    files = contents(bundle)
    status, evidence = json.loads(files["status.json"]), json.loads(files["evidence.json"])
    assert status["dossier"] == sha256_bytes(files["dossier.json"])
    assert status["evidence"] == sha256_bytes(files["evidence.json"])
    catalogue = load_requirements()
    assert [row["id"] for row in status["requirements"]] == [item.id for item in catalogue.requirements]
    binding = [row["state"] for row in status["requirements"] if row["status"] == "binding"]
    assert status["counts"] == {state: binding.count(state) for state in status["counts"]}
    assert status["counts"]["complete"] == 0  # No question was answered: nothing is known to apply.
    again = status_document(files["dossier.json"], evidence, evidence_digest=status["evidence"])
    assert json.loads(json.dumps(again)) == status


def test_the_bom_is_that_of_the_version(bundle: Bundle) -> None:
    assert contents(bundle)["model.cdx.json"] == ml_bom_bytes(bundle.review.version)


def test_reports_in_each_language_and_about_no_audit_are_in_it(decided: Made, people: SimpleNamespace) -> None:
    review = decided()
    for language, run in (("en", review.run), ("de", review.run), ("en", None)):
        report = request_report(kind="plain", version=review.version, run=run, language=language, by=people.amir)
        execution.write_report(report.pk)
    files = contents(issued(review, people))
    forms = ("docx", "html", "json", "pdf")
    assert [name for name in sorted(files) if name.startswith("reports/")] == [
        f"reports/{name}.{form}" for name in ("plain-de", "plain") for form in forms
    ]
    digests = {
        name: json.loads(files[f"reports/{name}.json"])["subject"]["evidence_digest"] for name in ("plain", "plain-de")
    }
    assert digests == {"plain": None, "plain-de": review.evidence_digest}  # Of one kind and language, the latest.


def test_a_report_about_no_audit_that_is_being_written_is_waited_for(decided: Made, people: SimpleNamespace) -> None:
    review = decided()
    request_report(kind="plain", version=review.version, by=people.amir)
    with pytest.raises(ConflictError, match="still being written"):
        request_bundle(review=review, by=people.clara)


def test_people_are_named_by_their_user_names_alone(bundle: Bundle) -> None:
    for name, data in contents(bundle).items():
        assert b"Example" not in data, name
    assert b'"mina"' in contents(bundle)["review.json"]


def test_statements_that_nobody_accepted_stay_in_the_house(decided: Made, people: SimpleNamespace) -> None:
    review = decided()
    facts = {"version": review.version, "author": people.elena, "requirement": "AIA-ANXIV-1"}
    Statement.objects.create(**facts, revision=1, text="Accepted words.", status="accepted", decided_by=people.amir)
    Statement.objects.create(**facts, revision=2, text="Not yet weighed words.")
    files = contents(issued(review, people))
    told = json.loads(files["dossier.json"])["statements"]
    assert [(row["text"], row["author"], row["decided_by"]) for row in told] == [("Accepted words.", "elena", "amir")]
    assert not any(b"Not yet weighed" in data for data in files.values())


def test_evidence_with_a_small_cell_does_not_leave_the_platform(
    decided: Made, people: SimpleNamespace, home: Path
) -> None:
    """Evidence has one digest, so it goes out as it is or not at all."""
    review = decided()
    store = Store(home / "store")
    evidence = store.get_json(review.evidence_digest)
    row = {"metric": "tpr", "value": 0.5, "low": 0.1, "high": 0.9, "n": 7, "reason": "", "detail": {}}
    evidence["result"]["measurements"].append(row)
    AuditRun.objects.filter(pk=review.run_id).update(evidence_digest=store.put_json(evidence))
    with without_trigger("review_content_stays"):
        Review.objects.filter(pk=review.pk).update(evidence_digest=store.put_json(evidence))
    bundle = request_bundle(review=Review.objects.get(pk=review.pk), by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.FAILED
    assert "counts of 1 to 10 patients" in bundle.error
    assert not LedgerEntry.objects.filter(act="bundle.issued").exists()


def test_a_bundle_larger_than_a_zip_can_tell_is_not_written(
    decided: Made, people: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governance.bundle.container.MAX_BYTES", 20_000)
    bundle = request_bundle(review=decided(), by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.FAILED and "too large" in bundle.error
    assert list((home / "bundles").iterdir()) == []


def test_a_bundle_asked_for_by_an_older_release_says_so(decided: Made, people: SimpleNamespace) -> None:
    from django.db import connection

    bundle = request_bundle(review=decided(), by=people.clara)
    entry = LedgerEntry.objects.get(act="bundle.requested")
    body = json.loads(entry.body)
    del body["payload"]["dossier"]
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER ledger_no_update")
        cursor.execute('UPDATE core_ledgerentry SET body = %s WHERE "index" = %s', [json.dumps(body), entry.index])
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.FAILED and "Ask for it again" in bundle.error


def test_a_time_stamp_is_put_in_where_there_is_an_authority(
    decided: Made, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    asked: list[bytes] = []

    def timestamp(data: bytes) -> bytes:
        asked.append(data)
        return authority.stamp(data)

    monkeypatch.setattr(execution_bundles, "timestamp", timestamp)
    bundle = issued(decided(), people)
    files = contents(bundle)
    assert asked == [files["statement.dsse.json"]]
    assert json.loads(files["manifest.json"])["timestamp"] is True
    result = verify_bundle(selectors.bundle_path(bundle), trust=[bundle.key_id], trust_tsa=[authority.fingerprint])
    assert (result.ok, result.tsa_trusted) == (True, True)
    assert bundle.verification["timestamp"]["certificate"] == authority.fingerprint


def test_without_an_authority_there_is_none_and_none_is_promised(bundle: Bundle) -> None:
    files = contents(bundle)
    assert "timestamp.tsr" not in files and "timestamp" not in json.loads(files["manifest.json"])
    raw = selectors.bundle_path(bundle).read_bytes()
    assert findings(raw, trust_tsa=["0" * 64]) == ["timestamp.tsr: is missing"]


def test_an_authority_that_does_not_answer_leaves_nothing_half_written(
    decided: Made, people: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is tried again: the bundle stays in the queue."""

    def timestamp(data: bytes) -> bytes:
        raise TransientError("No answer.", remedy="Wait.")

    monkeypatch.setattr(execution_bundles, "timestamp", timestamp)
    bundle = request_bundle(review=decided(), by=people.clara)
    with pytest.raises(TransientError):
        execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.QUEUED
    assert not (home / "bundles").exists() or list((home / "bundles").iterdir()) == []
