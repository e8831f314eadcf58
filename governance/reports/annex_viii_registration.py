"""Data for the EU database (Art. 49, Annex VIII AI Act): first whether an entry is owed at all, and why.

Where it is not owed there is no form: an empty one would look like a duty. Points that Regulation (EU) 2026/1744
deleted are not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.applicability import Truth
from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Gap, Note, Paragraph, Table
from governance.reports.outlined import OutlinedReport
from governance.reports.stated import Point, form, nothing_held, points_of, purpose_blocks
from governance.reports.view import View
from governance.reports.wording import day

PARTS = (
    ("A", "AIA-AnnexVIII-A-1", gettext_lazy("Section A: provider of a high-risk system (Art. 49(1))")),
    ("B", "AIA-AnnexVIII-B", gettext_lazy("Section B: provider that claims Art. 6(3) (Art. 49(2))")),
    ("C", "AIA-AnnexVIII-C", gettext_lazy("Section C: public deployer (Art. 49(3))")),
)
"""Each section with the requirement that tells whether it is owed."""
OWED = {
    Truth.YES: gettext_lazy("Owed"),
    Truth.NO: gettext_lazy("Not owed"),
    Truth.UNKNOWN: gettext_lazy("Not known"),
}
LAST_POINT_A = 13


class AnnexViiiRegistration(OutlinedReport):
    """EU database registration data (Art. 49, Annex VIII)."""

    key = "annex_viii_registration"
    title = gettext_lazy("Registration data for the EU database")
    series = gettext_lazy("Registration data under Article 49 and Annex VIII of Regulation (EU) 2024/1689")
    tells_fields = True
    editable = False

    def opening(self, view: View) -> Iterable[Block]:
        yield _conclusion(view)

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {"0": _owed, "A": _section_a, "B": _section_b, "C": _section_c}
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        return {
            "owed": {key: owed(view, requirement).value for key, requirement, _title in PARTS},
            "fields": {
                key: _fields(view, key) for key, requirement, _title in PARTS if owed(view, requirement) is Truth.YES
            },
        }


REPORTS.register(AnnexViiiRegistration.key)(AnnexViiiRegistration())


def owed(view: View, requirement: str) -> Truth:
    """Whether a section is owed, by the answers."""
    return view.judgement(requirement).applicability.applies


def _fields(view: View, section: str) -> dict[str, Any]:
    judged = view.statuses.for_section(AnnexViiiRegistration.key, section)
    return {item.requirement.id: {value.name: value.value for value in item.fields} for item in judged}


def _conclusion(view: View) -> Note:
    states = {key: owed(view, requirement) for key, requirement, _title in PARTS}
    told = [key for key, truth in states.items() if truth is Truth.YES]
    if told:
        text = _("An entry is owed: section %(sections)s of Annex VIII.") % {"sections": ", ".join(told)}
        return Note(title=_("Registration is owed"), text=text)
    if Truth.UNKNOWN in states.values():
        text = _("Questions are unanswered; chapter 0 names them. No form is printed before they are answered.")
        return Note(title=_("Whether registration is owed is not known"), text=text, tone="gap")
    text = _("No section of Annex VIII applies; chapter 0 gives the reason for each. No form is printed.")
    return Note(title=_("Registration is not owed"), text=text)


def _owed(view: View) -> Iterator[Block]:
    judged = [(title, view.judgement(requirement)) for _key, requirement, title in PARTS]
    yield Table(
        caption=_("Which section of Annex VIII is owed, and what decided it"),
        headers=(_("Section"), _("Conclusion"), _("Reason")),
        rows=tuple(
            (str(title), str(OWED[item.applicability.applies]), item.applicability.reason) for title, item in judged
        ),
        sources=tuple(
            dict.fromkeys(
                view.answer_source(question)
                for _title, item in judged
                for question in item.applicability.questions
                if question in view.dossier["answers"]
            )
        ),
        wide=True,
    )
    yield form(view, _("Conclusion on Article 49"), points_of(view, "AIA-Art49-1"))
    duty = view.judgement("AIA-AnnexVIII-A-1").requirement.applies_from
    other = duty.alternative
    if other is not None:
        text = _("Article 49 applies from %(date)s; by another reading from %(other)s: %(what)s.")
        told = {"date": day(duty.date), "other": day(other), "what": duty.what}
        yield Paragraph(text=text % told, sources=(view.catalogue_source(),))
    yield form(view, _("Entry in EUDAMED under the MDR, which is another duty"), points_of(view, "MDR-29"))


def _unless_owed(view: View, requirement: str) -> Iterator[Block]:
    """Why a section is not printed; nothing where it is owed."""
    truth = owed(view, requirement)
    if truth is Truth.NO:
        yield Paragraph(text=_("No form is printed. %(why)s") % {"why": nothing_held(view, requirement)})
    if truth is Truth.UNKNOWN:
        yield Gap(text=_("No form is printed. %(why)s") % {"why": nothing_held(view, requirement)})


def _section_a(view: View) -> Iterator[Block]:
    yield from _unless_owed(view, "AIA-AnnexVIII-A-1")
    if owed(view, "AIA-AnnexVIII-A-1") is not Truth.YES:
        return
    yield form(view, _("Annex VIII, Section A, points 1 to 13"), _points_a(view), named=False)
    yield from _purpose(view)


def _points_a(view: View) -> Iterator[Point]:
    for number in range(1, LAST_POINT_A + 1):
        yield from points_of(view, f"AIA-AnnexVIII-A-{number}", number=f"{number}.")


def _section_b(view: View) -> Iterator[Block]:
    yield from _unless_owed(view, "AIA-AnnexVIII-B")
    if owed(view, "AIA-AnnexVIII-B") is not Truth.YES:
        return
    yield form(view, _("Annex VIII, Section B"), points_of(view, "AIA-AnnexVIII-B"))
    yield Paragraph(
        text=_(
            "Points 7 (summary of grounds) and 9 (Member States) were deleted by Regulation (EU) 2026/1744 and are not "
            "asked for."
        ),
        sources=(view.catalogue_source(),),
    )
    yield from _purpose(view)


def _section_c(view: View) -> Iterator[Block]:
    yield from _unless_owed(view, "AIA-AnnexVIII-C")
    if owed(view, "AIA-AnnexVIII-C") is Truth.YES:
        yield form(view, _("Annex VIII, Section C"), points_of(view, "AIA-AnnexVIII-C"))
        text = _("A public body that does not find the system in the database does not use it (Art. 26(8)).")
        yield Note(title=_("Before use"), text=text)


def _purpose(view: View) -> Iterator[Block]:
    """The purpose must be the one of the instructions for use."""
    yield from purpose_blocks(view)
