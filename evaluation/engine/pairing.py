"""The decisions of two models about the same studies, study by study, with the groups of a protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from core.errors import ConflictError
from evaluation.engine.decisions import decide
from evaluation.engine.grouping import factorize, group_by
from evaluation.engine.paired import Change, Pairs, gap_change, rate_change
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL, UNKNOWN, ShardTable
from evaluation.engine.sketch import audited
from evaluation.engine.suites.fairness.rates import RATES

Rows = npt.NDArray[np.bool_]


class PairedScene:
    """Two models by one protocol on the same studies.

    Attributes:
        level: Of every interval, one minus the protocol's alpha.
        pairs: Label -> what both decided.
        groups: Attribute -> group -> its rows; of the attribute "" all rows, as the group ``All``.

    Raises:
        ConflictError: the tables are of other studies.
    """

    def __init__(self, protocol: Protocol, before: ShardTable, after: ShardTable) -> None:
        self.protocol, self.level = protocol, 1 - protocol.alpha
        first, second = (audited(protocol, table) for table in (before, after))
        second = in_order(second, first)
        patients, _ = factorize(first.patient_ids)
        old, new = decide(protocol, first), decide(protocol, second)
        self.pairs = {
            one.label: Pairs(patients=patients, reference=one.reference, before=one.decision, after=two.decision)
            for one, two in zip(old, new, strict=True)
        }
        self.groups: dict[str, dict[str, Rows]] = {"": {ALL: np.ones(len(first), dtype=np.bool_)}}
        for item in group_by(protocol, first):
            self.groups[item.name] = {
                name: item.codes == code for code, name in enumerate(item.groups) if name != UNKNOWN
            }

    def change(self, rate: str, label: str, attribute: str, group: str) -> Change:
        """How a rate of one group changed."""
        least = self.protocol.minimum_denominator
        rows = self.groups[attribute][group]
        return rate_change(self.pairs[label], RATES[rate], rows, level=self.level, least=least)

    def gap(self, rate: str, label: str, attribute: str, groups: tuple[str, ...]) -> Change:
        """How the size of the gap of a rate between two groups changed; a group that is not there has no studies."""
        held = self.groups[attribute]
        rows = tuple(held.get(name, np.zeros(len(held[next(iter(held))]), dtype=np.bool_)) for name in groups)
        least = self.protocol.minimum_denominator
        return gap_change(self.pairs[label], RATES[rate], (rows[0], rows[1]), level=self.level, least=least)


def in_order(table: ShardTable, like: ShardTable) -> ShardTable:
    """The rows of a table in the order of another of the same studies.

    Raises:
        ConflictError: they are of other studies.
    """
    place = {study: row for row, study in enumerate(table.study_ids.tolist())}
    if len(place) != len(like) or any(study not in place for study in like.study_ids.tolist()):
        raise ConflictError(
            "The two audits are not of the same studies.", remedy="Compare audits of one cohort by one protocol."
        )
    order = np.array([place[study] for study in like.study_ids.tolist()], dtype=np.int64)
    return replace(
        table,
        patient_ids=table.patient_ids[order],
        study_ids=table.study_ids[order],
        attributes={name: values[order] for name, values in table.attributes.items()},
        labels={name: values[order] for name, values in table.labels.items()},
        scores={name: values[order] for name, values in table.scores.items()},
        decisions={name: values[order] for name, values in table.decisions.items()},
    )
