"""What python-docx leaves to its caller: fields, rows that repeat, the language, and a file without a clock in it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

FONT = "Arial"
INK = "1C2B33"
EPOCH = (1980, 1, 1, 0, 0, 0)
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SIZES = {"Normal": 10, "Title": 24, "Subtitle": 12, "Heading 1": 16, "Heading 2": 12, "Caption": 9, "TOC Heading": 14}
LEFT_OUT = ("stylesWithEffects", "customXml", "thumbnail")
"""Parts of python-docx's template that say nothing about our document."""


def clean(text: str) -> str:
    """Text without the characters that no XML file may hold."""
    return NOT_IN_XML.sub("", str(text))


def prepare(*, locale: str) -> Any:
    """An empty document on A4 with the styles that reports use."""
    from docx import Document
    from docx.enum.style import WD_STYLE_TYPE
    from docx.shared import Cm, Pt, RGBColor

    document = Document()
    for holder in (document.part, document.part.package):
        for key in [key for key, relation in holder.rels.items() if relation.reltype.endswith(LEFT_OUT)]:
            del holder.rels[key]
    _set_language(document, locale)
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21.0), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2.5)
    for name, size in SIZES.items():
        _set_font(document.styles[name], Pt(size), RGBColor.from_string(INK))
    for name, like in (("Source", "Normal"), ("Note", "Normal"), ("Gap", "Normal")):
        style = document.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
        style.base_style = document.styles[like]
        if name == "Source":
            style.font.size = Pt(8)
        else:
            _add_rule(style, dashed=name == "Gap")
    return document


def _set_font(style: Any, size: Any, colour: Any) -> None:
    from docx.oxml.ns import qn

    style.font.name, style.font.size, style.font.color.rgb = FONT, size, colour
    fonts = style.element.rPr.rFonts
    for slot in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
        fonts.attrib.pop(qn(f"w:{slot}"), None)


def _add_rule(style: Any, *, dashed: bool) -> None:
    """A line at the left of the paragraph."""
    line = {"val": "dashed" if dashed else "single", "sz": "18", "space": "8", "color": INK}
    borders = _element("w:pBdr")
    borders.append(_element("w:left", **line))
    style.element.get_or_add_pPr().insert_element_before(
        borders, "w:shd", "w:tabs", "w:suppressAutoHyphens", "w:spacing", "w:ind", "w:jc", "w:outlineLvl"
    )


def _set_language(document: Any, locale: str) -> None:
    """The language of every text that states none of its own, and of its theme."""
    from docx.oxml.ns import qn

    defaults = document.styles.element.find(f".//{qn('w:rPrDefault')}/{qn('w:rPr')}/{qn('w:lang')}")
    defaults.set(qn("w:val"), locale)
    theme = document.settings.element.find(qn("w:themeFontLang"))
    if theme is not None:
        theme.set(qn("w:val"), locale)


def add_page_numbers(paragraph: Any, form: str) -> None:
    """Write ``Page {page} of {pages}`` with fields that Word counts."""
    for piece in re.split(r"(\{pages?\})", form):
        if piece in ("{page}", "{pages}"):
            _add_field(paragraph, "PAGE" if piece == "{page}" else "NUMPAGES", "1")
        else:
            paragraph.add_run(piece)


def _add_field(paragraph: Any, code: str, shown: str) -> None:
    field = _element("w:fldSimple", instr=code)
    run = _element("w:r")
    run.append(_text(shown))
    field.append(run)
    paragraph._p.append(field)


def add_contents(document: Any, headings: Sequence[str]) -> None:
    """A table of contents: Word adds the pages when it is told to update it; until then the headings stand in it."""
    shown = list(headings) or [""]
    for position, heading in enumerate(shown):
        paragraph = document.add_paragraph()
        paragraph.paragraph_format.space_after = 0
        if position == 0:
            _add_mark(paragraph, "begin")
            code = _element("w:instrText")
            code.text = 'TOC \\o "1-2" \\h \\z'
            paragraph.add_run()._r.append(code)
            _add_mark(paragraph, "separate")
        paragraph.add_run(heading)
        if position == len(shown) - 1:
            _add_mark(paragraph, "end")


def _add_mark(paragraph: Any, kind: str) -> None:
    paragraph.add_run()._r.append(_element("w:fldChar", fldCharType=kind))


def add_table(
    document: Any,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    about: str,
    right: Sequence[int] = (),
) -> None:
    """A table whose header row repeats on each page; the first cell of a row is its heading.

    Args:
        headers: Empty for a table of names and values.
        about: What it shows, for those who cannot see it.
        right: Columns that hold numbers.
    """
    columns = len(headers) or max((len(row) for row in rows), default=1)
    table = document.add_table(rows=0, cols=columns, style="Table Grid")
    properties = table._tbl.tblPr
    look = properties.find(_name("w:tblLook"))
    if look is not None:
        properties.remove(look)
    flags = {"val": "04A0" if headers else "0480", "firstRow": "1" if headers else "0", "firstColumn": "1"}
    properties.append(_element("w:tblLook", **flags, lastRow="0", lastColumn="0", noHBand="1", noVBand="1"))
    if about:
        properties.append(_element("w:tblCaption", val=clean(about)))
    if headers:
        table._tbl.append(_row(headers, right=right, header=True))
    for row in rows:
        table._tbl.append(_row(row, right=right))
    document.add_paragraph(style="Source")


def _row(cells: Sequence[str], *, right: Sequence[int], header: bool = False) -> Any:
    row, rules = _element("w:tr"), _element("w:trPr")
    rules.append(_element("w:cantSplit"))
    if header:
        rules.append(_element("w:tblHeader"))
    row.append(rules)
    for column, text in enumerate(cells):
        cell = _element("w:tc")
        cell.append(_cell(text, bold=header or column == 0, right=column in right))
        row.append(cell)
    return row


def _cell(text: str, *, bold: bool, right: bool) -> Any:
    paragraph, shape, run = _element("w:p"), _element("w:pPr"), _element("w:r")
    shape.append(_element("w:spacing", after="40", line="240", lineRule="auto"))
    if right:
        shape.append(_element("w:jc", val="right"))
    paragraph.append(shape)
    style = _element("w:rPr")
    if bold:
        style.append(_element("w:b"))
    style.append(_element("w:sz", val="17"))
    run.append(style)
    for number, line in enumerate(clean(text).splitlines() or [""]):
        if number:
            run.append(_element("w:br"))
        run.append(_text(line))
    paragraph.append(run)
    return paragraph


def _text(text: str) -> Any:
    element = _element("w:t")
    element.text = text
    element.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    return element


def _element(tag: str, **attributes: str) -> Any:
    from docx.oxml.parser import OxmlElement

    element: Any = OxmlElement(tag)
    for name, value in attributes.items():
        element.set(_name(f"w:{name}"), value)
    return element


def _name(tag: str) -> str:
    from docx.oxml.ns import qn

    return str(qn(tag))


def pack(raw: bytes) -> bytes:
    """The same file with one date and one mode for all its parts, in the order in which they were written."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            new.writestr(entry, old.read(name))
    return packed.getvalue()
