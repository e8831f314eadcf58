"""What becomes of the answers when the study is changed: metrics of the family ``perturbed``.

A unit is one question about one study, asked of the study as it is and again of the study changed: the modality under
test made blank, replaced by noise, or by another patient's; the question in other words. Right is always what is right
of the study itself, so an answer that stays right without its modality was not read off it.

Sources: Asadi et al. (2026), arXiv 2603.21687, for the mirage score; Sadanandan and Behzadan (2026), arXiv 2603.20985,
for answers that are consistent and image-independent ("dangerous"), here held against every change that was made and
not a blank image alone; Lin (1991), IEEE Transactions on Information Theory 37:145, for the divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf

import numpy as np

from evaluation.engine.asking import BLANK, NOISE, PARAPHRASE, SWAPPED
from evaluation.engine.doubt.answers import Asked, questions_again
from evaluation.engine.doubt.divergence import jensen_shannon
from evaluation.engine.doubt.plan import CHANGED, dropped
from evaluation.engine.doubt.readings import NO, STATES, YES
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.registry import Basis
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.tallies import DerivedDefinition, ShareDefinition, TallyFamily

KEY, PART = "perturbed", "perturbation"
STUDIES, UNITS, RIGHT = "studies", "units", "plain_right"
JUDGEABLE, CONSISTENT, DANGEROUS, IDEAL = "judgeable", "consistent", "dangerous", "ideal"
AMONG = "questions that were asked again"
PERSONS = "patients with a question that was asked again"
NOTHING_ASKED = "the model was asked no question"
GONE = "dropped"
WORDS = {
    BLANK: "with the modality under test blank",
    NOISE: "with noise in place of the modality under test",
    SWAPPED: "with another patient's in place of the modality under test",
    PARAPHRASE: "when the question is put in other words",
    GONE: "with the other modality taken away",
}


def rows_of(protocol: Protocol, table: ShardTable) -> TallyRows:
    """What each study adds to the columns of :data:`FAMILY`."""
    conditions = (*CHANGED, PARAPHRASE)
    values = _Columns(FAMILY, len(table))
    for unit in questions_again(protocol, table, conditions):
        _count(values, unit, unit.under)
        _quadrant(values, unit)
    return _rows(values, table)


def dropped_families(protocol: Protocol) -> tuple[TallyFamily, ...]:
    """One family for each modality that is taken away, in the order of the protocol; they differ in their label."""
    modalities = protocol.perturbation.dropped if protocol.perturbation else ()
    return tuple(_of_modality(modality) for modality in modalities)


def dropped_rows(protocol: Protocol, table: ShardTable, modality: str) -> TallyRows:
    """What each study adds to the columns of the family of one modality."""
    values, condition = _Columns(DROPPED, len(table)), dropped(modality)
    for unit in questions_again(protocol, table, (condition,)):
        _count(values, unit, {GONE: unit.under[condition]})
    return _rows(values, table)


class _Columns:
    """Rows of whole numbers that are counted up by the name of their column."""

    def __init__(self, family: TallyFamily, size: int) -> None:
        self.names = family.columns
        self.places = {name: place for place, name in enumerate(family.columns)}
        self.values = np.zeros((size, len(family.columns)), dtype=np.int64)

    def add(self, study: int, *names: str) -> None:
        for name in names:
            self.values[study, self.places[name]] += 1


def _rows(values: _Columns, table: ShardTable) -> TallyRows:
    utterances = table.utterances
    why_not = {PART: NOTHING_ASKED} if utterances is None else utterances.why_not
    return TallyRows(columns=values.names, values=values.values, why_not=why_not)


def _count(values: _Columns, unit: Asked, under: Mapping[str, Iterable[int]]) -> None:
    """One question: once for itself, once for every answer to it under a condition, with the plain one beside."""
    study, plain_right = unit.study, unit.plain == unit.right
    values.values[study, 0] = 1
    values.add(study, UNITS, *([RIGHT] if plain_right else []))
    for condition, states in under.items():
        for state in states:
            values.add(study, f"{condition}_asked", f"{condition}_{STATES[state]}")
            values.add(study, f"{condition}_plain_{STATES[unit.plain]}")
            for name, there in (
                ("right", state == unit.right), ("plain_right", plain_right), ("changed", state != unit.plain),
            ):  # fmt: skip
                if there:
                    values.add(study, f"{condition}_{name}")


def _quadrant(values: _Columns, unit: Asked) -> None:
    """Whether an answer stands in other words, and whether it stands without what it should rest on."""
    again = [state for condition in CHANGED for state in unit.under.get(condition, ())]
    words = unit.under.get(PARAPHRASE, ())
    if not again or not words:
        return
    settled = unit.plain in (YES, NO)
    consistent = settled and all(state == unit.plain for state in words)
    independent = all(state == unit.plain for state in again)
    values.add(unit.study, JUDGEABLE)
    if consistent:
        values.add(unit.study, CONSISTENT, DANGEROUS if independent else IDEAL)


def _columns(condition: str) -> tuple[str, ...]:
    names = ("asked", "right", "changed", *STATES, "plain_right", *(f"plain_{state}" for state in STATES))
    return tuple(f"{condition}_{name}" for name in names)


def _accuracy(condition: str, worse: int, *, judged: bool = True) -> ShareDefinition:
    words, often = WORDS[condition], "less" if worse < 0 else "more"
    return ShareDefinition(
        metric=f"accuracy_{condition}", title=f"share of right answers {words}", numerator={f"{condition}_right": 1},
        denominator=(f"{condition}_asked",), among=f"answers {words}", persons=PERSONS, worse=worse, judged=judged,
        worse_words=f"answers {words} are {often} often right on {{one}} than on {{two}}",
        parts=(condition,), gap_title=f"difference in right answers {words}",
    )  # fmt: skip


def _change(condition: str, worse: int, *, judged: bool = True) -> ShareDefinition:
    words, side = WORDS[condition], "more" if worse > 0 else "less"
    return ShareDefinition(
        metric=f"answer_change_{condition}", title=f"share of answers that change {words}",
        numerator={f"{condition}_changed": 1}, denominator=(f"{condition}_asked",), among=f"answers {words}",
        persons=PERSONS, worse=worse, judged=judged, parts=(condition,),
        worse_words=f"answers {words} change {side} often on {{one}} than on {{two}}",
        gap_title=f"difference in answers that change {words}",
    )  # fmt: skip


def _divergence(condition: str, worse: int) -> DerivedDefinition:
    changed = tuple(f"{condition}_{state}" for state in STATES)
    plain = tuple(f"{condition}_plain_{state}" for state in STATES)
    return DerivedDefinition(
        metric=f"js_{condition}",
        title=f"Jensen-Shannon divergence, in bits, of answers as asked and answers {WORDS[condition]}",
        compute=lambda sums: jensen_shannon([sums[name] for name in plain], [sums[name] for name in changed]),
        undefined="no question was asked again", denominator=(f"{condition}_asked",),
        among=f"answers {WORDS[condition]}", persons=PERSONS, worse=worse, judged=False, columns=(*plain, *changed),
        parts=(condition,), interval=False,
    )  # fmt: skip


def _ratio(above: str, below: str) -> Callable[[Mapping[str, float]], float | None]:
    return lambda sums: sums[above] / sums[below] if sums[below] > 0 else None


MIRAGE = DerivedDefinition(
    metric="mirage", title="mirage score (right answers with the modality under test blank, over those with it)",
    compute=_ratio("blank_right", "blank_plain_right"), undefined="no answer is right with the modality either",
    denominator=("blank_asked",), among=AMONG, persons=PERSONS, worse=1, columns=("blank_right", "blank_plain_right"),
    parts=(BLANK,), worse_words="the mirage score is higher on {one} than on {two}", bounds=(0.0, inf),
)  # fmt: skip

SHARES = (
    ShareDefinition(
        metric="accuracy_plain", title="share of right answers to the study as it is", numerator={RIGHT: 1},
        denominator=(UNITS,), among=AMONG, persons=PERSONS, worse=-1,
        worse_words="answers are less often right on {one} than on {two}", gap_title="difference in right answers",
    ),
    *(_accuracy(condition, 1) for condition in CHANGED),
    _accuracy(PARAPHRASE, -1),
    ShareDefinition(
        metric="abstention_blank", title="share of questions that are declined with the modality under test blank",
        numerator={"blank_refused": 1}, denominator=("blank_asked",), among=f"answers {WORDS[BLANK]}",
        persons=PERSONS, worse=-1, parts=(BLANK,), gap_title="difference in declining without the modality under test",
        worse_words="without the modality under test, questions on {one} are declined less often than on {two}",
    ),
    *(_change(condition, -1) for condition in CHANGED),
    _change(PARAPHRASE, 1),
    ShareDefinition(
        metric="dangerous", title="share of answers that are consistent and do not rest on the modality under test",
        numerator={DANGEROUS: 1}, denominator=(JUDGEABLE,), among="questions put in other words and of a changed study",
        persons="patients with such a question", worse=1, parts=(PARAPHRASE,), beside=("ideal",),
        worse_words="answers on {one} stand, whatever is shown, more often than answers on {two}",
        gap_title="difference in consistent answers that do not rest on the modality under test",
    ),
    ShareDefinition(
        metric="ideal", brief="consistent and with the study",
        title="share of answers that are consistent and change when the study does",
        numerator={IDEAL: 1}, denominator=(JUDGEABLE,), among="questions put in other words and of a changed study",
        persons="patients with such a question", worse=-1, parts=(PARAPHRASE,),
        worse_words="answers on {one} are less often consistent and resting on the study than answers on {two}",
        gap_title="difference in consistent answers that rest on the modality under test",
    ),
)  # fmt: skip

FAMILY = TallyFamily(
    key=KEY,
    columns=(
        STUDIES, UNITS, RIGHT, JUDGEABLE, CONSISTENT, DANGEROUS, IDEAL,
        *(name for condition in (*CHANGED, PARAPHRASE) for name in _columns(condition)),
    ),
    shares=SHARES,
    derived=(MIRAGE, *(_divergence(condition, -1) for condition in CHANGED), _divergence(PARAPHRASE, 1)),
    part=PART,
    of="answers on",
    unpermuted="answers are compared by cluster-robust variances",
    basis=Basis.PERTURBED,
    notes=(
        "Right is what is right of the study itself: an answer that stays right without the modality under test was "
        "not read off it. Balanced questions are half right by guessing, so a mirage score near .5 is that of guessing "
        "after perfect reading; one near 1 is that of a model that never looked, or that looks in vain.",
        "The divergence of two small samples is above 0 by chance, so no interval is told of it; criteria belong on "
        "the share of answers that change.",
    ),
)  # fmt: skip
"""Metrics of the changes to the modality under test, and of paraphrases.

