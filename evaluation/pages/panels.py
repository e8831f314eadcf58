"""What evaluation adds to pages of the registry, and asks of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import can
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from evaluation.access import check_may_approve_protocol, check_may_audit
from evaluation.models import RunStatus
from evaluation.selectors import list_runs, protocols_awaiting, requested_runs, runs_failed, runs_of_version
from evaluation.services.runs import AUDITABLE
from models_registry.models import AISystem, CohortVersion, ModelVersion, VersionStatus
from models_registry.selectors import void_versions

RUNS_SHOWN = 20
LATEST_SHOWN = 5
UNAUDITED = (VersionStatus.DRAFT, VersionStatus.SUBMITTED)


@panel("version:audits", rank=40)
def audits_of_version(user: User, version: ModelVersion) -> Panel:
    runs = list(runs_of_version(version)[:RUNS_SHOWN])
    done = next((run for run in runs if run.status == RunStatus.DONE), None)
    return Panel(
        template="evaluation/_version_runs.html",
        context={"version": version, "runs": runs, "done": done},
        links=(("version-runs", "Audits"),),
    )


@panel("system", rank=10)
def compare_versions(user: User, system: AISystem) -> Panel | None:
    """The newest two versions that were put to an audit, to be held against each other. The versions are read already.

    Whether their audits can be compared, the page of the comparison says.
    """
    versions = [version for version in system.versions.all() if version.status not in UNAUDITED][:2]
    if len(versions) < 2:
        return None
    return Panel(template="evaluation/_system_compare.html", context={"after": versions[0], "before": versions[1]})


@panel("version-actions")
def request_audit_of_version(user: User, version: ModelVersion) -> Panel | None:
    if version.status not in AUDITABLE:
        return None
    context = {
        "permission": can(check_may_audit, user),
        "href": f"{reverse('audit-new')}?version={version.pk}",
        "label": "Request an audit",
        "kind": "primary",
    }
    return Panel(template="components/panel_action.html", context=context)


@panel("home")
def latest_audits(user: User, subject: None) -> Panel | None:
    """What happened last, for whoever has nothing to do: a way into the house."""
    runs = list(requested_runs()[:LATEST_SHOWN])
    return Panel(template="evaluation/_latest_runs.html", context={"runs": runs}) if runs else None


@panel("cohort")
def audits_of_cohort(user: User, version: CohortVersion) -> Panel | None:
    runs = list(list_runs().filter(cohort=version)[:RUNS_SHOWN])
    return Panel(template="evaluation/_cohort_runs.html", context={"runs": runs}) if runs else None


@queue_source
def protocols_and_failures(user: User) -> Iterator[QueueItem]:
    if can(check_may_approve_protocol, user):
        for protocol in protocols_awaiting():
            yield QueueItem(
                title=gettext("Approve the protocol %(name)s") % {"name": protocol.name},
                why=gettext("%(locked_by)s locked it. No audit may use it before a chair approves it.")
                % {"locked_by": protocol.locked_by},
                href=reverse("protocol", args=[protocol.pk]),
                since=protocol.locked_at,
                word="To approve",
            )
    if can(check_may_audit, user):
        for version in void_versions():
            yield QueueItem(
                title=gettext("Audit %(version)s again, or have it retired") % {"version": version},
                why=gettext("Its approval is void. %(void_reason)s") % {"void_reason": version.void_reason},
                href=reverse("version", args=[version.system.slug, version.pk]),
                since=version.void_at or version.submitted_at,
                tone="insufficient",
                word="Approval void",
            )
        for run in runs_failed():
            yield QueueItem(
                title=gettext("Audit of %(version)s did not finish") % {"version": run.version},
                why=run.error or "The worker gave no reason.",
                href=reverse("audit", args=[run.pk]),
                since=run.finished_at or run.requested_at,
                tone="insufficient",
                word="Did not finish",
            )
