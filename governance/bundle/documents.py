"""What is checked in the documents about the evidence: dossier, requirement status, ML-BOM, reports, time-stamp.

Standard library and ``cryptography`` only. Whether a requirement is judged rightly cannot be checked without the
catalogue and its rules; what is checked is that the judgement names what it rests on, and that this is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from .contents import Bundle, Findings, entries_of
from .layout import (
    DOSSIER,
    EVIDENCE,
    HEAD,
    MODEL_BOM,
    PROOFS,
    REPORT_FORMS,
    REVIEW,
    STATEMENT,
    STATUS,
    TIMESTAMP,
    Problem,
    canonical,
)
from .stamps import Stamp, check_token


def check_dossier(bundle: Bundle) -> Findings:
    """It is about this version and audit, and is the one that was gathered when the bundle was asked for."""
    dossier, evidence, review = bundle.json(DOSSIER), bundle.json(EVIDENCE), bundle.json(REVIEW)
    bundle.reading = DOSSIER
    if bundle.data(DOSSIER) != canonical(dossier):
        yield Problem(file=DOSSIER, message="is not in canonical form")
    about = {
        "version": (dossier["version"]["digest"], dossier["version"]["label"], dossier["system"]["slug"]),
        "cohort": (dossier["cohort"] or {}).get("digest"),
        "audit": (dossier["run"] or {}).get("id"),
    }
    meant = {
        "version": (evidence["version"]["digest"], evidence["version"]["label"], evidence["system"]["slug"]),
        "cohort": evidence["cohort"]["digest"],
        "audit": review["run"],
    }
    for name, value in about.items():
        if value != meant[name]:
            yield Problem(file=DOSSIER, message=f"is about another {name} than the evidence and the review")
    yield from _dossier_facts(bundle, dossier)
    asked = entries_of(bundle, "bundle.requested", review=review["id"], dossier=bundle.digest(DOSSIER))
    size = dossier["ledger"]["size"]
    if not any(entry["payload"].get("evidence") == bundle.digest(EVIDENCE) for entry in asked):
        yield Problem(file=PROOFS, message="the ledger has no entry 'bundle.requested' that states this dossier")
    elif not any(size <= entry["index"] for entry in asked) or size > bundle.payload(HEAD)["size"]:
        yield Problem(file=DOSSIER, message="tells of a ledger larger than it was then")


def _dossier_facts(bundle: Bundle, dossier: dict[str, Any]) -> Findings:
    """What it says of the audit and the decision is what the evidence and the review say."""
    evidence, review = bundle.json(EVIDENCE), bundle.json(REVIEW)
    bundle.reading = DOSSIER
    found = {
        "evidence_digest": bundle.digest(EVIDENCE),
        "result_digest": evidence["result_digest"],
        "outcome": evidence["result"]["outcome"],
    }
    own = [audit for audit in dossier["audits"] if audit["run"] == review["run"]]
    newer = [audit for audit in dossier["audits"] if _took_its_place(audit, evidence)]
    if not any(found.items() <= audit.items() for audit in own) if own else not newer:
        yield Problem(file=DOSSIER, message="has no audit with this evidence and outcome")
    decided = [item["status"] for item in dossier["reviews"] if item["id"] == review["id"]]
    if decided != [review["decision"]]:
        yield Problem(file=DOSSIER, message="has not the review with this decision")


def _took_its_place(audit: dict[str, Any], evidence: dict[str, Any]) -> bool:
    """A dossier names only the newest audit by the same protocol on the same cohort."""
    return all(audit[name]["digest"] == evidence[name]["digest"] for name in ("protocol", "cohort"))


def check_status(bundle: Bundle) -> Findings:
    """It was judged from this dossier and evidence, counts what it lists, and rests on what they tell."""
    status, dossier = bundle.json(STATUS), bundle.json(DOSSIER)
    bundle.reading = STATUS
    if bundle.data(STATUS) != canonical(status):
        yield Problem(file=STATUS, message="is not in canonical form")
    meant = {
        "dossier": bundle.digest(DOSSIER),
        "evidence": bundle.digest(EVIDENCE),
        "version": dossier["version"]["digest"],
        "catalogue": dossier["catalogue"],
        "as_of": dossier["as_of"],
    }
    for name, value in meant.items():
        if status[name] != value:
            yield Problem(file=STATUS, message=f"was judged from another {name} than the one here")
    rows = status["requirements"]
    tally = Counter(row["state"] for row in rows if row["status"] == "binding")
    if {state: count for state, count in status["counts"].items() if count} != dict(tally):
        yield Problem(file=STATUS, message="its counts are not those of its requirements")
    if len({row["id"] for row in rows}) != len(rows):
        yield Problem(file=STATUS, message="has a requirement twice")
    known = {value for value in _texts(dossier) if len(value) == 64} | {meant["dossier"], meant["evidence"]}
    for row in rows:
        if any(item["digest"] and item["digest"] not in known for item in row["references"]):
            yield Problem(file=STATUS, message=f"{row['id']} rests on something that the dossier does not know")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def check_bom(bundle: Bundle) -> Findings:
    """It names the model by its digest, and each of its files by theirs."""
    bom, model = bundle.json(MODEL_BOM), bundle.json(EVIDENCE)["version"]
    bundle.reading = MODEL_BOM
    component = bom["metadata"]["component"]
    if bom["bomFormat"] != "CycloneDX" or _hashes(component) != {model["digest"]}:
        yield Problem(file=MODEL_BOM, message="does not name this model by its digest")
    listed = {part["name"]: _hashes(part) for part in component["components"] if part["type"] == "file"}
    if listed != {name: {digest} for name, digest in model["manifest"].items()}:
        yield Problem(file=MODEL_BOM, message="does not list the files of this model with their digests")


def _hashes(component: dict[str, Any]) -> set[str]:
    return {item["content"] for item in component["hashes"] if item["alg"] == "SHA-256"}


def check_reports(bundle: Bundle) -> Findings:
    """Each was issued with these bytes, from this evidence or about this version, and from a dossier that is known."""
    documents = [name for name in bundle.sums if name.startswith("reports/")]
    for stem in sorted({name.rpartition(".")[0] for name in documents}):
        bundle.data(f"{stem}.json"), bundle.digest(f"{stem}.pdf")
        subject = bundle.json(f"{stem}.json")["subject"]
        if not _is_about(bundle, subject):
            yield Problem(file=f"{stem}.json", message="was written from other evidence")
        forms = {form: bundle.digest(f"{stem}.{form}") for form in REPORT_FORMS if bundle.has(f"{stem}.{form}")}
        issued = entries_of(bundle, "report.issued", **forms)
        if not any((entry["payload"].get("evidence") or None) == subject["evidence_digest"] for entry in issued):
            yield Problem(file=f"{stem}.pdf", message="the ledger has no entry 'report.issued' for this report")
        elif bundle.layout() > 1 and not any(_was_requested(bundle, entry, subject) for entry in issued):
            yield Problem(file=f"{stem}.json", message="the ledger has no entry 'report.requested' with its dossier")


def _is_about(bundle: Bundle, subject: dict[str, Any]) -> bool:
    """From this evidence; or, since layout 2, from no audit at all but about this version."""
    if bundle.layout() == 1 or subject["evidence_digest"] is not None:
        return bool(subject["evidence_digest"] == bundle.digest(EVIDENCE))
    return bool(subject["version"]["digest"] == bundle.json(EVIDENCE)["version"]["digest"])


def _was_requested(bundle: Bundle, issued: dict[str, Any], subject: dict[str, Any]) -> bool:
    """Whether the request for this very report states the dossier that it says it was written from."""
    asked = entries_of(bundle, "report.requested", dossier=subject["dossier_digest"])
    same = ("subject_kind", "subject_id")
    return any(all(entry[name] == issued[name] for name in same) for entry in asked)


def check_timestamp(bundle: Bundle) -> Findings:
    stamp = stamp_of(bundle)
    if bundle.trust_tsa and stamp.certificate not in bundle.trust_tsa:
        yield Problem(file=TIMESTAMP, message="is not by an authority that you trust")


def stamp_of(bundle: Bundle) -> Stamp:
    """The time-stamp of the statement, checked.

    Raises:
        Mismatch: it is not there, or does not hold.
    """
    token, statement = bundle.data(TIMESTAMP), bundle.data(STATEMENT)
    bundle.reading = TIMESTAMP
    return check_token(token, statement)


def has_timestamp(bundle: Bundle) -> bool:
    """Whether there is a time-stamp, or ought to be."""
    return bool(bundle.has(TIMESTAMP) or bundle.trust_tsa or bundle.promises_timestamp())


def has(name: str) -> Callable[[Bundle], bool]:
    """Tells whether there is this file, or ought to be since layout 2."""
    return lambda bundle: bundle.has(name) or bundle.layout() > 1
