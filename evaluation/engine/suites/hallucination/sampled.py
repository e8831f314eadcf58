"""What is counted of reports or answers that were drawn several times: the family ``uncertainty``.

Beside means, the family counts how much is kept, and how much of that is wrong, where the model speaks only up to a
threshold of uncertainty. The thresholds are the tenths of the normalised entropy, fixed before any data are seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from evaluation.engine.doubt.entropy import attainable
from evaluation.engine.doubt.samples import Unit
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.registry import Basis
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.tallies import DerivedDefinition, ShareDefinition, TallyFamily

KEY, PART = "uncertainty", "sampling"
LEVELS = tuple(step / 10 for step in range(11))
"""Thresholds of the normalised semantic entropy: the model speaks where its entropy is at most this."""

ALL_LEVELS_FROM = 12
"""With so many samples every tenth can be reached; with fewer, only some can, and only these are tried."""

THOUSANDTHS = 1000
NOTHING_ASKED = "the model was asked for no samples"
TEXTS = "reports or answers that were drawn several times"
PERSONS = "patients with such a report or answer"


def kept(level: int) -> str:
    return f"kept_{level}"


def wrong(level: int) -> str:
    return f"wrong_{level}"


def coverage_within(level: int) -> str:
    """The metric of what is kept at a level; for the choice of a threshold, and not told."""
    return f"coverage_within_{level}"


def risk_within(level: int) -> str:
    return f"risk_within_{level}"


def levels_tried(samples: int) -> tuple[int, ...]:
    """Indices of the thresholds that tell values of the entropy of so many samples apart."""
    if samples >= ALL_LEVELS_FROM:
        return tuple(range(len(LEVELS)))
    reached = {int(np.searchsorted(LEVELS, value - 1e-9)) for value in attainable(samples)}
    return tuple(sorted(reached))


def rows_of(protocol: Protocol, table: ShardTable, units: Iterable[Unit]) -> TallyRows:
    """What each study adds to the columns of :data:`FAMILY`, from ``units_drawn``."""
    values = np.zeros((len(table), len(COLUMNS)), dtype=np.int64)
    places = {name: place for place, name in enumerate(COLUMNS)}
    for unit in units:
        row = values[unit.study]
        row[0] = 1
        for name, amount in _amounts(unit).items():
            row[places[name]] += amount
        if unit.entropy is None or unit.error is None:
            row[places["open"]] = 1
    utterances = table.utterances
    why_not = {PART: NOTHING_ASKED} if utterances is None else utterances.why_not
    return TallyRows(columns=COLUMNS, values=values, why_not=why_not)


def _amounts(unit: Unit) -> dict[str, int]:
    found = {"units": 1, "declined": int(unit.declined), "samples": unit.samples, "agreeing": unit.agreeing}
    if unit.entropy is not None:
        found |= {"entropies": 1, "entropy_thousandths": round(unit.entropy * THOUSANDTHS)}
    if unit.shared is not None:
        found |= {"compared": 1, "shared_thousandths": round(unit.shared * THOUSANDTHS)}
    if unit.entropy is not None and unit.error is not None:
        found |= {"scored": 1, "errors": unit.error}
        for level, threshold in enumerate(LEVELS):
            if unit.entropy <= threshold + 1e-9:
                found |= {kept(level): 1, wrong(level): unit.error}
    return found


def _mean(total: str, count: str) -> Callable[[Mapping[str, float]], float | None]:
    return lambda sums: sums[total] / THOUSANDTHS / sums[count] if sums[count] > 0 else None


COLUMNS = (
    "studies", "open", "units", "declined", "entropies", "entropy_thousandths", "samples", "agreeing", "compared",
    "shared_thousandths", "scored", "errors",
    *(name for level in range(len(LEVELS)) for name in (kept(level), wrong(level))),
)  # fmt: skip

TOLD = (
    ShareDefinition(
        metric="sampled_error_rate", title="share of texts with an error, of those that were drawn several times",
        numerator={"errors": 1}, denominator=("scored",), among=f"{TEXTS} and could be held against the truth",
        persons=PERSONS, worse=1, worse_words="texts on {one} have an error more often than texts on {two}",
        gap_title="difference in texts with an error",
    ),
    ShareDefinition(
        metric="self_consistency", title="share of samples that say the same as the text without chance",
        numerator={"agreeing": 1}, denominator=("samples",), among="samples", persons=PERSONS, worse=-1,
        worse_words="samples on {one} say the same less often than samples on {two}",
        gap_title="difference in self-consistency",
    ),
    ShareDefinition(
        metric="sampled_abstention", title="share of texts that decline, of those that were drawn several times",
        numerator={"declined": 1}, denominator=("units",), among=TEXTS, persons=PERSONS, worse=1, judged=False,
        worse_words="",
    ),
)  # fmt: skip

_LEVELS = tuple(
    item
    for level, threshold in enumerate(LEVELS)
    for item in (
        ShareDefinition(
            metric=coverage_within(level), title=f"share of texts with an entropy of at most {threshold}",
            numerator={kept(level): 1}, denominator=("scored",), among=TEXTS, persons=PERSONS, worse=-1, judged=False,
            worse_words="",
        ),
        ShareDefinition(
            metric=risk_within(level), title=f"share of errors among texts with an entropy of at most {threshold}",
            numerator={wrong(level): 1}, denominator=(kept(level),), among="texts that are kept", persons=PERSONS,
            worse=1, judged=False, worse_words="",
        ),
    )
)  # fmt: skip

UNTOLD = frozenset(item.metric for item in _LEVELS)
"""Shares from which the threshold is chosen; what comes of them is told, not they."""

FAMILY = TallyFamily(
    key=KEY,
    columns=COLUMNS,
    shares=(*TOLD, *_LEVELS),
    derived=(
        DerivedDefinition(
            metric="semantic_entropy", title="mean semantic entropy of the samples, as a share of the largest there is",
            compute=_mean("entropy_thousandths", "entropies"), undefined="no text has two samples",
            denominator=("entropies",), among=TEXTS, persons=PERSONS, worse=1,
            columns=("entropy_thousandths", "entropies"), bounds=(0.0, 1.0),
            worse_words="samples on {one} disagree more than samples on {two}",
        ),
        DerivedDefinition(
            metric="ngram_consistency", title="mean share of a text's pairs of words that its samples have too",
            compute=_mean("shared_thousandths", "compared"), undefined="no text has two samples",
            denominator=("compared",), among=TEXTS, persons=PERSONS, worse=-1, judged=False,
            columns=("shared_thousandths", "compared"), bounds=(0.0, 1.0),
        ),
    ),
    part=PART,
    of="texts on",
    unpermuted="samples are compared by cluster-robust variances",
    basis=Basis.SAMPLES,
)  # fmt: skip
"""Means of what was drawn.

- ``semantic_entropy``: mean over texts of ``-sum p ln p / ln K``; times ``ln K`` it is in nats.
- ``self_consistency``: samples in the cluster of the text without chance / samples.
- ``ngram_consistency``: mean share of the text's word pairs that a sample has.
- ``sampled_error_rate``: errors / texts that could be held against the truth.
"""
