"""What is checked in ``review.json``: who voted, what they decided, under which conditions, on which evidence.

Standard library and ``cryptography`` only. Reviews of former releases have no policy, no conditions and no recusals,
and their votes no signature: what they do not have is not asked for, unless the ledger says that there was some.
"""

from __future__ import annotations

from typing import Any

from .contents import Bundle, Findings, entries_of
from .layout import EVIDENCE, REVIEW, Problem, canonical, sha256

APPROVING = ("approved", "conditional")
TERMS = ("id", "text", "owner", "due_at")
"""What the digest of the conditions covers of each."""


def check_review(bundle: Bundle) -> Findings:
    evidence, review = bundle.json(EVIDENCE), bundle.json(REVIEW)
    digest, votes = sha256(bundle.data(EVIDENCE)), review["votes"]
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
    for recusal in review.get("recusals", []):
        if recusal["person"] in voters:
            yield Problem(file=REVIEW, message=f"{recusal['person']} voted, but is recused")
    yield from _decision(review)
    yield from _evidence(review, evidence["result"]["outcome"], digest)
    yield from _review_ledger(bundle, review, bound)
    yield from _decided(bundle, review, bound)


def _decision(review: dict[str, Any]) -> Findings:
    """The votes give the decision: a quorum of equal ones, and each required role filled by another of who approve."""
    votes, quorum, decision = review["votes"], review["quorum"], review["decision"]
    tally = {choice: sum(vote["choice"] == choice for vote in votes) for choice in ("approve", "reject")}
    rules = _rules(review)
    required = rules.get("required_roles", [])
    approve, reject = tally["approve"] >= quorum, tally["reject"] >= quorum
    conditions = review.get("conditions", [])
    meant = {
        "approved": approve and not reject and not conditions,
        "conditional": approve and not reject and bool(conditions),
        "rejected": reject and (not approve or bool(required)),
    }
    if quorum < 2 or quorum < rules.get("quorum", 2) or sum(tally.values()) != len(votes) or not meant.get(decision):
        yield Problem(file=REVIEW, message="the votes do not give the decision that it states")
    if decision not in APPROVING:
        return
    filled = review.get("roles", {})
    approving = {vote["voter"] for vote in votes if vote["choice"] == "approve"}
    if any(filled.get(role) not in approving for role in required) or len(set(filled.values())) != len(filled):
        yield Problem(file=REVIEW, message="a role that the policy requires is not among those who approved")


def _rules(review: dict[str, Any]) -> dict[str, Any]:
    """What the policy asks of a review; empty where there is none, or where it asks for nothing."""
    return ((review.get("policy") or {}).get("body") or {}).get("review") or {}


def _evidence(review: dict[str, Any], outcome: str, digest: str) -> Findings:
    """What was approved passes; or somebody else accepted, under the policy, that it is not sufficient."""
    if review["decision"] not in APPROVING:
        return
    if outcome != "pass" and not (outcome == "insufficient" and acceptances_of(review, digest)):
        yield Problem(file=REVIEW, message="approves a version whose evidence does not pass")
    policy, gate = review.get("policy"), review.get("gate")
    if policy is None:
        return
    if sha256(canonical(policy["body"])) != policy["digest"]:
        yield Problem(file=REVIEW, message="the rules of its policy do not have the digest that it states")
    if not gate or gate["policy_digest"] != policy["digest"] or gate["version_digest"] != review["version"]:
        yield Problem(file=REVIEW, message="does not say how this version stood against the policy of the review")
    elif gate["outcome"] != "pass" or any(item["state"] not in ("met", "accepted") for item in gate["items"]):
        yield Problem(file=REVIEW, message="approves a version that did not meet the policy of the review")
    accepted = {acceptance["item"] for acceptance in review.get("acceptances", [])}
    for item in (gate or {}).get("items", []):
        if item["state"] == "accepted" and item["item"] not in accepted:
            yield Problem(file=REVIEW, message=f"nobody accepted the lack of evidence for {item['item']}")


