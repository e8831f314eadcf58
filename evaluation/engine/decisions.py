"""What the reference says and what the model decided, per label, on one scale: 1, 0, or -1 for unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine.protocol import LabelSpec, Protocol
from evaluation.engine.records import ShardTable


@dataclass(frozen=True, kw_only=True)
class Decided:
    """One label, or the underdiagnosis composite. Both arrays are int8 [n]: 1, 0, or -1 for unknown."""

    label: str
    reference: npt.NDArray[np.int8]
    decision: npt.NDArray[np.int8]


def decide(protocol: Protocol, table: ShardTable) -> list[Decided]:
    """Reference and decision for every label, then for the composite when the protocol declares one.

    A threshold of the protocol takes precedence over decisions that the model gave: the protocol is what was
    locked. Without a threshold the model's own decisions are used.

    Raises:
        ProtocolError: for a label without reference, without prediction, or with scores but no threshold.
    """
    decided = [
        Decided(label=spec.name, reference=_reference(spec, table), decision=_decision(spec, table))
        for spec in protocol.labels
    ]
    under = protocol.underdiagnosis
    if under is not None:
        parts = [item for item in decided if item.label in under.findings]
        decided.append(
            Decided(
                label=under.name,
                reference=_any([item.reference for item in parts]),
                decision=_any([item.decision for item in parts]),
            )
        )
    return decided


def _reference(spec: LabelSpec, table: ShardTable) -> npt.NDArray[np.int8]:
    if spec.name not in table.labels:
        raise ProtocolError(
            f"The protocol judges the label '{spec.name}', for which the data have no reference.",
            remedy=f"Add the column 'label.{spec.name}', or take the label out of the protocol.",
            column=f"label.{spec.name}",
        )
    return table.labels[spec.name]


def _decision(spec: LabelSpec, table: ShardTable) -> npt.NDArray[np.int8]:
    scores = table.scores.get(spec.name)
    if spec.threshold is not None and scores is not None:
        above = (scores >= spec.threshold.value).astype(np.int8)
        return np.where(np.isfinite(scores), above, np.int8(-1)).astype(np.int8)
    if spec.name in table.decisions:
        return table.decisions[spec.name]
    if scores is not None:
        raise ProtocolError(
            f"The label '{spec.name}' comes with scores and no decisions, and the protocol gives it no threshold.",
            remedy="Give the label a threshold with its value and source, tuned on data that are not audited.",
            column=f"score.{spec.name}",
        )
    raise ProtocolError(
        f"The model gives no prediction for the label '{spec.name}'.",
        remedy=f"Add 'score.{spec.name}' or 'pred.{spec.name}', or take the label out of the protocol.",
        column=f"pred.{spec.name}",
    )


def _any(parts: list[npt.NDArray[np.int8]]) -> npt.NDArray[np.int8]:
    """1 where any part is 1; 0 where all are 0; otherwise unknown."""
    stacked = np.stack(parts)
    return np.where((stacked == 1).any(axis=0), 1, np.where((stacked == 0).all(axis=0), 0, -1)).astype(np.int8)
