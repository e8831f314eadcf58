"""The post-market monitoring plan of Art. 72 AI Act: owners, sources, indicators with limits, cadence, escalation, MDR.

Indicators and limits are those of the locked protocols that this version was audited by, because they are the only ones
that the platform can check again; what people stated beyond them stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Gap, Note, Paragraph, Table
from governance.reports.findings import bare_statement
from governance.reports.outlined import OutlinedReport
from governance.reports.performance import audited, cautions, criteria_tables
from governance.reports.registers import deployed, incident_clocks, incidents, override_rates
from governance.reports.stated import Point, absence, form, points_of, stated_table
from governance.reports.view import View
from governance.reports.wording import day, join_words, moment
from governance.rules.annex_iv_lifecycle import SECTION_2
from governance.rules.devices import REPORT_YEARS, later_by_years
from governance.rules.notes import uncovered
from governance.rules.values import date_of, rows_of

TITLES = (
    gettext_lazy("Risk management"),
    gettext_lazy("Data and data governance"),
    gettext_lazy("Technical documentation"),
    gettext_lazy("Record-keeping"),
    gettext_lazy("Transparency and instructions"),
    gettext_lazy("Human oversight"),
    gettext_lazy("Accuracy, robustness, cybersecurity"),
)
ARTICLES = tuple(zip(SECTION_2, TITLES, strict=True))
"""Section 2 of Chapter III: every one of its requirements needs an indicator (Art. 72(2))."""


class PmmPlan(OutlinedReport):
    """Post-market monitoring plan (Art. 72)."""

    key = "pmm_plan"
    title = gettext_lazy("Post-market monitoring plan")
    series = gettext_lazy("Post-market monitoring plan under Article 72 of Regulation (EU) 2024/1689")
    tells_fields = True

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {"1": _scope, "2": _sources, "3": _indicators, "4": _cadence, "5": _escalation, "6": _mdr}
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        due = next_psur(view)
        return {
            "indicators": [
                {
                    "article": article,
                    "stated": [str(row["indicator"]) for row in _stated_on(view, article)],
                    "measured": _measures(view, article),
                }
                for article, _title in ARTICLES
            ],
            "next_psur": due.isoformat() if due else None,
        }


REPORTS.register(PmmPlan.key)(PmmPlan())


def _scope(view: View) -> Iterator[Block]:
    version = view.dossier["version"]
    yield Paragraph(
        text=_(
            "This plan is about version %(label)s. It covers another one only where the covered versions below name it."
        )
        % {"label": version["label"]},
        sources=(view.version_source(),),
    )
    yield form(view, _("Who answers for monitoring, and what it covers"), points_of(view, "AIA-Art72-1"))


def _sources(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art72-2", "data_sources", _("Sources of field data"))
    yield form(view, _("Who delivers them, and what else is watched"), _without(view, "AIA-Art72-2", "data_sources"))
    sites = view.dossier["sites"]
    if sites:
        yield Table(
            caption=_("Sites where the system is used, and whether a source of field data names them"),
            headers=(_("Site"), _("Source of field data")),
            rows=tuple((site, _source_of(view, site)) for site in sites),
            sources=(view.answer_source("sites"),) if view.answer("sites") else (view.dossier_source(),),
        )
    else:
        yield Gap(text=_("The sites where the system is used: nobody has named one."))
    yield from deployed(view)
    yield from override_rates(view)
    yield from _audits(view)


def _without(view: View, requirement: str, *tables: str) -> list[Point]:
    """The points of a requirement but those that have a table of their own."""
    return [point for point in points_of(view, requirement) if point.field not in tables]


def _source_of(view: View, site: str) -> str:
    value = view.field("AIA-Art72-2", "data_sources")
    named = any(site.casefold() in str(row).casefold() for row in rows_of(value.value if value else None))
    return _("named in the table above") if named else _("Missing: no source of field data names this site.")


def _audits(view: View) -> Iterator[Block]:
    audits = view.dossier["audits"]
    if not audits:
        yield Gap(text=_("No audit of this version is finished."))
        return
    yield Table(
        caption=_("Audits of this version on the platform: a source before release, no field data"),
        headers=(_("Run"), _("Protocol"), _("Cohort"), _("Finished"), _("Outcome")),
        rows=tuple(
            (
                str(audit["run"]),
                audit["protocol"]["title"],
                (_("%(name)s (simulated patients)") if audit["cohort"]["simulated"] else "%(name)s") % audit["cohort"],
                moment(audit["finished_at"]),
                audit["outcome"],
            )
            for audit in audits
        ),
        sources=tuple(view.audit_source(audit) for audit in audits),
        states=(4,),
        wide=True,
    )


def _indicators(view: View) -> Iterator[Block]:
    yield from criteria_tables(
        view, _("Indicators with their limits, from the locked protocol of %(run)s; last value measured on %(cohort)s")
    )
    yield from cautions(view)
    yield stated_table(view, "AIA-Art72-2-eval", "indicators", _("Indicators stated for use in the field"))
    yield stated_table(view, "AIA-Art72-2-eval", "alert_limits", _("Limits that raise an alert"))
    own = _without(view, "AIA-Art72-2-eval", "indicators", "alert_limits")
    yield form(view, _("Indicators by group of patients"), own)
    yield Table(
        caption=_("Indicators by requirement of Chapter III, Section 2"),
        headers=(_("Article"), _("Requirement"), _("Measured by audits"), _("Stated for the field")),
        rows=tuple(
            (
                article,
                str(title),
                join_words(_measures(view, article)) or _("Missing: no audit measures it."),
                join_words([str(row["indicator"]) for row in _stated_on(view, article)])
                or _("Missing: no stated indicator names this article."),
            )
            for article, title in ARTICLES
        ),
        sources=tuple(source for source, _evidence in audited(view)),
        wide=True,
    )


def _measures(view: View, article: str) -> list[str]:
    """Which kind of judged criterion bears on an article: comparisons of groups on 10, any level on 15, else none."""
    verdicts = [item for _source, evidence in audited(view) for item in evidence["result"]["verdicts"]]
    told = []
    if article == "Art. 10" and any(item["attribute"] for item in verdicts):
        told.append(_("comparison of groups (Art. 10(2)(f))"))
    levels = [item for item in verdicts if not item["attribute"] or not item["metric"].endswith("_difference")]
    if article == "Art. 15" and levels:
        told.append(_("criteria of accuracy (Art. 15(1))"))
    return told


def _stated_on(view: View, article: str) -> list[Mapping[str, Any]]:
    """The stated indicators of an article, by the rule that judges them."""
    value = view.field("AIA-Art72-2-eval", "indicators")
    return [row for row in rows_of(value.value if value else None) if not uncovered((row,), "requirement", (article,))]


def _cadence(view: View) -> Iterator[Block]:
    guidance = view.catalogue.timeline["T-AIA-PMM-GUID"]
    yield Paragraph(
        text=_("The Commission's guidance with an optional template is due by %(day)s: %(basis)s.")
        % {"day": day(guidance.date), "basis": guidance.basis},
        sources=(view.catalogue_source(),),
    )
    yield form(view, _("Version and approval of this plan"), points_of(view, "AIA-Art72-3"))
    yield from _psur(view)


def _psur(view: View) -> Iterator[Block]:
    """When the next periodic safety update report is due (MDR Art. 86)."""
    due, wanted = next_psur(view), _("Next periodic safety update report")
    yield form(view, _("Safety reports under the MDR"), points_of(view, "MDR-86"))
    if due is None:
        yield absence(view, "MDR-86", wanted)
        return
    last, mdr_class = view.text("MDR-86", "last_psur"), view.text("MDR-86", "mdr_class")
    text = _("Class %(mdr_class)s, last report %(last)s: the next is due by %(due)s (MDR Art. 86(1)).")
    sources = tuple(source for name in ("last_psur", "mdr_class") for source in _field_sources(view, "MDR-86", name))
    told = {"mdr_class": mdr_class, "last": last, "due": day(due)}
    yield Paragraph(text=text % told, sources=tuple(dict.fromkeys(sources)))
    if due < view.as_of.date():
        yield Note(title=_("Overdue"), text=_("The report was due by %(due)s.") % {"due": day(due)}, tone="fail")


def _field_sources(view: View, requirement: str, name: str) -> Iterator[Any]:
    value = view.field(requirement, name)
    yield from view.field_source(value) if value else ()


def next_psur(view: View) -> date | None:
    """The day by which the next periodic safety update report is due; None where that is not known or not asked for."""
    last, mdr_class = view.field("MDR-86", "last_psur"), view.field("MDR-86", "mdr_class")
    told = date_of(last.value) if last else None
    years = REPORT_YEARS.get(str(mdr_class.value)) if mdr_class else None
    return later_by_years(told, years) if told and years else None


def _escalation(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art72-2-act", "escalation_matrix", _("What follows when a limit is crossed"))
    yield form(view, _("How often it is reviewed"), _without(view, "AIA-Art72-2-act", "escalation_matrix"))
    yield from incidents(view)
    yield from incident_clocks(view)
    crossed = [
        (source, item)
        for source, evidence in audited(view)
        for item in evidence["result"]["verdicts"]
        if item["primary"] and item["outcome"] != "pass"
    ]
    if crossed:
        yield Note(
            title=_("Limits that are already crossed or not shown"),
            text="\n".join(f"{source.name}: {bare_statement(item)}" for source, item in crossed),
            tone="fail" if any(item["outcome"] == "fail" for _source, item in crossed) else "gap",
        )


def _mdr(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art72-4", "mapping", _("Each AI indicator and its place in the MDR plan"))
    yield form(
        view,
        _("Surveillance under the MDR that this plan joins"),
        (
            *_without(view, "AIA-Art72-4", "mapping"),
            *points_of(view, "MDR-83-84"),
        ),
    )
