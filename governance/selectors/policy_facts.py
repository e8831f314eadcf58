"""Gathers what a policy may ask of versions: as many queries for a hundred versions as for one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.functions import Least

from core.models import LedgerEntry
from evaluation.models import AuditRun, Measurement, Monitor, MonitorWindow, Protocol, RunStatus
from governance.models import Acceptance, Incident, IncidentClock, OversightMeasure, Report, Review, Risk
from governance.policies.facts import (
    AcceptanceFact,
    ApprovalFact,
    IncidentFacts,
    PolicyFacts,
    ReportFact,
    RiskFacts,
    RunFact,
)
from governance.policies.findings import State
from governance.policies.form import Policy as Rules
from governance.policies.monitoring import WatchFact
from governance.policies.pins import split
from governance.selectors.approvals import Approval, approvals_as_read
from governance.selectors.risks import RiskLine, lines_of
from models_registry.models import Deployment, ModelVersion, Origin, Relation, VersionStatus
from models_registry.services.suspensions import place_of

DEPLOYED = (Deployment.Status.RUNNING, Deployment.Status.SUSPENDED)
ANCESTRY = (Relation.BACKBONE, Relation.FINE_TUNED, Relation.SAME_WEIGHTS)
DEEPEST = 12
"""Generations of ancestors that are followed: a backbone of a backbone, and so on."""


def gather(
    versions: Sequence[ModelVersion], rules: Sequence[Rules], *, asked_alone: bool = False
) -> dict[int, PolicyFacts]:
    """The facts of each version, by its key, from the rows as they are now; only those that one of the rules asks.

    Args:
        asked_alone: Leave out audits by protocols that no rule names. They never count; a finding tells of them where
            there is no other.
    """
    pks = [version.pk for version in versions]
    found = ModelVersion.objects.filter(pk__in=pks).select_related("system", "submitted_by")
    rows = {row.pk: row for row in found.defer("manifest", "sizes", "config", "card")}
    systems = {row.system_id for row in rows.values()}
    named = {split(name)[0] for item in rules for audit in item.audits for name in audit.protocols}
    runs, seen = _runs(pks, protocols=named if asked_alone else None), _seen(pks)
    acceptances = _acceptances(pks)
    reports = _reports(pks) if any(item.documents for item in rules) else {}
    approvals = approvals_as_read(rows.values()) if any(item.approval for item in rules) else {}
    risks = _risks(systems) if any(item.risks for item in rules) else {}
    measures = _measures(systems) if any(item.oversight for item in rules) else {}
    incidents = _incidents(systems) if any(item.incidents for item in rules) else {}
    sites, first_used = _used(systems)
    watched = _watched(pks) if any(item.monitoring and item.monitoring.required for item in rules) else {}
    return {
        pk: PolicyFacts(
            system=row.system.slug,
            version=row.label,
            digest=row.digest,
            void_at=row.void_at,
            submitter=row.submitted_by.identity_id,
            runs=tuple(runs.get(pk, ())),
            seen=tuple(sorted(seen.get(pk, {}).items())),
            acceptances=tuple(acceptances.get(pk, ())),
            reports=tuple(reports.get(pk, ())),
            approval=_approval(row, approvals[pk]) if pk in approvals else None,
            risks=risks.get(row.system_id),
            measures=tuple(sorted(measures.get(row.system_id, {}).items())),
            incidents=incidents.get(row.system_id),
            sites=tuple(sites.get(row.system_id, ())),
            first_used=first_used.get(pk),
            watched=tuple(watched.get(pk, ())),
        )
        for pk, row in rows.items()
    }


FIELDS = (
    "pk", "version_id", "version__digest", "protocol__name", "protocol__digest", "protocol__status",
    "cohort__cohort_id", "cohort__cohort__name", "cohort__cohort__role", "cohort__cohort__site",
    "cohort__cohort__simulated",
    "cohort__n_patients", "judged", "outcome", "requested_at", "finished_at", "evidence_digest", "requested_by_id",
    "requested_by__merged_into_id",
)  # fmt: skip


def _runs(versions: Iterable[int], *, protocols: set[str] | None) -> dict[int, list[RunFact]]:
    done = AuditRun.objects.filter(version__in=versions, status=RunStatus.DONE, finished_at__isnull=False)
    done = done.exclude(evidence_digest="").exclude(outcome="")
    if protocols is not None:
        done = done.filter(protocol__name__in=protocols)
    known = Measurement.objects.filter(run=OuterRef("pk"), patients__isnull=False)
    most = Subquery(known.order_by("-patients").values("patients")[:1])
    rows = list(done.annotate(judged=most).order_by("pk").values(*FIELDS))
    told = _in_ledger([row["pk"] for row in rows])
    found: dict[int, list[RunFact]] = {}
    for row in rows:
        found.setdefault(row["version_id"], []).append(_run(row, told.get(row["pk"], {})))
    return found


def _in_ledger(runs: Iterable[int]) -> dict[int, dict[str, Any]]:
    """For each audit what the ledger says: what it was requested on, and what it found."""
    entries = LedgerEntry.objects.filter(
        subject_kind="AuditRun", subject_id__in=[str(pk) for pk in runs], act__in=("run.requested", "run.judged")
    )
    found: dict[int, dict[str, Any]] = {}
    for run, body in entries.order_by("index").values_list("subject_id", "body"):
        found.setdefault(int(run), {}).update(json.loads(body)["payload"])
    return found


def _run(row: Mapping[str, Any], told: Mapping[str, Any]) -> RunFact:
    """``told`` is empty for an audit that the ledger does not know: then its row is all there is."""
    patients = row["cohort__n_patients"]
    return RunFact(
        pk=row["pk"],
        protocol=row["protocol__name"],
        approved=row["protocol__status"] == Protocol.Status.APPROVED,
        cohort=row["cohort__cohort_id"],
        cohort_name=row["cohort__cohort__name"],
        role=row["cohort__cohort__role"],
        site=row["cohort__cohort__site"],
        simulated=row["cohort__cohort__simulated"],
        patients=patients if row["judged"] is None else min(patients, row["judged"]),
        outcome=row["outcome"],
        about=told.get("version", row["version__digest"]),
        requested_at=row["requested_at"],
        finished_at=row["finished_at"],
        evidence_digest=row["evidence_digest"],
        runner=row["requested_by__merged_into_id"] or row["requested_by_id"],
        contradicted=_contradicted(row, told),
        protocol_digest=row["protocol__digest"],
    )


def _contradicted(row: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    if told.get("outcome", row["outcome"]) != row["outcome"]:
        return f"the ledger has the outcome {told['outcome']}"
    if told.get("evidence", row["evidence_digest"]) != row["evidence_digest"]:
        return "the ledger has other evidence"
    return ""


def _seen(versions: Iterable[int]) -> dict[int, dict[int, str]]:
    """For each version the named cohorts that it, or what it was made from, was trained on, and how.

    Any version of a cohort counts as all of it: its patients are the same people.
    """
    origins: dict[int, list[Origin]] = {}
    wanted = set(versions)
    for _generation in range(DEEPEST):
        missing = wanted - set(origins)
        if not missing:
            break
        origins |= {pk: [] for pk in missing}
        rows = Origin.objects.filter(version__in=missing, relation__in=(*ANCESTRY, Relation.TRAINED_ON))
        for origin in rows.select_related("source_cohort", "source_version__system").order_by("pk"):
            origins[origin.version_id].append(origin)
            if origin.relation != Relation.TRAINED_ON and origin.source_version_id:
                wanted.add(origin.source_version_id)
    return {pk: _trained_on(pk, origins) for pk in versions}


def _trained_on(version: int, origins: Mapping[int, Sequence[Origin]]) -> dict[int, str]:
    found: dict[int, str] = {}
    done, waiting = {version}, [(version, "the version was trained on it")]
    while waiting:
        pk, how = waiting.pop(0)
        for origin in origins.get(pk, ()):
            if origin.relation == Relation.TRAINED_ON:
                if origin.source_cohort is not None:
                    found.setdefault(origin.source_cohort.cohort_id, how)
            elif origin.source_version_id and origin.source_version_id not in done:
                done.add(origin.source_version_id)
                waiting.append(
                    (origin.source_version_id, f"{origin.source_version}, which it is made from, was trained on it")
                )
    return found


def _acceptances(versions: Iterable[int]) -> dict[int, list[AcceptanceFact]]:
    found: dict[int, list[AcceptanceFact]] = {}
    rows = Acceptance.objects.filter(version__in=versions).select_related("policy", "accepted_by")
    for row in rows.order_by("pk"):
        fact = AcceptanceFact(
            pk=row.pk,
            policy_digest=row.policy.digest,
            item=row.item,
            version_digest=row.version_digest,
            evidence_digest=row.evidence_digest,
            person=row.accepted_by.identity_id,
            name=str(row.accepted_by),
            accepted_at=row.accepted_at,
            expires_at=row.expires_at,
            revoked=row.revoked_at is not None,
        )
        found.setdefault(row.version_id, []).append(fact)
    return found


def _reports(versions: Iterable[int]) -> dict[int, list[ReportFact]]:
    found: dict[int, list[ReportFact]] = {}
    for row in Report.objects.filter(version__in=versions, status=Report.Status.ISSUED).order_by("pk"):
        fact = ReportFact(kind=row.kind, ready=row.ready, as_of=row.as_of, issued_at=row.issued_at, pk=row.pk)
        found.setdefault(row.version_id, []).append(fact)
    return found


ENDED = (VersionStatus.REJECTED, VersionStatus.SUSPENDED, VersionStatus.RETIRED)


def _approval(version: ModelVersion, approval: Approval) -> ApprovalFact:
    """Rejected, stopped or lapsed is a failure; void is stale: the same weights may be approved anew."""
    decided = approval.review.closed_at if approval.review else None
    lapsed = any(condition.status == "lapsed" for condition in approval.open_conditions)
    if approval.stands:
        due = [condition.due_at for condition in approval.open_conditions]
        return ApprovalFact(
            state=State.MET,
            reason="",
            decided_at=decided,
            conditions=tuple(condition.text for condition in approval.open_conditions),
            first_due=min(due, default=None),
        )
    rejected = approval.review is not None and approval.review.status == Review.Status.REJECTED
    if version.status in ENDED or lapsed or rejected:
        state = State.FAILED
    else:
        state = State.STALE if version.void_at and approval.review else State.MISSING
    return ApprovalFact(state=state, reason=approval.reason, decided_at=decided)


def _risks(systems: Iterable[int]) -> dict[int, RiskFacts]:
    lines: dict[int, list[RiskLine]] = {pk: [] for pk in systems}
    for line in lines_of(Risk.objects.filter(system__in=systems)):
        lines[line.risk.system_id].append(line)
    return {
        pk: RiskFacts(
            recorded=len(rows),
            rated_too_high=tuple(_risk(line) for line in rows if line.unacceptable and line.after.stated),
            not_rated=tuple(_risk(line) for line in rows if line.unacceptable and not line.after.stated),
        )
        for pk, rows in lines.items()
    }


def _risk(line: RiskLine) -> str:
    return f"risk {line.risk.number}, {line.risk.title}"


def _measures(systems: Iterable[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    standing = OversightMeasure.objects.filter(system__in=systems, ended_at__isnull=True)
    for system, limb, verified in standing.values_list("system_id", "limb", "verified_by_id"):
        limbs = found.setdefault(system, {})
        if verified or limb not in limbs:
            limbs[limb] = "verified" if verified else limbs.get(limb, "recorded")
    return found


def _incidents(systems: Iterable[int]) -> dict[int, IncidentFacts]:
    clocks = IncidentClock.objects.filter(
        incident__system__in=systems, met_at__isnull=True, superseded_at__isnull=True
    ).exclude(incident__status=Incident.Status.CLOSED)
    found: dict[int, dict[str, dict[str, None]]] = {}
    for clock in clocks.select_related("incident").order_by("incident__number", "pk"):
        owed = found.setdefault(clock.incident.system_id, {"yes": {}, "unknown": {}})
        owed[clock.owed][str(clock.incident)] = None
    return {pk: IncidentFacts(owed=tuple(owed["yes"]), unknown=tuple(owed["unknown"])) for pk, owed in found.items()}


def _used(systems: Iterable[int]) -> tuple[dict[int, list[str]], dict[int, datetime]]:
    """Sites at which a version of each system is deployed, as the deployments write them, and when each version was
    first used anywhere. One query."""
    sites: dict[int, list[str]] = {}
    first: dict[int, datetime] = {}
    rows = Deployment.objects.filter(version__system__in=systems).order_by("site", "pk")
    for system, version, site, status, begun in rows.values_list(
        "version__system_id", "version_id", "site", "status", "started_at"
    ):
        first[version] = min(begun, first.get(version, begun))
        if status in DEPLOYED and site not in sites.setdefault(system, []):
            sites[system].append(site)
    return sites, first


def _watched(versions: Iterable[int]) -> dict[int, list[WatchFact]]:
    """Running deployments of each version. A suspended one is not asked to be watched: nothing is used there."""
    active = Q(monitors__status=Monitor.Status.ACTIVE)
    # A window with too few patients is judged without scores: nobody was watched by it.
    judged = active & Q(monitors__windows__status=MonitorWindow.Status.JUDGED) & ~Q(monitors__windows__residuals=[])
    rows = Deployment.objects.filter(version__in=versions, status=Deployment.Status.RUNNING).annotate(
        active=Count("monitors", filter=active, distinct=True),
        until=Max(Least("monitors__windows__judged_at", "monitors__windows__closes_at"), filter=judged),
    )
    found: dict[int, list[WatchFact]] = {}
    for row in rows.order_by("site", "unit", "pk"):
        fact = WatchFact(place=place_of(row), started_at=row.started_at, monitors=row.active, watched_until=row.until)
        found.setdefault(row.version_id, []).append(fact)
    return found
