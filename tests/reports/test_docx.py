"""The editable form: what Word, a screen reader and another library find in it, and that it depends on no clock."""

from __future__ import annotations

import base64
import io
import struct
import zipfile
from datetime import UTC, datetime, timedelta, timezone

import docx
import pytest
from docx.oxml.ns import qn

from core.errors import AuscultError
from governance.reports.blocks import Bullets, Facts, Gap, Heading, Note, Paragraph, Picture, Source, Table
from governance.reports.docx import WIDTH_CM, Chapter, write_docx
from governance.reports.figures import Figure
from governance.reports.render import SVG_DATA

AS_OF = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><rect width="9" height="9"/></svg>'
RUN = Source(kind="audit", name="run 12", digest="ab" * 32, protocol="cd" * 32)
FIGURE = Figure(
    number=1,
    title="effusion by sex: sensitivity",
    finding="Women are missed more often.",
    outcome="fail",
    image=SVG_DATA + base64.b64encode(SVG.encode()).decode(),
    text_alternative="Sensitivity of effusion: F .61, M .83.",
    headers=("Group", "Value"),
    rows=(("F", ".61"), ("M", ".83")),
    beside="",
)
CHAPTERS = (
    Chapter(
        number="1",
        title="General description",
        blocks=(
            Heading(text="Purpose"),
            Paragraph(text="First line\nsecond <script>alert(1)</script> & more.", sources=(RUN,)),
            Bullets(items=("one", "two")),
            Note(title="Simulated patients", text="No person stands behind these numbers."),
            Gap(text="A cybersecurity description is not held."),
        ),
    ),
    Chapter(
        number="2",
        title="Measurements",
        blocks=(
            Table(
                caption="States by group",
                headers=("Group", "n", "State"),
                rows=(("F", "1,204", "fail"), ("M", "fail", "complete")),
                sources=(RUN,),
                numeric=(1,),
                states=(2,),
            ),
            Facts(caption="Digests", rows=(("Version", "ab" * 32), ("Cohort", "not held")), digests=("Version",)),
            Picture(figure=FIGURE),
        ),
    ),
)


def write(language: str = "en", as_of: datetime = AS_OF, chapters: tuple[Chapter, ...] = CHAPTERS) -> bytes:
    return write_docx("DPIA: Chest model 1.1", "As of 22 Nov 2026", chapters, language=language, as_of=as_of)


@pytest.fixture(scope="module")
def raw() -> bytes:
    return write()


@pytest.fixture(scope="module")
def document(raw: bytes) -> docx.document.Document:
    return docx.Document(io.BytesIO(raw))


