"""What optional judges say of written reports: the mean of their scores, by group. Described, never judged.

A judge is a model of somebody else with errors of its own, so no criterion can rest on it. A score is kept as a whole
number of thousandths; a report that a judge has nothing to say of does not count. See ``evaluation.engine.judges``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from core.digests import sha256_json
from evaluation.engine.judges import JUDGES, judges_status
from evaluation.engine.judges.supply import ABSENT
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.registry import Basis
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.tallies import DerivedDefinition, TallyFamily

KEY = "judges"
PAIRS = "pairs"
THOUSANDTHS = 1000
NOT_RUN = "its weights are there, and it was not run where the reports were read"


def metric_of(judge: str) -> str:
    """``judge_nli`` for ``nli``."""
    return f"judge_{judge}"


def wanted(protocol: Protocol) -> frozenset[str]:
    """Metrics of the judges that a protocol asks for."""
    return frozenset(map(metric_of, protocol.judges))


def rows_of(protocol: Protocol, table: ShardTable) -> TallyRows:
    """Scores of each study in thousandths, and which judge scored it. A judge that is absent says why.

    The digest is of the judges that scored: what other weights said is not added up with it.
    """
    values = np.zeros((len(table), len(FAMILY.columns)), dtype=np.int64)
    why_not: dict[str, str] = {}
    status = judges_status(protocol.judges)
    if protocol.judges:
        values[:, 0] = [bool(one and two) for one, two in zip(*_texts(table), strict=True)]
    for judge in protocol.judges:
        scores = table.judged_by.get(judge)
        if scores is None:
            why_not[_part(judge)] = status[judge] if status[judge].startswith(ABSENT) else NOT_RUN
            continue
        there = np.isfinite(scores)
        values[:, FAMILY.columns.index(_scored(judge))] = there
        values[there, FAMILY.columns.index(_sum(judge))] = np.rint(scores[there] * THOUSANDTHS).astype(np.int64)
    ran = {judge: status[judge] for judge in protocol.judges if judge in table.judged_by}
    return TallyRows(columns=FAMILY.columns, values=values, digest=sha256_json(ran) if ran else "", why_not=why_not)


def _texts(table: ShardTable) -> tuple[list[str | None], list[str | None]]:
    nothing: list[str | None] = [None] * len(table)
    one, two = (
        nothing if (found := table.texts.get(name)) is None else found.tolist() for name in ("reference", "generated")
    )
    return one, two


def _scored(judge: str) -> str:
    return f"{judge}_scored"


def _sum(judge: str) -> str:
    return f"{judge}_thousandths"


def _part(judge: str) -> str:
    return f"judge {judge}"


def _mean(judge: str) -> Callable[[Mapping[str, float]], float | None]:
    def compute(sums: Mapping[str, float]) -> float | None:
        count = sums[_scored(judge)]
        return sums[_sum(judge)] / THOUSANDTHS / count if count else None

    return compute


def _definition(judge: str, title: str) -> DerivedDefinition:
    return DerivedDefinition(
        metric=metric_of(judge),
        title=title,
        compute=_mean(judge),
        undefined="the judge scored no report",
        denominator=(_scored(judge),),
        among=f"report that the judge '{judge}' scored",
        persons="patients with a report that the judge scored",
        worse=-1,
        judged=False,
        columns=(_scored(judge), _sum(judge)),
        bounds=(0.0, 1.0),
        parts=(_part(judge),),
    )


def _family() -> TallyFamily:
    members = [*JUDGES]
    return TallyFamily(
        key=KEY,
        columns=(PAIRS, *(column for judge, _ in members for column in (_scored(judge), _sum(judge)))),
        shares=(),
        derived=tuple(_definition(judge, factory.title) for judge, factory in members),
        basis=Basis.REPORTS,
        notes=(
            "Judges are models of others, with errors of their own; their scores are described and no criterion rests "
            "on them.",
        ),
    )


FAMILY = _family()
"""One metric for each judge that is installed; a protocol's ``judges`` says which are told."""
