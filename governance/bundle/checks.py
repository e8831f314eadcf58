"""What is checked in a bundle, one function for each question. Standard library and ``cryptography`` only.

A check yields the problems that it finds. It takes nothing for granted that an earlier check looked at: every
one runs on every bundle, so that the report of a damaged bundle names all that is wrong with it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .layout import (
    CENTRAL,
    EVIDENCE,
    HEAD,
    HEAD_TYPE,
    KEY,
    LOCAL,
    MANIFEST,
    MAX_FILES,
    PROOFS,
    PROTOCOL,
    REQUIRED,
    REVIEW,
    SAFE_NAME,
    STATEMENT,
    STATEMENT_TYPE,
    Mismatch,
    Problem,
    canonical,
    canonical_zip,
    key_id,
    load_key,
    pre_authentication_encoding,
    read_zip,
    root_from_path,
    seal_form,
    sha256,
    statement_body,
)


class Bundle:
    """The bytes of a bundle and its files."""

    def __init__(self, raw: bytes, trust: Sequence[str]) -> None:
        self.raw = raw
        self.trust = frozenset(item.lower() for item in trust)
        self.entries = read_zip(raw)
        self.files = dict(self.entries)
        self.reading = "the zip file"

    def data(self, name: str) -> bytes:
        self.reading = name
        if name not in self.files:
            raise Mismatch(name, "is missing")
        return self.files[name]

    def json(self, name: str) -> Any:
        return json.loads(self.data(name))

    def payload(self, name: str) -> Any:
        """The JSON inside a DSSE envelope."""
        return json.loads(base64.b64decode(self.json(name)["payload"], validate=True))

    def key(self) -> Ed25519PublicKey:
        return load_key(self.data(KEY), KEY)

    def ledger(self) -> list[dict[str, Any]]:
        """The bodies of the ledger entries."""
        return [json.loads(proof["entry"]) for proof in self.json(PROOFS)["proofs"]]


Findings = Iterator[Problem]


def check_container(bundle: Bundle) -> Findings:
    if len(bundle.entries) > MAX_FILES:
        raise Mismatch("the zip file", f"holds more than {MAX_FILES} files")
    expected = canonical_zip(bundle.entries)
    if expected == bundle.raw:
        return
    low, high = 0, min(len(expected), len(bundle.raw))
    while low < high:  # The longest common beginning, by halves.
        middle = (low + high + 1) // 2
        low, high = (middle, high) if expected[:middle] == bundle.raw[:middle] else (low, middle - 1)
    yield Problem(
        file=_owner(bundle.entries, low),
        message=f"its zip record differs from the canonical form at byte {low}",
    )


def _owner(entries: list[tuple[str, bytes]], position: int) -> str:
    """The file to whose header, data or directory record a byte of the canonical zip belongs."""
    at = 0
    for fixed, with_data in ((LOCAL.size, True), (CENTRAL.size, False)):
        for name, data in entries:
            at += fixed + len(name) + (len(data) if with_data else 0)
            if position < at:
                return name
    return "the zip file"


def check_names(bundle: Bundle) -> Findings:
    names = [name for name, _ in bundle.entries]
    for name, times in sorted(Counter(names).items()):
        if not SAFE_NAME.fullmatch(name):
            yield Problem(file=ascii(name), message="is not a safe file name: it could be written outside the folder")
        if times > 1:
            yield Problem(file=ascii(name), message="is there more than once")
    for name in sorted(REQUIRED - set(names)):
        yield Problem(file=name, message="is missing")
    if names != sorted(names):
        yield Problem(file="the zip file", message="its files are not in the order of their names")


def check_manifest(bundle: Bundle) -> Findings:
    listed = bundle.json(MANIFEST)["files"]
    present = set(bundle.files) - {MANIFEST, STATEMENT}
    for name in sorted(present | set(listed)):
        if name not in listed:
            yield Problem(file=ascii(name).strip("'"), message="is not in the manifest: it was added")
        elif name not in present:
            yield Problem(file=name, message="is in the manifest but missing")
        elif {"sha256": sha256(bundle.files[name]), "size": len(bundle.files[name])} != listed[name]:
            yield Problem(file=name, message="was changed: its size or SHA-256 is not what the manifest says")


def check_statement_signature(bundle: Bundle) -> Findings:
    yield from _envelope_problems(bundle, STATEMENT, STATEMENT_TYPE)


def check_head_signature(bundle: Bundle) -> Findings:
    yield from _envelope_problems(bundle, HEAD, HEAD_TYPE)


def _envelope_problems(bundle: Bundle, name: str, payload_type: str) -> Findings:
    key, data, envelope = bundle.key(), bundle.data(name), bundle.json(name)
    payload, signature = envelope["payload"], envelope["signatures"][0]["sig"]
    raw, sig = base64.b64decode(payload, validate=True), base64.b64decode(signature, validate=True)
    only_form = seal_form(payload_type, raw, key_id(key), sig)
    if data != canonical(only_form):
        yield Problem(file=name, message="is not a DSSE envelope by the key in key.pem in its canonical form")
    try:
        key.verify(sig, pre_authentication_encoding(payload_type, raw))
    except InvalidSignature:
        yield Problem(file=name, message="its signature does not match: the file or key.pem was changed")


def check_trust(bundle: Bundle) -> Findings:
    if key_id(bundle.key()) not in bundle.trust:
        yield Problem(file=KEY, message="is not a key that you trust")


def check_statement(bundle: Bundle) -> Findings:
    statement, evidence = bundle.payload(STATEMENT), bundle.json(EVIDENCE)
    expected = statement_body(evidence, manifest=sha256(bundle.data(MANIFEST)), protocol_file=bundle.data(PROTOCOL))
    subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    if subjects.get(MANIFEST) != sha256(bundle.data(MANIFEST)):
        yield Problem(file=MANIFEST, message="was changed: the signed statement names another SHA-256")
    elif statement != expected:
        yield Problem(file=STATEMENT, message="does not say what evidence.json says")


def check_inclusion(bundle: Bundle) -> Findings:
    head = bundle.payload(HEAD)
    seen: set[int] = set()
    for proof in bundle.json(PROOFS)["proofs"]:
        index, entry = proof["index"], proof["entry"]
        root = root_from_path(
            index=index,
            size=head["size"],
            entry=entry.encode(),
            path=[bytes.fromhex(node) for node in proof["path"]],
        )
        if root.hex() != head["root"] or json.loads(entry)["index"] != index or index in seen:
            yield Problem(file=PROOFS, message=f"entry {index} is not in the ledger with the signed head")
        seen.add(index)


def _entries(bundle: Bundle, act: str, *, actor: str | None = None, **payload: Any) -> list[dict[str, Any]]:
    """The ledger entries of an act, by this person, that say at least this."""
    return [
        entry
        for entry in bundle.ledger()
        if entry["act"] == act
        and actor in (None, entry["actor"])
        and all(entry["payload"].get(name) == value for name, value in payload.items())
    ]


def check_evidence(bundle: Bundle) -> Findings:
    evidence, digest = bundle.json(EVIDENCE), sha256(bundle.data(EVIDENCE))
    model, run, result = evidence["version"], evidence["run"], evidence["result_digest"]
    spec = {name: evidence[name]["digest"] for name in ("version", "cohort", "protocol")}
    work = {**spec, "settings": evidence["execution"]["settings"], "result": evidence["result"]}
    if sha256(canonical(work)) != result:
        yield Problem(file=EVIDENCE, message="its measurements and verdicts do not have the digest that it states")
    if sha256(canonical(model["manifest"])) != model["digest"]:
        yield Problem(file=EVIDENCE, message="the list of the model's files does not have the model's digest")
    outcome = evidence["result"]["outcome"]
    wanted = (
        ("version.registered", model["submitted_by"], {"digest": model["digest"]}),
        ("run.requested", run["requested_by"], spec),
        ("run.judged", None, {"evidence": digest, "result": result, "outcome": outcome}),
    )
    for act, actor, payload in wanted:
        if not _entries(bundle, act, actor=actor, **payload):
            yield Problem(file=PROOFS, message=f"the ledger has no entry '{act}' that fits evidence.json")


def check_protocol(bundle: Bundle) -> Findings:
    evidence, body = bundle.json(EVIDENCE)["protocol"], bundle.json(PROTOCOL)
    if body != evidence["body"] or sha256(canonical(body)) != evidence["digest"]:
        yield Problem(file=PROTOCOL, message="is not the protocol that evidence.json was judged by")
    for act, person in (("protocol.locked", "locked_by"), ("protocol.approved", "approved_by")):
        if not _entries(bundle, act, actor=evidence[person], digest=evidence["digest"]):
            yield Problem(file=PROOFS, message=f"the ledger has no entry '{act}' that fits evidence.json")


def check_review(bundle: Bundle) -> Findings:
    evidence, review = bundle.json(EVIDENCE), bundle.json(REVIEW)
    digest, votes, quorum = sha256(bundle.data(EVIDENCE)), review["votes"], review["quorum"]
    bound = {"evidence": digest, "version": evidence["version"]["digest"]}
    people = {
        "submitter": evidence["version"]["submitted_by"],
        "runner": evidence["run"]["requested_by"],
        "protocol_approver": evidence["protocol"]["approved_by"],
    }
    if any(review[name] != value for name, value in (bound | people).items()):
        yield Problem(file=REVIEW, message="is not about the evidence, version and people of evidence.json")
    voters = [vote["voter"] for vote in votes]
    if len(set(voters)) != len(voters):
        yield Problem(file=REVIEW, message="somebody voted twice")
    for person in sorted(set(voters) & set(people.values())):
        yield Problem(
            file=REVIEW,
            message=f"{person} voted, but submitted the model, ran the audit or approved its rules",
        )
    tally = {choice: sum(vote["choice"] == choice for vote in votes) for choice in ("approve", "reject")}
    reached = {"approved": tally["approve"] >= quorum, "rejected": tally["reject"] >= quorum}
    if (
        quorum < 2
        or sum(tally.values()) != len(votes)
        or [name for name in reached if reached[name]] != [review["decision"]]
    ):
        yield Problem(file=REVIEW, message="the votes do not give the decision that it states")
    if review["decision"] == "approved" and evidence["result"]["outcome"] != "pass":
        yield Problem(file=REVIEW, message="approves a version whose evidence does not pass")
    yield from _review_ledger(bundle, review, bound)


def _review_ledger(bundle: Bundle, review: dict[str, Any], bound: dict[str, str]) -> Findings:
    about = bound | {"review": review["id"]}
    wanted = [
        ("review.opened", review["opened_by"], about | {"quorum": review["quorum"]}),
        ("review.decided", None, about | {"decision": review["decision"]}),
    ]
    for vote in review["votes"]:
        rationale = sha256(vote["rationale"].encode())
        wanted.append(("vote.cast", vote["voter"], about | {"choice": vote["choice"], "rationale_sha256": rationale}))
    for act, actor, payload in wanted:
        if len(_entries(bundle, act, actor=actor, **payload)) != 1:
            yield Problem(
                file=REVIEW,
                message=f"the ledger has not exactly one entry '{act}' by {actor or 'anybody'} that fits",
            )
    if len(_entries(bundle, "vote.cast", review=review["id"])) != len(review["votes"]):
        yield Problem(file=REVIEW, message="the ledger has other votes than these")


def check_reports(bundle: Bundle) -> Findings:
    evidence = sha256(bundle.data(EVIDENCE))
    documents = [name for name in bundle.files if name.startswith("reports/")]
    for stem in sorted({name.rpartition(".")[0] for name in documents}):
        data, pdf = bundle.data(f"{stem}.json"), bundle.data(f"{stem}.pdf")
        if bundle.json(f"{stem}.json")["subject"]["evidence_digest"] != evidence:
            yield Problem(file=f"{stem}.json", message="was written from other evidence")
        if not _entries(bundle, "report.issued", evidence=evidence, json=sha256(data), pdf=sha256(pdf)):
            yield Problem(file=f"{stem}.pdf", message="the ledger has no entry 'report.issued' for this report")


CHECKS: tuple[tuple[str, Callable[[Bundle], Findings]], ...] = (
    ("The zip is in its one canonical form, byte for byte", check_container),
    ("File names are safe, single and complete", check_names),
    ("Every file has the size and SHA-256 of the manifest, and none was added", check_manifest),
    ("The statement is signed by the key in key.pem", check_statement_signature),
    ("The statement names this manifest, model, cohort and result", check_statement),
    ("The head of the ledger is signed by the same key", check_head_signature),
    ("Every ledger entry is in the ledger with that head", check_inclusion),
    ("The evidence is whole and is what was judged", check_evidence),
    ("The protocol was locked and approved, and is the one that judged", check_protocol),
    ("The votes give the decision, by people who had no part in the audit", check_review),
    ("The reports were issued from this evidence", check_reports),
)
