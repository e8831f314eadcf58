"""Overrides and numbers of outputs, as a site reports them: checked, without any patient, each recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.case_keys import keyed_digest
from core.digests import canonical_json, sha256_json
from core.errors import AuscultError, ConflictError
from core.models import User
from core.reach import service
from governance.access_oversight import check_may_report_overrides
from governance.models import OutputCount, Override
from governance.services.deployments import locked
from governance.standing.coarse import CoarseError, check_coarse, check_function, check_group
from models_registry.models import Deployment

MOST_ITEMS = 1000
MOST_OUTPUTS = 10_000_000
LONGEST_KEY, LONGEST_LABEL = 200, 120
AHEAD = timedelta(minutes=5)
"""How far the clock of a sender may be ahead of ours."""


@dataclass(frozen=True, kw_only=True)
class OverrideItem:
    """One override as it is reported.

    Attributes:
        key: Chosen by the sender: the same key is recorded once. It is kept as a keyed digest only.
        study_id: The study, where the sender knows it. It is made a keyed digest and thrown away.
    """

    key: str
    happened_at: datetime
    action: str
    reason: str
    label: str = ""
    group: dict[str, str] = field(default_factory=dict)
    study_id: str = field(default="", repr=False)
    role: str = ""


@dataclass(frozen=True, kw_only=True)
class OutputItem:
    """How many outputs clinicians were shown on one day, in one group."""

    day: date
    n: int
    group: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """How many of what was sent is new, and how many had been recorded before."""

    new: int
    known: int


@service
def record_overrides(*, deployment: Deployment, items: Sequence[OverrideItem], by: User) -> Recorded:
    """Record that clinicians did not follow outputs. Sending the same again records nothing more.

    Either all items are recorded or none is.

    Raises:
        DeniedError: ``by`` may not report.
        CoarseError: something would say too much of a patient, or is no coarse attribute; with the item's number.
        ConflictError: it happened while the version did not run there, there are too many items, or a key was used for
            another override.
    """
    check_may_report_overrides(by)
    _check_number(items)
    row = _locked(deployment)
    known_labels = frozenset(str(label) for label in row.version.config.get("labels") or ())
    facts = [_override_facts(item, row, known_labels, place) for place, item in enumerate(items, start=1)]
    wanted = {fact["key"]: fact for fact in facts}
    stored = {kept.key: kept for kept in Override.objects.filter(deployment=row, key__in=wanted)}
    for place, fact in enumerate(facts, start=1):
        kept = stored.get(fact["key"])
        same = wanted[fact["key"]] == fact and (kept is None or _facts_of(kept) == fact)
        if not same:
            raise ConflictError(
                f"Item {place}: its key was used for another override.", remedy="Give each override a key of its own."
            )
    fresh = [fact for key, fact in wanted.items() if key not in stored]
    if fresh:
        _save(Override, [Override(deployment=row, recorded_by=by, **fact) for fact in fresh])
        _enter("override.recorded", row, by=by, facts=fresh)
    return Recorded(new=len(fresh), known=len(items) - len(fresh))


@service
def record_outputs(*, deployment: Deployment, items: Sequence[OutputItem], by: User) -> Recorded:
    """Record how many outputs were shown on a day, by group: what a rate of overrides is a share of.

    Raises:
        DeniedError: ``by`` may not report.
        CoarseError: a group is not coarse; with the item's number.
        ConflictError: the version did not run there on that day, the number is none, or another number was recorded
            for that day and group.
    """
    check_may_report_overrides(by)
    _check_number(items)
    row = _locked(deployment)
    facts = [_output_facts(item, row, place) for place, item in enumerate(items, start=1)]
    wanted = {(fact["day"], fact["group_key"]): fact for fact in facts}
    kept = OutputCount.objects.filter(deployment=row, day__in={day for day, _ in wanted})
    stored = {(count.day, count.group_key): count.n for count in kept}
    for place, fact in enumerate(facts, start=1):
        name = (fact["day"], fact["group_key"])
        if fact["n"] != wanted[name]["n"] or stored.get(name, fact["n"]) != fact["n"]:
            raise ConflictError(
                f"Item {place}: another number was reported for {fact['day']} and this group.",
                remedy="Report a day once it is over. What is recorded is not changed.",
            )
    fresh = [fact for name, fact in wanted.items() if name not in stored]
    if fresh:
        _save(OutputCount, [OutputCount(deployment=row, recorded_by=by, **fact) for fact in fresh])
        plain = [fact | {"day": fact["day"].isoformat()} for fact in fresh]
        _enter("outputs.recorded", row, by=by, facts=plain, outputs=sum(fact["n"] for fact in fresh))
    return Recorded(new=len(fresh), known=len(items) - len(fresh))


def _check_number(items: Sequence[Any]) -> None:
    if not 1 <= len(items) <= MOST_ITEMS:
        raise ConflictError(
            f"{len(items):,} items were sent; 1 to {MOST_ITEMS:,} are taken at once.", remedy="Send them in parts."
        )


def _locked(deployment: Deployment) -> Deployment:
    """Locked, so that of two deliveries of the same items one sees what the other recorded."""
    return locked(deployment)[1]


def _override_facts(item: OverrideItem, row: Deployment, labels: frozenset[str], place: int) -> dict[str, Any]:
    """The columns of one override. What is refused is never repeated: it may name a patient."""
    try:
        group = check_group(item.group, allowed=settings.AUSCULT_GROUP_ATTRIBUTES)
        label = _label(item.label, labels)
        role = check_function(item.role)
    except AuscultError as error:
        raise CoarseError(f"Item {place}: {error.message}", remedy=error.remedy) from None
    if item.action not in Override.Action.values or item.reason not in Override.Reason.values:
        raise ConflictError(
            f"Item {place}: its action or its reason is none of the choices.",
            remedy=f"Actions: {', '.join(Override.Action.values)}. Reasons: {', '.join(Override.Reason.values)}.",
        )
    if not item.key.strip() or len(item.key) > LONGEST_KEY or len(item.study_id) > LONGEST_KEY:
        raise ConflictError(
            f"Item {place}: its key is empty, or a key is longer than {LONGEST_KEY} characters.",
            remedy="Give each override a key of its own, such as a UUID.",
        )
    _check_time(item.happened_at, row, place)
    study = item.study_id.strip()
    return {
        "happened_at": item.happened_at.astimezone(UTC),
        "action": str(item.action),
        "reason": str(item.reason),
        "label": label,
        "group": group,
        "case_digest": keyed_digest("study", row.version.system.slug, study) if study else "",
        "role": role,
        # The key too is kept as a digest only: a sender may have taken an accession number for it.
        "key": keyed_digest("key", item.key.strip()),
    }


def _label(label: str, known: frozenset[str]) -> str:
    label = " ".join(label.split())
    if known and label and label not in known:
        raise CoarseError(
            "The label is none that the version declares.", remedy=f"Use one of: {', '.join(sorted(known))[:300]}."
        )
    return label if label in known or not label else check_coarse(label, what="label", longest=LONGEST_LABEL)


def _check_time(moment: datetime, row: Deployment, place: int) -> None:
    if timezone.is_naive(moment):
        raise ConflictError(f"Item {place}: its time has no zone.", remedy="Write it as 2026-11-22T14:05:00+01:00.")
    if moment > timezone.now() + AHEAD:
        raise ConflictError(f"Item {place}: it is said to happen in the future.", remedy="Check the sender's clock.")
    stopped = stopped_at(row)
    if moment < row.started_at or (stopped is not None and moment > stopped):
        raise ConflictError(
            f"Item {place}: {row.version} did not run at {row.site} at that time. {_state(row)}",
            remedy="Report it for the deployment that ran then. If it was used while suspended, call the chair.",
        )


def stopped_at(row: Deployment) -> datetime | None:
    """Since when it does not run; None where it runs. What happened before may be reported after."""
    if row.status == Deployment.Status.SUSPENDED:
        return row.suspended_at
    if row.status == Deployment.Status.ENDED:
        return row.suspended_at if _ended_suspended(row) else row.ended_at
    return None


def _ended_suspended(row: Deployment) -> bool:
    """Whether it was suspended when it ended: then it did not run in between. The ledger knows of a resumption."""
    from core.models import LedgerEntry

    if row.suspended_at is None:
        return False
    resumed = LedgerEntry.objects.filter(
        subject_kind="Deployment", subject_id=str(row.pk), act="deployment.resumed", recorded_at__gte=row.suspended_at
    )
    return not resumed.exists()


def _state(row: Deployment) -> str:
    stopped = stopped_at(row)
    until = f" until {stopped:%d %b %Y %H:%M} UTC" if stopped else ""
    return f"It runs there since {row.started_at:%d %b %Y %H:%M} UTC{until}."


def _output_facts(item: OutputItem, row: Deployment, place: int) -> dict[str, Any]:
    try:
        group = check_group(item.group, allowed=settings.AUSCULT_GROUP_ATTRIBUTES)
    except AuscultError as error:
        raise CoarseError(f"Item {place}: {error.message}", remedy=error.remedy) from None
    if isinstance(item.n, bool) or not 0 <= item.n <= MOST_OUTPUTS:
        raise ConflictError(
            f"Item {place}: its number of outputs is none from 0 to {MOST_OUTPUTS:,}.", remedy="Check the number."
        )
    stopped = stopped_at(row)
    last = timezone.localdate(stopped) if stopped else timezone.localdate()
    if not timezone.localdate(row.started_at) <= item.day <= last:
        raise ConflictError(
            f"Item {place}: {row.version} did not run at {row.site} on {item.day}. {_state(row)}",
            remedy="Report it for the deployment that ran then.",
        )
    return {"day": item.day, "group": group, "group_key": canonical_json(group).decode() if group else "", "n": item.n}


def _facts_of(kept: Override) -> dict[str, Any]:
    names = ("happened_at", "action", "reason", "label", "group", "case_digest", "role", "key")
    return {name: getattr(kept, name) for name in names}


def _save(model: Any, rows: list[Any]) -> None:
    try:
        with transaction.atomic():
            model.objects.bulk_create(rows)
    except IntegrityError as error:
        raise ConflictError("Somebody reported the same at this moment.", remedy="Send it again.") from error


def _enter(act: str, row: Deployment, *, by: User, facts: list[dict[str, Any]], **numbers: int) -> None:
    """One entry for one delivery, bound to what was recorded by its digest."""
    plain = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fact.items()}
        for fact in facts
    ]
    ledger.record(
        actor=by.username,
        act=act,
        subject=("Deployment", row.pk),
        payload={"items": len(facts), "items_sha256": sha256_json(plain), **numbers},
    )
