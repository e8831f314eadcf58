"""Three-valued logic over answers: yes, no, and not known, each with the questions that decided it.

Kleene's logic: a single *no* decides a conjunction and a single *yes* a disjunction, whatever else is unknown.
Everything built from these connectives is monotone: an answer that is added to unanswered questions can turn
*unknown* into a decision, and never takes a decision back. Django-free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Truth(StrEnum):
    """Whether something holds. ``UNKNOWN`` is never read as one of the others."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Term:
    """A truth with what decided it.

    Attributes:
        questions: Of a decided term the questions whose answers decide it; of an unknown one those left unanswered.
    """

    truth: Truth
    questions: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return self.truth is not Truth.UNKNOWN


def all_of(*terms: Term) -> Term:
    """Yes when all are; no as soon as one is, named by the first that is."""
    return _connect(terms, decisive=Truth.NO, neutral=Truth.YES)


def any_of(*terms: Term) -> Term:
    """Yes as soon as one is, named by the first that is; no when none is."""
    return _connect(terms, decisive=Truth.YES, neutral=Truth.NO)


def negate(term: Term) -> Term:
    """Yes for no and no for yes; what is unknown stays unknown."""
    opposite = {Truth.YES: Truth.NO, Truth.NO: Truth.YES, Truth.UNKNOWN: Truth.UNKNOWN}
    return Term(truth=opposite[term.truth], questions=term.questions)


def at_least(least: int, terms: Iterable[Term]) -> Term:
    """Whether ``least`` or more of the terms are yes: decided as soon as the open ones cannot change it."""
    known = tuple(terms)
    holding = [term for term in known if term.truth is Truth.YES]
    if len(holding) >= least:
        return Term(truth=Truth.YES, questions=_questions(holding[:least]))
    if sum(term.truth is not Truth.NO for term in known) < least:
        return Term(truth=Truth.NO, questions=_questions(term for term in known if term.known))
    return Term(truth=Truth.UNKNOWN, questions=_questions(term for term in known if not term.known))


def _connect(terms: tuple[Term, ...], *, decisive: Truth, neutral: Truth) -> Term:
    for term in terms:
        if term.truth is decisive:
            return term
    if open_ones := [term for term in terms if not term.known]:
        return Term(truth=Truth.UNKNOWN, questions=_questions(open_ones))
    return Term(truth=neutral, questions=_questions(terms))


def _questions(terms: Iterable[Term]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for term in terms for key in term.questions))


Fact = Callable[..., Term]
"""``fact(question, *values)``: whether the question is answered with one of these values."""
