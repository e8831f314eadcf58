"""A generated report against an expert's: which findings are supported, invented, left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from evaluation.engine.text.claims import abstains, findings_of, positives_of
from evaluation.engine.text.ontology import Ontology, ontology


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one text says, read once.

    Attributes:
        positives: Findings asserted as present.
        implied: These and the more general findings they imply.
        abstained: It declines to answer.
        words: Runs of characters between white space.
    """

    positives: frozenset[str]
    implied: frozenset[str]
    abstained: bool
    words: int


@dataclass(frozen=True, kw_only=True)
class ReportTally:
    """Whole numbers that one pair of reports contributes. All scores are ratios of their sums.

    A positive finding of one side is supported when the other side asserts it, or one that implies it: "opacity" is
    supported by "consolidation", not the other way round. A finding that is only possible is not positive (strict).

    Attributes:
        pairs: 1.
        reference: Positive findings of the expert's report; ``found``: those that the generated report supports.
        generated: Positive findings of the generated report; ``supported``, ``unsupported``: by the expert's report.
        inventing: 1 where a finding is unsupported.
        ill: 1 where the expert's report has a positive pathology; a device is none.
        missed: 1 where it has, and the generated report has none.
        abstained: 1 where the generated report is missing, blank, or declines to answer.
        written: 1 where there is a generated text; ``words``: its length.
    """

    pairs: int
    reference: int
    found: int
    generated: int
    supported: int
    unsupported: int
    inventing: int
    ill: int
    missed: int
    abstained: int
    written: int
    words: int

    @property
    def chair_i(self) -> float:
        """Unsupported of the findings that are asserted. 0 where none is: who says nothing invents nothing."""
        return self.unsupported / self.generated if self.generated else 0.0

    @property
    def chair_s(self) -> float:
        """1 where any asserted finding is unsupported."""
        return float(self.inventing)

    @property
    def omission(self) -> float | None:
        """Findings of the expert's report that are left out; None where it has none."""
        return 1 - self.found / self.reference if self.reference else None


COMPONENTS = tuple(field.name for field in fields(ReportTally))
"""Names of the numbers of a tally, in order."""


def reader(vocabulary: Ontology | None = None) -> Callable[[str | None], Reading]:
    """A function that reads texts and remembers those it has read: give each shard one of its own."""
    words = vocabulary or ontology()
    known: dict[str | None, Reading] = {}

    def read(text: str | None) -> Reading:
        if text not in known:
            said = findings_of(text, words)
            positives = positives_of(said)
            known[text] = Reading(
                positives=positives,
                implied=positives.union(*(words.ancestors[name] for name in positives)),
                abstained=abstains(text, said, words),
                words=len(text.split()) if text else 0,
            )
        return known[text]

    return read


def compare_reports(
    reference: Reading, generated: Reading, *, findings: frozenset[str], pathologies: frozenset[str]
) -> ReportTally:
    """What one pair contributes, over the ``findings`` that are compared."""
    expected, said = reference.positives & findings, generated.positives & findings
    supported = len(said & reference.implied)
    ill = bool(expected & pathologies)
    return ReportTally(
        pairs=1,
        reference=len(expected),
        found=len(expected & generated.implied),
        generated=len(said),
        supported=supported,
        unsupported=len(said) - supported,
        inventing=int(supported < len(said)),
        ill=int(ill),
        missed=int(ill and not said & pathologies),
        abstained=int(generated.abstained),
        written=int(generated.words > 0),
        words=generated.words,
    )
