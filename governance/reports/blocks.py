"""What a report is made of: headings, paragraphs, tables, figures and gaps, before any of them has a form.

A report says what it has to say as blocks; the page, the PDF, the DOCX and the JSON are made from the same ones, so
that no two of them can differ. Texts are plain: whoever lays them out escapes them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from governance.reports.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a number comes from: ``audit`` 12, by this protocol, in evidence with this digest.

    Attributes:
        kind: ``audit``, ``statement``, ``answer``, ``version``, ``cohort``, ``review``, ``report``, ``requirement``,
            ``catalogue``, ``ledger``, ``dossier``, ``risk``, ``incident``, ``deployment``, ``measure``.
        name: In words, with its number: ``run 12``, ``statement AIA-Art19, revision 2``.
        digest: SHA-256 that binds it; empty where there is none.
        protocol: Digest of the protocol, for an audit.
    """

    kind: str
    name: str
    digest: str = ""
    protocol: str = ""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a chapter."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """One paragraph. ``sources`` are printed after it and linked in the JSON."""

    text: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of short texts."""

    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that a reader must not miss, with a short title. ``tone``: ``note``, ``fail`` or ``gap``."""

    title: str
    text: str
    tone: str = "note"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What should stand here and does not: printed as missing, where it is missing."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table. The first cell of a row is its heading.

    Attributes:
        caption: What the table shows, as a sentence without its source.
        numeric: Indices of columns that hold numbers.
        wide: Uses the whole width.
        states: Indices of columns whose cells are keys of states (``complete``, ``fail``): printed with word and mark.
    """

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sources: tuple[Source, ...] = ()
    numeric: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values in two columns. ``digests`` are the names whose values are digests."""

    caption: str
    rows: tuple[tuple[str, str], ...]
    sources: tuple[Source, ...] = ()
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its table."""

    figure: Figure
    sources: tuple[Source, ...] = ()


Block = Heading | Paragraph | Bullets | Note | Gap | Table | Facts | Picture


def to_json(block: Block) -> dict[str, Any]:
    """A block as it stands in a report's JSON: its kind and its content; a picture by its title and its table."""
    if isinstance(block, Picture):
        figure = block.figure
        told = {"title": figure.title, "finding": figure.finding, "alternative": figure.text_alternative}
        rows = {"headers": figure.headers, "rows": figure.rows, "sources": [asdict(source) for source in block.sources]}
        return {"block": "picture", **plain_json(told | rows)}
    return {"block": type(block).__name__.lower()} | plain_json(asdict(block))


def plain_json(value: Any) -> Any:
    """The same in types that JSON has: tuples become lists, and texts that wait for their language are written."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
