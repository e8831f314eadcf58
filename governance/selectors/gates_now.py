"""How versions stand under the policies in force: what pages of several people ask, worked out together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q

from core.access import can, roles_of
from core.models import User
from evaluation.models import AuditRun
from governance.access_policies import check_may_accept_gap
from governance.models import Policy
from governance.policies.findings import GateFindings, GateOutcome, ItemFinding
from governance.policies.form import Policy as Rules
from governance.selectors.policies import CURRENT, HEAVY, gates, policies, rules_of
from models_registry.models import Deployment, ModelVersion

MOST_VERSIONS = 100


@dataclass(frozen=True, kw_only=True)
class GatesNow:
    """The gates of versions that run somewhere, and of the newest that somebody may still decide about.

    Attributes:
        versions: By their keys.
        running: Those that run somewhere.
        newest: The newest ones, the newest first.
        policies: Every policy in force, by its key.
        proposed: Policies that wait for approval.
        found: By version and policy; what audits by protocols lack that no policy names is left out.
        runs: The audits behind what a person could accept.
    """

    versions: dict[int, ModelVersion]
    running: frozenset[int]
    newest: tuple[int, ...]
    policies: dict[int, Policy]
    proposed: tuple[Policy, ...]
    found: dict[tuple[int, int], GateFindings]
    runs: dict[int, AuditRun]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A lack of evidence that a person may accept."""

    version: ModelVersion
    policy: Policy
    finding: ItemFinding


def gates_now() -> GatesNow:
    """Every gate as it stands; as many queries for one version as for a hundred."""
    standing = policies().filter(status__in=[Policy.Status.PROPOSED, Policy.Status.APPROVED]).order_by("name")
    proposed = tuple(policy for policy in standing if policy.status == Policy.Status.PROPOSED)
    in_force = {policy.pk: policy for policy in standing if policy.status == Policy.Status.APPROVED}
    versions = _versions() if in_force else {}
    current = [version for version in versions.values() if version.status in CURRENT]
    newest = sorted(current, key=lambda version: (version.submitted_at, version.pk), reverse=True)
    found = gates(list(versions.values()), list(in_force.values()), asked_alone=True)
    behind = {item.run for findings in found.values() for item in findings.open_items if item.acceptable}
    return GatesNow(
        versions=versions,
        running=frozenset(pk for pk, version in versions.items() if version.runs_now),
        newest=tuple(version.pk for version in newest[:MOST_VERSIONS]),
        policies=in_force,
        proposed=proposed,
        found=found,
        runs=AuditRun.objects.select_related("requested_by").in_bulk(behind - {None}),
    )


def _versions() -> dict[int, Any]:
    """Versions that run somewhere, and the newest that somebody may still decide about; ``runs_now`` tells which."""
    newest = ModelVersion.objects.filter(status__in=CURRENT).order_by("-submitted_at", "-pk")[:MOST_VERSIONS]
    running = Deployment.objects.filter(version=OuterRef("pk"), status=Deployment.Status.RUNNING)
    rows = ModelVersion.objects.annotate(runs_now=Exists(running)).filter(
        Q(runs_now=True) | Q(pk__in=newest.values("pk"))
    )
    return {row.pk: row for row in rows.select_related("system", "submitted_by").defer(*HEAVY).order_by("pk")}


def in_use_without_gate(now: GatesNow) -> list[tuple[ModelVersion, GateFindings]]:
    """Versions that run somewhere, with each policy in force whose gate they do not pass now."""
    return [
        (now.versions[version], findings)
        for (version, _policy), findings in now.found.items()
        if version in now.running and findings.outcome != GateOutcome.PASS
    ]


def gaps_for(user: User, now: GatesNow) -> list[Gap]:
    """What a person may accept now, of the newest versions."""
    rules = {pk: rules_of(policy) for pk, policy in now.policies.items()}
    mine = [pk for pk in now.policies if roles_of(user) & _waivers(rules[pk])]
    return [
        Gap(version=now.versions[version], policy=now.policies[policy], finding=item)
        for version in now.newest
        for policy in mine
        if (findings := now.found.get((version, policy))) is not None
        for item in findings.open_items
        if item.acceptable and _may_accept(user, item, version=now.versions[version], rules=rules[policy], now=now)
    ]


def _may_accept(user: User, item: ItemFinding, *, version: ModelVersion, rules: Rules, now: GatesNow) -> bool:
    audit = rules.audit(item.item)
    if audit is None or item.run is None:
        return False
    return bool(can(check_may_accept_gap, user, item=audit, version=version, run=now.runs[item.run]))


def _waivers(rules: Rules) -> set[str]:
    return {role for item in rules.audits if item.waiver for role in item.waiver.accepted_by}
