"""What of the register is shown: by system, state, kind and band, and by one cell of a matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from governance.models import Risk, RiskRating
from governance.pages.risk_forms import kind_choices
from governance.requirements import load_requirements
from governance.selectors.risks import BANDS, OPEN, RiskLine, lines_of, matrix_of, systems_with_risks

CELL = re.compile(r"([1-4])x([1-4])")
PAGE_SIZE = 50
LIVE = "live"
"""The state that the register shows unless another is asked for: open, or accepted."""
STATES = (
    (LIVE, _("Open and accepted")),
    ("open", _("Open")),
    ("accepted", _("Residual risk accepted")),
    ("closed", _("Closed")),
    ("all", _("All")),
)
STAGES = {"before": "Before controls", "after": "After controls, as it counts"}
RISKS = ListPlan(
    columns=(
        Column(title=_("Risk"), key="risk", value=lambda line: (line.risk.system.name, line.risk.number)),
        Column(title=_("State"), key="state", value=lambda line: line.risk.status),
        Column(title=_("Before"), key="before", value=lambda line: line.before.product, down=True),
        Column(title=_("After"), key="after", value=lambda line: line.after.product, down=True),
        Column(title=_("Controls verified"), key="controls", value=lambda line: line.n_verified, numeric=True),
        Column(title=_("Owner"), key="owner", value=lambda line: str(line.risk.owner) if line.risk.owner else None),
        Column(
            title=_("Accepted until"), key="until",
            value=lambda line: line.acceptance.expires_at if line.acceptance else None,
        ),
    ),
    text=lambda line: f"{line.risk.number} {line.risk.title} {line.risk.harm} {line.risk.system.name}"
    f" {line.risk.owner or ''}",
    searched=_("Words, number or owner"),
    size=PAGE_SIZE,
    anchor="list",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Register:
    """The register as an address asks for it.

    Attributes:
        fitting: The lines that fit, in whatever cell.
        stage, cell: One cell of a matrix: ``after`` and ``3x2`` is severity 3, likelihood 2 after controls; empty for
            all of them.
    """

    listing: Listing[RiskLine]
    fitting: Sequence[RiskLine]
    stage: str = ""
    cell: str = ""

    @property
    def total(self) -> int:
        return len(self.listing.rows)

    @property
    def narrowed(self) -> bool:
        return bool(self.cell) or self.listing.filtered

    @property
    def cell_words(self) -> str:
        """``severity 3, likelihood 2, after controls``."""
        if not self.cell:
            return ""
        severity, likelihood = self.cell.split("x")
        return gettext("severity %(severity)s, likelihood %(likelihood)s, %(x)s") % {
            "severity": severity,
            "likelihood": likelihood,
            "x": STAGES[self.stage].lower(),
        }

    @property
    def without_cell(self) -> str:
        """The address of the same list with every cell."""
        return self.at()

    def at(self, **cell: str) -> str:
        """The address of the same list in another cell: its stage and its name."""
        asked = {name: value for name, value in self.listing.narrowing.items() if name not in ("stage", "cell")}
        sort = {"sort": self.listing.sort} if self.listing.sort else {}
        return f"?{urlencode(asked | sort | cell)}#list"


def read_register(query: Mapping[str, str]) -> Register:
    """The register as an address asks for it. What the database can tell narrows before the rest is worked out."""
    stage, cell = query.get("stage", ""), query.get("cell", "")
    if stage not in STAGES or CELL.fullmatch(cell) is None:
        stage = cell = ""
    plan = replace(RISKS, choices=_choices())
    rows = Risk.objects.all()
    for choice in plan.choices[:3]:
        value = query.get(choice.name, "").strip() or choice.usual
        if value in dict(choice.options):
            rows = _STORED[choice.name](rows, value)
    lines = sorted(lines_of(rows), key=lambda line: (-line.after.product, line.risk.system.name, line.risk.number))
    fitting = read_list(query, lines, plan).rows
    kept = [line for line in lines if not cell or cell == _cell(line, stage)]
    listing: Listing[RiskLine] = read_list(query, kept, plan, keep=["stage", "cell"] if cell else [])
    return Register(listing=listing, fitting=fitting, stage=stage, cell=cell)


def _in_state(rows: QuerySet[Risk], state: str) -> QuerySet[Risk]:
    if state == LIVE:
        return rows.filter(status__in=OPEN)
    return rows if state == "all" else rows.filter(status=state)


_STORED: dict[str, Any] = {
    "system": lambda rows, value: rows.filter(system__slug=value),
    "state": _in_state,
    "kind": lambda rows, value: rows.filter(kind=value),
}
"""The choices by which the database narrows; the lines that it gives fit them."""


def _choices() -> tuple[Choice, ...]:
    systems = tuple(systems_with_risks().order_by("name").values_list("slug", "name"))
    return (
        Choice(name="system", title=_("System"), every=_("Every system"), options=systems, keep=_as_stored),
        Choice(name="state", title=_("State"), options=STATES, usual=LIVE, keep=_as_stored),
        Choice(name="kind", title=_("About"), every=_("Everything"), options=tuple(kind_choices()), keep=_as_stored),
        Choice(name="band", title=_("What remains"), every=_("Every band"), options=tuple(BANDS.items()),
               keep=lambda lines, value: [line for line in lines if line.after.band == value]),
    )  # fmt: skip


def _as_stored(lines: list[RiskLine], _value: str) -> list[RiskLine]:
    return lines


def _cell(line: RiskLine, stage: str) -> str:
    rating = line.before if stage == RiskRating.Stage.BEFORE else line.after
    return f"{rating.severity}x{rating.likelihood}"


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


def matrices(register: Register) -> list[Matrix]:
    """The matrix before controls and the one after them."""
    return [_matrix(register, stage=stage, title=title) for stage, title in STAGES.items()]


def _matrix(register: Register, *, stage: str, title: str) -> Matrix:
    scales, counts = load_requirements().risk_matrix, matrix_of(register.fitting, stage=stage)

    def cell(severity: int, likelihood: int) -> Cell:
        band, name = scales.band(severity, likelihood), f"{severity}x{likelihood}"
        return Cell(
            severity=severity,
            likelihood=likelihood,
            band=band,
            word=BANDS[band],
            n=counts.get((severity, likelihood), 0),
            href=register.at(stage=stage, cell=name),
            chosen=(register.stage, register.cell) == (stage, name),
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
