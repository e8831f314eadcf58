"""What two texts say of findings, side by side: which are supported, invented, left out, denied.

A positive finding of one side is supported when the other side asserts it, or one that implies it: "opacity" is
supported by "consolidation", not the other way round. A finding that is only possible ("cannot exclude pneumonia") is
not positive (strict); in the lenient count it is, on both sides. A finding is denied where it, or a more general one,
is said to be absent and nothing asserts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_sections import NumberRule
from evaluation.engine.text.marks import Mark, MarkKind
from evaluation.engine.text.ontology import Ontology, ontology
from evaluation.engine.text.records import Assertion, Claim, ReadText, Severity, Side

SIDES = {
    Side.LEFT: frozenset({Side.LEFT}),
    Side.RIGHT: frozenset({Side.RIGHT}),
    Side.BOTH: frozenset({Side.LEFT, Side.RIGHT}),
}
SIDE_WORDS = {Side.LEFT: "on the left", Side.RIGHT: "on the right"}
SEVERITY_WORDS = {Severity.MILD: "mild", Severity.MODERATE: "moderate", Severity.SEVERE: "severe"}


@dataclass(frozen=True, kw_only=True)
class ReportRules:
    """How reports are compared.

    Attributes:
        findings: Those that are compared.
        vocabulary: What reads the texts.
        numbers: Analyte -> the series that its numbers are held against.
    """

    findings: frozenset[str]
    vocabulary: Ontology
    numbers: Mapping[str, NumberRule] = field(default_factory=dict)

    @classmethod
    def of(cls, protocol: Protocol) -> ReportRules:
        """Those of a protocol with the section ``reports``.

        Raises:
            ProtocolError: where it has none.
        """
        reports = protocol.reports
        if reports is None:
            raise ProtocolError("The protocol compares no reports.", remedy="Add the section 'reports'.")
        words = vocabulary_for(protocol)
        named = frozenset(words.findings if "*" in reports.findings else reports.findings)
        return cls(findings=named, vocabulary=words, numbers={rule.analyte: rule for rule in reports.numbers})

    @cached_property
    def gravity(self) -> Mapping[str, int]:
        """How much it weighs that a finding is missed or invented: 1 to 3."""
        return self.vocabulary.gravity


def vocabulary_for(protocol: Protocol) -> Ontology:
    """The ontology that reads the texts of a protocol: that of Auscult, with the protocol's own additions."""
    added = protocol.reports.vocabulary if protocol.reports is not None else {}
    if not added:
        return ontology()
    from evaluation.engine.text.ontology import vocabulary_of

    return vocabulary_of(added)


class Said:
    """What one text says of the findings, as sets.

    Attributes:
        present, possible, absent: Findings by the strongest that is said of them: present, else uncertain, else absent.
        implied: Those present, and the more general ones that they imply.
        likely: The same with those that are possible.
        sides, severities: Of the findings that are present, where the text gives them; the greatest severity.
    """

    __slots__ = ("absent", "abstains", "implied", "likely", "possible", "present", "severities", "sides", "words")

    def __init__(self, text: ReadText, vocabulary: Ontology) -> None:
        by: dict[Assertion, set[str]] = {item: set() for item in Assertion}
        self.sides: dict[str, frozenset[Side]] = {}
        self.severities: dict[str, Severity] = {}
        for claim in text.claims:
            by[claim.assertion].add(claim.finding)
            if claim.assertion is Assertion.PRESENT:
                if claim.side is not None:
                    self.sides[claim.finding] = self.sides.get(claim.finding, frozenset()) | SIDES[claim.side]
                if claim.severity is not None:
                    known = self.severities.get(claim.finding, claim.severity)
                    self.severities[claim.finding] = max(known, claim.severity)
        above = vocabulary.ancestors
        self.present = frozenset(by[Assertion.PRESENT])
        self.possible = frozenset(by[Assertion.UNCERTAIN] - self.present)
        self.implied = self.present.union(*(above[name] for name in self.present))
        self.likely = self.implied.union(self.possible, *(above[name] for name in self.possible))
        self.absent = frozenset(by[Assertion.ABSENT] - self.likely)
        self.abstains = text.abstains
        self.words = text.words

    def denies(self, finding: str, vocabulary: Ontology) -> bool:
        """Whether the text says that a finding, or a more general one, is absent, and nothing that asserts it."""
        if finding in self.likely:
            return False
        return finding in self.absent or not self.absent.isdisjoint(vocabulary.ancestors[finding])


