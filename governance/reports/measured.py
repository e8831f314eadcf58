"""Criteria, measurements and figures of one audit, as blocks that any report may place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from governance.reports.blocks import Block, Note, Picture, Source, Table
from governance.reports.engine_words import said
from governance.reports.figures import draw_closer_figures, draw_figures
from governance.reports.findings import bare_statement, leading_verdict, metric_title, outcome_word, primary_verdicts
from governance.reports.view import View
from governance.reports.wording import count, interval, levels, limit, measured, number, shown, spoken

MOST_ROWS = 400
"""Measurements printed before the rest is left to the attached JSON."""


def criteria_blocks(view: View) -> Iterator[Block]:
    """Every criterion with its verdict, then a sentence on each that was not met."""
    evidence, source = _evidence(view), view.audit_source()
    verdicts = evidence["result"]["verdicts"]
    yield verdict_table(evidence, verdicts, source)
    for verdict in verdicts:
        if verdict["outcome"] != "pass":
            yield verdict_note(verdict)


def verdict_table(evidence: dict[str, Any], verdicts: list[dict[str, Any]], source: Source) -> Table:
    """Verdicts with value, interval, size and limit."""
    titles = {item.get("id"): item.get("title") for item in evidence["protocol"]["body"].get("criteria", [])}
    return Table(
        caption=_("Criteria and verdicts"),
        headers=(
            _("Criterion"),
            _("Label"),
            _("By"),
            _("Allowed"),
            _("Value"),
            levels(evidence["result"]["measurements"]),
            "n",
            _("Verdict"),
        ),
        rows=tuple(_criterion(verdict, titles) for verdict in verdicts),
        sources=(source,),
        numeric=(4, 5, 6),
        states=(7,),
        wide=True,
    )


def _criterion(verdict: dict[str, Any], titles: Mapping[Any, Any]) -> tuple[str, ...]:
    name = str(titles.get(verdict["criterion"]) or metric_title(verdict["metric"]))
    if not verdict["primary"]:
        name = _("%(criterion)s (exploratory)") % {"criterion": name}
    return (
        name,
        spoken(verdict["label"]),
        spoken(verdict["attribute"]) or _("all studies"),
        limit(verdict),
        number(verdict["value"]),
        interval(verdict["low"], verdict["high"]),
        count(verdict["n"]),
        verdict["outcome"],
    )


def verdict_note(verdict: dict[str, Any]) -> Note:
    """A verdict as a sentence under its outcome."""
    text = bare_statement(verdict)
    if verdict.get("needed"):
        text += " " + _("What would suffice: %(needed)s.") % {"needed": said(verdict["needed"])}
    tone = "fail" if verdict["outcome"] == "fail" else "gap"
    return Note(title=outcome_word(verdict["outcome"]), text=text, tone=tone)


def measurement_table(view: View) -> Table:
    """Measurements, as many as a document can hold; the evidence holds all."""
    evidence = _evidence(view)
    rows = evidence["result"]["measurements"]
    caption = _(
        "Measurements; a dash is a value that is not defined or was withheld, and the reason stands in the last column"
    )
    left = len(rows) - MOST_ROWS
    if left > 0:
        caption += "; " + ngettext(
            "%(n)s more is in the attached file", "%(n)s more are in the attached file", left
        ) % {"n": count(left)}
    return Table(
        caption=caption,
        headers=(
            _("Metric"),
            _("Label"),
            _("Attribute"),
            _("Group"),
            _("Value"),
            levels(rows),
            _("Studies"),
            _("Patients"),
            _("Remark"),
        ),
        rows=tuple(_measurement(item) for item in rows[:MOST_ROWS]),
        sources=(view.audit_source(),),
        numeric=(4, 5, 6, 7),
        wide=True,
    )


def _measurement(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        metric_title(item["metric"]),
        spoken(item["label"]),
        spoken(item["attribute"]) or _("all studies"),
        said(item["group"]) or _("none"),
        measured(item),
        interval(item["low"], item["high"]),
        count(item["n"]) if item["n"] is not None else "—",
        count(item.get("patients")) if item.get("patients") is not None else "—",
        said(item["reason"]),
    )


def pictures(view: View) -> Iterator[Picture]:
    """A figure for each primary criterion that compares groups, then a closer look at the one that matters most."""
    evidence, sources = _evidence(view), (view.audit_source(),)
    figures = draw_figures(evidence, primary_verdicts(evidence))
    figures += draw_closer_figures(evidence, leading_verdict(evidence), after=len(figures))
    for figure in figures:
        yield Picture(figure=figure, sources=sources)


def _evidence(view: View) -> dict[str, Any]:
    if view.evidence is None:
        raise LookupError(f"The report {view.kind} is about no audit.")
    return view.evidence


def flatten(value: Any, *, path: str = "", skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """A JSON value as rows of (path in words, text). Lists of plain values share one row; nothing is dropped."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if path or key not in skip:
                yield from flatten(item, path=f"{path} › {spoken(str(key))}" if path else spoken(str(key)))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for position, item in enumerate(value, start=1):
            yield from flatten(item, path=f"{path} {position}".strip())
    else:
        yield path, str(value) if path.endswith("seed") else shown(value)
