"""The editable form of a report: a Word file (DOCX) made from the same blocks as the page and the PDF.

It is a working copy: whoever edits it changes nothing in the platform, and it carries no signature. Styles are Word's
own, so that a document's outline, its contents and a screen reader find what they look for. Equal input gives equal
bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _

from core.errors import AuscultError
from governance.reports.blocks import (
    Block,
    Bullets,
    Facts,
    Gap,
    Heading,
    Note,
    Paragraph,
    Picture,
    Source,
    Table,
)
from governance.reports.docx_parts import add_contents, add_page_numbers, add_table, clean, pack, prepare
from governance.reports.figures import Figure
from governance.reports.render import SVG_DATA
from governance.reports.wording import STATES, VERDICTS

LOCALES = {"en": "en-GB", "de": "de-DE"}
WIDTH_CM = 16.0
SHARPNESS = 2.0
SHOWN_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One chapter: its number as it is printed, empty for one without."""

    number: str
    title: str
    blocks: tuple[Block, ...] = ()

    @property
    def heading(self) -> str:
        return f"{self.number} {self.title}".strip()


def write_docx(
    title: str, subtitle: str, chapters: Sequence[Chapter], *, language: str = "en", as_of: datetime
) -> bytes:
    """A Word file: title page, contents, chapters.

    Args:
        language: ``en`` or ``de``: what spelling is checked against, and the language of fixed words.
        as_of: Becomes the dates inside the file.

    Raises:
        AuscultError: there are no texts in this language.
    """
    if language not in LOCALES:
        raise AuscultError(
            f"There is no DOCX in the language '{language}'.", remedy=f"Use one of: {', '.join(LOCALES)}."
        )
    with translation.override(language):
        document = prepare(locale=LOCALES[language])
        _set_properties(document, title, subtitle, LOCALES[language], as_of)
        _add_title_page(document, title, subtitle, chapters)
        for chapter in chapters:
            document.add_heading(clean(chapter.heading), level=1)
            for block in chapter.blocks:
                _add(document, block)
        raw = io.BytesIO()
        document.save(raw)
    return pack(raw.getvalue())


def _set_properties(document: Any, title: str, subtitle: str, locale: str, as_of: datetime) -> None:
    properties, when = document.core_properties, as_of.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    properties.title, properties.subject = clean(title)[:255], clean(subtitle)[:255]
    properties.author = properties.last_modified_by = "Auscult"
    properties.comments = properties.keywords = ""
    properties.language, properties.revision = locale, 1
    properties.created = properties.modified = when


def _add_title_page(document: Any, title: str, subtitle: str, chapters: Sequence[Chapter]) -> None:
    document.add_paragraph(clean(title), style="Title")
    document.add_paragraph(clean(subtitle), style="Subtitle")
    document.add_paragraph(_("Contents"), style="TOC Heading")
    add_contents(document, [clean(chapter.heading) for chapter in chapters])
    document.add_page_break()
    document.sections[0].header.paragraphs[0].text = clean(title)
    add_page_numbers(document.sections[0].footer.paragraphs[0], _("Page {page} of {pages}"))


def _add(document: Any, block: Block) -> None:
    match block:
        case Heading():
            document.add_heading(clean(block.text), level=2)
        case Paragraph():
            document.add_paragraph(clean(block.text))
            _add_sources(document, block.sources)
        case Bullets():
            for item in block.items:
                document.add_paragraph(clean(item), style="List Bullet")
        case Note():
            _add_marked(document, block.title, block.text, style="Gap" if block.tone == "gap" else "Note")
        case Gap():
            _add_marked(document, _("Missing"), block.text, style="Gap")
        case Table():
            _add_caption(document, block.caption, block.sources)
            rows = [_words(row, block.states) for row in block.rows]
            add_table(document, block.headers, rows, about=block.caption, right=block.numeric)
        case Facts():
            _add_caption(document, block.caption, block.sources)
            add_table(document, (), block.rows, about=block.caption)
        case Picture():
            _add_figure(document, block.figure)
            _add_sources(document, block.sources)


def _words(row: Sequence[str], states: Sequence[int]) -> tuple[str, ...]:
    """A row in which keys of states are words."""
    known = {**STATES, **VERDICTS}
    return tuple(str(known.get(text, text)) if column in states else text for column, text in enumerate(row))


def _add_marked(document: Any, title: str, text: str, *, style: str) -> None:
    """A paragraph that begins with a word in bold."""
    paragraph = document.add_paragraph(style=style)
    if title:
        paragraph.add_run(f"{clean(title).rstrip('.')}. ").bold = True
    paragraph.add_run(clean(text))


def _add_caption(document: Any, caption: str, sources: Sequence[Source]) -> None:
    if caption:
        document.add_paragraph(clean(f"{caption.rstrip('.')}."), style="Caption").paragraph_format.keep_with_next = True
    _add_sources(document, sources, before=True)


def _add_sources(document: Any, sources: Sequence[Source], *, before: bool = False) -> None:
    """Where it came from, in small type: names with the start of their digests."""
    if not sources:
        return
    told = "; ".join(f"{item.name} ({item.digest[:SHOWN_DIGITS]})" if item.digest else item.name for item in sources)
    paragraph = document.add_paragraph(clean(_("Source: %(sources)s") % {"sources": told}), style="Source")
    paragraph.paragraph_format.keep_with_next = before


def _add_figure(document: Any, figure: Figure) -> None:
    from docx.shared import Cm

    document.add_picture(io.BytesIO(_png(figure)), width=Cm(WIDTH_CM))
    shown = document.inline_shapes[-1]._inline.docPr
    shown.set("descr", clean(figure.text_alternative))
    shown.set("title", clean(figure.title))
    document.paragraphs[-1].paragraph_format.keep_with_next = True
    numbered = _("Figure %(number)s.") % {"number": figure.number}
    title = figure.title[:1].upper() + figure.title[1:]
    document.add_paragraph(clean(f"{numbered} {title}. {figure.finding}"), style="Caption")
    add_table(document, figure.headers, figure.rows, about=figure.title)
    if figure.beside:
        beside = _("Beside the gap: %(beside)s.") % {"beside": figure.beside}
        document.add_paragraph(clean(beside), style="Source")


def _png(figure: Figure) -> bytes:
    """The chart as pixels: Word files hold no SVG that every reader shows."""
    import vl_convert

    if not figure.image.startswith(SVG_DATA):
        raise AuscultError("A figure is not drawn as SVG.", remedy="Draw it as the other charts of reports are drawn.")
    svg = base64.b64decode(figure.image.removeprefix(SVG_DATA)).decode()
    return bytes(vl_convert.svg_to_png(svg, scale=SHARPNESS))
