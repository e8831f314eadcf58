"""What the registers hold about a version, as blocks of its reports: nothing at all where nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from governance.reports.blocks import Block, Note, Table
from governance.reports.view import View
from governance.reports.wording import ABSENT, count, day, interval, join_words, moment, number
from governance.rules.use_register import BIAS, bias_words, place_of
from governance.standing.places import held_of

DEPLOYMENT = {
    "running": pgettext_lazy("deployment", "Running"),
    "suspended": pgettext_lazy("deployment", "Suspended"),
    "ended": pgettext_lazy("deployment", "Ended"),
}
INCIDENT = {
    "open": pgettext_lazy("incident", "Open"),
    "investigating": pgettext_lazy("incident", "Under investigation"),
    "closed": pgettext_lazy("incident", "Closed"),
}
BY = {
    "built_in": gettext_lazy("built in by the provider"),
    "deployer": gettext_lazy("carried out by the deployer"),
}
Row = Mapping[str, Any]


def register(view: View, name: str) -> list[Row]:
    """One register of the dossier; empty where the dossier is older than it."""
    return list(view.dossier.get("registers", {}).get(name, []))


def own_deployments(view: View) -> list[Row]:
    """Deployments of this version, ended ones too, oldest first."""
    digest = view.dossier["version"]["digest"]
    return [row for row in register(view, "deployments") if row["version"]["digest"] == digest]


def own_incidents(view: View) -> list[Row]:
    """Incidents of this version, and those of which the version is not known."""
    digest = view.dossier["version"]["digest"]
    return [row for row in register(view, "incidents") if row["version"] in (None, digest)]


def deployed(view: View) -> Iterator[Block]:
    """Where this version runs, is suspended, or ran."""
    rows = own_deployments(view)
    if rows:
        yield Table(
            caption=_("Where this version is deployed, from the register of deployments"),
            headers=(_("Site"), _("State"), _("Share of studies"), _("Since"), _("Suspended"), _("Ended")),
            rows=tuple(
                (
                    place_of(row),
                    str(DEPLOYMENT[row["status"]]),
                    f"{row['share']} %",
                    moment(row["started_at"]),
                    moment(row["suspended_at"]) if row["suspended_at"] else "—",
                    moment(row["ended_at"]) if row["ended_at"] else "—",
                )
                for row in rows
            ),
            sources=(view.dossier_source(),),
            wide=True,
        )


def incidents(view: View) -> Iterator[Block]:
    """The incidents of this version."""
    rows = own_incidents(view)
    if rows:
        yield Table(
            caption=_("Incidents in the register that are of this version, or of a version that is not known"),
            headers=(_("Number"), _("Incident"), _("State"), _("Site"), _("Provider aware"), _("Correction")),
            rows=tuple(
                (
                    str(row["number"]),
                    str(row["title"]),
                    str(INCIDENT[row["status"]]),
                    row["site"] or str(ABSENT),
                    moment(row["aware_at"]),
                    row["correction"] or "—",
                )
                for row in rows
            ),
            sources=(view.dossier_source(),),
            wide=True,
        )


def incident_clocks(view: View) -> Iterator[Block]:
    """The clock of every report that the incidents of this version call for."""
    clocks = [(row, clock) for row in own_incidents(view) for clock in row["clocks"]]
    if clocks:
        yield Table(
            caption=_("Reports that these incidents call for, as the register keeps them"),
            headers=(_("Incident"), _("Rule"), _("Due, UTC"), _("Sent"), _("Reference"), _("Reason of a delay")),
            rows=tuple(
                (
                    str(row["number"]),
                    view.catalogue.deadlines[clock["deadline"]].source,
                    moment(clock["due_at"]) if clock["due_at"] else view.catalogue.deadlines[clock["deadline"]].limit,
                    moment(clock["sent_at"]) if clock["sent_at"] else _("not sent"),
                    clock["reference"] or "—",
                    clock["delay_reason"] or "—",
                )
                for row, clock in clocks
            ),
            sources=(view.dossier_source(),),
            wide=True,
        )


def measures(view: View) -> Iterator[Block]:
    """The measures of human oversight; one that nobody verified is marked so."""
    rows = register(view, "oversight")
    if rows:
        yield Table(
            caption=_("Measures of human oversight in the register; one counts once somebody else has verified it"),
            headers=(_("Art. 14(4)"), _("Measure"), _("Who"), _("When"), _("Site"), _("Verified")),
            rows=tuple(
                (
                    f"({row['limb']})",
                    str(row["text"]),
                    f"{row['role']}, {BY[row['by']]}",
                    str(row["moment"]),
                    row["site"] or _("every site"),
                    day(row["verified_on"]) if row["verified_on"] else _("not verified"),
                )
                for row in rows
            ),
            sources=(view.dossier_source(),),
            wide=True,
        )


def override_rates(view: View) -> Iterator[Block]:
    """How often outputs of this version were overruled, by site; and what speaks for automation bias."""
    places = {row["id"]: row for row in own_deployments(view)}
    rows = [row for row in register(view, "overrides") if row["deployment"] in places]
    if not rows:
        return
    yield Table(
        caption=_("Outputs that clinicians overruled; counts of small groups are withheld"),
        headers=(_("Site"), _("Outputs"), _("Overruled"), _("Share"), _("%(level)s %% interval") % {"level": "95"}),
        rows=tuple(
            (
                place_of(places[row["deployment"]]),
                count(row["outputs"]),
                count(row["overrides"]),
                number(row["rate"]),
                interval(row["low"], row["high"]),
            )
            for row in rows
        ),
        sources=(view.dossier_source(),),
        numeric=(1, 2, 3, 4),
    )
    for row in rows:
        if row["mark"] and row["mark"]["kind"] == BIAS:
            text = bias_words(row["mark"], place_of(places[row["deployment"]]))
            yield Note(title=_("Automation bias suspected"), text=text, tone="fail")


def in_use(view: View) -> str:
    """One sentence or two: suspensions, open incidents and conditions that are in force; empty where there is none."""
    told = []
    digest = view.dossier["version"]["digest"]
    stopped = [row for row in held_of(register(view, "deployments"), digest) if row["status"] == "suspended"]
    if stopped:
        sites = join_words(list(dict.fromkeys(map(place_of, stopped))))
        told.append(_("Suspended at %(sites)s.") % {"sites": sites})
    still = [str(row["number"]) for row in own_incidents(view) if row["status"] != "closed"]
    if still:
        words = ngettext("Open incident: %(numbers)s.", "Open incidents: %(numbers)s.", len(still))
        told.append(words % {"numbers": join_words(still)})
    conditions = register(view, "conditions")
    if conditions:
        words = ngettext(
            "%(n)s condition of the approval is in force and not met; it is due on %(day)s.",
            "%(n)s conditions of the approval are in force and not met; the first is due on %(day)s.",
            len(conditions),
        )
        told.append(words % {"n": len(conditions), "day": day(min(str(row["due_at"]) for row in conditions))})
    return " ".join(told)