def acceptances_of(review: dict[str, Any], digest: str) -> list[dict[str, Any]]:
    """The acceptances that let this very evidence count although it is not sufficient."""
    items = {
        item["item"]
        for item in (review.get("gate") or {}).get("items", [])
        if item["state"] == "accepted" and item["evidence_digest"] == digest
    }
    parts = {review["submitter"], review["runner"]}
    return [
        acceptance
        for acceptance in review.get("acceptances", [])
        if acceptance["item"] in items
        and acceptance["evidence"] == digest
        and acceptance["accepted_by"] not in parts
        and acceptance["accepted_at"] <= review["closed_at"] < acceptance["expires_at"]
    ]


def _review_ledger(bundle: Bundle, review: dict[str, Any], bound: dict[str, str]) -> Findings:
    about = bound | {"review": review["id"]}
    opened = about | {"quorum": review["quorum"]}
    decided = about | {"decision": review["decision"]}
    wanted = [("review.opened", review["opened_by"], opened), ("review.decided", None, decided)]
    for vote in review["votes"]:
        said = {"choice": vote["choice"], "rationale_sha256": sha256(vote["rationale"].encode())}
        signed = {name: vote[name] for name in ("signed_at", "signed_with", "terms") if vote.get(name)}
        wanted.append(("vote.cast", vote["voter"], about | said | signed))
    for recusal in review.get("recusals", []):
        said = {"person": recusal["person"], "reason_sha256": sha256(recusal["reason"].encode())}
        wanted.append(("recusal.recorded", recusal["recorded_by"], about | said))
    for act, actor, payload in wanted:
        if len(entries_of(bundle, act, actor=actor, **payload)) != 1:
            yield Problem(
                file=REVIEW,
                message=f"the ledger has not exactly one entry '{act}' by {actor or 'anybody'} that fits",
            )
    for act, told in (("vote.cast", review["votes"]), ("recusal.recorded", review.get("recusals", []))):
        if len(entries_of(bundle, act, review=review["id"])) != len(told):
            yield Problem(file=REVIEW, message=f"the ledger has other {act.partition('.')[0]}s than these")
    for acceptance in review.get("acceptances", []):
        given = (entry for entry in bundle.ledger() if entry["act"].startswith("acceptance."))
        same = ("Acceptance", str(acceptance["id"]), acceptance["accepted_by"])
        if not any((entry["subject_kind"], entry["subject_id"], entry["actor"]) == same for entry in given):
            yield Problem(file=REVIEW, message=f"the ledger knows nothing of the acceptance {acceptance['id']}")


def _decided(bundle: Bundle, review: dict[str, Any], bound: dict[str, str]) -> Findings:
    """Conditions, roles, policy and gate are those that the ledger states for the decision, and for each vote."""
    about = bound | {"review": review["id"], "decision": review["decision"]}
    for entry in entries_of(bundle, "review.decided", **about):
        told = entry["payload"]
        terms = [{name: condition[name] for name in TERMS} for condition in review.get("conditions", [])]
        digest = sha256(canonical(terms))
        if told.get("terms", sha256(canonical([]))) != digest:
            yield Problem(file=REVIEW, message="its conditions are not those of the decision in the ledger")
        approving = [vote for vote in review["votes"] if vote["choice"] == "approve"]
        if review["decision"] in APPROVING and any(vote.get("terms", digest) not in (digest, "") for vote in approving):
            yield Problem(file=REVIEW, message="somebody approved under other conditions than these")
        if told.get("roles", {}) != review.get("roles", {}):
            yield Problem(file=REVIEW, message="the roles that it states are not those of the decision in the ledger")
        policy, gate = review.get("policy"), review.get("gate")
        if told.get("policy") != (policy["digest"] if policy else None):
            yield Problem(file=REVIEW, message="was held under another policy")
        if told.get("gate") != (sha256(canonical(gate)) if gate else None):
            yield Problem(file=REVIEW, message="what the gate found is not what the ledger states")


def in_words(review: dict[str, Any], outcome: str, digest: str) -> str:
    """``evidence pass, approved with 2 votes``, with the conditions and what was accepted, where there is any."""
    found = f"evidence {outcome}"
    if accepted := acceptances_of(review, digest) if outcome == "insufficient" else []:
        who = ", ".join(f"by {item['accepted_by']} until {item['expires_at'][:10]}" for item in accepted)
        found += f" (accepted {who})"
    decision, number = review["decision"], len(review.get("conditions", []))
    if decision == "conditional":
        decision = f"approved under {number} condition{'' if number == 1 else 's'}"
    return f"{found}, {decision} with {len(review['votes'])} votes"
