"""What runs out under policies is told before it does: accepted gaps, and the evidence of versions in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from core.access import people_with
from core.models import Notification, Role, Topic, User
from core.notifications import Urgency, notify
from governance.models import Acceptance, Policy
from governance.policies.findings import GOOD, GateFindings, ItemFinding, State
from governance.policies.words import moment
from governance.selectors.policies import gates, in_force
from models_registry.models import Deployment, ModelVersion

STEPS = (1, 3, 14)
"""Days before something runs out at which it is told, the last first."""
LOOK_BACK = timedelta(days=30)
LOOK_EVERY = 900
"""Seconds between two looks of a worker: a look asks every gate of every version in use, and the steps are days."""
LOOKED = "policies-looked-at"
TOLD = frozenset({"audit", "document"})
"""Kinds of items whose evidence ages; conditions of an approval are told by their own sweep."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell, once: ``key`` names it."""

    key: str
    title: str
    text: str
    href: str
    urgency: Urgency
    acceptor: User | None = None


def tell_what_runs_out() -> int:
    """The sweep: :func:`expire_acceptances`, once in a quarter of an hour by each worker. Returns what it returns."""
    return expire_acceptances() if cache.add(LOOKED, True, LOOK_EVERY) else 0


def expire_acceptances(now: datetime | None = None) -> int:
    """Tell of accepted gaps, and of evidence of versions in use, that run out in 14, 3 or 1 days, or did.

    The gate itself looks at the time when it is asked: nothing has to be changed for anything to end.

    Returns:
        How many notices went out.
    """
    at = now or timezone.now()
    due = {notice.key: notice for notice in [*_acceptances(at), *_evidence(at)]}
    if not due:
        return 0
    told = set(Notification.objects.filter(key__in=due).values_list("key", flat=True))
    waiting = [notice for key, notice in due.items() if key not in told]
    if not waiting:
        return 0
    people = people_with(Role.COMMITTEE_CHAIR, Role.AUDITOR, Role.CLINICIAN_LEAD)
    with transaction.atomic():
        for notice in waiting:
            to = [*people, notice.acceptor] if notice.acceptor else people
            notify(
                to=to, topic=Topic.POLICIES, title=notice.title, text=notice.text, href=notice.href, key=notice.key,
                urgency=notice.urgency,
            )  # fmt: skip
    return len(waiting)


def step(until: datetime, now: datetime) -> str:
    """``1``, ``3`` or ``14`` days before the end, ``ended`` from it on; empty while it is far off."""
    if now >= until:
        return "ended"
    return next((str(days) for days in STEPS if until - now <= timedelta(days=days)), "")


def _acceptances(now: datetime) -> Iterator[Notice]:
    rows = Acceptance.objects.filter(
        revoked_at=None,
        policy__status=Policy.Status.APPROVED,
        expires_at__gt=now - LOOK_BACK,
        expires_at__lte=now + timedelta(days=STEPS[-1]),
    ).select_related("policy", "accepted_by", "version__system")
    for row in rows:
        at = step(row.expires_at, now)
        ended = at == "ended"
        yield Notice(
            key=f"acceptance:{row.pk}:{at}",
            title=f"An accepted gap of {row.version} {'has ended' if ended else 'ends soon'}: {row.item}",
            text=f"{row.accepted_by} accepted it until {moment(row.expires_at)}. "
            + ("The gate does not pass any more without new evidence." if ended else "New evidence is needed by then."),
            href=reverse("version-policy", args=[row.version.system.slug, row.version_id, row.policy.name]),
            urgency=Urgency.URGENT if ended else Urgency.ACTION,
            acceptor=row.accepted_by,
        )


def _evidence(now: datetime) -> Iterator[Notice]:
    used = Deployment.objects.filter(status=Deployment.Status.RUNNING).values("version")
    versions = list(ModelVersion.objects.filter(pk__in=used).select_related("system"))
    candidates = in_force() if versions else []
    if not candidates:
        return
    names = {version.pk: version for version in versions}
    for (version_pk, policy_pk), found in gates(versions, candidates, now=now).items():
        yield from _of_gate(found, names[version_pk], policy_pk, now=now)


def _of_gate(found: GateFindings, version: ModelVersion, policy: int, *, now: datetime) -> Iterator[Notice]:
    href = reverse("version-policy", args=[version.system.slug, version.pk, found.policy])
    for item, until in _running_out(found.items):
        at = step(until, now)
        if not at or until < now - LOOK_BACK:
            continue
        ended = item.state not in GOOD or at == "ended"
        yield Notice(
            key=f"evidence:{policy}:{version.pk}:{item.item}:{until:%Y%m%dT%H%M%S}:{'ended' if ended else at}",
            title=f"Evidence of {version}, in use, {'is too old' if ended else 'ages'}: {item.title}",
            text=item.statement,
            href=href,
            urgency=Urgency.URGENT if ended else Urgency.ACTION,
        )


def _running_out(items: Iterable[ItemFinding]) -> Iterator[tuple[ItemFinding, datetime]]:
    """Items that end, or have ended, by age alone; an acceptance is told by itself."""
    for item in items:
        if item.kind in TOLD and item.expires_at and item.state in (State.MET, State.STALE):
            yield item, item.expires_at
