"""What of the register is shown: by system, state, kind and band, and by one cell of a matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.db.models import QuerySet

from governance.models import Risk, RiskRating
from governance.requirements import load_requirements
from governance.selectors.risks import BANDS, OPEN, RiskLine, matrix_of
from governance.standing.risk_rows import KINDS

CELL = re.compile(r"([1-4])x([1-4])")
STATES = {
    "": "Open and accepted",
    "open": "Open",
    "accepted": "Residual risk accepted",
    "closed": "Closed",
    "all": "All",
}
STAGES = {"before": "Before controls", "after": "After controls, as it counts"}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What was asked for; anything that is not known is left out.

    Attributes:
        band: Of what remains.
        stage, cell: One cell of a matrix: ``after`` and ``3x2`` is severity 3, likelihood 2 after controls.
    """

    system: str = ""
    state: str = ""
    kind: str = ""
    band: str = ""
    stage: str = ""
    cell: str = ""

    @property
    def any(self) -> bool:
        return self != Filters()

    @property
    def query(self) -> str:
        """As the beginning of a query string, for links that keep the filter."""
        told = urlencode({name: value for name, value in vars(self).items() if value})
        return f"{told}&" if told else ""

    @property
    def states(self) -> Mapping[str, str]:
        return STATES

    @property
    def cell_words(self) -> str:
        """``severity 3, likelihood 2, after controls``."""
        if not self.cell:
            return ""
        severity, likelihood = self.cell.split("x")
        return f"severity {severity}, likelihood {likelihood}, {STAGES[self.stage].lower()}"

    @property
    def without_cell(self) -> str:
        return replace(self, stage="", cell="").query

    def rows(self) -> QuerySet[Risk]:
        """The risks that fit what the database can tell."""
        rows = Risk.objects.all()
        if self.system:
            rows = rows.filter(system__slug=self.system)
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.state == "":
            return rows.filter(status__in=OPEN)
        return rows if self.state == "all" else rows.filter(status=self.state)

    def in_band(self, lines: Iterable[RiskLine]) -> list[RiskLine]:
        return [line for line in lines if not self.band or line.after.band == self.band]

    def keep(self, lines: Iterable[RiskLine]) -> list[RiskLine]:
        """The lines that fit the band and the cell, the gravest first."""
        kept = [line for line in self.in_band(lines) if not self.cell or self.cell == _cell(line, self.stage)]
        return sorted(kept, key=lambda line: (-line.after.product, line.risk.system.name, line.risk.number))


def _cell(line: RiskLine, stage: str) -> str:
    rating = line.before if stage == RiskRating.Stage.BEFORE else line.after
    return f"{rating.severity}x{rating.likelihood}"


def read_filters(query: Mapping[str, str]) -> Filters:
    """The filters in an address. A slug is looked up by the database; the rest is compared here."""
    stage, cell = query.get("stage", ""), query.get("cell", "")
    known = stage in STAGES and CELL.fullmatch(cell) is not None
    told = {
        "system": query.get("system", "")[:80].replace("\0", ""),
        "state": _one_of(query.get("state", ""), STATES),
        "kind": _one_of(query.get("kind", ""), KINDS),
        "band": _one_of(query.get("band", ""), BANDS),
    }
    return Filters(**told, stage=stage if known else "", cell=cell if known else "")


def _one_of(value: str, known: Iterable[str]) -> str:
    return value if value in known else ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: how many risks, the band of its product, and the address of the list of them."""

    severity: int
    likelihood: int
    band: str
    word: str
    n: int
    href: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Severity down, likelihood across; the gravest row first."""

    key: str
    title: str
    rows: tuple[tuple[int, str, tuple[Cell, ...]], ...]
    columns: tuple[tuple[int, str], ...]


def matrices(lines: Iterable[RiskLine], filters: Filters) -> list[Matrix]:
    """The matrix before controls and the one after them."""
    known = list(lines)
    return [_matrix(known, filters, stage=stage, title=title) for stage, title in STAGES.items()]


def _matrix(lines: list[RiskLine], filters: Filters, *, stage: str, title: str) -> Matrix:
    scales, counts = load_requirements().risk_matrix, matrix_of(lines, stage=stage)

    def cell(severity: int, likelihood: int) -> Cell:
        band, name = scales.band(severity, likelihood), f"{severity}x{likelihood}"
        return Cell(
            severity=severity,
            likelihood=likelihood,
            band=band,
            word=BANDS[band],
            n=counts.get((severity, likelihood), 0),
            href=f"?{replace(filters, stage=stage, cell=name).query}#list",
            chosen=(filters.stage, filters.cell) == (stage, name),
        )

    return Matrix(
        key=stage,
        title=title,
        rows=tuple(
            (severity, _word(scales.severity[severity]), tuple(cell(severity, number) for number in scales.likelihood))
            for severity in sorted(scales.severity, reverse=True)
        ),
        columns=tuple((number, _word(text)) for number, text in scales.likelihood.items()),
    )


def _word(text: str) -> str:
    """``limited: hard for the sources`` is ``limited``."""
    return text.partition(":")[0]
