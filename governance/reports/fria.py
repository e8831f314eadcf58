"""The fundamental rights impact assessment of Article 27 of the AI Act: first whether it is owed at all, and why.

A device that is high-risk by product law alone owes none; a use under Annex III by a public body or a private provider
of public services does. An assessment that is not owed can still be written, and is then called voluntary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.applicability import Truth
from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Facts, Gap, Heading, Note, Paragraph, Table
from governance.reports.dpia_risks import audit_blocks
from governance.reports.outlined import OutlinedReport
from governance.reports.view import View
from governance.reports.wording import ABSENT, day, moment, spoken
from governance.statuses import State, state_word

ELEMENTS = {
    "a": ("AIA-Art27-1-a", "1"),
    "b": ("AIA-Art27-1-b", "2"),
    "c": ("AIA-Art27-1-c", "3"),
    "d": ("AIA-Art27-1-d", "4"),
    "e": ("AIA-Art27-1-e", "5"),
    "f": ("AIA-Art27-1-f", "6"),
}
"""The six elements of Article 27(1), each with its requirement and the chapter it stands in."""
VOLUNTARY = "voluntary"


class Fria(OutlinedReport):
    """Fundamental rights impact assessment (AI Act Art. 27)."""

    key = "fria"
    title = gettext_lazy("Fundamental rights impact assessment")
    series = gettext_lazy("Fundamental rights impact assessment under Article 27 of Regulation (EU) 2024/1689")

    def opening(self, view: View) -> Iterable[Block]:
        yield owed(view)

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "0": scope,
            "1": processes,
            "3": groups,
            "4": harms,
            "7": links,
            "8": notification,
        }
        return chapters[section](view) if section in chapters else ()

    def content(self, view: View) -> dict[str, Any]:
        found = view.statuses.conclusions["fria_deployer"]
        return {
            "owed": found.truth.value,
            "reason": found.reason,
            "questions": list(found.questions),
            "voluntary": _voluntary(view),
            "elements": {
                letter: {"requirement": requirement, "state": view.judgement(requirement).state.value}
                for letter, (requirement, _chapter) in ELEMENTS.items()
            },
            "dpia": _dpia(view),
        }


def owed(view: View) -> Note:
    """Whether the assessment is owed, with the reason that the answers give."""
    found = view.statuses.conclusions["fria_deployer"]
    titles = {
        Truth.YES: _("This assessment is owed"),
        Truth.NO: _("This assessment is not owed"),
        Truth.UNKNOWN: _("Whether this assessment is owed is not determined"),
    }
    text = found.reason
    if found.truth is Truth.NO:
        text += " " + (
            _("It is made voluntarily, as was stated.")
            if _voluntary(view)
            else _("What follows is printed so that this can be checked; nothing in it is a duty.")
        )
    return Note(title=titles[found.truth], text=text)


def _voluntary(view: View) -> bool:
    field = view.field("AIA-Art27-1-scope", "conclusion")
    return field is not None and field.value == VOLUNTARY


def scope(view: View) -> Iterator[Block]:
    """Chapter 0: the two inputs, the conclusion, and which of the six elements are held."""
    yield owed(view)
    inputs = (
        (_("Points of Annex III"), "annex_iii_points"),
        (_("Kind of deployer"), "deployer_kind"),
        (_("Role under the AI Act"), "role"),
        (_("Law on devices"), "device_law"),
    )
    known = [key for _name, key in inputs if view.answer(key) is not None]
    yield Facts(
        caption=_("What decides it"),
        rows=tuple((name, view.answer_text(key)) for name, key in inputs),
        sources=tuple(view.answer_source(key) for key in known),
    )
    yield Paragraph(
        text=_(
            "Article 27(1) binds deployers that are governed by public law or provide public services, for uses under "
            "Annex III other than its point 2, and those who use systems under points 5(b) and 5(c). A device that is "
            "high-risk by product law alone does not bring the duty with it."
        )
    )
    if view.statuses.conclusions["fria_deployer"].truth is Truth.NO and not _voluntary(view):
        return
    yield Table(
        caption=_("The six elements of Article 27(1)"),
        headers=(_("Element"), _("What it asks for"), _("Chapter"), _("State")),
        rows=tuple(
            (f"({letter})", view.catalogue.requirement(key).title, chapter, view.judgement(key).state.value)
            for letter, (key, chapter) in ELEMENTS.items()
        ),
        states=(3,),
    )


def processes(view: View) -> Iterator[Block]:
    """Chapter 1, Art. 27(1)(a): the purpose that the deployer's processes are to be in line with."""
    purpose = view.dossier["system"]["intended_purpose"]
    if purpose:
        text = _("Intended purpose, as the provider states it: %(purpose)s") % {"purpose": purpose}
        yield Paragraph(text=text, sources=(view.dossier_source(),))
    else:
        yield Gap(text=_("The provider has stated no intended purpose to hold the processes against."))
    sites = list(view.dossier["sites"])
    if sites:
        yield Paragraph(
            text=_("Sites: %(sites)s.") % {"sites": ", ".join(sites)},
            sources=(view.answer_source("sites") if view.answer("sites") else view.dossier_source(),),
        )
    else:
        yield Gap(text=_("The sites at which the system is used."))


