"""The EU declaration of conformity (Art. 47, Annex V AI Act): points 1 to 8 in their order, then route, marking, MDR.

It never looks like a signed declaration before it is one. Until every binding item is complete it is a draft that is
not to be signed, and none of its statements is made; when only the signature is open, it says so in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.applicability import Truth
from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Gap, Note, Paragraph
from governance.reports.outlined import OutlinedReport
from governance.reports.stated import Point, form, nothing_held, points_of, purpose_blocks, stated_table
from governance.reports.view import View
from governance.statuses import DONE, Judgement

SIGNING = frozenset({"AIA-AnnexV-8", "AIA-Art47-1"})
"""Requirements that only the signature itself can complete."""
OWN_COPY = "8"
"""The chapter of the technical documentation that holds this declaration: it cannot be asked for before it exists."""


class Stage(StrEnum):
    """How far a declaration is. Only ``SIGNED`` declares anything."""

    DRAFT = "draft"
    UNSIGNED = "unsigned"
    SIGNED = "signed"


class DeclarationOfConformity(OutlinedReport):
    """EU declaration of conformity (Art. 47, Annex V)."""

    key = "declaration_of_conformity"
    title = gettext_lazy("EU declaration of conformity")
    series = gettext_lazy("EU declaration of conformity under Article 47 and Annex V of Regulation (EU) 2024/1689")
    tells_fields = True

    def opening(self, view: View) -> Iterable[Block]:
        yield _standing(view)

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "1": _system,
            "2": _provider,
            "3": _statements,
            "4": _standards,
            "5": _body,
            "6": _signature,
            "7": _supporting,
        }
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        return {
            "stage": stage(view).value,
            "open": [item.requirement.id for item in open_items(view)],
            "points": {
                number: {name: view.text(requirement, name) or None for name in _names(view, requirement)}
                for number, requirement in POINTS
            },
        }


REPORTS.register(DeclarationOfConformity.key)(DeclarationOfConformity())
POINTS = tuple((str(number), f"AIA-AnnexV-{number}") for number in range(1, 9))


def _names(view: View, requirement: str) -> tuple[str, ...]:
    return tuple(field.name for field in view.judgement(requirement).requirement.required_fields)


def open_items(view: View) -> tuple[Judgement, ...]:
    """What keeps the declaration from being signed, in the technical documentation and in the declaration itself."""
    own = view.statuses.for_report(DeclarationOfConformity.key)
    file = tuple(
        item
        for section in view.catalogue.outline("annex_iv").sections
        if section.id != OWN_COPY
        for item in view.statuses.for_section("annex_iv", section.id)
    )
    binding = (item for item in (*own, *file) if item.requirement.status == "binding")
    return tuple(item for item in binding if item.state not in DONE and item.requirement.id not in SIGNING)


def stage(view: View) -> Stage:
    """How far the declaration is."""
    if view.statuses.prohibited or open_items(view):
        return Stage.DRAFT
    signed = all(view.judgement(key).state in DONE for key in SIGNING)
    return Stage.SIGNED if signed else Stage.UNSIGNED


def _standing(view: View) -> Note:
    where = stage(view)
    if where is Stage.DRAFT:
        rows = open_items(view)
        own = sum(item.requirement.report == DeclarationOfConformity.key for item in rows)
        text = _(
            "Not to be signed. %(own)s binding items of this declaration and %(file)s of the technical documentation "
            "are not complete. Nothing is declared by this document."
        )
        told = {"own": own, "file": len(rows) - own}
        return Note(title=_("DRAFT: not to be signed"), text=text % told, tone="fail")
    if where is Stage.UNSIGNED:
        text = _("Only the signature is open. Nothing is declared before the person named in point 8 signs.")
        return Note(title=_("DRAFT: not signed"), text=text, tone="gap")
    text = _("Every binding item is complete. The signature is the one stated in point 8.")
    return Note(title=_("Complete"), text=text)


def _system(view: View) -> Iterator[Block]:
    yield form(view, _("Point 1: name, type and unique reference of the system"), points_of(view, "AIA-AnnexV-1"))
    version = view.dossier["version"]
    yield Paragraph(
        text=_("The version is bound by its digest: %(label)s is %(digest)s and nothing else.") % version,
        sources=(view.version_source(),),
    )
    yield from purpose_blocks(view)


def _provider(view: View) -> Iterator[Block]:
    yield form(view, _("Point 2: name and address of the provider"), points_of(view, "AIA-AnnexV-2"))
    yield form(view, _("Authorised representative, where one is owed"), points_of(view, "AIA-Art22"))


def _statements(view: View) -> Iterator[Block]:
    told = {
        "provider": view.text("AIA-AnnexV-2", "name"),
        "acts": view.text("AIA-AnnexV-4", "acts"),
        "dpia": view.text("AIA-AnnexV-5", "dpia_reference"),
    }
    rows = (
        (
            "AIA-AnnexV-3",
            _("Point 3: sole responsibility"),
            _("This declaration is issued under the sole responsibility of %(provider)s."),
        ),
        (
            "AIA-AnnexV-4",
            _("Point 4: conformity"),
            _("The system named in point 1 is in conformity with Regulation (EU) 2024/1689 and with: %(acts)s."),
        ),
        (
            "AIA-AnnexV-5",
            _("Point 5: data protection"),
            _("Where personal data are processed, the system complies with Regulation (EU) 2016/679 (%(dpia)s)."),
        ),
    )
    for requirement, title, text in rows:
        yield _statement(view, requirement, title, text % told)
    points = [point for key, _title, _text in rows for point in points_of(view, key)]
    yield form(view, _("What is stated for points 3 to 5; by itself it declares nothing"), points)


def _statement(view: View, requirement: str, title: str, text: str) -> Block:
    """A statement of Annex V where it may be made; elsewhere why it is not."""
    judgement = view.judgement(requirement)
    if judgement.applicability.applies is Truth.NO:
        return Paragraph(text=f"{title}. " + nothing_held(view, requirement))
    if judgement.state not in DONE:
        lacking = "; ".join((*judgement.contradicted, *judgement.stale, *judgement.lacking)) or judgement.reason
        return Gap(text=_("%(title)s. Not stated: %(lacking)s") % {"title": title, "lacking": lacking})
    if stage(view) is Stage.DRAFT:
        return Gap(text=_("%(title)s. Not stated while other binding items are open.") % {"title": title})
    value = next((item for item in judgement.fields if item.value is not None), None)
    return Paragraph(text=f"{title}. {text}", sources=view.field_source(value) if value else ())


def _standards(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-AnnexV-6", "references", _("Point 6: standards and common specifications"))
    yield Paragraph(
        text=_(
            "A standard gives a presumption of conformity only where the Official Journal cites it. No standard is "
            "relied on for one here unless its row says that it is cited."
        )
    )


def _body(view: View) -> Iterator[Block]:
    yield form(view, _("Point 7: notified body, procedure and certificate"), points_of(view, "AIA-AnnexV-7"))


def _signature(view: View) -> Iterator[Block]:
    where = stage(view)
    points = points_of(view, "AIA-AnnexV-8")
    if where is Stage.SIGNED:
        yield form(view, _("Point 8: place, date, name, function, on whose behalf, signature"), points)
    else:
        open_points = [point for point in points if point.field != "signature"]
        yield form(view, _("Point 8: place, date, name, function, on whose behalf"), open_points)
        yield Gap(text=_no_signature(where))
    text = _(
        "A signature inside this file, where there is one, is the platform operator's: it shows that the file was not "
        "changed. It is not the signature of point 8 and declares nothing."
    )
    yield Note(title=_("Whose signature is in this file"), text=text)


def _no_signature(where: Stage) -> str:
    if where is Stage.DRAFT:
        return _("Signature: there is no line to sign on, because this is a draft that is not to be signed.")
    return _("Signature: not signed. The person named above signs a copy of this document and states that.")


def _supporting(view: View) -> Iterator[Block]:
    yield form(view, _("Route of the conformity assessment (Art. 43(3))"), points_of(view, "AIA-Art43-3"))
    yield form(view, _("Form, languages and upkeep (Art. 47(1) and (2))"), points_of(view, "AIA-Art47-1"))
    yield form(view, _("CE marking (Art. 48)"), points_of(view, "AIA-Art48"))
    if view.judgement("AIA-Art47-3").applicability.applies is not Truth.YES:
        yield Paragraph(
            text=_("Single declaration with the MDR (Art. 47(3)). %(why)s") % {"why": nothing_held(view, "AIA-Art47-3")}
        )
        return
    yield Paragraph(
        text=_(
            "One declaration covers every Union act that asks for one (Art. 47(3)). For a device it also holds what "
            "MDR Article 19 and Annex IV ask for; the table says where each of it stands."
        )
    )
    yield form(view, _("What MDR Annex IV asks for beyond Annex V"), _mdr_points(view))


def _mdr_points(view: View) -> Iterator[Point]:
    """Points of MDR Annex IV that Annex V of the AI Act does not have."""
    for requirement, name, number in (
        ("MDR-29", "srn", "1"),
        ("AIA-Art47-3", "basic_udi_di", "3"),
        ("AIA-Art47-3", "mdr_class", "5"),
        ("AIA-Art47-3", "union_acts", "6"),
        ("AIA-AnnexV-7", "certificate_no", "8"),
    ):
        label = _("MDR Annex IV, %(number)s: %(field)s") % {
            "number": number,
            "field": view.catalogue.field_label(name),
        }
        yield Point(label=label, requirement=requirement, field=name)
