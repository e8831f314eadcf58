"""The families of the hallucination suite: which a protocol asks for, and what each study contributes to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.suites.hallucination import answers, judged, perturbed, reports
from evaluation.engine.suites.tallied.declared import metrics_of
from evaluation.engine.suites.tallied.report_rows import report_rows
from evaluation.engine.tallies import TallyFamily


@dataclass(frozen=True, kw_only=True)
class Part:
    """One family of the suite.

    Attributes:
        rows: What each study of a table contributes.
    """

    family: TallyFamily
    rows: Callable[[Protocol, ShardTable], TallyRows]


FAMILIES: Mapping[str, TallyFamily] = {
    item.key: item for item in (reports.FAMILY, answers.FAMILY, perturbed.FAMILY, judged.FAMILY, perturbed.DROPPED)
}
"""Every family whose metrics can be written into a protocol. That of dropped modalities is the pattern of one for each
modality; what comes of sampling is no family and stands beside them."""


def parts_of(protocol: Protocol) -> dict[str, Part]:
    """The parts that a protocol asks for, by the key of their family, in the order in which they are told."""
    found = []
    if protocol.reports is not None:
        found.append(Part(family=reports.FAMILY, rows=partial(report_rows, family=reports.FAMILY)))
    if protocol.probing is not None:
        found.append(Part(family=answers.FAMILY, rows=answers.rows_of))
    if protocol.perturbation is not None:
        found.append(Part(family=perturbed.FAMILY, rows=perturbed.rows_of))
        found += [
            Part(family=family, rows=partial(perturbed.dropped_rows, modality=modality))
            for modality, family in zip(
                protocol.perturbation.dropped, perturbed.dropped_families(protocol), strict=True
            )
        ]
    if protocol.judges:
        found.append(Part(family=judged.FAMILY, rows=judged.rows_of))
    return {part.family.key: part for part in found}


def family_like(key: str) -> TallyFamily:
    """The family with the columns of a part, for reading what was stored: each dropped modality has the same."""
    return FAMILIES.get(key, perturbed.DROPPED)


def parts_with(protocol: Protocol, metric: str) -> list[Part]:
    """The parts that measure a metric: one, or one for each modality that is dropped."""
    return [part for part in parts_of(protocol).values() if metric in metrics_of(part.family)]
