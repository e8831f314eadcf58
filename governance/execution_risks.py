"""How the state of a risk moves, and how an acceptance falls: by its day, a new rating, a lost control, a finding.

What falls, falls in the transaction of what made it fall; people are told in it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.errors import RELOAD, ConflictError
from core.models import Notification, Role, Topic, User
from core.notifications import Urgency, notify, resolve
from governance.models import Risk, RiskAcceptance
from governance.selectors.risks import acceptances_ending
from models_registry.models import AISystem

TRANSITIONS: dict[str, frozenset[str]] = {
    Risk.Status.OPEN: frozenset({Risk.Status.ACCEPTED, Risk.Status.CLOSED}),
    Risk.Status.ACCEPTED: frozenset({Risk.Status.OPEN, Risk.Status.CLOSED}),
    Risk.Status.CLOSED: frozenset({Risk.Status.OPEN}),
}
WARN_DAYS = (14, 3, 1)
DAY_PASSED = "Its day passed."


def lock_next_number(system: AISystem) -> int:
    """The number of the next risk of a system, which stays locked so that two do not get the same."""
    AISystem.objects.select_for_update(no_key=True).get(pk=system.pk)
    last: int = Risk.objects.filter(system=system).aggregate(last=Max("number"))["last"] or 0
    return last + 1


def locked_risk(pk: int) -> Risk:
    """The risk as it is now, locked until the transaction ends where the database can do so."""
    people = ("owner", "opened_by")
    return Risk.objects.select_for_update(of=("self",), no_key=True).select_related("system", *people).get(pk=pk)


def move_risk(risk: Risk, to: str, **changes: Any) -> None:
    """Move a risk to another state by a conditional UPDATE on its old one.

    Raises:
        ConflictError: the table does not allow the step, or somebody else moved it first.
    """
    old = risk.status
    if to not in TRANSITIONS[old]:
        raise ConflictError(
            f"Risk {risk.number} is {Risk.Status(old).label.lower()}; it cannot become "
            f"{Risk.Status(to).label.lower()}.",
            remedy=RELOAD,
        )
    if not Risk.objects.filter(pk=risk.pk, status=old).update(status=to, **changes):
        raise ConflictError(f"The state of risk {risk.number} changed meanwhile.", remedy=RELOAD)
    risk.status = to


def risk_facts(risk: Risk) -> dict[str, Any]:
    """What every ledger entry about a risk is bound to."""
    return {"risk": risk.pk, "number": risk.number, "system": risk.system.slug, "status": str(risk.status)}


def risk_href(risk: Risk) -> str:
    return reverse("risk", args=[risk.pk])


def end_standing_acceptance(risk: Risk, *, why: str, by: User | None, closes: bool = False) -> RiskAcceptance | None:
    """End the acceptance that stands, if one does, and open the risk again. Call it in the act's transaction.

    Args:
        why: In a sentence; it is kept with the acceptance, and told.
        closes: The act closes the risk: its state is left to that act.
    """
    acceptance = RiskAcceptance.objects.filter(risk=risk, ended_at__isnull=True).select_related("accepted_by").first()
    if acceptance is None:
        return None
    ended = RiskAcceptance.objects.filter(pk=acceptance.pk, ended_at__isnull=True)
    if not ended.update(ended_at=timezone.now(), ending=why):
        return None
    if risk.status == Risk.Status.ACCEPTED and not closes:
        move_risk(risk, Risk.Status.OPEN)
    ledger.record(
        actor=by.username if by else "system",
        act="risk.acceptance_ended",
        subject=("Risk", risk.pk),
        payload=risk_facts(risk) | {"acceptance": acceptance.pk, "why": why},
    )
    resolve(f"risk-acceptance:{acceptance.pk}")
    _tell_ended(risk, acceptance, why)
    return acceptance


def _tell_ended(risk: Risk, acceptance: RiskAcceptance, why: str) -> None:
    concerned = [acceptance.accepted_by, *people_with(Role.COMMITTEE_CHAIR, on=risk)]
    notify(
        to=[*concerned, risk.owner] if risk.owner else concerned,
        topic=Topic.RISKS,
        title=f"The acceptance of risk {risk.number} of {risk.system} has ended",
        text=f"{risk.title}. {why} What remains of it is accepted by nobody now.",
        href=risk_href(risk),
        key=f"risk:{risk.pk}:acceptance-ended:{acceptance.pk}",
        urgency=Urgency.ACTION,
    )


def expire_risk_acceptances(*, now: datetime | None = None) -> int:
    """End acceptances whose day has passed, and warn 14, 3 and 1 days before. Returns how many ended or were warned.

    May run twice at once: of two that end one acceptance, one does.
    """
    moment = now or timezone.now()
    done, due = 0, list(acceptances_ending(until=moment + timedelta(days=WARN_DAYS[0])))
    told = _warned_before(due)
    for acceptance in due:
        if acceptance.expires_at <= moment:
            done += _expire(acceptance)
            continue
        days = min(number for number in WARN_DAYS if acceptance.expires_at <= moment + timedelta(days=number))
        if _warning_key(acceptance, days) not in told:
            done += _warn(acceptance, days)
    return done


@transaction.atomic
def _expire(acceptance: RiskAcceptance) -> int:
    risk = locked_risk(acceptance.risk_id)
    still = RiskAcceptance.objects.filter(pk=acceptance.pk, ended_at__isnull=True).exists()
    return int(still and end_standing_acceptance(risk, why=DAY_PASSED, by=None) is not None)


def _warning_key(acceptance: RiskAcceptance, days: int) -> str:
    return f"risk-acceptance:{acceptance.pk}:due-{days}"


def _warned_before(due: list[RiskAcceptance]) -> set[str]:
    """Keys of the warnings that were given, by one query; an empty list asks nothing."""
    keys = [_warning_key(acceptance, days) for acceptance in due for days in WARN_DAYS]
    return set(Notification.objects.filter(key__in=keys).values_list("key", flat=True)) if keys else set()


@transaction.atomic
def _warn(acceptance: RiskAcceptance, days: int) -> int:
    risk = acceptance.risk
    people = [acceptance.accepted_by, *people_with(Role.COMMITTEE_CHAIR, on=acceptance)]
    day = timezone.localtime(acceptance.expires_at)
    told = notify(
        to=[*people, risk.owner] if risk.owner else people,
        topic=Topic.RISKS,
        title=f"The acceptance of risk {risk.number} of {risk.system} ends on {day.day} {day:%b %Y}",
        text=f"{risk.title}. After that day nobody accepts what remains of it.",
        href=risk_href(risk),
        key=_warning_key(acceptance, days),
        urgency=Urgency.ACTION,
    )
    return int(told > 0)


def tell_owner(risk: Risk, *, title: str, key: str, to: User, facts: Mapping[str, str] | None = None) -> None:
    """Tell one person that something of a risk is theirs now."""
    notify(
        to=[to],
        topic=Topic.RISKS,
        title=title,
        text=" ".join(f"{name}: {value}." for name, value in (facts or {}).items()),
        href=risk_href(risk),
        key=key,
        urgency=Urgency.ACTION,
    )