def part(raw: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return archive.read(name).decode()


def test_headings_are_headings(document: docx.document.Document) -> None:
    found = [(item.style.name, item.text) for item in document.paragraphs if item.style.name.startswith("Heading")]
    assert found == [
        ("Heading 1", "1 General description"),
        ("Heading 2", "Purpose"),
        ("Heading 1", "2 Measurements"),
    ]
    assert [(item.style.name, item.text) for item in document.paragraphs[:2]] == [
        ("Title", "DPIA: Chest model 1.1"),
        ("Subtitle", "As of 22 Nov 2026"),
    ]


def test_every_block_says_what_it_says(document: docx.document.Document) -> None:
    texts = [(item.style.name, item.text) for item in document.paragraphs]
    for expected in (
        ("Normal", "First line\nsecond <script>alert(1)</script> & more."),
        ("Source", f"Source: run 12 ({'ab' * 6})"),
        ("List Bullet", "one"),
        ("List Bullet", "two"),
        ("Note", "Simulated patients. No person stands behind these numbers."),
        ("Gap", "Missing. A cybersecurity description is not held."),
        ("Caption", "States by group."),
        ("Caption", "Figure 1. Effusion by sex: sensitivity. Women are missed more often."),
    ):
        assert expected in texts


def test_tables_repeat_their_header_and_tell_states_as_words(document: docx.document.Document) -> None:
    states, facts, figure = document.tables
    assert [[cell.text for cell in row.cells] for row in states.rows] == [
        ["Group", "n", "State"],
        ["F", "1,204", "Fail"],
        ["M", "fail", "Complete"],  # A key of a state outside its column is a text like any other.
    ]
    headed = [[row._tr.trPr.find(qn("w:tblHeader")) is not None for row in table.rows] for table in document.tables]
    assert headed == [[True, False, False], [False, False], [True, False, False]]
    assert [[cell.text for cell in row.cells] for row in facts.rows] == [["Version", "ab" * 32], ["Cohort", "not held"]]
    assert states._tbl.tblPr.find(qn("w:tblCaption")).get(qn("w:val")) == "States by group"
    right = [cell.paragraphs[0].alignment == 2 for cell in states.rows[1].cells]
    assert right == [False, True, False]
    assert figure.rows[2].cells[1].text == ".83"


def test_the_chart_is_a_picture_with_words(raw: bytes, document: docx.document.Document) -> None:
    shape = document.inline_shapes[0]
    assert shape._inline.docPr.get("descr") == FIGURE.text_alternative
    assert abs(shape.width.cm - WIDTH_CM) < 0.01 and abs(shape.height.cm - WIDTH_CM / 2) < 0.01
    image = document.part.related_parts[shape._inline.graphic.graphicData.pic.blipFill.blip.embed].blob
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", image[16:24]) == (400, 200)  # Twice the SVG's size.


@pytest.mark.parametrize(
    ("language", "locale", "footer"), [("en", "en-GB", "Page 1 of 1"), ("de", "de-DE", None)], ids=["en", "de"]
)
def test_language_properties_and_page_numbers(language: str, locale: str, footer: str | None) -> None:
    raw = write(language)
    document = docx.Document(io.BytesIO(raw))
    properties = document.core_properties
    assert (properties.title, properties.language) == ("DPIA: Chest model 1.1", locale)
    assert properties.created == properties.modified == AS_OF
    assert (properties.author, properties.comments) == ("Auscult", "")
    defaults = document.styles.element.find(f".//{qn('w:rPrDefault')}")
    assert defaults.find(f".//{qn('w:lang')}").get(qn("w:val")) == locale
    end = document.sections[0].footer.paragraphs[0]._p
    assert [field.get(qn("w:instr")) for field in end.iter(qn("w:fldSimple"))] == ["PAGE", "NUMPAGES"]
    if footer:
        assert "".join(text.text for text in end.iter(qn("w:t"))) == footer
    assert document.sections[0].header.paragraphs[0].text == "DPIA: Chest model 1.1"


def test_contents_stand_in_a_field(raw: bytes) -> None:
    body = part(raw, "word/document.xml")
    field = body[body.index('w:fldCharType="begin"') : body.index('w:fldCharType="end"')]
    assert 'TOC \\o "1-2"' in field
    assert field.index("1 General description") < field.index("2 Measurements")


def test_bytes_depend_on_nothing_but_the_content(raw: bytes) -> None:
    assert write(as_of=AS_OF.astimezone(timezone(timedelta(hours=9)))) == raw
    assert write(as_of=AS_OF + timedelta(days=1)) != raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[0] == "[Content_Types].xml"
        assert not [name for name in archive.namelist() if "thumbnail" in name or "WithEffects" in name]


def test_markup_stays_text_and_characters_that_xml_forbids_go() -> None:
    hostile = Chapter(number="", title="a\x00b\x0b", blocks=(Paragraph(text="x\ud800<w:br/>\x1f]]>"),))
    document = docx.Document(io.BytesIO(write(chapters=(hostile,))))
    assert "ab" in [item.text for item in document.paragraphs]
    assert "x<w:br/>]]>" in [item.text for item in document.paragraphs]


def test_a_language_without_texts_is_refused() -> None:
    with pytest.raises(AuscultError, match="'fr'"):
        write("fr")


def test_a_figure_from_elsewhere_is_refused() -> None:
    outside = Figure(**{**vars(FIGURE), "image": "https://example.org/a.png"})
    with pytest.raises(AuscultError, match="not drawn as SVG"):
        write(chapters=(Chapter(number="1", title="x", blocks=(Picture(figure=outside),)),))
