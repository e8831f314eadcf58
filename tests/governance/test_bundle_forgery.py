"""What a forger with the key can try on dossier, status, ML-BOM and reports; and bundles of an older layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.bundle.build import build_bundle
from governance.bundle.container import canonical_zip
from governance.bundle.layout import canonical
from governance.bundle.verify import render, verify_bytes
from tests.governance.forging import KEY, edited, findings, resealed, set_, unpack
from tests.governance.sealing import made_content

OLD = Path(__file__).with_name("layout_1.zip")
"""A bundle as it was issued before there were dossiers in bundles."""


@pytest.fixture(scope="module")
def raw() -> bytes:
    data = build_bundle(made_content(), KEY)
    assert verify_bytes(data).ok
    return data


def leave_out(*path: Any) -> Callable[[Any], None]:
    def change(body: Any) -> None:
        *way, last = path
        for step in way:
            body = body[step]
        del body[last]

    return change


FORGERIES = {
    "a dossier of another version": ("dossier.json", set_("version", "digest", "0" * 64),
        "dossier.json: is about another version"),
    "a dossier of another label": ("dossier.json", set_("version", "label", "2.0"),
        "dossier.json: is about another version"),
    "a dossier of another system": ("dossier.json", set_("system", "slug", "other"),
        "dossier.json: is about another version"),
    "a dossier of another cohort": ("dossier.json", set_("cohort", "digest", "0" * 64),
        "dossier.json: is about another cohort"),
    "a dossier of no cohort": ("dossier.json", set_("cohort", None), "dossier.json: is about another cohort"),
    "a dossier of another audit": ("dossier.json", set_("run", "id", 2), "dossier.json: is about another audit"),
    "another outcome in the dossier": ("dossier.json", set_("audits", 0, "outcome", "fail"),
        "dossier.json: has no audit with this evidence"),
    "another evidence in the dossier": ("dossier.json", set_("audits", 0, "evidence_digest", "0" * 64),
        "dossier.json: has no audit with this evidence"),
    "no audit in the dossier": ("dossier.json", leave_out("audits", 0), "dossier.json: has no audit with this"),
    "another decision in the dossier": ("dossier.json", set_("reviews", 0, "status", "rejected"),
        "dossier.json: has not the review with this decision"),
    "an answer put into the dossier": ("dossier.json", set_("answers", {"role": {"value": "provider"}}),
        "ledger/proofs.json: the ledger has no entry 'bundle.requested' that states this dossier"),
    "a dossier of the future": ("dossier.json", set_("ledger", "size", 999),
        "ledger/proofs.json: the ledger has no entry 'bundle.requested'"),
    "a status from another dossier": ("status.json", set_("dossier", "0" * 64),
        "status.json: was judged from another dossier"),
    "a status from other evidence": ("status.json", set_("evidence", "0" * 64),
        "status.json: was judged from another evidence"),
    "a status of another version": ("status.json", set_("version", "0" * 64),
        "status.json: was judged from another version"),
    "a status by another catalogue": ("status.json", set_("catalogue", "digest", "0" * 64),
        "status.json: was judged from another catalogue"),
    "a status of another day": ("status.json", set_("as_of", "2020-01-01"),
        "status.json: was judged from another as_of"),
    "a requirement made complete": ("status.json", set_("requirements", 0, "state", "complete"),
        "status.json: its counts are not those"),
    "better counts": ("status.json", set_("counts", {"complete": 1}), "status.json: its counts are not those"),
    "a requirement left out": ("status.json", leave_out("requirements", 0), "status.json: its counts are not those"),
    "an invented audit": ("status.json", set_("requirements", 0, "references", 0, "digest", "0" * 64),
        "status.json: AIA-X rests on something that the dossier does not know"),
    "another model in the BOM": ("model.cdx.json", set_("metadata", "component", "hashes", 0, "content", "0" * 64),
        "model.cdx.json: does not name this model"),
    "two models in the BOM": ("model.cdx.json",
        lambda body: body["metadata"]["component"]["hashes"].append({"alg": "SHA-256", "content": "0"}),
        "model.cdx.json: does not name this model"),
    "no BOM at all": ("model.cdx.json", set_("bomFormat", "SPDX"), "model.cdx.json: does not name this model"),
    "a file left out of the BOM": ("model.cdx.json", leave_out("metadata", "component", "components", 0),
        "model.cdx.json: does not list the files"),
    "another file in the BOM": ("model.cdx.json",
        set_("metadata", "component", "components", 0, "hashes", 0, "content", "0"),
        "model.cdx.json: does not list the files"),
    "a report of another version": ("reports/fria-de.json", set_("subject", "version", "digest", "0" * 64),
        "reports/fria-de.json: was written from other evidence"),
    "a report of other evidence": ("reports/annex_iv.json", set_("subject", "evidence_digest", "0" * 64),
        "reports/annex_iv.json: was written from other evidence"),
    "a report that hides its evidence": ("reports/annex_iv.json", set_("subject", "evidence_digest", None),
        "reports/annex_iv.pdf: the ledger has no entry 'report.issued'"),
    "a report from another dossier": ("reports/annex_iv.json", set_("subject", "dossier_digest", "0" * 64),
        "reports/annex_iv.pdf: the ledger has no entry 'report.issued'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_with_the_key_is_held_by_the_ledger_and_by_the_other_files(name: str, raw: bytes) -> None:
    file, change, expected = FORGERIES[name]
    found = findings(edited(unpack(raw), file, change))
    assert any(line.startswith(expected) for line in found), found


def test_resealing_by_itself_changes_nothing(raw: bytes) -> None:
    assert resealed(unpack(raw)) == raw


@pytest.mark.parametrize("form", ["html", "docx", "pdf"])
def test_a_report_has_in_every_form_the_bytes_that_were_issued(form: str, raw: bytes) -> None:
    found = findings(resealed(unpack(raw) | {f"reports/fria-de.{form}": b"other"}))
    assert found == ["reports/fria-de.pdf: the ledger has no entry 'report.issued' for this report"]


def test_the_dossier_of_a_report_must_be_that_of_its_own_request(raw: bytes) -> None:
    """An entry about another report does not do."""

    def swap(body: Any) -> None:
        asked = [proof for proof in body["proofs"] if json.loads(proof["entry"])["act"] == "report.requested"]
        body["proofs"].remove(asked[0])

    found = findings(edited(unpack(raw), "ledger/proofs.json", swap))
    assert found == ["reports/annex_iv.json: the ledger has no entry 'report.requested' with its dossier"]


@pytest.mark.parametrize("name", ["dossier.json", "status.json"])
def test_another_spelling_of_a_document_is_refused(name: str, raw: bytes) -> None:
    files = unpack(raw)
    spelled = json.dumps(json.loads(files[name]), indent=1).encode()
    assert f"{name}: is not in canonical form" in findings(resealed(files | {name: spelled}))


@pytest.mark.parametrize("name", ["dossier.json", "status.json", "model.cdx.json"])
def test_what_layout_2_added_may_not_be_left_out(name: str, raw: bytes) -> None:
    files = unpack(raw)
    del files[name]
    assert f"{name}: is missing" in findings(resealed(files))


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 50_000, b'"text"', b'{"version": 3}'])
def test_documents_that_are_laid_out_otherwise_are_a_finding(value: bytes, raw: bytes) -> None:
    for name in ("dossier.json", "status.json", "model.cdx.json", "reports/fria-de.json", "manifest.json"):
        files = unpack(raw) | {name: value}
        assert name in verify_bytes(canonical_zip(sorted(files.items()))).files
        if name != "manifest.json":
            assert not verify_bytes(resealed(files)).ok


def test_an_audit_that_a_newer_one_replaced_is_no_fault(raw: bytes) -> None:
    """A dossier names the newest audit by each protocol on each cohort; a review may be of an earlier one."""
    later = set_("audits", 0, "run", 2)
    found = findings(edited(unpack(raw), "dossier.json", later))
    assert not any("has no audit" in line for line in found)


def test_a_bundle_of_the_first_layout_still_verifies() -> None:
    result = verify_bytes(OLD.read_bytes())
    assert (result.ok, result.layout) == (True, 1)
    text = render(result)
    assert "The reports were issued" in text
    assert not any(word in text for word in ("ML-BOM", "dossier", "status", "time-stamp"))


def test_a_document_that_an_old_bundle_has_besides_is_checked() -> None:
    files = unpack(OLD.read_bytes())
    for name, expected in (
        ("model.cdx.json", "model.cdx.json: is not laid out as it should be (KeyError)"),
        ("dossier.json", "dossier.json: is not laid out as it should be (KeyError)"),
        ("status.json", "dossier.json: is missing"),
    ):
        assert findings(resealed(files | {name: b"{}"})) == [expected]
        added = canonical_zip(sorted((files | {name: b"{}"}).items()))
        assert f"{name}: is not in the manifest: it was added" in findings(added)


@pytest.mark.parametrize("schema", ["auscult/bundle/3", "", None, 2, ["auscult/bundle/2"]])
def test_a_layout_that_is_not_known_is_refused(schema: Any, raw: bytes) -> None:
    files = unpack(raw)
    files["manifest.json"] = canonical(json.loads(files["manifest.json"]) | {"schema": schema})
    result = verify_bytes(canonical_zip(sorted(files.items())))
    assert "manifest.json" in result.files and result.layout is None


def test_a_file_too_large_to_be_understood_is_a_finding(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from governance.bundle import contents

    monkeypatch.setattr(contents, "MAX_READ", 4000)
    assert any("is too large to be read" in line for line in findings(raw))
