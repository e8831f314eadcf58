"""What deployments add to the pages of versions and systems, and ask of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import can
from core.kept import kept
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from governance.access_deployments import check_may_decide, check_may_deploy, check_may_suspend
from governance.execution_deployments import CONFIRM_WITHIN
from governance.pages import shared
from governance.policies.findings import GateOutcome
from governance.selectors import deployments as selectors
from governance.selectors.approvals import USABLE
from governance.selectors.gates_now import in_use_without_gate
from models_registry.models import AISystem, ModelVersion, VersionStatus
from models_registry.services.suspensions import reason_of

SHOWN_ON = (*USABLE, VersionStatus.SUSPENDED, VersionStatus.VOID)


@panel("version:use", rank=30)
def version_deployments(user: User, version: ModelVersion) -> Panel | None:
    rows = selectors.rows_of(selectors.list_deployments(version=version)[:20])
    if not rows and version.status not in SHOWN_ON:
        return None
    context = {
        "version": version,
        "rows": rows,
        "deploy_href": f"{reverse('deployment-new')}?version={version.pk}",
        "usable": version.status in USABLE,
        "may_deploy": can(check_may_deploy, user),
        "may_suspend": can(check_may_suspend, user),
    }
    links = (("version-deployments", "Where it runs"),)
    return Panel(template="governance/_version_deployments.html", context=context, links=links)


@panel("system", rank=20)
def system_deployments(user: User, system: AISystem) -> Panel | None:
    held = selectors.list_deployments(system=system).filter(status__in=selectors.HELD)[:20]
    rows = kept("held", system.pk, make=lambda: selectors.rows_of(held))
    links = (("system-deployments", "Where it runs"),)
    return Panel(template="governance/_system_deployments.html", context={"rows": rows, "system": system}, links=links)


@queue_source
def unconfirmed_suspensions(user: User) -> Iterator[QueueItem]:
    """Whoever may suspend sees the sites that have not confirmed; the platform reminds them after a day."""
    if not can(check_may_suspend, user):
        return
    for row in selectors.waiting_for_site():
        yield QueueItem(
            title=gettext("%(site)s has not confirmed that %(version)s is stopped")
            % {"site": row.site, "version": row.version},
            why=gettext("Suspended: %(row)s Call %(contact_name)s and record who confirmed it.")
            % {"row": reason_of(row), "contact_name": row.contact_name},
            href=reverse("deployment", args=[row.pk]),
            since=row.suspended_at or row.started_at,
            tone="insufficient",
            word="Suspended",
            due=row.suspended_at + CONFIRM_WITHIN if row.suspended_at else None,
        )


@queue_source
def gates_that_closed(user: User) -> Iterator[QueueItem]:
    """Chairs see the versions in use that would not be let in today."""
    if not can(check_may_decide, user):
        return
    for version, findings in in_use_without_gate(shared.gates()):
        first = findings.open_items[0]
        yield QueueItem(
            title=gettext("%(version)s is in use and does not pass %(policy)s any more")
            % {"version": version, "policy": findings.policy},
            why=gettext("%(title)s: %(statement)s Mend it, accept it with an end, or suspend the version.")
            % {"title": first.title, "statement": first.statement},
            href=reverse("version-use", args=[version.system.slug, version.pk]),
            since=first.evidence_at or version.submitted_at,
            tone="fail" if findings.outcome == GateOutcome.FAIL else "insufficient",
            word="In use",
        )
