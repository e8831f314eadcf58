"""Reading the answers about one system: facts with three values, and sentences that name the answers they rest on.

A question that is not asked says nothing, even where an old answer to it is still there; a value that the question
does not know counts as no answer. Reasons are in the language that is active.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from governance.conditions.truth import Term, Truth, all_of, any_of
from governance.questions import Question, check_answer, fits, load_questions

Text = str | Promise
ALWAYS = Term(truth=Truth.YES)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What the answers say about one condition.

    Attributes:
        key: A trigger of the catalogue, a duty bearer, or a step between.
        reason: A sentence that names the deciding answers, or the questions that are open.
        questions: The deciding questions; of an unknown conclusion the unanswered ones.
    """

    key: str
    truth: Truth
    reason: str
    questions: tuple[str, ...]

    @property
    def term(self) -> Term:
        return Term(truth=self.truth, questions=self.questions)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one conclusion is drawn, and how it is told.

    Attributes:
        term: The logic.
        yes, no: Sentences without their full stop.
        whether: Completes "It is not known ...".
        by, yes_by: Other sentences for *no* and for *yes*, by the question that comes last among the deciding ones.
    """

    term: Callable[[Reading], Term]
    yes: Text
    no: Text
    whether: Text
    by: Mapping[str, Text] = field(default_factory=dict)
    yes_by: Mapping[str, Text] = field(default_factory=dict)


class Reading:
    """The answers about one system, read by rules. Each conclusion is drawn once.

    Args:
        answers: ``{question: {"value": ..., ...}}``; nothing but the values is read.
        rules: Every conclusion there is, by key.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Rule]) -> None:
        self.questions = {question.key: question for question in load_questions(get_language() or "en")}
        self.values = {
            key: check_answer(question, answers[key]["value"])
            for key, question in self.questions.items()
            if key in answers and fits(question, answers[key]["value"])
        }
        self.rules = rules
        self._terms: dict[str, Term] = {}

    def fact(self, key: str, *values: Any) -> Term:
        """Whether a question is asked and answered with one of the values (``several``: at least one of them)."""
        gate = self.asked(key)
        if key not in self.values:
            own = Term(truth=Truth.UNKNOWN, questions=(key,) if gate.known else ())
        else:
            given = self.values[key]
            met = bool(set(given) & set(values)) if isinstance(given, list) else given in values
            own = Term(truth=Truth.YES if met else Truth.NO, questions=(key,))
        return all_of(gate, own)

    def asked(self, key: str) -> Term:
        """Whether the question is asked of this system at all."""
        condition = self.questions[key].asked_if
        if condition is None:
            return ALWAYS
        return any_of(*(self.fact(clause.question, *clause.values) for clause in condition.any_of))

    def of(self, key: str) -> Term:
        """The conclusion of this key, as a term of other ones."""
        if key not in self._terms:
            self._terms[key] = self.rules[key].term(self)
        return self._terms[key]

    def conclude(self, key: str) -> Conclusion:
        """The conclusion of this key with its sentence."""
        term = self.of(key)
        return Conclusion(
            key=key, truth=term.truth, reason=self._reason(self.rules[key], term), questions=term.questions
        )

    def _reason(self, rule: Rule, term: Term) -> str:
        if term.truth is Truth.UNKNOWN:
            labels = ", ".join(_("“%(label)s”") % {"label": self.questions[key].label} for key in term.questions)
            return _("It is not known %(whether)s: there is no answer to %(questions)s.") % {
                "whether": rule.whether,
                "questions": labels,
            }
        last = term.questions[-1] if term.questions else ""
        statement = rule.yes_by.get(last, rule.yes) if term.truth is Truth.YES else rule.by.get(last, rule.no)
        if not term.questions:
            return f"{statement}."
        answers = "; ".join(f"{self.questions[key].label}: {self.shown(key)}" for key in term.questions)
        return _("%(statement)s (%(answers)s).") % {"statement": statement, "answers": answers}

    def shown(self, key: str) -> str:
        """An answer in words."""
        return show_value(self.questions[key], self.values.get(key))


def show_value(question: Question, value: Any) -> str:
    """A value of a question in words, in the active language."""
    if value is None:
        return _("no answer")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    values = value if isinstance(value, list) else [value]
    return ", ".join(question.option_text(str(one)) for one in values)