class Pair:
    """What two texts say of the findings that are compared, side by side."""

    def __init__(self, expert: Said, model: Said, rules: ReportRules) -> None:
        self.expert, self.model, self.rules = expert, model, rules
        self.expected = expert.present & rules.findings
        self.asserted = model.present & rules.findings
        self.found = self.expected & model.implied
        self.supported = self.asserted & expert.implied
        self.invented = self.asserted - self.supported
        self.flipped = frozenset(self._flipped())
        both = self.expected & self.asserted
        self.sided = {name for name in both if name in expert.sides and name in model.sides}
        self.wrong_side = {name for name in self.sided if expert.sides[name] != model.sides[name]}
        self.graded = {name for name in both if name in expert.severities and name in model.severities}
        self.wrong_severity = {name for name in self.graded if expert.severities[name] != model.severities[name]}

    def _flipped(self) -> Iterator[str]:
        """Findings that one side asserts and the other denies; counts those that both settle."""
        words, self.settled = self.rules.vocabulary, 0
        for name in self.asserted:
            denied = self.expert.denies(name, words)
            self.settled += denied or name in self.expert.implied
            if denied:
                yield name
        for name in self.model.absent & self.rules.findings:
            asserted = name in self.expert.implied
            self.settled += asserted or self.expert.denies(name, words)
            if asserted:
                yield name

    def tally(self, truncated: bool) -> dict[str, int]:
        """The numbers of :data:`COLUMNS` that rest on findings."""
        made = {
            "pairs": 1, "abstained": int(self.model.abstains), "written": int(self.model.words > 0),
            "words": self.model.words, "truncated": int(truncated),
            "settled": self.settled, "flipped": len(self.flipped),
            "sided": len(self.sided), "wrong_side": len(self.wrong_side),
            "graded": len(self.graded), "wrong_severity": len(self.wrong_severity),
            "gravity_asserted": self._gravity(self.asserted), "gravity_invented": self._gravity(self.invented),
        }  # fmt: skip
        likely = (self.model.present | self.model.possible) & self.rules.findings
        unsupported = len(likely - self.expert.likely)
        made |= {
            "generated_lenient": len(likely), "unsupported_lenient": unsupported,
            "inventing_lenient": int(unsupported > 0),
        }  # fmt: skip
        if truncated:
            return made | {
                "generated_cut": len(self.asserted), "unsupported_cut": len(self.invented),
                "inventing_cut": int(bool(self.invented)),
            }  # fmt: skip
        expected_lenient = (self.expert.present | self.expert.possible) & self.rules.findings
        pathologies = self.rules.vocabulary.pathologies
        ill = not self.expected.isdisjoint(pathologies)
        return made | {
            "reference": len(self.expected), "found": len(self.found), "generated": len(self.asserted),
            "supported": len(self.supported), "unsupported": len(self.invented), "inventing": int(bool(self.invented)),
            "ill": int(ill), "missed": int(ill and self.asserted.isdisjoint(pathologies)),
            "reference_lenient": len(expected_lenient),
            "found_lenient": len(expected_lenient & self.model.likely),
            "gravity_expected": self._gravity(self.expected),
            "gravity_omitted": self._gravity(self.expected - self.found),
        }  # fmt: skip

    def _gravity(self, findings: Iterable[str]) -> int:
        return sum(self.rules.gravity[name] for name in findings)

    def generated_marks(self, claims: Iterable[Claim]) -> Iterator[Mark]:
        """Marks of the model's text."""
        expert, words = self.expert, self.rules.vocabulary
        for claim in claims:
            name = claim.finding
            if name not in self.rules.findings:
                continue
            if claim.assertion is Assertion.UNCERTAIN:
                yield _mark(MarkKind.UNCERTAIN, claim, "The report says that it may be there.")
            elif claim.assertion is Assertion.ABSENT:
                if name in self.flipped:
                    yield _mark(MarkKind.CONTRADICTED, claim, "The expert's report says that it is there.")
                elif expert.denies(name, words):
                    yield _mark(MarkKind.AGREED_ABSENT, claim, "The expert's report denies it too.")
            elif name in self.flipped:
                yield _mark(MarkKind.CONTRADICTED, claim, "The expert's report denies it.")
            elif name in self.invented:
                doubt = name in expert.likely
                note = "says only that it may be there." if doubt else "does not mention it."
                yield _mark(MarkKind.UNSUPPORTED, claim, f"The expert's report {note}")
            else:
                yield from self._right_or_nearly(claim)

    def _right_or_nearly(self, claim: Claim) -> Iterator[Mark]:
        """A finding that the expert's report supports: perhaps on another side, or of another severity."""
        name, right = claim.finding, True
        if name in self.wrong_side and claim.side is not None:
            there = self.expert.sides[name]
            # A side too many is wrong where it stands; a side too few, wherever the finding is told.
            if not SIDES[claim.side] <= there or self.model.sides[name] < there:
                right = False
                yield _mark(MarkKind.WRONG_SIDE, claim, f"The expert's report has it {_sides(there)}.")
        if name in self.wrong_severity and claim.severity is not None:
            right = False
            grade = SEVERITY_WORDS[self.expert.severities[name]]
            yield _mark(MarkKind.WRONG_SEVERITY, claim, f"The expert's report calls it {grade}.")
        if right:
            yield _mark(MarkKind.SUPPORTED, claim, "The expert's report says so.")

    def reference_marks(self, claims: Iterable[Claim]) -> Iterator[Mark]:
        """Marks of the expert's text."""
        for claim in claims:
            name = claim.finding
            if name not in self.rules.findings:
                continue
            if claim.assertion is Assertion.UNCERTAIN:
                yield _mark(MarkKind.UNCERTAIN, claim, "The expert says that it may be there.")
            elif claim.assertion is Assertion.ABSENT:
                if name in self.model.absent:
                    yield _mark(MarkKind.AGREED_ABSENT, claim, "The model's report denies it too.")
            elif name in self.found:
                yield _mark(MarkKind.SUPPORTED, claim, "The model's report says so.")
            else:
                denied = self.model.denies(name, self.rules.vocabulary)
                note = "denies it." if denied else "does not say so."
                yield _mark(MarkKind.OMITTED, claim, f"The model's report {note}")


def _mark(kind: MarkKind, claim: Claim, note: str) -> Mark:
    return Mark(kind=kind, start=claim.start, end=claim.end, finding=claim.finding, note=note)


def _sides(sides: frozenset[Side]) -> str:
    return " and ".join(SIDE_WORDS[side] for side in (Side.LEFT, Side.RIGHT) if side in sides)
