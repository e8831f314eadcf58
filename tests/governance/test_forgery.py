"""What a forger can try who has the signing key, or does without it: the rules and the ledger hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance import execution_bundles
from governance.bundle.build import build_bundle, sign
from governance.bundle.container import canonical_zip
from governance.bundle.layout import STATEMENT_TYPE, canonical, key_id
from governance.bundle.verify import render, verify_bytes
from governance.services.bundles import request_bundle
from tests.governance.forging import KEY, edited, findings, pem_of, resealed, set_, unpack


def test_another_key_is_seen_only_by_who_knows_the_right_one(raw: bytes) -> None:
    """A forger signs anew with a key of their own: consistent in itself, and refused by whoever compares the key."""
    forger = Ed25519PrivateKey.generate()
    files = unpack(raw)
    files["key.pem"] = pem_of(forger)
    forged = resealed(files, key=forger)
    alone = verify_bytes(forged)
    assert (alone.ok, alone.trusted) == (True, None)
    honest = key_id(KEY.public_key())
    assert findings(forged, trust=[honest]) == ["key.pem: is not a key that you trust"]
    assert findings(raw, trust=["0" * 64, honest]) == []
    compared = verify_bytes(forged, trust=[honest])
    assert (compared.ok, compared.trusted, compared.files) == (False, False, ["key.pem"])


def test_resealing_by_itself_changes_nothing(raw: bytes) -> None:
    """The forgeries below differ from a good bundle in nothing but what they say."""
    assert resealed(unpack(raw)) == raw


def drop_vote(body: Any) -> None:
    body["votes"].pop()


def vote_twice(body: Any) -> None:
    body["votes"][1] = body["votes"][0]


FORGERIES = {
    "a better number": ("evidence.json", set_("result", "measurements", 0, "value", 0.0),
        "evidence.json: its measurements and verdicts do not have"),
    "another list of weights": ("evidence.json", set_("version", "manifest", {"other.bin": "0"}),
        "evidence.json: the list of the model's files does not"),
    "another submitter": ("evidence.json", set_("version", "submitted_by", "nobody"),
        "ledger/proofs.json: the ledger has no entry 'version.registered'"),
    "another runner": ("evidence.json", set_("run", "requested_by", "nobody"),
        "ledger/proofs.json: the ledger has no entry 'run.requested'"),
    "another approver": ("evidence.json", set_("protocol", "approved_by", "nobody"),
        "ledger/proofs.json: the ledger has no entry 'protocol.approved'"),
    "an added remark": ("evidence.json", set_("system", "risk_class", "none"),
        "ledger/proofs.json: the ledger has no entry 'run.judged'"),
    "another margin": ("protocol.json", set_("criteria", 0, "margin", 0.5), "protocol.json: is not the protocol"),
    "another decision": ("review.json", set_("decision", "rejected"), "review.json: the votes do not give"),
    "a quorum of one": ("review.json", set_("quorum", 1), "review.json: the votes do not give"),
    "a vote left out": ("review.json", drop_vote, "review.json: the ledger has other votes"),
    "a vote counted twice": ("review.json", vote_twice, "review.json: somebody voted twice"),
    "a vote by the submitter": ("review.json", set_("votes", 0, "voter", "elena"), "review.json: elena voted, but"),
    "a vote by the runner": ("review.json", set_("votes", 0, "voter", "amir"), "review.json: amir voted, but"),
    "a vote by the approver": ("review.json", set_("votes", 0, "voter", "clara"), "review.json: clara voted, but"),
    "an invented voter": ("review.json", set_("votes", 0, "voter", "someone"),
        "review.json: the ledger has not exactly one entry 'vote.cast' by someone"),
    "another reason": ("review.json", set_("votes", 0, "rationale", "I was told to."),
        "review.json: the ledger has not exactly one entry 'vote.cast' by mina"),
    "a larger quorum": ("review.json", set_("quorum", 3),
        "review.json: the ledger has not exactly one entry 'review.opened'"),
    "another opener": ("review.json", set_("opened_by", "dora"),
        "review.json: the ledger has not exactly one entry 'review.opened'"),
    "other people": ("review.json", set_("submitter", "dora"),
        "review.json: is not about the evidence, version and people"),
    "a report on other evidence": ("reports/plain.json", set_("subject", "evidence_digest", "0"),
        "reports/plain.json: was written from other evidence"),
    "a report never issued": ("reports/plain.json", set_("decision", "none"),
        "reports/plain.pdf: the ledger has no entry 'report.issued'"),
    "an entry rewritten": ("ledger/proofs.json", set_("proofs", 0, "entry", '{"index":0}'),
        "ledger/proofs.json: entry 0 is not in the ledger"),
    "a proof path changed": ("ledger/proofs.json", set_("proofs", 0, "path", 0, "0" * 64),
        "ledger/proofs.json: entry 0 is not in the ledger"),
    "a proof cut short": ("ledger/proofs.json", set_("proofs", 0, "path", []), "ledger/proofs.json: is not laid out"),
    "another index": ("ledger/proofs.json", set_("proofs", 0, "index", 1), "ledger/proofs.json: entry 1 is not in"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_with_the_key_is_held_by_the_ledger_and_the_rules(name: str, raw: bytes) -> None:
    file, change, expected = FORGERIES[name]
    found = findings(edited(unpack(raw), file, change))
    assert any(line.startswith(expected) for line in found), found


def test_names_in_a_forged_bundle_cannot_write_to_the_terminal(raw: bytes) -> None:
    forged = edited(unpack(raw), "review.json", set_("votes", 0, "voter", "\x1b[2J\nVERIFIED  all is well \u202e"))
    lines = render(verify_bytes(forged)).splitlines()
    assert not any(line.startswith("VERIFIED") for line in lines)
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b[2J\\nVERIFIED" in line for line in lines)


def test_an_entry_given_twice_counts_once(raw: bytes) -> None:
    def repeat(body: Any) -> None:
        body["proofs"].append(body["proofs"][-1])

    found = findings(edited(unpack(raw), "ledger/proofs.json", repeat))
    assert any("is not in the ledger with the signed head" in line for line in found)


def test_a_changed_file_in_a_clean_zip_is_named(raw: bytes) -> None:
    """Without the key: the zip is made anew, the manifest is not."""
    files = unpack(raw)
    for name in files.keys() - {"manifest.json", "statement.dsse.json"}:
        changed = canonical_zip(sorted((files | {name: files[name] + b" "}).items()))
        assert f"{name}: was changed: its size or SHA-256 is not what the manifest says" in findings(changed)


def test_a_manifest_made_to_fit_is_named(raw: bytes) -> None:
    """Without the key: manifest made anew, the statement still names the old one."""
    files = unpack(raw)
    honest = files["statement.dsse.json"]
    forged = unpack(resealed(files | {"README.txt": b"Trust me."})) | {"statement.dsse.json": honest}
    found = findings(canonical_zip(sorted(forged.items())))
    assert found == ["manifest.json: was changed: the signed statement names another SHA-256"]


def test_a_statement_made_to_fit_is_named(raw: bytes) -> None:
    """Without the key: the statement says what it should, under a signature for something else."""
    files = unpack(raw)
    envelope = json.loads(files["statement.dsse.json"])
    other = sign(STATEMENT_TYPE, b"{}", KEY)
    forged = canonical(envelope | {"signatures": json.loads(other)["signatures"]})
    found = findings(canonical_zip(sorted((files | {"statement.dsse.json": forged}).items())))
    assert found == ["statement.dsse.json: its signature does not match: the file or key.pem was changed"]


@pytest.mark.parametrize(
    "change",
    [
        set_("predicate", "result", "WARNED"),
        set_("predicate", "failedTests", ["x"]),
        set_("subject", 0, "digest", "sha256", "0" * 64),
        set_("predicateType", "https://example.org/other"),
    ],
)
def test_a_signed_statement_that_says_otherwise_than_the_evidence_is_named(
    change: Callable[[Any], None], raw: bytes
) -> None:
    files = unpack(raw)
    body = json.loads(base64.b64decode(json.loads(files["statement.dsse.json"])["payload"]))
    change(body)
    files["statement.dsse.json"] = sign(STATEMENT_TYPE, canonical(body), KEY)
    assert findings(canonical_zip(sorted(files.items()))) == [
        "statement.dsse.json: does not say what evidence.json says"
    ]


def test_a_report_taken_away_is_named(raw: bytes) -> None:
    kept = {name: data for name, data in unpack(raw).items() if not name.startswith("reports/")}
    assert findings(canonical_zip(sorted(kept.items()))) == [
        f"reports/plain.{form}: is in the manifest but missing" for form in ("docx", "html", "json", "pdf")
    ]


def test_a_file_that_every_bundle_has_may_not_be_left_out(raw: bytes) -> None:
    files = unpack(raw)
    del files["protocol.yaml"]
    assert findings(resealed(files)) == ["protocol.yaml: is missing"]


@pytest.mark.parametrize(
    "act",
    ["version.registered", "protocol.locked", "protocol.approved", "run.requested", "run.judged", "review.opened",
     "vote.cast", "review.decided", "report.issued"],
)  # fmt: skip
def test_every_act_needs_its_ledger_entry(act: str, raw: bytes) -> None:
    def leave_out(body: Any) -> None:
        body["proofs"] = [proof for proof in body["proofs"] if json.loads(proof["entry"])["act"] != act]

    result = verify_bytes(edited(unpack(raw), "ledger/proofs.json", leave_out))
    problems = [problem.message for check in result.checks for problem in check.problems]
    assert any(f"'{act}'" in message for message in problems)


def test_approval_of_failing_evidence_does_not_verify(
    decided: Callable[..., Any], people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the platform's own rule switched off, the bundle would still tell."""
    from governance import access
    from governance.services import reviews

    for module in (access, reviews):
        monkeypatch.setattr(module, "check_evidence_passes", lambda outcome: None)
    bundle = request_bundle(review=decided("insufficient", "approve"), by=people.clara)
    result = verify_bytes(build_bundle(execution_bundles.gather(bundle), KEY))
    assert [problem.message for check in result.checks for problem in check.problems] == [
        "approves a version whose evidence does not pass"
    ]
