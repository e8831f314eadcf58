"""What monitors add to other pages, and ask of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import can, roles_of
from core.models import INSIDERS, Role, User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from evaluation import selectors_alerts
from evaluation import selectors_monitors as selectors
from evaluation.access_monitors import check_may_make_monitor
from evaluation.models import Alert, Monitor
from models_registry.models import Deployment, ModelVersion

SHOWN = 8


@panel("home")
def watched_at_home(user: User, subject: None) -> Panel | None:
    """How every monitor stands, those with an alarm first."""
    rows = selectors.rows_of(selectors.list_monitors(every=False)[: 4 * SHOWN])
    if not rows:
        return None
    context = {"rows": rows[:SHOWN], "more": max(0, len(rows) - SHOWN)}
    return Panel(template="evaluation/_home_monitors.html", context=context)


@panel("version:drift", rank=60)
def monitors_of_version(user: User, version: ModelVersion) -> Panel | None:
    """The monitors of a version that runs somewhere, or why nobody watches it."""
    runs = version.deployments.exclude(status=Deployment.Status.ENDED).exists()
    monitors = list(selectors.list_monitors().filter(deployment__version=version)[:SHOWN])
    if not runs and not monitors:
        return None
    context = {"rows": selectors.rows_of(monitors), "version": version, "may_make": can(check_may_make_monitor, user)}
    links = (("version-monitors", "Monitors"),)
    return Panel(template="evaluation/_version_monitors.html", context=context, links=links)


@queue_source
def alerts_and_monitors(user: User) -> Iterator[QueueItem]:
    """Alerts that a person owns or was given, critical ones for chairs, too; monitors that could not be prepared."""
    if not roles_of(user) & set(INSIDERS):
        return
    for alert in selectors_alerts.waiting_alerts(user):
        critical = alert.severity == Alert.Severity.CRITICAL
        yield QueueItem(
            title=alert.title,
            why=gettext("%(name)s of %(deployment)s. %(text)s")
            % {"name": alert.monitor.name, "deployment": alert.monitor.deployment, "text": alert.text},
            href=reverse("alert", args=[alert.pk]),
            since=alert.first_at,
            tone="fail" if critical else "insufficient",
            word="Critical" if critical else alert.get_severity_display(),
            note=gettext("Raised %(times)s times.") % {"times": alert.times} if alert.times > 1 else "",
        )
    if Role.AUDITOR in roles_of(user):
        for monitor in selectors.list_monitors().filter(status=Monitor.Status.FAILED, owner=user.identity_id):
            yield QueueItem(
                title=gettext("%(name)s of %(deployment)s is not watching")
                % {"name": monitor.name, "deployment": monitor.deployment},
                why=gettext("Its reference could not be made. %(error)s") % {"error": monitor.error},
                href=reverse("monitor", args=[monitor.pk]),
                since=monitor.created_at,
                tone="fail",
                word="Not watching",
            )
