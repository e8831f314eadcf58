"""What audits measured of a version, by group: value, interval, size and source, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from governance.reports.blocks import Block, Gap, Note, Source, Table
from governance.reports.engine_words import said
from governance.reports.evidence import runs_weights
from governance.reports.findings import metric_title
from governance.reports.measured import verdict_table
from governance.reports.view import View
from governance.reports.wording import count, interval, levels, measured, spoken

MOST_ROWS = 300
"""Rows of one table; whoever needs more finds all of them in the evidence."""
Audited = tuple[Source, dict[str, Any]]


def audited(view: View) -> tuple[Audited, ...]:
    """Audits of this version whose evidence is at hand: the one that the report is about first, then newest first."""
    found: list[Audited] = []
    if view.evidence is not None:
        found.append((view.audit_source(), view.evidence))
    known = {source.digest for source, _evidence in found}
    for audit, evidence in view.audits():
        if audit["evidence_digest"] not in known:
            known.add(audit["evidence_digest"])
            found.append((view.audit_source(audit), evidence))
    return tuple(found)


def no_measurement() -> Gap:
    """What stands where measurements should."""
    return Gap(text=_("No finished audit of this version is at hand: no measured value can stand here."))


def cautions(view: View) -> Iterator[Block]:
    """What a reader must know of the numbers, once where they stand."""
    for source, evidence in audited(view):
        if evidence["cohort"]["simulated"]:
            text = _("Every number of %(run)s was measured on simulated patients. It says nothing about real ones.")
            yield Note(title=_("Simulated patients"), text=text % {"run": source.name}, tone="gap")
        if not runs_weights(evidence):
            text = _("In %(run)s a log of predictions was judged; the system itself was not run.")
            yield Note(title=_("No weights were run"), text=text % {"run": source.name}, tone="gap")


def criteria_tables(view: View, caption: str) -> Iterator[Block]:
    """The criteria of each audit with what was measured; ``caption`` has a place for ``%(run)s`` and ``%(cohort)s``."""
    rows = audited(view)
    if not rows:
        yield no_measurement()
    for source, evidence in rows:
        table = verdict_table(evidence, evidence["result"]["verdicts"], source)
        told = {"run": source.name, "cohort": evidence["cohort"]["name"]}
        yield Table(
            caption=caption % told,
            headers=table.headers,
            rows=table.rows,
            sources=table.sources,
            numeric=table.numeric,
            states=table.states,
            wide=True,
        )


def overall_tables(view: View) -> Iterator[Block]:
    """What was measured on all studies together, one table an audit."""
    rows = audited(view)
    if not rows:
        yield no_measurement()
    for source, evidence in rows:
        items = [item for item in evidence["result"]["measurements"] if not item["attribute"]]
        told = {"run": source.name, "cohort": evidence["cohort"]["name"]}
        if not items:
            yield Gap(text=_("%(run)s measured nothing on all studies together.") % told)
            continue
        yield _table(_("Measured on all studies of %(cohort)s (%(run)s)") % told, items, source, grouped=False)


def group_tables(view: View) -> Iterator[Block]:
    """Performance by group for every rate that a criterion compares, one table an attribute."""
    rows = audited(view)
    if not rows:
        yield no_measurement()
    for source, evidence in rows:
        tables = tuple(_group_tables(source, evidence))
        if not tables:
            yield Gap(text=_("No criterion of the protocol of %(run)s compares groups.") % {"run": source.name})
        yield from tables


def _group_tables(source: Source, evidence: dict[str, Any]) -> Iterator[Table]:
    measurements = evidence["result"]["measurements"]
    wanted = dict.fromkeys(
        (item["attribute"], rate_of(measurements, item)) for item in evidence["result"]["verdicts"] if item["attribute"]
    )
    for attribute, rate in wanted:
        items = [item for item in measurements if (item["attribute"], item["metric"]) == (attribute, rate)]
        if items:
            told = {"metric": metric_title(rate), "attribute": spoken(attribute), "run": source.name}
            yield _table(_("%(metric)s by %(attribute)s (%(run)s)") % told, items, source, grouped=True)


def rate_of(measurements: list[dict[str, Any]], verdict: Mapping[str, Any]) -> str:
    """The rate that a verdict is about: of a difference the one that the evidence names, else its own metric."""
    keys = ("metric", "label", "attribute")
    wanted = tuple(verdict[key] for key in keys)
    same = (item for item in measurements if tuple(item[key] for key in keys) == wanted)
    told = (str((item.get("detail") or {}).get("rate") or "") for item in same)
    return next((rate for rate in told if rate), str(verdict["metric"]))


def _table(caption: str, items: list[dict[str, Any]], source: Source, *, grouped: bool) -> Table:
    left = len(items) - MOST_ROWS
    if left > 0:
        caption += "; " + ngettext("%(n)s more row is in the evidence", "%(n)s more rows are in the evidence", left) % {
            "n": count(left)
        }
    shown = items[:MOST_ROWS]
    second = _("Group") if grouped else _("Metric")
    return Table(
        caption=caption,
        headers=(_("Label"), second, _("Value"), levels(shown), _("Studies"), _("Patients"), _("Remark")),
        rows=tuple(_row(item, said(item["group"]) if grouped else metric_title(item["metric"])) for item in shown),
        sources=(source,),
        numeric=(2, 3, 4, 5),
        wide=True,
    )


def _row(item: dict[str, Any], second: str) -> tuple[str, ...]:
    sizes = (item["n"], item.get("patients"))
    return (
        spoken(item["label"]),
        second,
        measured(item),
        interval(item["low"], item["high"]),
        *(count(size) if size is not None else "—" for size in sizes),
        said(item["reason"]),
    )