def groups(view: View) -> Iterator[Block]:
    """Chapter 3, Art. 27(1)(c): groups that audits compared, to be held against those that people list."""
    rows = [
        (str(audit["run"]), ", ".join(spoken(name) for name in audit["attributes"]), audit["outcome"])
        for audit, _evidence in view.audits("fairness_audit")
    ]
    if not rows:
        yield Gap(text=_("No fairness audit of this version: no group's results can be named here."))
        return
    yield Table(
        caption=_("Attributes by which audits of this version compared groups of people"),
        headers=(_("Audit"), _("Attributes"), _("Outcome")),
        rows=tuple(rows),
        sources=tuple(view.audit_source(audit) for audit, _evidence in view.audits("fairness_audit")),
        states=(2,),
    )
    yield Paragraph(
        text=_("A group that is affected and not compared above is a gap of the data, and has to be stated as one.")
    )


def harms(view: View) -> Iterator[Block]:
    """Chapter 4, Art. 27(1)(d): what was measured of harms to groups, and of invented findings."""
    yield Paragraph(
        text=_(
            "Harms are rated by people, below. What audits measured of them stands here; that a criterion held does "
            "not say that there is no harm."
        )
    )
    kinds = {
        "fairness_audit": _("Differences between groups of people"),
        "hallucination_check": _("Invented or unsupported findings"),
    }
    for kind, title in kinds.items():
        yield Heading(text=title)
        found = list(view.audits(kind))
        if not found:
            yield Gap(text=_("No audit of this version measured it."))
        for audit, evidence in found:
            if audit["cohort"]["simulated"]:
                text = _("The patients of audit %(run)s are simulated: it shows nothing about real ones.")
                yield Note(title=_("Simulated patients"), text=text % {"run": audit["run"]})
            yield from audit_blocks(view, audit, evidence, kind)


def links(view: View) -> Iterator[Block]:
    """Chapter 7: the data protection impact assessment that this one refers to, and never replaces."""
    found = _dpia(view)
    yield Paragraph(
        text=_(
            "Where the data protection impact assessment covers an element already, this assessment may point to it "
            "(Article 27(4)). It still needs all six elements, and it does not replace that assessment."
        )
    )
    if found is None:
        yield Gap(text=_("No data protection impact assessment of this version has been issued here."))
        return
    ready = _("ready") if found["ready"] else _("not ready")
    yield Facts(
        caption=_("Newest data protection impact assessment of this version"),
        rows=(
            (_("Report"), str(found["id"])),
            (_("As of"), moment(found["as_of"])),
            (_("State"), ready),
            (_("SHA-256 of the PDF"), found["pdf_digest"]),
            (_("SHA-256 of the JSON"), found["json_digest"]),
        ),
        digests=(_("SHA-256 of the PDF"), _("SHA-256 of the JSON")),
        sources=(view.dossier_source(),),
    )


def _dpia(view: View) -> dict[str, Any] | None:
    """The newest issued assessment of Article 35 in the dossier."""
    rows = [item for item in view.dossier["reports"] if item["kind"] == "dpia"]
    return max(rows, key=lambda item: item["id"], default=None)


def notification(view: View) -> Iterator[Block]:
    """Chapter 8: what the duty to notify rests on."""
    judgement = view.judgement("AIA-Art27-2-3")
    if judgement.state is State.NOT_APPLICABLE:
        yield Paragraph(text=_("Nothing has to be notified: %(reason)s") % {"reason": judgement.reason})
        return
    told = view.text("AIA-Art27-2-3", "notified_on")
    state = _("The requirement is %(state)s.") % {"state": state_word(judgement.state)}
    if told:
        yield Paragraph(text=_("Notified on %(day)s. %(state)s") % {"day": told, "state": state})
    else:
        since = day(judgement.requirement.applies_from.date)
        yield Gap(text=_("When the market surveillance authority was notified (duty from %(day)s).") % {"day": since})
    template = view.text("AIA-Art27-2-3", "template_version")
    yield Paragraph(
        text=_(
            "Template used: %(template)s. No template of the Commission had been published at the newest check: "
            "%(check)s."
        )
        % {"template": template or str(ABSENT), "check": view.catalogue.facts["newest_check"]}
    )


REPORTS.register("fria")(Fria())
