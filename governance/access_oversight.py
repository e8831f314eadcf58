"""Who may record measures of oversight, verify them, and report overrides."""

from __future__ import annotations

from core import models
from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from governance.models import OversightMeasure

INSIDERS = tuple(role for role in models.INSIDERS if role != Role.ADMINISTRATOR)
VERIFIERS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO)
ANOTHER = "Somebody who neither recorded it nor answers for it has to verify it."


def check_may_record_measure(user: User) -> None:
    check_role(user, *INSIDERS, to="record a measure of human oversight")


def check_may_verify_measure(user: User, measure: OversightMeasure) -> None:
    """Neither who recorded the measure nor who answers for it, by any account."""
    if same_person(user, measure.recorded_by):
        raise DeniedError("You recorded this measure, so you cannot verify it.", remedy=ANOTHER)
    if same_person(user, measure.responsible):
        raise DeniedError("You answer for this measure, so you cannot verify it.", remedy=ANOTHER)
    check_role(user, *VERIFIERS, to="verify a measure of human oversight")


def check_may_end_measure(user: User, measure: OversightMeasure) -> None:
    """Who recorded it or answers for it, and those who may verify."""
    if same_person(user, measure.recorded_by) or same_person(user, measure.responsible):
        check_role(user, *INSIDERS, to="end a measure of human oversight")
    else:
        check_role(user, *VERIFIERS, to="end a measure that they do not answer for")


def check_may_report_overrides(user: User) -> None:
    """Anybody who works here: an override is reported by whoever saw it, or by a program with their token."""
    check_role(user, *INSIDERS, to="report overrides and outputs")
