"""Measures of human oversight: recorded by one person, verified by another, ended with a reason."""

from __future__ import annotations

from datetime import date

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with, roles_of, same_person
from core.digests import sha256_text
from core.errors import RELOAD, ConflictError
from core.models import Topic, User
from core.notifications import Urgency, notify, resolve
from core.plain_text import written
from core.reach import service
from governance.access_oversight import (
    INSIDERS,
    VERIFIERS,
    check_may_end_measure,
    check_may_record_measure,
    check_may_verify_measure,
)
from governance.models import OversightMeasure
from governance.services.overrides import OutputItem, OverrideItem, Recorded, record_outputs, record_overrides
from models_registry.models import AISystem

__all__ = [
    "OutputItem",
    "OverrideItem",
    "Recorded",
    "end_measure",
    "record_measure",
    "record_outputs",
    "record_overrides",
    "verify_measure",
]
LEAST, MOST, MOST_LINE = 20, 4000, 200


@service
def record_measure(
    *,
    system: AISystem,
    limb: str,
    kind: str,
    text: str,
    role: str,
    moment: str,
    responsible: User,
    by: User,
    site: str = "",
) -> OversightMeasure:
    """Record what lets people understand, watch, overrule or stop a system. It counts once another has verified it.

    Args:
        limb: The part of Art. 14(4), ``a`` to ``e``, that it serves.
        kind: ``built_in`` by the provider, or carried out by the ``deployer``.
        role: Who carries it out, by function.
        moment: When it is carried out.
        responsible: Who answers for it.

    Raises:
        DeniedError: ``by`` may not record one.
        ConflictError: a field is empty, too long or no choice, or the responsible person has no role here.
    """
    check_may_record_measure(by)
    if limb not in OversightMeasure.Limb.values or kind not in OversightMeasure.Kind.values:
        raise ConflictError("The limb or the kind is none of the choices.", remedy="Choose one of the list.")
    if not responsible.is_active or not roles_of(responsible) & set(INSIDERS):
        raise ConflictError(
            f"{responsible} has no role in which a measure can be answered for.", remedy="Choose somebody else."
        )
    measure = OversightMeasure.objects.create(
        system=system,
        limb=limb,
        kind=kind,
        text=_checked(text, what="measure"),
        role=_line(role, what="role that carries it out"),
        moment=_line(moment, what="moment at which it is carried out"),
        site=_line(site, what="site", needed=False),
        responsible=responsible,
        recorded_by=by,
    )
    ledger.record(
        actor=by.username,
        act="measure.recorded",
        subject=("OversightMeasure", measure.pk),
        payload={
            "system": system.slug,
            "limb": limb,
            "kind": kind,
            "responsible": responsible.username,
            "text_sha256": sha256_text(measure.text),
        },
    )
    _ask_to_verify(measure)
    return measure


def _ask_to_verify(measure: OversightMeasure) -> None:
    """Tell those who may verify it, but who recorded it and who answers for it."""
    apart = (measure.recorded_by, measure.responsible)
    notify(
        to=[one for one in people_with(*VERIFIERS, on=measure) if not any(same_person(one, other) for other in apart)],
        topic=Topic.OVERSIGHT,
        title=f"A measure of human oversight of {measure.system} waits to be verified",
        text=measure.get_limb_display(),
        href=reverse("oversight-measure", args=[measure.pk]),
        key=f"measure:{measure.pk}:recorded",
        urgency=Urgency.INFO,
    )


@service
def verify_measure(
    *, measure: OversightMeasure, verification: str, by: User, verified_on: date | None = None
) -> OversightMeasure:
    """Say that a measure is in place and does what it is for: somebody who neither recorded nor answers for it.

    Args:
        verification: What was looked at, in at least 20 characters.
        verified_on: The day; today unless told.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: it is verified or ended already, the text is too short, or the day is in the future.
    """
    check_may_verify_measure(by, measure)
    verification = _checked(verification, what="verification")
    day, today = verified_on or timezone.localdate(), timezone.localdate()
    if day > today or day < timezone.localdate(measure.recorded_at):
        raise ConflictError(
            "The day of the verification is before the measure was recorded, or in the future.",
            remedy="Give the day on which it was looked at.",
        )
    waiting = OversightMeasure.objects.filter(pk=measure.pk, verified_by=None, ended_at=None)
    try:
        with transaction.atomic():
            done = waiting.update(verified_by=by, verified_on=day, verification=verification)
    except IntegrityError as error:
        raise ConflictError("The database refuses this verification.", remedy="Somebody else verifies it.") from error
    if not done:
        raise ConflictError("This measure is verified or ended already.", remedy=RELOAD)
    ledger.record(
        actor=by.username,
        act="measure.verified",
        subject=("OversightMeasure", measure.pk),
        payload={
            "system": measure.system.slug,
            "limb": measure.limb,
            "verified_on": day.isoformat(),
            "verification_sha256": sha256_text(verification),
        },
    )
    resolve(f"measure:{measure.pk}")
    measure.refresh_from_db()
    return measure


@service
def end_measure(*, measure: OversightMeasure, reason: str, by: User) -> OversightMeasure:
    """End a measure: it does not count any more, and stays on record. One that changes is ended and recorded anew.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: it is ended already, or the reason is too short.
    """
    check_may_end_measure(by, measure)
    reason = _checked(reason, what="reason")
    if not OversightMeasure.objects.filter(pk=measure.pk, ended_at=None).update(ended_at=timezone.now(), ending=reason):
        raise ConflictError("This measure is ended already.", remedy=RELOAD)
    ledger.record(
        actor=by.username,
        act="measure.ended",
        subject=("OversightMeasure", measure.pk),
        payload={"system": measure.system.slug, "limb": measure.limb, "reason_sha256": sha256_text(reason)},
    )
    resolve(f"measure:{measure.pk}")
    measure.refresh_from_db()
    return measure


def _checked(text: str, *, what: str) -> str:
    remedy = "Write it so that somebody else can tell whether it is done."
    return written(text, name=f"The {what}", least=LEAST, most=MOST, remedy=remedy)


def _line(text: str, *, what: str, needed: bool = True) -> str:
    remedy = "Fill it in, in a few words."
    return written(" ".join(text.split()), name=f"The {what}", least=int(needed), most=MOST_LINE, remedy=remedy)