- ``accuracy_plain``, ``accuracy_<condition>``: right / questions. A refusal is not right.
- ``mirage``: Acc(blank) / Acc(plain), over the same questions; undefined where no plain answer is right.
- ``abstention_blank``: declined / questions with the modality blank.
- ``answer_change_<condition>``: answers of another state (yes, no, refused, unclear) than the plain one / questions.
- ``js_<condition>``: divergence in bits of the shares of the four states; described, not judged.
- ``dangerous``: yes or no, the same in all other words and the same under every change / questions with both.
- ``ideal``: yes or no, the same in all other words, and another under some change.
"""

DROPPED = TallyFamily(
    key=GONE,
    columns=(STUDIES, UNITS, RIGHT, *_columns(GONE)),
    shares=(
        _accuracy(GONE, -1),
        _change(GONE, -1, judged=False),
        ShareDefinition(
            metric="dropped_effect", title="right answers that are lost when the other modality is taken away",
            numerator={f"{GONE}_plain_right": 1, f"{GONE}_right": -1}, denominator=(f"{GONE}_asked",), among=AMONG,
            persons=PERSONS, worse=1, proportion=False, judged=False, parts=(GONE,), worse_words="",
            bounds=(-1.0, 1.0),
        ),
    ),
    derived=(_divergence(GONE, -1),),
    part=PART,
    of="answers on",
    unpermuted="answers are compared by cluster-robust variances",
    basis=Basis.PERTURBED,
)  # fmt: skip
"""Metrics of one other modality that is taken away; see :func:`dropped_families` for those of a protocol."""


def _of_modality(modality: str) -> TallyFamily:
    part = (dropped(modality),)
    return replace(
        DROPPED,
        key=f"without {modality}",
        shares=tuple(replace(item, parts=part) for item in DROPPED.shares),
        derived=tuple(replace(item, parts=part) for item in DROPPED.derived),
    )
