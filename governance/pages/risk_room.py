"""One risk as somebody sees it: its facts, and for each act its form or the reason why it is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from django.core.paginator import Paginator

from core.access import Permission, can
from core.errors import ConflictError, NotFoundError
from core.kept import kept
from core.models import User
from core.pages.forms import HouseForm, attempt
from core.pages.readers import HouseRequest
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from evaluation.models import AuditRun
from governance import access_risks as access
from governance.models import Control, Risk
from governance.pages.risk_forms import (
    AcceptForm,
    CloseForm,
    ImplementForm,
    OwnerForm,
    PeopleForm,
    PlanForm,
    RateForm,
    ReasonForm,
    VerifyForm,
)
from governance.requirements import load_requirements
from governance.selectors import risks as selectors
from governance.services import controls, risks
from governance.standing.risk_rows import risk_title

PAGE_SIZE = 20


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that can be done: its form, its service, what is said when it is done, and who may.

    ``check`` takes the person, and the risk or the control where ``about`` it.
    """

    form: type[HouseForm]
    service: Callable[..., Any]
    done: str
    check: Callable[..., None]
    about: bool = False


RISK_ACTS = {
    "rate": Act(
        form=RateForm, service=risks.rate_risk, done="The rating is entered.", check=access.check_may_record_risk
    ),
    "owner": Act(
        form=OwnerForm,
        service=risks.assign_owner,
        done="The owner is named, and told.",
        check=access.check_may_assign_risk,
    ),
    "plan": Act(
        form=PlanForm,
        service=controls.plan_control,
        done="The control is planned. It lowers nothing until it is verified.",
        check=access.check_may_record_risk,
    ),
    "accept": Act(
        form=AcceptForm,
        service=risks.accept_residual,
        done="What remains of this risk is accepted, with your name.",
        check=access.check_may_accept_residual,
        about=True,
    ),
    "end": Act(
        form=ReasonForm,
        service=risks.end_acceptance,
        done="The acceptance ended at this moment.",
        check=access.check_may_end_acceptance,
    ),
    "close": Act(
        form=CloseForm,
        service=risks.close_risk,
        done="The risk is closed.",
        check=access.check_may_close_risk,
        about=True,
    ),
    "reopen": Act(
        form=ReasonForm,
        service=risks.reopen_risk,
        done="The risk is open again.",
        check=access.check_may_record_risk,
    ),
}
CONTROL_ACTS = {
    "implement": Act(
        form=ImplementForm,
        service=controls.implement_control,
        done="The control is implemented. Somebody else has to verify it.",
        check=access.check_may_implement,
        about=True,
    ),
    "verify": Act(
        form=VerifyForm,
        service=controls.verify_control,
        done="The control is verified.",
        check=access.check_may_verify,
        about=True,
    ),
    "drop": Act(
        form=ReasonForm,
        service=controls.drop_control,
        done="The control is dropped. What it lowered counts no more.",
        check=access.check_may_drop,
        about=True,
    ),
}
LABELS = {"implement": "It is implemented", "verify": "Verify it", "drop": "Drop it"}
NEXT = {
    Control.Status.PLANNED: ("implement", "drop"),
    Control.Status.IMPLEMENTED: ("verify", "drop"),
    Control.Status.VERIFIED: ("drop",),
    Control.Status.DROPPED: (),
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One act as the page offers it: a form to unfold, or a disabled button with its reason."""

    key: str
    label: str
    form: HouseForm
    permission: Permission
    unfolded: bool


@dataclass(frozen=True, kw_only=True)
class ControlRow:
    control: Control
    overdue: bool
    offers: tuple[Offer, ...]


class Room:
    """A risk, who looks at it, and what they do."""

    def __init__(self, risk: Risk, request: HouseRequest) -> None:
        self.risk, self.request, self.user = risk, request, request.user

    @cached_property
    def people(self) -> Mapping[str, User]:
        return selectors.people_to_name()

    @cached_property
    def runs(self) -> list[AuditRun]:
        return selectors.verifying_runs(self.risk)

    def act(self, pressed: str) -> tuple[HouseForm, str]:
        """Do what the button says. Answers the form, and what to say where it is done.

        Raises:
            NotFoundError: there is no such act, or no such control.
        """
        name, _, number = pressed.partition("-")
        act = (CONTROL_ACTS if number else RISK_ACTS).get(name)
        if act is None or (number and not number.isdecimal()):
            raise NotFoundError("There is no such act on a risk.", remedy="Go back to the page of the risk.")
        subject: dict[str, Any] = {"risk": self.risk}
        if number:
            subject = {"control": selectors.control_of(self.risk, int(number))}
        form = self.form(act, pressed, bound=True)
        service = partial(act.service, by=self.user, **subject)
        try_it = (
            partial(attempt_signed, form, self.request) if isinstance(form, SigningForm) else partial(attempt, form)
        )
        made = try_it(service)
        return form, act.done if made is not None else ""

    def form(self, act: Act, key: str, *, bound: bool = False) -> HouseForm:
        """The form of an act; ``key`` keeps its fields apart from those of the other forms on the page."""
        form = act.form(self.request.POST if bound else None, prefix=key)
        if isinstance(form, PeopleForm):
            form.name_people(self.people)
        if isinstance(form, VerifyForm):
            form.offer_runs(self.runs)
        return ask_or_skip(form, self.request) if isinstance(form, SigningForm) else form

    def context(self, failed: HouseForm | None) -> dict[str, Any]:
        """What the template of a risk needs. ``failed`` is the form that was sent and could not be done."""
        # Read now, not before the act: a refusal may be about what somebody else did meanwhile, which is an act, too.
        line = kept("risk-line", self.risk.pk, make=partial(selectors.line_of, self.risk))
        matrix = load_requirements().risk_matrix
        return {
            "form": failed,
            "line": line,
            "risk": line.risk,
            "about": risk_title(line.risk.kind),
            "scales": {"severity": matrix.severity, "likelihood": matrix.likelihood},
            "controls": [self._row(control, line, failed) for control in line.controls],
            "offers": {name: self._offer(name, act, line, failed) for name, act in RISK_ACTS.items()},
            **kept("risk", line.risk.pk, make=partial(_told_of, line)),
            "history": Paginator(selectors.history_of(line.risk), PAGE_SIZE).get_page(self.request.GET.get("page")),
        }

    def _offer(self, name: str, act: Act, line: selectors.RiskLine, failed: HouseForm | None) -> Offer:
        permission = can(act.check, self.user, line.risk) if act.about else can(act.check, self.user)
        if permission and name in {"accept", "close"}:
            permission = _in_time(name, line)
        return self._made(name, name, act, permission, failed)

    def _row(self, control: Control, line: selectors.RiskLine, failed: HouseForm | None) -> ControlRow:
        closed = line.risk.status == Risk.Status.CLOSED
        names = () if closed else NEXT[Control.Status(control.status)]
        offers = tuple(
            self._made(
                f"{name}-{control.pk}",
                LABELS[name],
                CONTROL_ACTS[name],
                can(CONTROL_ACTS[name].check, self.user, control),
                failed,
            )
            for name in names
        )
        return ControlRow(control=control, overdue=control in line.overdue, offers=offers)

    def _made(self, key: str, label: str, act: Act, permission: Permission, failed: HouseForm | None) -> Offer:
        again = failed is not None and failed.prefix == key
        form = failed if again and failed is not None else self.form(act, key)
        return Offer(key=key, label=label, form=form, permission=permission, unfolded=again)


def _in_time(name: str, line: selectors.RiskLine) -> Permission:
    """Whether the state of the risk allows the act, in the words that the service would refuse it with."""
    try:
        if name == "accept":
            risks.check_acceptable(line)
    except ConflictError as refusal:
        return Permission(allowed=False, reason=f"{refusal.message} {refusal.remedy}")
    return Permission(allowed=True)


def _told_of(line: selectors.RiskLine) -> dict[str, Any]:
    """What was said of a risk before: it changes with an act alone."""
    return {
        "ratings": selectors.ratings_of(line.risk),
        "acceptances": selectors.acceptances_of(line.risk),
        "later": selectors.later_verdicts(line.risk, line.findings),
        "incident": selectors.incident_of(line.risk),
    }
