"""Parity of written reports: what the fairness suite counts of them, and what a reader of its verdicts must know.

Metrics are in ``report_metrics``; they are measured and judged as every family is that is counted, in
``suites/tallied``. A protocol that has the suite ``hallucination`` too measures its reports there, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evaluation.engine.grouping import Grouping
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.fairness.report_metrics import FAMILY
from evaluation.engine.suites.tallied.report_rows import report_rows
from evaluation.engine.tallies import TallyFamily

MORE_OF_THEM = "hallucination"
"""The suite that measures the same of reports, and more."""


def compares_reports(protocol: Protocol) -> bool:
    """Whether the fairness suite measures the reports of a protocol."""
    return protocol.reports is not None and MORE_OF_THEM not in protocol.suites


def parity_sketch(protocol: Protocol, table: ShardTable, groupings: Sequence[Grouping]) -> TallySketch:
    """Counts of the reports of one shard; empty where the protocol compares none.

    Raises:
        ProtocolError: when the protocol compares reports and the table lacks the texts.
    """
    if not compares_reports(protocol):
        return TallySketch.empty(FAMILY)
    return TallySketch.from_rows(FAMILY, report_rows(protocol, table, FAMILY), table.patient_ids, groupings)


def report_notes(protocol: Protocol, sketch: TallySketch, family: TallyFamily = FAMILY) -> Iterator[str]:
    """Facts about the reports that a reader of the verdicts must know."""
    if OVERALL not in sketch.cells:
        return
    sums, cell = sketch.sums(OVERALL), protocol.minimum_cell
    pairs, unpaired, foreign = sums["pairs"], sums["unpaired"], sums["foreign"]
    for count, what in (
        (unpaired, "have no report of an expert and are not compared"),
        (pairs - sums["written"], "have no report of the model; each counts as an abstention that omits every finding"),
        (foreign, "have a report that is not in English, which is an unsupported language; they are not scored"),
        (sums["truncated"], "have a report that ended at the model's limit of tokens; what it omits is not counted"),
    ):
        if count:
            told_count = f"{count:,}" if count >= cell else f"Fewer than {cell}"
            yield f"{told_count} of {pairs + unpaired + foreign:,} studies {what}."
    yield (
        "Reports are read by rules for English: a finding that is only possible is not positive, and a general "
        "finding is supported by a special one (a consolidation is an opacity)."
    )
    yield from family.notes
