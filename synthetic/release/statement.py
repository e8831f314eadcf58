"""The statement that binds a release, and its signature: an in-toto statement in a DSSE envelope, as in signed bundles.

Subjects are every file of the release, the synthetic cohort, its generator and the audit's evidence. The predicate is
in-toto's Test Result: the protocol and the decision are its configuration, the gates its tests.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.digests import canonical_json, sha256_json
from core.errors import AuscultError
from synthetic.release.facts import FAIL, INSUFFICIENT, PASS, ReleaseFacts
from synthetic.release.naming import MARK
from synthetic.release.verify import (
    ENVELOPE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT,
    STATEMENT_TYPE,
)

__all__ = ["PAYLOAD_TYPE", "Sign", "sign_release", "statement_body", "write_statement"]
RESULTS = {PASS: "PASSED", INSUFFICIENT: "WARNED", FAIL: "FAILED"}
Sign = Callable[[bytes], Mapping[str, Any]]
"""Given the statement, gives the DSSE envelope around it, of the payload type :data:`PAYLOAD_TYPE`."""


def statement_body(facts: ReleaseFacts, files: Mapping[str, str], *, studies: str) -> dict[str, Any]:
    """The statement.

    Args:
        files: Path in the release -> SHA-256.
        studies: Digest of the studies that were written, as :func:`synthetic.generators.keeping.studies_digest` does.
    """
    decision = asdict(facts.decision)
    subjects = {
        f"{MARK} cohort {facts.cohort.name}": facts.cohort.digest,
        f"{MARK} studies": studies,
        f"generator {facts.generator.name}": facts.generator.digest,
        "audit evidence": facts.evidence,
    }
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for gate in facts.all_gates():
        fate = "failedTests" if gate.outcome == FAIL and gate.primary else "warnedTests"
        tests["passedTests" if gate.outcome == PASS else fate].append(gate.criterion)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_named(name, digest) for name, digest in [*sorted(files.items()), *subjects.items()]],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": RESULTS[facts.outcome()],
            "configuration": [
                _named("protocol", facts.protocol),
                _named("decision", sha256_json(decision)) | {"annotations": decision},
            ],
            **tests,
        },
    }


def _named(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def write_statement(folder: Path, body: Mapping[str, Any]) -> Path:
    path = folder / STATEMENT
    path.write_bytes(canonical_json(dict(body)))
    return path


def sign_release(folder: Path, sign: Sign) -> Path:
    """Put the signed statement beside the files; it appears when complete. A release is signed once.

    Args:
        sign: Such as ``lambda payload: json.loads(build.sign(STATEMENT_TYPE, payload, key))`` of signed bundles.

    Raises:
        AuscultError: there is no statement, it is signed already, or the envelope is about something else.
    """
    path, statement = folder / ENVELOPE, folder / STATEMENT
    if not statement.is_file():
        raise AuscultError("The folder holds no release that could be signed.", remedy="Export it first.")
    if path.exists():
        raise AuscultError("The release is signed already.", remedy="Export it again to sign it anew.")
    payload = statement.read_bytes()
    envelope = dict(sign(payload))
    _check_envelope(envelope, payload)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(canonical_json(envelope))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _check_envelope(envelope: Mapping[str, Any], payload: bytes) -> None:
    signatures = envelope.get("signatures")
    fits = (
        isinstance(signatures, list)
        and len(signatures) == 1
        and set(envelope) == {"payload", "payloadType", "signatures"}
        and envelope["payloadType"] == PAYLOAD_TYPE
        and envelope["payload"] == base64.b64encode(payload).decode()
    )
    if not fits:
        raise AuscultError(
            "What was signed is not the statement of this release, or is no DSSE envelope with one signature.",
            remedy=f"Sign the bytes that are given, with the payload type {PAYLOAD_TYPE}.",
        )
