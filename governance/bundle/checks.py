"""What is checked in a bundle, one function for each question. Standard library and ``cryptography`` only.

A check yields the problems that it finds. It takes nothing for granted that an earlier check looked at: every
one runs on every bundle, so that the report of a damaged bundle names all that is wrong with it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter

from cryptography.exceptions import InvalidSignature

from .contents import Bundle, Findings, entries_of
from .layout import (
    ADDED,
    EVIDENCE,
    HEAD,
    HEAD_TYPE,
    KEY,
    MANIFEST,
    MAX_FILES,
    OPTIONAL_NAME,
    PROOFS,
    PROTOCOL,
    REQUIRED,
    SAFE_NAME,
    STATEMENT,
    STATEMENT_TYPE,
    TIMESTAMP,
    UNLISTED,
    Mismatch,
    Problem,
    canonical,
    key_id,
    pre_authentication_encoding,
    root_from_path,
    seal_form,
    sha256,
    statement_body,
)


def check_container(bundle: Bundle) -> Findings:
    if len(bundle.entries) > MAX_FILES:
        raise Mismatch("the zip file", f"holds more than {MAX_FILES} files")
    found = bundle.first_difference()
    if found is not None:
        file, place = found
        yield Problem(file=file, message=f"its zip record differs from the canonical form at byte {place}")


def check_names(bundle: Bundle) -> Findings:
    names = [entry.name for entry in bundle.entries]
    for name, times in sorted(Counter(names).items()):
        if not SAFE_NAME.fullmatch(name):
            yield Problem(file=ascii(name), message="is not a safe file name: it could be written outside the folder")
        if times > 1:
            yield Problem(file=ascii(name), message="is there more than once")
    for name in sorted(REQUIRED - set(names)):
        yield Problem(file=name, message="is missing")
    if names != sorted(names):
        yield Problem(file="the zip file", message="its files are not in the order of their names")
    if bundle.layout() > 1:
        yield from _names_since_2(set(names))


def _names_since_2(names: set[str]) -> Findings:
    for name in sorted(ADDED - names):
        yield Problem(file=name, message="is missing")
    for name in sorted(names - REQUIRED - ADDED):
        if not OPTIONAL_NAME.fullmatch(name):
            yield Problem(file=ascii(name).strip("'"), message="is none of the files that a bundle has")


def check_manifest(bundle: Bundle) -> Findings:
    listed = bundle.json(MANIFEST)["files"]
    present = bundle.sums.keys() - UNLISTED
    for name in sorted(present | set(listed)):
        if name not in listed:
            yield Problem(file=ascii(name).strip("'"), message="is not in the manifest: it was added")
        elif name not in present:
            yield Problem(file=name, message="is in the manifest but missing")
        elif {"sha256": bundle.sums[name].sha256, "size": bundle.sums[name].size} != listed[name]:
            yield Problem(file=name, message="was changed: its size or SHA-256 is not what the manifest says")
    if bundle.has(TIMESTAMP) and not bundle.promises_timestamp():
        yield Problem(file=TIMESTAMP, message="is not in the manifest: it was added")


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
        if not entries_of(bundle, act, actor=actor, **payload):
            yield Problem(file=PROOFS, message=f"the ledger has no entry '{act}' that fits evidence.json")


def check_protocol(bundle: Bundle) -> Findings:
    evidence, body = bundle.json(EVIDENCE)["protocol"], bundle.json(PROTOCOL)
    if body != evidence["body"] or sha256(canonical(body)) != evidence["digest"]:
        yield Problem(file=PROTOCOL, message="is not the protocol that evidence.json was judged by")
    for act, person in (("protocol.locked", "locked_by"), ("protocol.approved", "approved_by")):
        if not entries_of(bundle, act, actor=evidence[person], digest=evidence["digest"]):
            yield Problem(file=PROOFS, message=f"the ledger has no entry '{act}' that fits evidence.json")
