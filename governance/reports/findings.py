"""What reports say first: the verdict in words, the group that fares worst, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import get_language, gettext, gettext_noop, ngettext

from evaluation.engine.registry import known_metrics
from governance.reports.evidence import runs_weights, unbound_weights
from governance.reports.wording import VERDICTS, count, interval, limit, number, sized, spoken

RANK = {"fail": 0, "insufficient": 1, "pass": 2}

SIMULATED = gettext_noop(
    "Every patient in the audited cohort is simulated. The results show how the system behaves on simulated "
    "patients; they are no evidence of how it behaves on real ones."
)
NO_WEIGHTS = gettext_noop(
    "The audited version is a log of predictions that were made elsewhere. The platform judged the log and cannot "
    "repeat how it was made."
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
        return gettext("The protocol has no primary criterion, so nothing was decided.")
    of_outcome = sum(item["outcome"] == outcome for item in rows)
    criteria = ngettext("%(n)s primary criterion", "%(n)s primary criteria", len(rows)) % {"n": count(len(rows))}
    words = {
        "fail": gettext("%(some)s of %(criteria)s failed. Furthest from its limit: %(finding)s"),
        "insufficient": gettext("%(some)s of %(criteria)s could not be judged. One of them: %(finding)s"),
        "pass": gettext("%(some)s of %(criteria)s held. Closest to its limit: %(finding)s"),
    }
    return words[outcome] % {"some": count(of_outcome), "criteria": criteria, "finding": bare_statement(lead)}


def bare_statement(verdict: dict[str, Any]) -> str:
    """A verdict's sentence without the word that says its outcome, for where that word already stands.

    The evidence holds the sentence in English. In another language it is said anew, from the verdict's numbers.
    """
    if (get_language() or "en").split("-")[0] != "en":
        return _said_anew(verdict)
    text = str(verdict.get("statement") or spoken(verdict["criterion"]))
    head, colon, tail = text.partition(": ")
    if colon and head in {"Fails", "Passes", "Insufficient evidence"}:
        text = tail
    return text[:1].upper() + text[1:]


def _said_anew(verdict: dict[str, Any]) -> str:
    groups = " / ".join(verdict["groups"])
    what = f"{metric_title(verdict['metric'])}, {spoken(verdict['label'])}" + (f" ({groups})" if groups else "")
    if verdict["value"] is None:
        return gettext("%(what)s: no value; allowed is %(limit)s.") % {"what": what, "limit": limit(verdict)}
    return gettext("%(what)s: %(value)s (interval %(interval)s), %(size)s; allowed is %(limit)s.") % {
        "what": what,
        "value": number(verdict["value"]),
        "interval": interval(verdict["low"], verdict["high"]),
        "size": sized(verdict["n"], verdict.get("patients")),
        "limit": limit(verdict),
    }


def metric_title(name: str) -> str:
    """A metric in a reader's words; its own name where no installed suite knows it."""
    from evaluation.engine.registry import SUITES

    for _, suite in SUITES:
        if name in suite.metrics:
            return gettext(suite.metrics[name].title)
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


def warnings(dossier: Mapping[str, Any], evidence: dict[str, Any] | None) -> list[dict[str, str]]:
    """What a reader must know before any number, each with a short name."""
    rows = []
    cohort = evidence["cohort"] if evidence else dossier["cohort"]
    if cohort and cohort["simulated"]:
        rows.append({"name": gettext("Simulated patients"), "text": gettext(SIMULATED)})
    if evidence and unbound_weights(evidence):
        rows.append({"name": gettext("The weights run elsewhere"), "text": gettext(unbound_weights(evidence))})
    elif evidence and not runs_weights(evidence):
        rows.append({"name": gettext("No weights were run"), "text": gettext(NO_WEIGHTS)})
    if dossier["version"]["void"]:
        void = dossier["version"]["void"]
        rows.append({"name": gettext("What this version was approved on is void"), "text": void["reason"]})
    return rows


def outcome_word(outcome: str) -> str:
    """``Pass``, ``Fail`` or ``Insufficient evidence``."""
    return str(VERDICTS[outcome])
