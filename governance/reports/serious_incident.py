"""The report of a serious incident: which regime takes it (Art. 73(10)), facts, clocks, content, investigation.

Every clock is worked out from stated times of awareness and printed in UTC and in the zone of the Member State. Where
the answers do not tell whether a regime takes the incident, its clock is printed all the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.applicability import Route, Truth
from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Facts, Gap, Note, Paragraph, Table
from governance.reports.incident_clocks import Clock, Incident, local, read_incident
from governance.reports.outlined import OutlinedReport
from governance.reports.registers import deployed, incident_clocks, incidents, own_incidents
from governance.reports.stated import form, points_of, stated_table
from governance.reports.view import View
from governance.reports.wording import moment, spoken

OWED = {Truth.YES: gettext_lazy("Owed"), Truth.UNKNOWN: gettext_lazy("Not known")}


class SeriousIncident(OutlinedReport):
    """Serious incident report (Art. 73 AI Act, Art. 87 MDR, Arts 33 and 34 GDPR)."""

    key = "serious_incident"
    title = gettext_lazy("Serious incident report")
    series = gettext_lazy(
        "Report of a serious incident under Article 73 of Regulation (EU) 2024/1689, with the clocks of MDR and GDPR"
    )
    tells_fields = True

    def opening(self, view: View) -> Iterable[Block]:
        answered = view.answer("incident") is True or view.answer("breach") is True
        if not answered and not own_incidents(view):
            yield _nothing_reported(view)
            return
        yield from _first_clock(view)

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "0": _regime,
            "1": _facts,
            "2": _clocks,
            "3": _content,
            "4": _investigation,
            "5": _correction,
            "6": _parallel,
        }
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        incident = read_incident(view)
        return {
            "recorded": {name: view.answer(name) for name in ("incident", "incident_kinds", "breach")},
            "zone": str(incident.facts.zone) if incident.facts.zone else None,
            "clocks": [
                {
                    "regime": clock.route.regime,
                    "deadline": clock.route.deadline,
                    "owed": clock.route.owed.value,
                    "aware_at": _iso(clock.aware_at),
                    "due_at": _iso(clock.route.due_at),
                    "sent_at": _iso(clock.sent_at),
                    "late": clock.late,
                }
                for clock in incident.clocks
            ],
        }


REPORTS.register(SeriousIncident.key)(SeriousIncident())


def _iso(when: dt.datetime | None) -> str | None:
    return when.astimezone(dt.UTC).isoformat() if when else None


def _nothing_reported(view: View) -> Note:
    answered = {name: view.answer(name) for name in ("incident", "breach")}
    if None in answered.values():
        text = _("The questionnaire does not say whether an incident or a breach occurred.")
        return Note(title=_("Nothing is recorded"), text=text, tone="gap")
    text = _("The questionnaire says that neither an incident nor a breach occurred. There is nothing to report.")
    return Note(title=_("Nothing to report"), text=text)


def _first_clock(view: View) -> Iterator[Note]:
    rows = read_incident(view).clocks
    late = [clock for clock in rows if clock.late]
    if late:
        text = "\n".join(_one_line(clock, view) for clock in late)
        yield Note(title=_("A deadline has passed"), text=text, tone="fail")
    running = [clock for clock in rows if clock.late is None and clock.sent_at is None]
    if running:
        yield Note(title=_("Reports to be sent"), text="\n".join(_one_line(clock, view) for clock in running))


def _one_line(clock: Clock, view: View) -> str:
    told = {"regime": spoken(clock.route.regime), "rule": _rule(view, clock.route), "due": _due(clock.route, view)}
    return _("%(regime)s, %(rule)s: due %(due)s") % told


def _due(route: Route, view: View) -> str:
    if route.due_at is not None:
        return moment(route.due_at)
    deadline = view.catalogue.deadlines[route.deadline]
    return deadline.limit if deadline.period is None else _("not known: no time of awareness is stated")


def _rule(view: View, route: Route) -> str:
    return view.catalogue.deadlines[route.deadline].source


def _regime(view: View) -> Iterator[Block]:
    rows = read_incident(view).clocks
    asked = ("incident", "incident_kinds", "breach", "device_law", "mdr_class", "role", "manufacturer")
    sources = tuple(view.answer_source(name) for name in asked if name in view.dossier["answers"])
    if not rows:
        yield (
            _nothing_reported(view)
            if view.answer("incident") is not True and not own_incidents(view)
            else Gap(
                text=_(
                    "No regime takes the incident as it is described: its kinds are not answered, or none is one of "
                    "Art. 3(49)."
                )
            )
        )
    else:
        yield Table(
            caption=_("Which report goes to whom"),
            headers=(_("Regime"), _("Deadline"), _("Owed"), _("Reason")),
            rows=tuple(
                (spoken(clock.route.regime), _rule(view, clock.route), str(OWED[clock.route.owed]), clock.route.reason)
                for clock in rows
            ),
            sources=(*sources, view.catalogue_source()),
            wide=True,
        )
    yield form(view, _("Category, Member State, authority"), points_of(view, "AIA-Art73-10"))
    yield form(view, _("Which supervisor (Art. 75(1))"), points_of(view, "AIA-Art75-route"))


def _facts(view: View) -> Iterator[Block]:
    version = view.dossier["version"]
    yield from incidents(view)
    yield form(view, _("What happened"), points_of(view, "AIA-Art3-49"))
    yield Facts(
        caption=_("The version that this report is about"),
        rows=((_("Version"), version["label"]), (_("Digest"), version["digest"])),
        digests=(_("Digest"),),
        sources=(view.version_source(),),
    )
    stated = view.text("AIA-Art3-49", "model_version")
    if stated and version["label"] not in stated and version["digest"] not in stated:
        text = _("The statement names the version “%(stated)s”; this report is about %(label)s.")
        told = {"stated": stated, "label": version["label"]}
        yield Note(title=_("Another version"), text=text % told, tone="fail")


def _clocks(view: View) -> Iterator[Block]:
    incident = read_incident(view)
    told = incident.facts
    yield Table(
        caption=_("Times of awareness, from which the clocks run"),
        headers=(_("Who"), _("Aware, UTC"), _("Aware, local time")),
        rows=tuple(
            (who, moment(when) if when else _("Missing: nothing accepted is held."), local(when, told.zone))
            for who, when in (
                (_("Provider or manufacturer"), told.aware_at),
                (_("Deployer"), told.deployer_aware_at),
                (_("Controller (breach)"), told.controller_aware_at),
            )
        ),
        sources=incident.sources,
    )
    if len(incident.aware) > 1:
        text = _("Two times are stated at which the provider became aware. The earlier one starts the clocks.")
        yield Note(title=_("Two times of awareness"), text=text, tone="fail")
    if told.zone is None:
        text = _("Local time: the Member State is not stated or not known (%(told)s). Each time keeps its own zone.")
        yield Gap(text=text % {"told": incident.member_state or "—"})
    if incident.clocks:
        yield _deadlines(view, incident)
    yield from incident_clocks(view)
    for requirement, caption in (
        ("AIA-Art73-2", _("The general clock (Art. 73(2))")),
        ("AIA-Art73-3", _("Widespread infringement or critical infrastructure (Art. 73(3))")),
        ("AIA-Art73-4", _("Death (Art. 73(4))")),
    ):
        yield form(view, caption, points_of(view, requirement))
    yield Paragraph(
        text=_(
            "Days are calendar days: the day of awareness is not counted, and the last day ends at midnight. Weekends "
            "and holidays lengthen nothing here. Hours run exactly."
        )
    )


def _deadlines(view: View, incident: Incident) -> Table:
    return Table(
        caption=_("Deadlines"),
        headers=(_("Regime"), _("Rule"), _("Limit"), _("Due, UTC"), _("Due, local time"), _("Sent"), _("Standing")),
        rows=tuple(
            (
                spoken(clock.route.regime),
                _rule(view, clock.route),
                view.catalogue.deadlines[clock.route.deadline].limit,
                _due(clock.route, view),
                local(clock.route.due_at, incident.facts.zone),
                moment(clock.sent_at) if clock.sent_at else "—",
                _standing(clock),
            )
            for clock in incident.clocks
        ),
        sources=(*incident.sources, view.catalogue_source()),
        wide=True,
    )


def _standing(clock: Clock) -> str:
    if clock.late is None:
        return _("sent") if clock.sent_at else _("open")
    if clock.late:
        return _("late") if clock.sent_at else _("overdue")
    return _("in time")


def _content(view: View) -> Iterator[Block]:
    yield form(view, _("First and complete report (Art. 73(5))"), points_of(view, "AIA-Art73-5"))
    missing: Any = (value := view.field("AIA-Art73-5", "missing_items")) and value.value
    if missing and not view.text("AIA-Art73-5", "complete_sent_at"):
        yield Gap(text=_("Still to follow in the complete report: %(items)s") % {"items": ", ".join(map(str, missing))})


def _investigation(view: View) -> Iterator[Block]:
    yield form(view, _("Investigation (Art. 73(6))"), points_of(view, "AIA-Art73-6"))
    yield Paragraph(
        text=_(
            "The platform holds version %(label)s by the digest %(digest)s. A change of the files changes the digest; "
            "the version itself is never changed."
        )
        % view.dossier["version"],
        sources=(view.version_source(),),
    )


def _correction(view: View) -> Iterator[Block]:
    points = (*points_of(view, "AIA-Art20"), *points_of(view, "AIA-Art26-5"))
    shown = tuple(point for point in points if point.field != "informed_parties")
    yield form(view, _("Corrective action, and who stopped using the system"), shown)
    yield stated_table(view, "AIA-Art20", "informed_parties", _("Who was informed (Art. 20)"))
    if own_incidents(view):
        yield from deployed(view)


def _parallel(view: View) -> Iterator[Block]:
    titles: Mapping[str, str] = {
        "MDR-87": _("Vigilance under the MDR (Arts 87 to 89)"),
        "GDPR-33": _("Notice of a breach to the authority (GDPR Art. 33)"),
        "GDPR-34": _("Notice of a breach to people (GDPR Art. 34)"),
    }
    for requirement, caption in titles.items():
        yield form(view, caption, points_of(view, requirement))
