"""What the pages of policies show: marked lines, the rows of a gate, the panel of a version, and the queue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext

from core.access import Permission, can, roles_of
from core.errors import AuscultError
from core.kept import kept
from core.models import Role, User
from core.pages.forms import SummaryLine
from core.pages.panels import Panel, QueueItem, panel, queue_source
from evaluation.models import AuditRun
from governance.access_policies import check_may_accept_gap, check_may_approve_policy
from governance.pages import shared
from governance.policies.findings import GOOD, GateFindings, ItemFinding
from governance.policies.form import IN_FORCE
from governance.policies.form import Policy as Rules
from governance.policies.reading import PolicyError
from governance.selectors import policies as selectors
from governance.selectors.gates_now import Gap, gaps_for
from models_registry.models import ModelVersion

MOST_FILE = 1_000_000
MOST_LINES = 400
PLACE = re.compile(r"Line (\d+)(?:, |: )")
WORDS = {"pass": "Pass", "fail": "Fail", "insufficient": "Insufficient evidence"}


@dataclass(kw_only=True)
class MarkedLine:
    """One line of a text, with what is wrong in it."""

    number: int
    text: str
    problems: list[str] = field(default_factory=list)


def problem_lines(error: PolicyError) -> list[SummaryLine]:
    """One line of an error summary for each problem of a policy, leading to its line in the text."""
    told = error.message.splitlines() or [""]
    lines = [
        SummaryLine(message=line, target=f"line-{place.group(1)}" if (place := PLACE.match(line)) else "")
        for line in told
    ]
    return [*lines[:-1], SummaryLine(message=lines[-1].message, target=lines[-1].target, remedy=error.remedy)]


def marked_lines(source: str, error: AuscultError | None) -> list[MarkedLine]:
    """The text that was sent with its problems beside their lines; of a long one only the lines that have some."""
    if not isinstance(error, PolicyError):
        return []
    lines = [MarkedLine(number=number, text=text) for number, text in enumerate(source.split("\n"), start=1)]
    for problem in error.message.splitlines():
        place = PLACE.match(problem)
        if place and int(place.group(1)) <= len(lines):
            lines[int(place.group(1)) - 1].problems.append(problem[place.end() :])
    return lines if len(lines) <= MOST_LINES else [line for line in lines if line.problems]


def as_if_in_force(found: GateFindings) -> GateFindings:
    """Without the item that says that the policy is not: what would be asked of the version. Shown, never acted on."""
    return replace(found, items=tuple(item for item in found.items if item.item != IN_FORCE))


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One item of a gate as the page shows it."""

    finding: ItemFinding
    met: bool
    people: tuple[tuple[str, tuple[User, ...]], ...]
    may_accept: Permission | None
    """None where nobody may accept the lack of evidence."""


def rows_of(found: GateFindings, *, user: User, version: ModelVersion, rules: Rules) -> list[GateRow]:
    """The items with the people who can mend them. Two queries, however many items there are."""
    holders = selectors.people_by_role({role for item in found.open_items for role in item.who})
    runs = AuditRun.objects.select_related("requested_by").in_bulk(
        [item.run for item in found.open_items if item.acceptable]
    )
    return [
        GateRow(
            finding=item,
            met=item.state in GOOD,
            people=tuple((str(Role(role).label), tuple(holders.get(role, ()))) for role in item.who),
            may_accept=_may_accept(item, user=user, version=version, rules=rules, runs=runs),
        )
        for item in found.items
    ]


def _may_accept(
    item: ItemFinding, *, user: User, version: ModelVersion, rules: Rules, runs: dict[int, AuditRun]
) -> Permission | None:
    audit = rules.audit(item.item)
    if not item.acceptable or audit is None or item.run is None:
        return None
    return can(check_may_accept_gap, user, item=audit, version=version, run=runs[item.run])


@panel("version:requirements", rank=20)
def gates_of_version(_user: User, version: ModelVersion) -> Panel | None:
    """How a version stands against each policy in force that applies to it."""
    applying = selectors.policies_for(version.system)
    if not applying:
        return None
    asked = [policy.pk for policy in applying]
    found = kept("gates", version.pk, asked, make=lambda: selectors.gates([version], applying))
    rows = [{"policy": policy, "found": found[version.pk, policy.pk]} for policy in applying]
    links = (("version-policies", "Policies"),)
    return Panel(template="governance/_version_policies.html", context={"version": version, "rows": rows}, links=links)


@queue_source
def policies_and_gaps(user: User) -> Iterator[QueueItem]:
    """Policies that I may approve, and gaps that I may accept."""
    if not roles_of(user):
        return
    now = shared.gates()
    for policy in now.proposed:
        if can(check_may_approve_policy, user, policy):
            yield QueueItem(
                title=gettext("Approve the policy %(policy)s?") % {"policy": policy},
                why=gettext("%(proposed_by)s proposed it: %(title)s. Somebody else puts it into force.")
                % {"proposed_by": policy.proposed_by, "title": policy.title},
                href=reverse("policy", args=[policy.pk]),
                since=policy.proposed_at,
                word="To approve",
            )
    for gap in gaps_for(user, now):
        yield _gap(gap)


def _gap(gap: Gap) -> QueueItem:
    address: list[Any] = [gap.version.system.slug, gap.version.pk, gap.policy.name]
    return QueueItem(
        title=gettext("Too little evidence: %(title)s (%(version)s)")
        % {"title": gap.finding.title, "version": gap.version},
        why=gettext("%(policy)s lets you accept that for a while, with a reason. %(statement)s")
        % {"policy": gap.policy, "statement": gap.finding.statement},
        href=reverse("version-policy", args=address),
        since=gap.finding.evidence_at or gap.version.submitted_at,
        tone="insufficient",
        word="Insufficient",
    )
