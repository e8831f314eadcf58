"""Repairs on the page of an audit, and what waits of them on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import Permission, can, roles_of, same_person
from core.errors import ConflictError
from core.models import Role, User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from evaluation.models import AuditRun, RunStatus
from synthetic import selectors_repairs as selectors
from synthetic.services.repairs import check_may_repair, check_repairable


@panel("run", rank=40)
def repairs_of(user: User, run: AuditRun) -> Panel | None:
    """At failed findings of fairness: to make patients for a group. Nothing where nothing of that kind failed."""
    if run.status != RunStatus.DONE:
        return None
    findings, repairs = selectors.findings_of(run), selectors.repairs_of_run(run)
    if not findings and not repairs:
        return None
    context = {"run": run, "findings": findings, "repairs": repairs, "permission": may_order(user, run)}
    return Panel(template="synthetic/_repair_findings.html", context=context)


def may_order(user: User, run: AuditRun) -> Permission:
    """Whether a person may order a repair of what an audit found, with the reason where not."""
    allowed = can(check_may_repair, user)
    if allowed:
        try:
            check_repairable(run)
        except ConflictError as error:
            return Permission(allowed=False, reason=f"{error.message} {error.remedy}".strip())
    return allowed


@queue_source
def repairs_waiting(user: User) -> Iterator[QueueItem]:
    roles = roles_of(user)
    if Role.AUDITOR in roles:
        for repair in selectors.awaiting_audit():
            version = repair.training.result if repair.training else None
            if version is not None and not same_person(version.submitted_by, user):
                yield QueueItem(
                    title=gettext("Audit %(version)s by %(title)s")
                    % {"version": version, "title": repair.run.protocol.title},
                    why=gettext("It was trained to repair what audit %(run_id)s found: %(label)s in %(group)s.")
                    % {"run_id": repair.run_id, "label": repair.label, "group": repair.group},
                    href=reverse("repair", args=[repair.pk]),
                    since=repair.requested_at,
                    word="To audit",
                )
    if Role.ML_ENGINEER in roles:
        for repair in selectors.failed_repairs(user):
            yield QueueItem(
                title=gettext("Repair %(pk)s of audit %(run_id)s failed") % {"pk": repair.pk, "run_id": repair.run_id},
                why=repair.error or "The worker gave no reason.",
                href=reverse("repair", args=[repair.pk]),
                since=repair.finished_at or repair.requested_at,
                tone="fail",
                word="Failed",
            )
