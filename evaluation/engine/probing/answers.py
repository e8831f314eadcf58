"""What was answered to a question: yes, no, a letter, a rejected premise, a refusal, or nothing that can be read.

A refusal is neither "no" nor right. An answer that says both yes and no is unparseable, and so is one that speaks of
something else; both are counted, never guessed. Findings are read by the rules that read reports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from evaluation.engine.asking import Objects, ProbeKind, Utterances
from evaluation.engine.probing.said import AFFIRMED, Said, read_said
from evaluation.engine.probing.truth import finding_in
from evaluation.engine.probing.wording import LETTERS, letter_of_none, options_of, phrase_of
from evaluation.engine.text.claims import Assertion, extract_claims
from evaluation.engine.text.ontology import Ontology, ontology
from evaluation.engine.text.records import Side

STAND_IN = "hernia"
"""A finding that no other one implies and no general statement clears. What the ontology does not know is read under
its name, so that the rules of negation hold for it too."""

_AFTER = re.compile(
    r"^ ?(?:\([^()]{0,60}\) ?)?(?:[:=]|->|-|–|—) ?"
    r"(?P<said>yes|no|true|false|present|absent|positive|negative|none)\b"
)
_MEASURE = re.compile(
    r"\d ?(?:mm|cm|ml|%|percent|centimet|millimet|inch)"
    r"|\b(?:small|tiny|little|minimal|mild|moderate|medium|large|big|huge|massive|extensive|severe|marked|slight|trace"
    r"|left|right|bilateral|both|upper|lower|middle|apical|apex|base|bases|basal|basilar|lobe|hemithorax|central|peripheral|anterior|posterior|lateral)\b"
)
_DOUBT = re.compile(r"\b(?:likely|may|might|could|possibl[ey]|possibly|probabl[ey]|probably|perhaps|maybe)\b")
_NOT = re.compile(r"\b(?:no|not|without|clear|normal|never|none)\b")
_NOTHING = re.compile(r"^(?:0|zero)(?:[., ]0+)? ?(?:mm|cm|ml|%|percent)?\W{0,3}$|^.{0,200}\bfalse premise\b")
_NONE = re.compile(r"\bnone\b(?! the less)|\bneither\b|^nothing\b")
_LABELLED = re.compile(
    r"\b(?:option|letter|choice) ?[:(]? ?([a-h])\b"
    r"|\b(?:answer|choice|letter|option|response)(?: (?:is|would be|should be))? ?[:=(]? ?\(?([a-h])"
    r"(?= ?(?:[).:,;\n]|$)|(?<!a) )"
)
_LEAD = re.compile(r"^\W{0,3}([a-h])(?= ?(?:[).:,;\n]|$)| [-–—] | (?:because|since|is the|is correct)\b)")
_LIST = re.compile(r"^\W{0,3}([a-h])\)? ?(?:,|and|&|or|/|\+) ?\(?([a-h])(?= ?(?:[).:,;\n]|$)| and\b)")
_MARKED = re.compile(r"(?<![a-z0-9])([a-h])\)")


class Answer(StrEnum):
    """What an answer comes to. Its value is what ``Asking.expected`` says where it is right."""

    YES = "yes"
    NO = "no"
    REJECT = "reject"
    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    REFUSED = "refused"
    UNPARSEABLE = "unparseable"
    TRUNCATED = "truncated"

    @property
    def choice(self) -> str:
        """The letter that was chosen; "" for every other answer."""
        return self.value if self.value in LETTERS else ""

    @property
    def settled(self) -> bool:
        """Whether it answers the question, rightly or not."""
        return self not in {Answer.REFUSED, Answer.UNPARSEABLE, Answer.TRUNCATED}


def parse_answer(
    text: str | None,
    *,
    kind: str,
    finding: str,
    options: Sequence[str] = (),
    truncated: bool = False,
    vocabulary: Ontology | None = None,
) -> Answer:
    """What an answer comes to.

    - To a yes or no question: a leading or labelled yes or no, denial and affirmation without a name ("it is not
      visible", "none"), and claims of the finding or of one that implies it. All must agree. What is only possible, and
      what declines, is ``refused``, unless a yes or no stands beside it. A text that is missing or blank is refused.
    - To a false premise: ``reject`` where the finding is denied; ``yes`` where the answer goes along with the premise.
    - To options: the letter; else "none of the above", or the one option that the answer claims.

    Args:
        kind: A value of :class:`~evaluation.engine.asking.ProbeKind`.
        finding: What was asked about; with options, joined as in ``Asking.finding``.
        options: The findings of the options; by default those in ``finding``.
        truncated: The text ended at the limit of tokens. What it said before stands, a refusal or a contradiction too;
            where it had said nothing, it is ``truncated``. A sentence that is not complete claims nothing.
        vocabulary: The ontology; by default the one that comes with Auscult.

    Returns:
        Never an error, whatever the text. Of a text of more than 20,000 characters, both ends are read.
    """
    words = vocabulary or ontology()
    said = read_said(text, cut=truncated)
    if not said.text:
        return Answer.TRUNCATED if truncated else Answer.REFUSED
    if kind == ProbeKind.NONE_OF_ABOVE:
        found = _chosen(said, tuple(options) or options_of(finding), words)
    elif kind == ProbeKind.FALSE_PREMISE:
        found = _of_premise(said, finding, words)
    else:
        found = _of_question(said, finding, words)
    if found is None:
        return Answer.TRUNCATED if truncated else Answer.UNPARSEABLE
    return found


def read_answers(utterances: Utterances, vocabulary: Ontology | None = None) -> Objects:
    """The :class:`Answer` of every row; None for the rows that ask for a report. Equal answers are read once."""
    asked, known = utterances.asked, {}
    found = np.full(len(utterances), None, dtype=object)
    for row in range(len(utterances)):
        if asked.kind[row] not in _KINDS:
            continue
        text = utterances.text[row] if isinstance(utterances.text[row], str) else None
        key = (text, asked.kind[row], asked.finding[row], bool(utterances.truncated[row]))
        if key not in known:
            known[key] = parse_answer(
                text, kind=key[1], finding=key[2], truncated=key[3], vocabulary=vocabulary
            )  # fmt: skip
        found[row] = known[key]
    return found


_KINDS = frozenset(kind.value for kind in ProbeKind)


def _of_question(said: Said, finding: str, words: Ontology) -> Answer | None:
    """What an answer to a yes or no question comes to; None where it says nothing of it."""
    claimed = _claimed(said.sentences, finding, words)
    yes = said.affirms or Assertion.PRESENT in claimed
    no = said.denies or Assertion.ABSENT in claimed
    if not yes and not no:
        yes, no = said.affirms_it, said.denies_it
    if yes != no:
        return Answer.YES if yes else Answer.NO
    if yes:
        return Answer.UNPARSEABLE
    return Answer.REFUSED if said.refuses or claimed else None


def _of_premise(said: Said, finding: str, words: Ontology) -> Answer | None:
    claimed = _claimed(said.sentences, finding, words)
    rejects = said.denies or said.denies_it or Assertion.ABSENT in claimed or _NOTHING.match(said.text) is not None
    accepts = said.affirms or Assertion.PRESENT in claimed
    if rejects or accepts:
        return Answer.UNPARSEABLE if rejects and accepts else Answer.REJECT if rejects else Answer.YES
    if Assertion.UNCERTAIN in claimed:
        return Answer.REFUSED
    if said.affirms_it or any(_MEASURE.search(item) and not _NOT.search(item) for item in said.sentences):
        return Answer.YES
    return Answer.REFUSED if said.refuses else None


def _chosen(said: Said, options: Sequence[str], words: Ontology) -> Answer | None:
    none = letter_of_none(options)
    letters = _letters(said.text)
    claims = {letter: _claimed(said.sentences, option, words) for letter, option in zip(LETTERS, options, strict=False)}
    present = {letter for letter, claimed in claims.items() if Assertion.PRESENT in claimed}
    if _NONE.search(said.text) or (not present and all(Assertion.ABSENT in claimed for claimed in claims.values())):
        present.add(none)
    found = letters or present
    if len(found) == 1 and (not present or present >= found) and found <= set(LETTERS[: len(options) + 1]):
        if none in present and len(present) > 1:
            return Answer.UNPARSEABLE
        return Answer(next(iter(found)))
    if found:
        return Answer.UNPARSEABLE
    return Answer.REFUSED if said.refuses else None


def _letters(text: str) -> set[str]:
    """Letters that an answer chooses: those it labels, else the one it leads with; several where it lists several."""
    labelled = {found[1] or found[2] for found in _LABELLED.finditer(text)}
    if labelled:
        return {letter.upper() for letter in labelled}
    listed = _LIST.match(text)
    marked = set(_MARKED.findall(text))
    if listed or len(marked) > 1:
        return {letter.upper() for letter in (marked if len(marked) > 1 else listed.groups() if listed else ())}
    lead = _LEAD.match(text)
    return {lead[1].upper()} if lead else {letter.upper() for letter in marked}


def _claimed(sentences: Sequence[str], finding: str, words: Ontology) -> set[Assertion]:
    """What the sentences say of a finding: of itself, of one that implies it, or that all of its kind are absent."""
    if not sentences:
        return set()
    known, doubtful = set(finding_in(finding, words)), False
    if named := _unread(finding, words):
        known |= {STAND_IN}
        sure = [item for item in sentences if _NOT.search(item) or not (named.search(item) and _DOUBT.search(item))]
        doubtful = len(sure) < len(sentences)
        sentences = [named.sub(STAND_IN, item.replace(STAND_IN, "item")) for item in sure]
    text = ".\n".join(sentences)
    special = {name for name, general in words.ancestors.items() if general & known}
    general = set().union(*(words.ancestors[name] for name in known))
    found: list[tuple[Assertion, Side | None]] = []
    for claim in extract_claims(text, words):
        after = _AFTER.match(text[claim.end : claim.end + 80])
        said = claim.assertion
        if after:
            said = Assertion.PRESENT if after["said"] in AFFIRMED else Assertion.ABSENT
        if claim.finding in known or (claim.finding in special and said is not Assertion.ABSENT):
            found.append((said, claim.side))
        elif claim.finding in general and said is Assertion.ABSENT:
            found.append((said, None))
    claimed = {said for said, _ in found} | ({Assertion.UNCERTAIN} if doubtful else set())
    if Assertion.PRESENT in claimed and all(side for said, side in found if said is Assertion.ABSENT):
        return claimed - {Assertion.ABSENT}
    return claimed


def _unread(finding: str, words: Ontology) -> re.Pattern[str] | None:
    """The names of a finding that the ontology does not read as it, from end to end; None where it reads them all."""
    key = (finding, words.digest)
    if key not in _UNREAD:
        known, lead = finding_in(finding, words), "There is "
        names = [
            name.lower()
            for name in phrase_of(finding).names
            if len(known) != 1
            or not any(
                claim.finding in known and claim.end == len(lead + name)
                for claim in extract_claims(f"{lead}{name}.", words)
            )
        ]
        longest_first = sorted(map(re.escape, names), key=len, reverse=True)
        _UNREAD[key] = re.compile(rf"\b(?:{'|'.join(longest_first)})s?\b") if names else None
    return _UNREAD[key]


_UNREAD: dict[tuple[str, str], re.Pattern[str] | None] = {}
