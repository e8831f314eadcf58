"""A bundle's content made without a database, for tests of what only verifies and for the benchmark of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import merkle
from governance.bundle.build import BundleContent, ReportFiles
from governance.bundle.layout import canonical, sha256

MANIFEST = {"model.safetensors": sha256(b"weights")}
PROTOCOL = {"name": "imaging-classifier-v1", "labels": ["effusion"], "criteria": [{"id": "tpr-gap", "margin": 0.1}]}
MODEL, COHORT, RULES = sha256(canonical(MANIFEST)), sha256(b"cohort"), sha256(canonical(PROTOCOL))
CHOICES = {"pass": "approve", "fail": "reject", "insufficient": "reject"}
DECISIONS = {"pass": "approved", "fail": "rejected", "insufficient": "rejected"}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def made_evidence() -> dict[str, Any]:
    verdict = {"criterion": "tpr-gap", "label": "effusion", "attribute": "sex", "outcome": "pass", "primary": True}
    result = {"outcome": "pass", "measurements": [{"metric": "tpr_gap", "value": 0.03}], "verdicts": [verdict]}
    work = {"version": MODEL, "cohort": COHORT, "protocol": RULES, "settings": {}, "result": result}
    people = {"locked_by": "amir", "approved_by": "clara"}
    return {
        "run": {"id": 1, "requested_by": "amir"},
        "system": {"name": "Chest model", "slug": "chest-model"},
        "version": {"label": "1.0", "digest": MODEL, "manifest": MANIFEST, "submitted_by": "elena"},
        "cohort": {"name": "Held out", "digest": COHORT},
        "protocol": {"digest": RULES, "body": PROTOCOL, **people},
        "execution": {"settings": {}},
        "result": result,
        "result_digest": sha256(canonical(work)),
    }


def made_review(evidence: dict[str, Any], evidence_digest: str) -> dict[str, Any]:
    people = {
        "submitter": evidence["version"]["submitted_by"],
        "runner": evidence["run"]["requested_by"],
        "protocol_approver": evidence["protocol"]["approved_by"],
    }
    choice = CHOICES[evidence["result"]["outcome"]]
    votes = [{"voter": name, "choice": choice, "rationale": f"Read by {name}."} for name in ("mina", "tom")]
    return {
        "id": 7, "run": evidence["run"]["id"], "evidence": evidence_digest, "version": evidence["version"]["digest"],
        "quorum": 2, "decision": DECISIONS[evidence["result"]["outcome"]], "opened_by": "clara", "votes": votes,
        **people,
    }  # fmt: skip


def made_dossier(evidence: dict[str, Any], review: dict[str, Any]) -> dict[str, Any]:
    audit = {
        "run": review["run"],
        "evidence_digest": review["evidence"],
        "result_digest": evidence["result_digest"],
        "outcome": evidence["result"]["outcome"],
        "protocol": {"digest": evidence["protocol"]["digest"]},
        "cohort": {"digest": evidence["cohort"]["digest"]},
    }
    return {
        "schema": "auscult/dossier/1",
        "as_of": NOW.isoformat(),
        "catalogue": {"version": "1", "as_of": "2026-11-01", "digest": sha256(b"catalogue")},
        "system": {"slug": evidence["system"]["slug"]},
        "version": {name: evidence["version"][name] for name in ("digest", "label")},
        "cohort": {"digest": evidence["cohort"]["digest"]},
        "audits": [audit],
        "reviews": [{"id": 7, "status": review["decision"]}],
        "run": {"id": review["run"]},
        "ledger": {"size": 3, "root": sha256(b"root")},
    }


def made_status(dossier: dict[str, Any], evidence_digest: str) -> dict[str, Any]:
    row = {"id": "AIA-X", "status": "binding", "state": "partial"}
    return {
        "schema": "auscult/status/1",
        "as_of": dossier["as_of"],
        "dossier": sha256(canonical(dossier)),
        "evidence": evidence_digest,
        "version": dossier["version"]["digest"],
        "catalogue": dossier["catalogue"],
        "counts": {"complete": 0, "partial": 1},
        "requirements": [row | {"references": [{"kind": "audit", "name": "Audit 1", "digest": evidence_digest}]}],
    }


def made_bom(model: dict[str, Any]) -> bytes:
    def hashed(digest: str) -> list[dict[str, str]]:
        return [{"alg": "SHA-256", "content": digest}]

    files = [{"type": "file", "name": name, "hashes": hashed(digest)} for name, digest in model["manifest"].items()]
    component = {"type": "machine-learning-model", "hashes": hashed(model["digest"]), "components": files}
    return canonical({"bomFormat": "CycloneDX", "metadata": {"component": component}})


def made_content(
    *, evidence: dict[str, Any] | None = None, attachments: list[tuple[str, Path]] | None = None
) -> BundleContent:
    """A decided version with one report from its audit and one from none."""
    evidence = evidence or made_evidence()
    raw = canonical(evidence)
    digest = sha256(raw)
    review = made_review(evidence, digest)
    dossier = made_dossier(evidence, review)
    then = sha256(b"an earlier dossier")
    subject = {"version": {"digest": review["version"]}, "dossier_digest": then}
    reports = [
        ReportFiles(name="annex_iv", pdf=b"%PDF-1", json=canonical({"subject": subject | {"evidence_digest": digest}})),
        ReportFiles(
            name="fria-de", pdf=b"%PDF-2", json=canonical({"subject": subject | {"evidence_digest": None}}),
            html=b"<p>", docx=b"PK docx",
        ),
    ]  # fmt: skip
    ledger = Ledger()
    record_audit(ledger, evidence, digest)
    for number, report in enumerate(reports):
        about = digest if number == 0 else None
        ledger.add("report.requested", "amir", ("Report", number), {"dossier": then, "evidence": about})
        ledger.add("report.issued", "amir", ("Report", number), {"evidence": about, **digests_of(report)})
    record_review(ledger, review)
    asked = {"review": 7, "evidence": digest, "dossier": sha256(canonical(dossier))}
    ledger.add("bundle.requested", "clara", ("Bundle", 1), asked)
    return BundleContent(
        evidence=evidence, evidence_bytes=raw, protocol_source="name: imaging-classifier-v1\n",
        protocol_body=evidence["protocol"]["body"],
        review=review, dossier=canonical(dossier), status=made_status(dossier, digest),
        model_bom=made_bom(evidence["version"]),
        reports=reports, proofs=ledger.proofs(), head_size=len(ledger.entries), head_root=ledger.root(),
        head_time=NOW.isoformat(), attachments=attachments or (),
    )  # fmt: skip


def digests_of(report: ReportFiles) -> dict[str, str]:
    forms = {"pdf": report.pdf, "json": report.json, "html": report.html, "docx": report.docx}
    return {form: sha256(data) for form, data in forms.items() if data is not None}


def record_audit(ledger: Ledger, evidence: dict[str, Any], digest: str) -> None:
    spec = {name: evidence[name]["digest"] for name in ("version", "cohort", "protocol")}
    rules = {"digest": spec["protocol"]}
    judged = {"evidence": digest, "result": evidence["result_digest"], "outcome": evidence["result"]["outcome"]}
    submitter = evidence["version"]["submitted_by"]
    ledger.add("version.registered", submitter, ("ModelVersion", 1), {"digest": spec["version"]})
    ledger.add("protocol.locked", evidence["protocol"]["locked_by"], ("Protocol", 1), rules)
    ledger.add("protocol.approved", evidence["protocol"]["approved_by"], ("Protocol", 1), rules)
    ledger.add("run.requested", evidence["run"]["requested_by"], ("AuditRun", 1), spec)
    ledger.add("run.judged", "system", ("AuditRun", 1), judged)


def record_review(ledger: Ledger, review: dict[str, Any]) -> None:
    about = {"review": 7, "evidence": review["evidence"], "version": review["version"]}
    ledger.add("review.opened", "clara", ("Review", 7), about | {"quorum": 2})
    for number, vote in enumerate(review["votes"]):
        told = {"choice": vote["choice"], "rationale_sha256": sha256(vote["rationale"].encode())}
        ledger.add("vote.cast", vote["voter"], ("Vote", number), about | told)
    ledger.add("review.decided", "tom", ("Review", 7), about | {"decision": review["decision"]})


class Ledger:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def add(self, act: str, actor: str, subject: tuple[str, int], payload: dict[str, Any]) -> None:
        kind, key = subject
        body = {"index": len(self.entries), "actor": actor, "act": act, "subject_kind": kind, "subject_id": str(key)}
        self.entries.append(canonical(body | {"payload": payload}))

    def _lookup(self, level: int, position: int) -> bytes:
        if level == 0:
            return merkle.leaf_hash(self.entries[position])
        return merkle.node_hash(self._lookup(level - 1, 2 * position), self._lookup(level - 1, 2 * position + 1))

    def root(self) -> str:
        return merkle.subtree_root(0, len(self.entries), self._lookup).hex()

    def proofs(self) -> list[dict[str, Any]]:
        size = len(self.entries)
        return [
            {
                "index": index,
                "entry": entry.decode(),
                "path": [node.hex() for node in merkle.inclusion_proof(index, size, self._lookup)],
            }
            for index, entry in enumerate(self.entries)
        ]
