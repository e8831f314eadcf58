"""Reports that follow an outline of the catalogue: everything that they have in common.

Cover with the counts of states, contents, one chapter for each section of the outline, the requirements of each with
their state and what they rest on, and annexes that lead from every number and every text to where it came from. A
report type adds its own material to a chapter:

    class Dpia(OutlinedReport):
        key = "dpia"
        title = gettext_lazy("Data protection impact assessment")

        def material(self, section: str, view: View) -> Iterable[Block]:
            ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core.digests import sha256_json
from core.errors import AuscultError
from governance.reports.annexes import Chapter, common_annexes, lettered
from governance.reports.base import LANGUAGES, Draft, ReportContext, ReportDocument
from governance.reports.blocks import Block
from governance.reports.evidence import check_evidence, hide_small_cells, is_fit
from governance.reports.outlined_data import document_data
from governance.reports.outlined_pages import docx_chapters, page
from governance.reports.render import render_html, render_pdf
from governance.reports.view import View
from governance.reports.wording import moment
from governance.requirements import Section, load_requirements
from governance.statuses import judge


class OutlinedReport:
    """One kind of report whose chapters stand in the catalogue. Set ``key``, ``title`` and ``series``.

    Attributes:
        series: The line above the name on the cover: which article asks for this document.
        needs_run: It can be written only about a finished audit.
        editable: It is written as DOCX too.
        tells_fields: Its chapters give every stated field, so that the requirements below do not repeat them.
        tells_verdict: The cover gives the outcome of the audit in words.
    """

    key: ClassVar[str]
    title: ClassVar[str | Promise]
    series: ClassVar[str | Promise] = ""
    needs_run: ClassVar[bool] = False
    editable: ClassVar[bool] = True
    tells_fields: ClassVar[bool] = False
    tells_verdict: ClassVar[bool] = False

    # What a report type may override

    def sections(self, view: View) -> tuple[Section, ...]:
        """The chapters; of a report that no law asks for, and the catalogue does not know, its own."""
        return view.catalogue.outline(self.key).sections

    def material(self, section: str, view: View) -> Iterable[Block]:
        """What stands in a chapter before its requirements."""
        return ()

    def opening(self, view: View) -> Iterable[Block]:
        """What stands on the cover under the counts: a conclusion that no reader may miss."""
        return ()

    def content(self, view: View) -> dict[str, Any]:
        """What the report's JSON holds besides the chapters, under ``content``; its schema describes it."""
        return {}

    def annexes(self, view: View) -> Iterable[tuple[str, Iterable[Block]]]:
        """Annexes of this report's own, as title and blocks; those that all reports have follow."""
        return ()

    # The document

    def build(self, evidence: dict[str, Any] | None, context: ReportContext) -> ReportDocument:
        """Write the report.

        Raises:
            AuscultError: the evidence lacks what no report can do without, or is not about the dossier's version.
        """
        with translation.override(context.language):
            view = look(self.key, evidence, context, needs_run=self.needs_run)
            chapters = self._chapters(view)
            draft = self._draft(view, chapters)
            printed = render_pdf(draft.html, name=self.key, data=draft.data, as_of=context.as_of)
            return ReportDocument(
                kind=self.key,
                title=self.name(view.dossier),
                data=draft.data,
                html=draft.html,
                pdf=printed.pdf,
                docx=self._docx(view, chapters) if self.editable else None,
                counts=draft.data["counts"],
                ready=draft.data["ready"],
            )

    def draft(self, evidence: dict[str, Any] | None, context: ReportContext) -> Draft:
        """The same without pages. Raises like :meth:`build`."""
        with translation.override(context.language):
            view = look(self.key, evidence, context, needs_run=self.needs_run)
            return self._draft(view, self._chapters(view))

    def name(self, dossier: Mapping[str, Any]) -> str:
        """The title of one document of this kind."""
        return f"{self.title}: {dossier['system']['name']} {dossier['version']['label']}"

    def _chapters(self, view: View) -> tuple[Chapter, ...]:
        """Chapters of the outline, then annexes: the report's own before those that all reports have."""
        chapters = tuple(
            Chapter(
                number=section.id,
                title=section.title,
                blocks=tuple(self.material(section.id, view)),
                requirements=tuple(view.statuses.for_section(self.key, section.id)),
                anchor=f"chapter-{section.id}",
                tells_fields=self.tells_fields,
            )
            for section in self.sections(view)
        )
        own = [(title, tuple(blocks)) for title, blocks in self.annexes(view)]
        return chapters + lettered([*own, *common_annexes(view, chapters)])

    def _draft(self, view: View, chapters: tuple[Chapter, ...]) -> Draft:
        data = document_data(self, view, chapters)
        html = render_html(f"{self.key}.html", page(self, view, data, chapters))
        return Draft(data=data, html=html)

    def _docx(self, view: View, chapters: tuple[Chapter, ...]) -> bytes:
        from governance.reports.docx import write_docx

        subtitle = _("Version %(label)s, as of %(moment)s. A working copy: it is not the issued document.")
        return write_docx(
            self.name(view.dossier),
            subtitle % {"label": view.dossier["version"]["label"], "moment": moment(view.as_of)},
            docx_chapters(view, tuple(self.opening(view)), chapters),
            language=view.language,
            as_of=view.as_of,
        )


def look(kind: str, evidence: dict[str, Any] | None, context: ReportContext, *, needs_run: bool) -> View:
    """Judge what is known, in the active language, and make it ready to be told.

    Raises:
        AuscultError: the language is unknown, the evidence is unfit, missing, or about another version.
    """
    dossier = context.dossier
    if context.language not in LANGUAGES:
        raise AuscultError(
            f"There is no report in the language '{context.language}'.", remedy=f"Use one of: {', '.join(LANGUAGES)}."
        )
    if evidence is None and needs_run:
        raise AuscultError("This report needs the evidence of an audit.", remedy="Name a finished audit.")
    if evidence is not None:
        check_evidence(evidence)
        if evidence["version"]["digest"] != dossier["version"]["digest"]:
            raise AuscultError(
                "The evidence is about another version than the dossier.",
                remedy="Ask for the report again, about an audit of this version.",
            )
    catalogue = load_requirements(context.language)
    return View(
        kind=kind,
        evidence=hide_small_cells(evidence) if evidence is not None else None,
        evidence_digest=sha256_json(evidence) if evidence is not None else "",
        documents={digest: hide_small_cells(body) for digest, body in context.documents.items() if is_fit(body)},
        dossier=dossier,
        dossier_digest=sha256_json(dossier),
        statuses=judge(dict(dossier), evidence=evidence, language=context.language),
        catalogue=catalogue,
        language=context.language,
        as_of=context.as_of,
        issued_by=context.issued_by,
        certificate=context.certificate,
    )
