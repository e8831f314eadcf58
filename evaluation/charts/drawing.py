"""What every chart shares: colours, marks, scales, words for numbers, and the way from a specification to a picture.

A specification is written as Vega-Lite: vl-convert draws it, and as an Altair chart a notebook shows it. It does not go
through Altair on its way to the picture: that would take a sixth of the time again, and its check .3 to .9 s a chart.
The tests hold every specification against Altair's copy of the Vega-Lite schema.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import NotFoundError
from evaluation.engine.protocol import JOIN
from evaluation.engine.words import PERSONS, group_words, number, plain, signs

Theme = Literal["light", "dark", "print"]
Spec = dict[str, Any]
Row = Mapping[str, Any]
"""A measurement as ``Measurement.to_dict()`` gives it."""

Say = Callable[[str], str]
"""Says a text of a chart in the reader's language."""
TEXTS = {"text", "title", "subtitle"}
"""Properties of a specification and columns of its data that are read."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.1.0.json"
FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
LINE = 76
"""Characters of a title on one line: it must fit where the reader's font is a wide one."""
VERSUS = " vs "
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left",
)  # fmt: skip
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [14, 4], [4, 2, 1, 2, 1, 2], [1, 3], [11, 2, 4, 2])


class NothingToDrawError(NotFoundError):
    """There is no such picture of this audit. The message says why, the remedy what would bring one."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of one theme. Neutrals carry the frame, colours of the Okabe-Ito set carry the data.

    Attributes:
        ground: What lies behind the picture, for marks that cover others and for contrast.
        series: One colour for each group, in a fixed order.
        heat: Ends of the scale of a heat map, of one hue: the smallest and the largest value.
    """

    ink: str
    quiet: str
    rule: str
    region: str
    data: str
    fail: str
    ground: str
    series: tuple[str, ...]
    heat: tuple[str, str]


OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a7a7a")
OKABE_ITO_ON_BLACK = ("#3b9ade", "#f07a2a", "#2fbf95", "#dd94ba", "#f0b429", "#a6daf7", "#f2f2f2", "#9c9c9c")

PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        ink="#1b1b1b", quiet="#595959", rule="#bdbdbd", region="#ececec", data="#0072b2", fail="#b84a00",
        ground="#ffffff", series=OKABE_ITO, heat=("#e9f2f9", "#084a80"),
    ),
    "dark": Palette(
        ink="#f2f2f2", quiet="#b3b3b3", rule="#5c5c5c", region="#303030", data="#56b4e9", fail="#e69f00",
        ground="#1b1b1b", series=OKABE_ITO_ON_BLACK, heat=("#22303c", "#9fd3fa"),
    ),
    "print": Palette(
        ink="#000000", quiet="#404040", rule="#8c8c8c", region="#e4e4e4", data="#000000", fail="#000000",
        ground="#ffffff", series=OKABE_ITO, heat=("#eef4f9", "#0b4a7d"),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture with what says the same in words and as a table. ``title`` states the finding."""

    title: str
    svg: str
    text_alternative: str
    table_headers: tuple[str, ...]
    table_rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ChartPlan:
    """A chart before it is drawn: all but the picture, which is what takes time.

    Attributes:
        specify: Gives the Vega-Lite specification in the colours of a theme.
        locale: How the picture writes numbers and months: a name that d3 knows, such as ``de-DE``; empty: as written.
    """

    title: str
    text_alternative: str
    table_headers: tuple[str, ...]
    table_rows: tuple[tuple[str, ...], ...]
    specify: Callable[[Palette], Spec]
    locale: str = ""

    def said(self, say: Say, *, locale: str) -> ChartPlan:
        """The same chart in another language: its finding, its words, its table and every text in the picture."""

        def specify(palette: Palette) -> Spec:
            return {key: _said(key, value, say) for key, value in self.specify(palette).items()}

        return ChartPlan(
            title=say(self.title),
            text_alternative=say(self.text_alternative),
            table_headers=tuple(map(say, self.table_headers)),
            table_rows=tuple(tuple(map(say, row)) for row in self.table_rows),
            specify=specify,
            locale=locale,
        )

    def altair(self, theme: Theme) -> Any:
        """The chart as an ``altair.VConcatChart``."""
        import altair

        return altair.Chart.from_dict(self.specify(PALETTES[theme]), validate=False)

    def draw(self, theme: Theme) -> Chart:
        return Chart(
            title=self.title,
            svg=to_svg(self.specify(PALETTES[theme]), locale=self.locale),
            text_alternative=self.text_alternative,
            table_headers=self.table_headers,
            table_rows=self.table_rows,
        )


def _said(key: str, value: Any, say: Say) -> Any:
    """A part of a specification with its texts said by ``say``: titles, and what data and headings have as text.

    A heading of several lines is one sentence: it is said whole and broken anew.
    """
    if isinstance(value, dict):
        return {name: _said(name, part, say) for name, part in value.items()}
    if key in TEXTS and isinstance(value, str):
        return say(value)
    if isinstance(value, list):
        if key in TEXTS and all(isinstance(line, str) for line in value):
            return textwrap.wrap(say(" ".join(value)), LINE)
        return [_said(key, part, say) for part in value]
    return value


def to_svg(spec: Spec, *, locale: str = "") -> str:
    """SVG of a specification. The same one gives the same bytes, and those of its Altair chart."""
    import vl_convert

    names: dict[str, Any] = {"format_locale": locale, "time_format_locale": locale} if locale else {}
    return str(vl_convert.vegalite_to_svg(spec, **names))


def page_of(title: str, parts: Sequence[Spec], palette: Palette, *, spacing: int = 22) -> Spec:
    """A whole picture: the finding as its title, and parts below each other."""
    return {
        "$schema": SCHEMA,
        "title": {"text": textwrap.wrap(title, LINE), **_heading(15, 600, palette.ink, 14)},
        "vconcat": list(parts),
        "spacing": spacing,
        "background": "transparent",
        "padding": 6,
        "config": {"font": FONT, "view": {"stroke": None}, "concat": {"spacing": 6}},
    }


def heading_of(text: str | list[str], colour: str, *, weight: int = 600, offset: int = 2) -> Spec:
    """The heading of a part."""
    return {"text": text, **_heading(12, weight, colour, offset)}


def _heading(size: int, weight: int, colour: str, offset: int) -> Spec:
    return {"anchor": "start", "fontSize": size, "fontWeight": weight, "color": colour, "offset": offset}


def mark(kind: str, values: Sequence[Mapping[str, Any]], encoding: Spec, **properties: Any) -> Spec:
    """One layer: marks of one kind over rows of data."""
    return {
        "data": {"values": [dict(row) for row in values]},
        "mark": {"type": kind, **properties},
        "encoding": encoding,
    }


def at(field: str) -> Spec:
    """A position in pixels that stands in the data."""
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def told_by(field: str) -> Spec:
    """A colour, shape, dash or opacity that stands in the data."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def text_at(values: Sequence[Mapping[str, Any]], colour: str, **properties: Any) -> Spec:
    """Texts at positions in pixels; the data have ``x``, ``y`` and ``text``."""
    style = {"align": "left", "baseline": "middle", "fontSize": 12, "color": colour} | properties
    return mark("text", values, {"x": at("x"), "y": at("y"), "text": {"field": "text", "type": "nominal"}}, **style)


def text_column(texts: Sequence[str], heading: str, *, width: int, row: int, palette: Palette) -> Spec:
    """A column of texts, one in each row of ``row`` pixels."""
    values = [{"x": 0, "y": row * (place + 0.5), "text": text} for place, text in enumerate(texts)]
    return {
        "title": heading_of(heading, palette.quiet, weight=400, offset=6),
        "width": width,
        "height": row * max(1, len(texts)),
        **text_at(values, palette.ink, limit=width),
    }


def axis(palette: Palette, *, title: str | None = None, digits: int = 2, **more: Any) -> Spec:
    """An axis without a grid, its numbers as in clinical papers: ``.50``, ``−.10``."""
    written = f"format(datum.value, '.{digits}f')"
    told = f"datum.value == 0 ? '0' : abs(datum.value) < 1 ? replace({written}, '0.', '.') : {written}"
    return {"title": title, "labelExpr": told} | axis_style(palette) | more


def axis_style(palette: Palette) -> Spec:
    """How every axis looks, whatever it counts."""
    return {
        "grid": False,
        "domainColor": palette.rule,
        "tickColor": palette.rule,
        "labelColor": palette.quiet,
        "titleColor": palette.quiet,
        "titleFontWeight": 400,
        "titleFontSize": 11,
        "labelFontSize": 11,
    }


def digits_for(span: float) -> int:
    """How many decimals tell two ticks of an axis apart."""
    return 2 if span >= 0.1 else 3


def round_domain(
    ends: Sequence[float], least: float = -math.inf, most: float = math.inf, *, empty: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """A round range that holds every number, with some room, within ``least`` and ``most``.

    An axis of positions does not begin at 0: positions are read, not lengths.
    """
    if not ends:
        return empty
    low, high = min(ends), max(ends)
    span = max(high - low, 0.01)
    step = 10 ** math.floor(math.log10(span)) / 2
    room = 0.04 * span
    bottom = max(least, math.floor((low - room) / step) * step)
    top = min(most, math.ceil((high + room) / step) * step)
    return round(bottom, 6), round(top, 6)


def estimate(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """``.61 (.54 to .68)``; only the number without an interval; empty where there is none."""
    if value is None:
        return ""
    told = number(value, digits)
    if low is not None and high is not None:
        told += f" ({number(low, digits)} to {number(high, digits)})"
    return told.replace("-", "−")


def exact(value: float) -> str:
    """A limit with as many decimals as it was given, two at least: ``.10``, ``.025``."""
    digits = 2 if math.isclose(value, round(value, 2), abs_tol=1e-9) else 3
    return number(value, digits).replace("-", "−")


def counted(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def bare_reason(rows: Sequence[Row]) -> str:
    """Why a first measurement is not shown, as the end of a sentence."""
    reason = next((str(row["reason"]) for row in rows if row["reason"]), "every group holds too few patients")
    return reason.removeprefix("suppressed: ").removeprefix("not judged: ")


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def short_group(attribute: str, group: str) -> str:
    """A group's name for one line: ``Female, ≥60``; the heading names the attribute."""
    if VERSUS in group:
        return VERSUS.join(short_group(attribute, part) for part in group.split(VERSUS))
    parts = []
    for name, value in zip(attribute.split(JOIN), group.split(JOIN), strict=False):
        person = PERSONS.get(value.casefold(), "") if name.casefold() in {"sex", "gender"} else ""
        parts.append(person.removesuffix(" patients").capitalize() or signs(value))
    return ", ".join(parts)


def long_group(attribute: str, group: str) -> str:
    """A group in a sentence: ``female patients, age band ≥60``."""
    return group_words(attribute, group)


def by_words(attribute: str) -> str:
    """An attribute in a sentence: ``sex and age band``."""
    return joined([plain(name) for name in attribute.split(JOIN)])
