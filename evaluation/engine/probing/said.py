"""What the words of an answer say, whatever was asked: a plain yes or no, a refusal, neither.

Rules for English, as chat models write it: markup, reasoning in front of the answer, the question said again, labels
such as "Answer:". ``answers.yaml`` beside this file has the phrases. No rule looks further than a bounded number of
characters, so no text takes more than linear time.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

HEAD, TAIL = 16_000, 4_000
"""Characters at both ends of an answer that are read. What lies between, in a longer one, decides nothing."""

YES, NO, REFUSES, IT_IS, IT_IS_NOT = "yes", "no", "refuses", "it is", "it is not"
AFFIRMED = frozenset({"yes", "true", "present", "positive"})
ENDS = r"(?= ?(?:[,.;:!)]| [-–—]|$))"

_TAGS = re.compile(r"<[^<>]{0,300}>")
_COMMANDS = re.compile(r"\\[a-zA-Z]{1,20}")
_MARKS = str.maketrans({**dict.fromkeys('*`_#|"{}[]“”„«»~^', " "), "’": "'", "‘": "'", "‑": "-", "\xad": None})
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")
_WRITTEN_OUT = (
    (re.compile(r"\bcan'?t\b"), "cannot"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should)n'?t\b"), r"\1 not"),
    (re.compile(r"\b(it|that|there|what|he|she)'s\b"), r"\1 is"),
    (re.compile(r"\b(they|you|we)'re\b"), r"\1 are"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\bi'd\b"), "i would"),
    (re.compile(r"\b(?:can not|(?:am |is )?(?:unable|not able) to|could not|fail(?:s|ed)? to)\b"), "cannot"),
)
_ECHO = re.compile(
    r"\b(?:please )?(?:answer|reply|respond)(?: only| just)?(?: with| in| by)?(?: only| just| a)? yes or no\b(?: only)?"
    r"|\byes or no ?:|\(? ?yes ?/ ?no ?\)?(?= ?[:?)]|$)"
)
_BOTH = re.compile(r"^(?:yes ?/ ?no|no ?/ ?yes|(?:yes(?: and|,| or)? no|no(?: and|,| or)? yes)(?= ?(?:$|,| yes| no)))")
_SENTENCE = re.compile(r"[^.!?;\n]*[.!?;\n]+|[^.!?;\n]+$")
_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_FRONT = re.compile(r"^[^\w(]{1,20}")
_BUT = re.compile(r",? (?:but|however|although|though|nevertheless|yet|whereas)\b,? ?")
_WHETHER = re.compile(r"\b(?:whether|if)\b")
_LABELLED = re.compile(
    r"\b(?:answer|response|prediction|result|verdict|present|conclusion)(?: (?:is|would be|should be))? ?"
    r"(?:[:=] ?|(?<= is) |(?<= be) )'?(?P<said>yes|no|true|false|present|absent|positive|negative)\b"
    r"(?! (?:evidence|sign|definite|acute))"
)
_NOTHING = re.compile(
    r"^(?:yes|no)\W{1,4}(?:sorry\W{1,3})?"
    r"(?:i|it|we|one|you|this|that|there|unfortunately|the (?:image|report|text))\b"
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an answer says apart from findings.

    Attributes:
        affirms, denies: It leads with yes, or no, or labels one of them as its answer.
        affirms_it, denies_it: It affirms or denies what was asked without its name: "it is not visible", "none".
        refuses: It declines, or does not commit itself.
        sentences: Clauses that may claim something: no questions, nothing that declines.
        text: The whole, plain and in lower case; "" where there is nothing to read.
    """

    affirms: bool
    denies: bool
    affirms_it: bool
    denies_it: bool
    refuses: bool
    sentences: tuple[str, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """The phrases of ``answers.yaml``, compiled."""

    yes: re.Pattern[str]
    no: re.Pattern[str]
    label: re.Pattern[str]
    filler: re.Pattern[str]
    denies: re.Pattern[str]
    affirms: re.Pattern[str]
    declines: re.Pattern[str]
    unsure: re.Pattern[str]
    general: re.Pattern[str]
    doubts: re.Pattern[str]
    cannot_see: re.Pattern[str]


def read_said(text: str | None, *, cut: bool = False) -> Said:
    """What an answer says.

    Args:
        cut: It ended at the limit of tokens: of a sentence that is not complete, no more than a leading yes or no
            counts.
    """
    words, whole = phrases(), plain(text)
    says: set[str] = set()
    claiming: list[str] = []
    for clause, complete in _clauses(_ECHO.sub(" ", whole)):
        if _BOTH.match(clause):
            says |= {YES, NO}
            continue
        bare, declines = _without_preamble(clause, words), words.declines.search(clause)
        if (complete or not cut) and (declines or words.unsure.search(clause)):
            says.add(REFUSES)
        if declines and _NOTHING.match(bare):
            continue
        says |= _verdict(bare, words)
        if complete or not cut:
            says |= set() if declines else _of_it(clause, bare, words)
            claiming += _claiming(clause, bare, declines, words)
    return Said(
        affirms=YES in says,
        denies=NO in says,
        affirms_it=IT_IS in says,
        denies_it=IT_IS_NOT in says,
        refuses=REFUSES in says,
        sentences=tuple(claiming),
        text=whole,
    )


def plain(text: str | None) -> str:
    """The answer without markup and reasoning, in lower case, contractions written out, white space single."""
    if not text:
        return ""
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    elif "<think>" in text:
        text = text.split("<think>", 1)[0]
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    text = _COMMANDS.sub(" ", _TAGS.sub(" ", html.unescape(text)))
    text = unicodedata.normalize("NFKC", text).translate(_MARKS).lower()
    for pattern, whole in _WRITTEN_OUT:
        text = pattern.sub(whole, text)
    # "I cannot see an effusion" denies it; "I cannot see the image" declines.
    text = phrases().cannot_see.sub(lambda found: "is not seen" if found["passive"] else "do not see", text)
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def _clauses(text: str) -> Iterator[tuple[str, bool]]:
    """Clauses of every sentence that is no question, and whether the sentence was ended."""
    for sentence in _SENTENCE.findall(_POINT.sub(",", text)):
        body = sentence.rstrip(".!?;\n ")
        end = sentence[len(body) :].strip(" ")
        if "?" in end:
            continue
        for part in _BUT.split(body.strip()):
            clause = _FRONT.sub("", part).strip(" ,'-")
            if clause:
                yield clause, bool(end)


def _without_preamble(clause: str, words: Phrases) -> str:
    """The clause without "answer:", "well," and the like in front."""
    for _ in range(4):
        shorter = words.label.sub("", clause, count=1).strip(" ,'-:(")
        shorter = words.filler.sub("", shorter, count=1).strip(" ,'-:(")
        if shorter == clause:
            break
        clause = shorter
    return clause


def _verdict(bare: str, words: Phrases) -> set[str]:
    """Whether a clause leads with yes, or with no, or labels one of them as its answer."""
    found = {YES if label["said"] in AFFIRMED else NO for label in _LABELLED.finditer(bare)}
    if words.yes.match(bare):
        found.add(YES)
    if words.no.match(bare):
        found.add(NO)
    return found


def _of_it(clause: str, bare: str, words: Phrases) -> set[str]:
    """Whether a clause affirms or denies what was asked about without its name."""
    if any(words.denies.search(item) for item in (clause, bare)):
        return {IT_IS_NOT}
    return {IT_IS} if any(words.affirms.search(item) for item in (clause, bare)) else set()


def _claiming(clause: str, bare: str, declines: re.Match[str] | None, words: Phrases) -> list[str]:
    """The part of a clause that may claim a finding: behind the yes or no that it leads with, up to a "whether".

    Of a clause that declines, no more than what stands before the comma in front of that.
    """
    if words.general.search(clause):
        return []
    if declines:
        clause = clause[: max(0, clause.rfind(",", 0, declines.start()))]
    elif lead := words.yes.match(bare) or words.no.match(bare):
        clause = bare[lead.end() :]
    doubt = _WHETHER.search(clause)
    kept = words.doubts.sub("possible", clause[: doubt.start()] if doubt else clause).strip(" ,:-–—")
    return [kept] if kept else []


@cache
def phrases() -> Phrases:
    """The phrases that come with Auscult."""
    text = (resources.files("evaluation.engine.probing") / "answers.yaml").read_text(encoding="utf-8")
    body = yaml.safe_load(text)

    def some(phrases: Sequence[str]) -> str:
        return _any(phrases, body["lists"])

    yes, no, denies, affirms = (body[name] for name in ("says_yes", "says_no", "denies", "affirms"))
    return Phrases(
        yes=re.compile(rf"^{some(yes['leading'])}\b(?!-)|^{some(yes['alone'])}{ENDS}"),
        no=re.compile(rf"^{some(no['leading'])}\b|^{some(no['alone'])}{ENDS}|^no(?= {some(no['before'])}\b)"),
        label=re.compile(rf"^(?:{some(body['labels'])}\b ?[:=\-]? ?|{some(body['roles'])} ?: ?)"),
        filler=re.compile(
            rf"^(?:{some(body['fillers'])}(?! not\b)(?: ?[,:.!]+ ?| )|{some(body['rests'])} [^,.:;\n]{{1,120}}, )"
        ),
        denies=_placed(denies, body["lists"]),
        affirms=_placed(affirms, body["lists"]),
        declines=re.compile(rf"\b{some(body['declines'])}\b"),
        unsure=re.compile(rf"\b{some([*body['apologies'], *body['hedges']])}\b"),
        general=re.compile(rf"\b{some(body['general'])}\b"),
        doubts=re.compile(rf"\b{some(body['doubts'])}\b"),
        cannot_see=re.compile(
            rf"\bcannot (?:(?P<passive>be (?:\w{{2,15}}ly )?{some(['{seen}'])})|(?:\w{{2,15}}ly )?{some(['{sees}'])})\b"
            rf"(?! {some(['{picture}'])}\b)"
        ),
    )


def _placed(places: Mapping[str, Sequence[str]], lists: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Phrases at the front of a clause, anywhere in it, or that are the whole of it."""
    front, anywhere, whole = (_any(places[name], lists) for name in ("front", "anywhere", "whole"))
    return re.compile(rf"^{front}(?= ?(?:$|[,.!:])| (?:in|on|at|here|by|seen)\b)|\b{anywhere}\b|^{whole} ?$")


def _any(phrases: Sequence[str], lists: Mapping[str, Sequence[str]]) -> str:
    """A regular expression of any of the phrases; the longer of two that begin alike is tried first."""
    made = sorted({_pattern(phrase, lists) for phrase in phrases}, key=lambda item: (-len(item), item))
    return f"(?:{'|'.join(made)})"


def _pattern(phrase: str, lists: Mapping[str, Any]) -> str:
    """A regular expression of one phrase, in the grammar at the head of ``answers.yaml``."""
    made, first = "", True
    for token in phrase.split():
        group = "|".join(_word(word, lists) for word in token.strip("()").split("|"))
        if not token.startswith("("):
            made += f"(?:{group})" if first else f" (?:{group})"
            first = False
        else:
            made += f"(?:(?:{group}) )?" if first else f"(?: (?:{group}))?"
    return made


def _word(word: str, lists: Mapping[str, Any]) -> str:
    if word.startswith("{"):
        return _any(lists[word[1:-1]], lists)
    return r"\w{2,15}ly" if word == "~ly" else re.escape(word)
