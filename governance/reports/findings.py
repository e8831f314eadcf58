"""What both reports say first: the verdict in words, the group that fares worst, and what a reader must know."""

from __future__ import annotations

from typing import Any

from core.digests import sha256_json
from evaluation.engine.registry import known_metrics
from governance.reports.base import ReportContext
from governance.reports.statuses import runs_weights, unbound_weights
from governance.reports.wording import plural, spoken

RANK = {"fail": 0, "insufficient": 1, "pass": 2}

SIMULATED = (
    "Every patient in the audited cohort is simulated. The results show how the system behaves on simulated "
    "patients; they are no evidence of how it behaves on real ones."
)
NO_WEIGHTS = (
    "The audited version is a log of predictions that were made elsewhere. The platform judged the log and cannot "
    "repeat how it was made."
)
NO_APPLICABILITY = (
    "Which requirements apply to this system has not been determined. This document is written as if the system "
    "were a high-risk one; it cannot be ready before that is settled."
)


def primary_verdicts(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """Verdicts on primary criteria: failed first, then insufficient, then passed; the protocol's order within."""
    rows = [item for item in evidence["result"]["verdicts"] if item["primary"]]
    return sorted(rows, key=lambda item: RANK[item["outcome"]])


def leading_verdict(evidence: dict[str, Any]) -> dict[str, Any] | None:
    """The primary verdict a committee must see: of the worst outcome, the one furthest past its margin."""
    rows = primary_verdicts(evidence)
    if not rows:
        return None
    worst = [item for item in rows if item["outcome"] == rows[0]["outcome"]]
    return min(worst, key=_distance)


def _distance(verdict: dict[str, Any]) -> float:
    """Where a value lies against its margin, for ordering only: smaller is worse, nothing known is last.

    What a metric accepts is for the suite to say; of a suite that is no longer installed, the margin is all there is.
    """
    value = verdict["value"]
    if value is None:
        return float("inf")
    info = known_metrics().get(verdict["metric"])
    if info is not None:
        return info.slack(verdict["direction"], verdict["margin"], value, value)
    distance = verdict["margin"] - abs(value)
    return float(-distance if verdict["direction"] == "at_least" else distance)


def headline(evidence: dict[str, Any]) -> str:
    """The verdict in words: how many criteria, then the one that matters most. The outcome's word stands before."""
    outcome = evidence["result"]["outcome"]
    rows = primary_verdicts(evidence)
    lead = leading_verdict(evidence)
    if lead is None:
        return "The protocol has no primary criterion, so nothing was decided."
    share = sum(item["outcome"] == outcome for item in rows)
    of_all = f"{share:,} of {plural(len(rows), 'primary criterion', 'primary criteria')}"
    words = {
        "fail": f"{of_all} failed. Furthest from its limit: ",
        "insufficient": f"{of_all} could not be judged. One of them: ",
        "pass": f"{of_all} held. Closest to its limit: ",
    }
    return words[outcome] + bare_statement(lead)


def bare_statement(verdict: dict[str, Any]) -> str:
    """A verdict's sentence without the word that says its outcome, for where that word already stands."""
    text = str(verdict.get("statement") or spoken(verdict["criterion"]))
    head, colon, tail = text.partition(": ")
    if colon and head in {"Fails", "Passes", "Insufficient evidence"}:
        text = tail
    return text[:1].upper() + text[1:]


def metric_title(name: str) -> str:
    """A metric in a reader's words; its own name where no installed suite knows it."""
    from evaluation.engine.registry import SUITES

    for _, suite in SUITES:
        if name in suite.metrics:
            return suite.metrics[name].title
    return spoken(name)


def group_rates(evidence: dict[str, Any], verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured in the groups that a verdict compares, the one that fares worse first.

    For a difference, these are the measurements of the rate that it is a difference of, as the evidence names it.
    """
    same = [
        item
        for item in evidence["result"]["measurements"]
        if (item["label"], item["attribute"]) == (verdict["label"], verdict["attribute"])
    ]
    told = (item["detail"].get("rate") for item in same if item["metric"] == verdict["metric"] and item.get("detail"))
    rate = next((name for name in told if name), verdict["metric"])
    by_group = {item["group"]: item for item in same if item["metric"] == rate}
    return [by_group[group] for group in verdict["groups"] if group in by_group]


def statements(evidence: dict[str, Any]) -> list[dict[str, str]]:
    """What a reader must know before any number, each with a short name."""
    rows = []
    if evidence["cohort"]["simulated"]:
        rows.append({"name": "Simulated patients", "text": SIMULATED})
    if unbound_weights(evidence):
        rows.append({"name": "The weights run elsewhere", "text": unbound_weights(evidence)})
    elif not runs_weights(evidence):
        rows.append({"name": "No weights were run", "text": NO_WEIGHTS})
    return rows


def subject(evidence: dict[str, Any], context: ReportContext) -> dict[str, Any]:
    """What the report is about, by name and digest: the part of its JSON that binds it."""
    version, cohort, protocol, run = (evidence[key] for key in ("version", "cohort", "protocol", "run"))
    return {
        "system": {key: evidence["system"][key] for key in ("name", "provider", "intended_purpose", "risk_class")},
        "version": {key: version[key] for key in ("label", "adapter", "digest", "submitted_by", "submitted_at")},
        "cohort": {key: cohort[key] for key in ("name", "digest", "n_studies", "n_patients", "simulated")},
        "protocol": {
            key: protocol[key]
            for key in ("name", "title", "digest", "locked_by", "locked_at", "approved_by", "approved_at")
        },
        "run": {key: run[key] for key in ("id", "requested_by", "requested_at", "started_at", "finished_at")},
        "runs_weights": runs_weights(evidence),
        "evidence_digest": sha256_json(evidence),
        "result_digest": evidence["result_digest"],
        "ledger": {"size": context.ledger_size, "root": context.ledger_root},
    }
