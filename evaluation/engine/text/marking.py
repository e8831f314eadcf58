"""A written report held against an expert's: every span that is right, wrong, left out, and the numbers of the pair.

One function, :func:`mark_pair`, marks a pair of texts; a sketch adds up its numbers, a page shows its marks, so the two
cannot disagree: a number counts the findings, or the quantities, that are marked.

What is said of findings is in ``pairing``, what a study lacks in ``given``.

Source: Rohrbach et al. (2018), EMNLP 4035, for unsupported mentions (CHAIR); Irvin et al. (2019), AAAI 33:590, for
uncertain mentions taken as positive (U-Ones).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.text.given import cited_but_absent, lacking
from evaluation.engine.text.marks import COLUMNS, Mark, MarkedPair, MarkKind, PairContext
from evaluation.engine.text.pairing import Pair, ReportRules, Said, vocabulary_for
from evaluation.engine.text.records import Quantity, ReadText

__all__ = [
    "COLUMNS", "Mark", "MarkKind", "MarkedPair", "PairContext", "ReportRules", "context_of", "mark_pair", "mark_table",
    "marked_once", "texts_of", "vocabulary_for",
]  # fmt: skip

MODALITY_WORDS = {"image": "image", "labs": "laboratory values", "vitals": "vital signs", "history": "clinical history"}

NUMBER_KINDS = {
    "fabricated": (MarkKind.FABRICATED_NUMBER, "number_fabricated", "Nothing of the kind was measured in the patient."),
    "unit": (MarkKind.WRONG_UNIT, "number_unit", "The unit is not the one in which this was measured."),
    "value": (MarkKind.WRONG_VALUE, "number_value", "It was measured, and never with this result."),
    "flag": (MarkKind.WRONG_FLAG, "number_flag", "The reference range says otherwise."),
    "time": (MarkKind.WRONG_TIME, "number_time", "It was not measured with this result at that time."),
}
"""Class of a wrong number -> its mark, its column, and what a reader is told."""


def mark_pair(
    reference: ReadText,
    generated: ReadText,
    *,
    context: PairContext,
    rules: ReportRules,
    said_by: Callable[[ReadText], Said] | None = None,
) -> MarkedPair:
    """The marks of one pair and its numbers.

    Args:
        reference: The expert's report.
        said_by: Gives what a text says, where it is remembered; made afresh unless told otherwise.
    """
    if not reference.given:
        return MarkedPair(tally={"unpaired": 1}, flags=("no_reference",))
    if not (reference.supported and generated.supported):
        return MarkedPair(tally={"foreign": 1}, flags=("unsupported_language",))
    words = rules.vocabulary
    said_by = said_by or (lambda text: Said(text, words))
    pair = Pair(said_by(reference), said_by(generated), rules)
    tally = pair.tally(context.truncated)
    marks = [*pair.generated_marks(generated.claims), *_number_marks(generated.quantities, context, rules, tally)]
    marks += _fact_marks(generated, context, tally)
    flags = [name for name, there in (("truncated", context.truncated), ("abstained", generated.abstains)) if there]
    return MarkedPair(
        generated=tuple(sorted(marks, key=_place)),
        reference=tuple(sorted(pair.reference_marks(reference.claims), key=_place)),
        tally={name: count for name, count in tally.items() if count},
        flags=tuple(flags),
    )


def mark_table(protocol: Protocol, table: ShardTable) -> Iterator[MarkedPair]:
    """The marked pair of every study of a table, in its order; each distinct text is read once.

    Raises:
        ProtocolError: where the protocol compares no reports, or the table lacks the texts.
    """
    from evaluation.engine.text.reading import read_texts

    rules = ReportRules.of(protocol)
    references, written = (texts_of(table, name) for name in ("reference", "generated"))
    both = np.empty(2 * len(table), dtype=object)
    both[0::2], both[1::2] = references, written
    read = read_texts(both.tolist(), rules.vocabulary)
    known: dict[int, tuple[ReadText, Said]] = {}

    def said_by(text: ReadText) -> Said:
        """Remembered with the text itself, so that its identity is not given to another."""
        if id(text) not in known:
            known[id(text)] = (text, Said(text, rules.vocabulary))
        return known[id(text)][1]

    for row, reference in enumerate(read):
        context = context_of(protocol, table, row)
        yield mark_pair(reference, next(read), context=context, rules=rules, said_by=said_by)


def marked_once(protocol: Protocol, table: ShardTable) -> tuple[MarkedPair, ...]:
    """What :func:`mark_table` gives, kept for the last table as long as it lives: numbers and pages share it."""
    global _marked
    last = _marked  # another thread may mark another table meanwhile
    if last is None or last[0]() is not table or last[1] != protocol.digest:
        _marked = last = (weakref.ref(table, _forget), protocol.digest, tuple(mark_table(protocol, table)))
    return last[2]


_marked: tuple[weakref.ref[ShardTable], str, tuple[MarkedPair, ...]] | None = None


def _forget(gone: weakref.ref[ShardTable]) -> None:
    global _marked
    if (last := _marked) is not None and last[0] is gone:
        _marked = None


def texts_of(table: ShardTable, name: str) -> npt.NDArray[np.object_]:
    """A column of reports.

    Raises:
        ProtocolError: where the table has none.
    """
    if name not in table.texts:
        whose = "the expert's report" if name == "reference" else "the report that the model wrote"
        raise ProtocolError(
            f"The protocol compares reports, and the data have no column 'text.{name}'.",
            remedy=f"Add 'text.{name}', {whose}, or take 'reports' out of the protocol.",
            column=f"text.{name}",
        )
    return table.texts[name]


def context_of(protocol: Protocol, table: ShardTable, row: int) -> PairContext:
    """What is known of one study beside its texts."""
    cut = table.truncated.get("generated")
    truncated = bool(cut[row]) if cut is not None else False
    # Where no study is ever given an earlier one, that is known without looking.
    never = False if protocol.reports is not None and not protocol.reports.prior else None
    facts = table.facts
    if facts is None:
        return PairContext(prior=never, truncated=truncated)
    return PairContext(
        prior=never if never is not None else bool(facts.prior[row]),
        given={name: bool(there[row]) for name, there in facts.given.items()},
        series={name: values[row] for name, values in facts.series.items()},
        truncated=truncated,
    )


def _place(mark: Mark) -> tuple[int, int]:
    return mark.start, mark.end


def _number_marks(
    quantities: Iterable[Quantity], context: PairContext, rules: ReportRules, tally: dict[str, int]
) -> Iterator[Mark]:
    """Marks of the numbers that a series of the patient can be held against; counts them."""
    known = [item for item in quantities if item.analyte in rules.numbers and item.analyte in context.series]
    if not known:
        return
    from evaluation.engine.text.quantities import compare_quantity

    for item in known:
        verdict = compare_quantity(item, context.series[item.analyte], rules.numbers[item.analyte])
        kind, column, note = NUMBER_KINDS.get(verdict.value, (MarkKind.SUPPORTED, "", "It was measured."))
        tally["numbers"] = tally.get("numbers", 0) + 1
        if column:
            tally[column] = tally.get(column, 0) + 1
        yield Mark(kind=kind, start=item.start, end=item.end, finding=item.analyte, note=note)


def _fact_marks(text: ReadText, context: PairContext, tally: dict[str, int]) -> list[Mark]:
    """Marks of words that rest on an earlier study, or on a modality, that the model was not given; counts them."""
    if not text.given:
        return []
    marks = []
    if context.prior is False:
        tally |= {"unprimed": 1, "comparing": int(bool(text.comparisons))}
        note = "No earlier study was given to the model."
        marks += [
            Mark(kind=MarkKind.NO_PRIOR, start=c.start, end=c.end, finding="", note=note) for c in text.comparisons
        ]
    if context.given and (absent := lacking(context.given)):
        cited = cited_but_absent(text.citations, absent)
        tally |= {"lacking": 1, "citing": int(bool(cited))}
        marks += [
            Mark(
                kind=MarkKind.ABSENT_MODALITY, start=c.start, end=c.end, finding="",
                note=f"The study has no {MODALITY_WORDS.get(c.modality, c.modality)}.",
            )
            for c in cited
        ]  # fmt: skip
    return marks
