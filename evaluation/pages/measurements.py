"""Every measurement of a run in one table: filtered, sorted and paged by its address, and as files of the same rows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from core.cells import csv_lines
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads
from core.templatetags.figures import words
from evaluation import selectors
from evaluation.models import AuditRun, Measurement
from evaluation.templatetags.metrics import metric_title

PAGE_SIZE = 50
NUMBERS = ("value", "low", "high", "level")
COUNTS = ("n", "patients", "seed")
COLUMNS = (
    "suite", "metric", "label", "attribute", "group", "value", "low", "high", "level", "n", "patients", "reason",
    "method", "seed", "metric_version",
)  # fmt: skip
UNDEFINED = (("no", "With a value"), ("yes", "Undefined or suppressed"))
PARQUET = "application/vnd.apache.parquet"


def listing_of(request: HouseRequest, run: AuditRun, found: Iterable[selectors.Measured]) -> Listing[Measurement]:
    """The measurements that an address asks for, in the engine's order unless it asks for another.

    Args:
        found: What the run has measurements of, which its choices are made from.
    """
    known = list(found)
    plan = _plan(selectors.measurement_choices(known))
    return read_list(request.GET, run.measurements.order_by("position"), plan, count=lambda asked: _count(known, asked))


def _plan(choices: dict[str, list[str]]) -> ListPlan:
    def choice(name: str, every: str, *, title: Any = words) -> Choice:
        options = tuple((value, title(value)) for value in choices[name])
        return Choice(name=name, title=name.capitalize(), every=every, field=name, options=options)

    return ListPlan(
        columns=(
            Column(title="Metric", key="metric", order=("metric", "position")),
            Column(title="Label", key="label", order=("label", "position")),
            Column(title="Attribute", key="attribute", order=("attribute", "position")),
            Column(title="Group", key="group", order=("group", "position")),
            Column(title="Value (interval)", key="value", order=("value",), numeric=True),
            Column(title="n", key="n", order=("n",), down=True, numeric=True),
            Column(title="Patients", key="patients", order=("patients",), down=True, numeric=True),
            Column(title="Interval by"),
        ),
        search=("group", "label", "metric"),
        searched="Group, label or metric",
        choices=(
            choice("suite", "Every suite"),
            choice("label", "Every label"),
            choice("attribute", "Every attribute"),
            choice("metric", "Every metric", title=metric_title),
            Choice(name="undefined", title="Value", every="With or without", options=UNDEFINED, keep=_defined),
        ),
        size=PAGE_SIZE,
        anchor="measurements",
    )


def _defined(rows: QuerySet[Measurement], asked: str) -> QuerySet[Measurement]:
    return rows.filter(value__isnull=asked == "yes")


def _count(found: Iterable[selectors.Measured], asked: dict[str, str]) -> int | None:
    """How many measurements fit, from what was counted anyway; None where words are looked for."""
    if asked.get("q"):
        return None
    names = {name: value for name in ("suite", "metric", "label", "attribute") if (value := asked.get(name))}
    fitting = [item for item in found if all(getattr(item, name) == value for name, value in names.items())]
    undefined, every = sum(item.undefined for item in fitting), sum(item.n for item in fitting)
    return {"yes": undefined, "no": every - undefined}.get(asked.get("undefined", ""), every)


def _shown(request: HouseRequest, run: AuditRun) -> Iterator[Measurement]:
    """Every row that the page would show on all its pages."""
    rows: QuerySet[Measurement] = listing_of(request, run, selectors.measured_of(run)).rows
    return rows.iterator(chunk_size=500)


@require_safe
@reads
def measurements_csv(request: HouseRequest, pk: int) -> StreamingHttpResponse:
    """The measurements that the filter leaves, as the page shows them, without a limit."""
    run = selectors.get_run(pk)
    rows = (selectors.cells_of(row, COLUMNS) for row in _shown(request, run))
    lines = csv_lines(row for part in ((COLUMNS,), rows) for row in part)
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=_named(pk, "csv"))


@require_safe
@reads
def measurements_parquet(request: HouseRequest, pk: int) -> HttpResponse:
    """The same rows as Parquet, with types: no value is null, and no text is changed."""
    run = selectors.get_run(pk)
    body = parquet_of(selectors.cells_of(row, COLUMNS) for row in _shown(request, run))
    return HttpResponse(body, content_type=PARQUET, headers=_named(pk, "parquet"))


def parquet_of(rows: Iterable[list[Any]]) -> bytes:
    """Rows of :data:`COLUMNS` as one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {name: pa.float64() for name in NUMBERS} | {name: pa.int64() for name in COUNTS}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    cells = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    table = pa.table({name: list(values) for name, values in zip(COLUMNS, cells, strict=True)}, schema=schema)
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def _named(pk: int, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="audit-{pk}-measurements.{ending}"'}
