"""Suspending deployments: what every act that stops a version does, whoever or whatever began it.

A suspension is at once. It names its reason, writes the notice that goes to the sites, tells the people of the house,
and stands in the ledger as one entry. The services of governance decide who may do it; a file that was changed on disk
or a backbone that fell does it too, in the transaction that voids the approval.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.digests import sha256_text
from core.mail import send_to_contact
from core.models import Role, Topic, User
from core.notifications import Urgency, notify
from core.plain_text import written
from models_registry.models import Deployment, ModelVersion

LEAST_REASON, MOST_REASON = 20, 4000
NOTICE = "\n\n== Notice to the site ==\n"
"""Stands between the reason and the notice in ``Deployment.suspension``."""
TOLD = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO, Role.AUDITOR)


def check_reason(reason: str, *, what: str) -> str:
    """The reason without blanks around it.

    Args:
        what: What it is the reason of: ``a suspension``.

    Raises:
        AuscultError: it is shorter than 20 characters, longer than 4,000, or cannot be printed.
    """
    return written(
        reason,
        name=f"The reason of {what}",
        least=LEAST_REASON,
        most=MOST_REASON,
        remedy="Say in a sentence or two what happened, so that whoever reads it can act on it.",
    )


def reason_of(deployment: Deployment) -> str:
    """Why it is, or last was, suspended."""
    return deployment.suspension.partition(NOTICE)[0]


def notice_of(deployment: Deployment) -> str:
    """What the site is told of the suspension, word for word."""
    return deployment.suspension.partition(NOTICE)[2]


def place_of(deployment: Deployment) -> str:
    return f"{deployment.site}, {deployment.unit}" if deployment.unit else deployment.site


def mail_key(deployment: Deployment) -> str:
    """The key of the mail that took the last notice to the site."""
    return f"suspension:{deployment.pk}:{deployment.suspended_at:%Y%m%d%H%M%S%f}"


def notice_text(deployment: Deployment, *, reason: str, at: datetime) -> str:
    """The notice for one site: what stops, since when, why, what to do."""
    place = place_of(deployment)
    return (
        f"Dear {deployment.contact_name},\n\n"
        f"The use of {deployment.version} at {place} is suspended since {at:%d %b %Y %H:%M} UTC.\n\n"
        f"Why: {reason}\n\n"
        "What to do now: stop the system, or hide its output, for every study there. Read the studies without it. "
        "Outputs of the last days may need a second look; ask us which. Confirm that it is stopped, with your name: a "
        "suspension that nobody confirms within 24 hours is followed up by telephone.\n\n"
        "It may be used again only when we tell you in writing that the suspension is lifted."
    )


def suspend_rows(
    *, version: ModelVersion, rows: Sequence[Deployment], reason: str, by: User | None, one: bool = False
) -> list[Deployment]:
    """Suspend those of these deployments that run, tell people, and enter it as one act. Needs a transaction.

    Args:
        version: What all of them run.
        reason: Checked by the caller.
        by: None where the platform does it.
        one: The act is about one deployment, not about the version.

    Returns:
        Those that ran until now.
    """
    now, stopped = timezone.now(), []
    for row in rows:
        facts = {
            "suspended_at": now,
            "suspended_by": by,
            "suspension": reason + NOTICE + notice_text(row, reason=reason, at=now),
            "acknowledged_at": None,
            "acknowledged_by": "",
        }
        running = Deployment.objects.filter(pk=row.pk, status=Deployment.Status.RUNNING)
        if running.update(status=Deployment.Status.SUSPENDED, **facts):
            row.refresh_from_db(fields=["status", *facts])
            stopped.append(row)
            send_to_contact(
                address=row.contact_email,
                name=row.contact_name,
                subject=f"Stop using {version} at {place_of(row)}",
                text=notice_of(row),
                key=mail_key(row),
            )
    subject: tuple[str, object] = ("Deployment", rows[0].pk) if one else ("ModelVersion", version.pk)
    ledger.record(
        actor=by.username if by else "system",
        act="deployment.suspended",
        subject=subject,
        payload={
            "version": version.digest,
            "deployments": [row.pk for row in stopped],
            "reason_sha256": sha256_text(reason),
            "notices_sha256": [sha256_text(notice_of(row)) for row in stopped],
        },
    )
    _tell(version, stopped, reason=reason, by=by, key=f"{'deployment' if one else 'version'}:{subject[1]}:suspended")
    return stopped


def _tell(version: ModelVersion, stopped: list[Deployment], *, reason: str, by: User | None, key: str) -> None:
    """Tell those who answer for it, and whoever brought the version."""
    places = ", ".join(row.site for row in stopped[:5]) + (" and others" if len(stopped) > 5 else "")
    where = {0: "It runs nowhere", 1: "One deployment stops"}.get(len(stopped), f"{len(stopped)} deployments stop")
    notify(
        to=[*people_with(*TOLD, on=version), version.submitted_by],
        topic=Topic.DEPLOYMENTS,
        urgency=Urgency.URGENT,
        title=f"{version} is suspended" + (f" at {places}" if places else ""),
        text=f"{where}. By {by or 'the platform'}: {reason}",
        href=reverse("deployment", args=[stopped[0].pk]) if len(stopped) == 1 else reverse("deployments"),
        key=f"{key}:{timezone.now():%Y%m%d%H%M%S%f}",
    )
