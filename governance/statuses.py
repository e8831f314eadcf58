"""In which state each requirement is for one version: what is held, what is lacking, and what it rests on.

Judged from a dossier alone (``governance.dossier``), by the rules in ``governance.rules``. In this order:

1. *not applicable*: a condition of the requirement is answered with no; the reason is told.
2. *unknown*: whether it applies was not answered; the questions are named.
3. *nonconform*: the facts contradict the requirement or one another, or an audit that it rests on failed.
4. *stale*: what was stated or audited was about another version, cohort, site or date.
5. *missing*: nothing that counts is held. A draft never counts.
6. *complete*: every required field has a valid value, nothing is lacking, and either a second person accepted the
   statement or the platform itself checked the rule. No audit completes anything on simulated patients, on too few, or
   where only a log of predictions was judged.
7. *partial*: anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from governance.applicability import Conclusion, applicability, conclude, prohibited
from governance.conditions.contradictions import contradictions
from governance.requirements import Catalogue, load_requirements
from governance.rules import Reference as Reference
from governance.rules.incident_register import answered_otherwise
from governance.standing.judgements import FieldValue as FieldValue
from governance.standing.judgements import Judgement as Judgement
from governance.standing.judgements import State as State
from governance.standing.judging import Judging

DONE = frozenset({State.COMPLETE, State.NOT_APPLICABLE})
MOST_NAMED = 5
"""Requirements that a sentence names before it counts the rest."""


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a report is ready, and why it is not, one sentence each."""

    ready: bool
    because: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Statuses:
    """Every requirement of the catalogue, judged, in its order.

    Attributes:
        counts: How many binding requirements are in each state; every state is there, also with 0.
        prohibited: Limbs of Article 5 that were answered with yes.
        contradictions: Answers that cannot both be true, or that a register denies, a sentence each.
    """

    items: tuple[Judgement, ...]
    counts: dict[str, int]
    conclusions: Mapping[str, Conclusion]
    prohibited: tuple[str, ...]
    contradictions: tuple[str, ...]
    catalogue: Catalogue
    language: str

    def of(self, requirement_id: str) -> Judgement:
        """The judgement of one requirement."""
        return self._by_id[requirement_id]

    def for_report(self, report: str) -> tuple[Judgement, ...]:
        """Judgements of the requirements at home in a report, chapter by chapter."""
        found = self._by_id
        return tuple(found[item.id] for item in self.catalogue.for_report(report))

    def for_section(self, report: str, section: str) -> tuple[Judgement, ...]:
        """Judgements of one chapter of a report, in the order of the catalogue."""
        found = self._by_id
        return tuple(found[item.id] for item in self.catalogue.for_section(report, section))

    def ready(self, report: str) -> Readiness:
        """Whether every binding requirement of a report is complete or does not apply, and nothing is prohibited.

        Answers that cannot both be true keep every report from being ready: what follows from them is nothing.
        A report without chapters in the catalogue has no requirement that could keep it.
        """
        with override(self.language):
            because = [_prohibited_words(self.prohibited)] if self.prohibited else []
            because += self.contradictions
            items = self.for_report(report) if report in self.catalogue.outlines else ()
            because += _open_words(items)
        return Readiness(ready=not because, because=tuple(because))

    @cached_property
    def _by_id(self) -> dict[str, Judgement]:
        return {item.requirement.id: item for item in self.items}


def _prohibited_words(limbs: tuple[str, ...]) -> str:
    return _("Article 5 of the AI Act prohibits the practice: %(limbs)s.") % {"limbs": ", ".join(limbs)}


def _open_words(items: tuple[Judgement, ...]) -> list[str]:
    """What keeps a report from being ready: for each state, how many requirements and the first of them."""
    sentences = []
    for state in (state for state in State if state not in DONE):
        names = [item.requirement.id for item in items if item.state is state and item.requirement.status == "binding"]
        if names:
            told = ", ".join(names[:MOST_NAMED])
            if len(names) > MOST_NAMED:
                told = _("%(names)s and %(count)d more") % {"names": told, "count": len(names) - MOST_NAMED}
            words = ngettext(
                "%(count)d binding requirement is %(state)s: %(names)s.",
                "%(count)d binding requirements are %(state)s: %(names)s.",
                len(names),
            )
            sentences.append(words % {"count": len(names), "state": state_word(state), "names": told})
    return sentences


def state_word(state: State | str) -> str:
    """A state in a reader's words, within a sentence."""
    return {
        State.COMPLETE: _("complete"),
        State.PARTIAL: _("partial"),
        State.MISSING: _("missing"),
        State.NONCONFORM: _("nonconform"),
        State.STALE: _("stale"),
        State.NOT_APPLICABLE: _("not applicable"),
        State.UNKNOWN: _("of unknown applicability"),
    }[State(state)]


def count_states(items: tuple[Judgement, ...]) -> dict[str, int]:
    """How many binding requirements are in each state; every state is there, also with 0."""
    binding = [item.state for item in items if item.requirement.status == "binding"]
    return {state.value: binding.count(state) for state in State}


def judge(dossier: dict[str, Any], *, evidence: dict[str, Any] | None = None, language: str = "en") -> Statuses:
    """Judge every requirement of the catalogue for the version of a dossier.

    Args:
        evidence: Of the dossier's run, for rules that name more of what is held; no state depends on it.
        language: Of every sentence in the result.
    """
    catalogue = load_requirements(language)
    answers, as_of = dossier["answers"], datetime.fromisoformat(dossier["as_of"])
    with override(language):
        conclusions = conclude(answers)
        judging = Judging(
            dossier=dossier,
            evidence=evidence,
            catalogue=catalogue,
            conclusions=conclusions,
            applicability=applicability(catalogue, answers, as_of=as_of.date()),
            as_of=as_of,
        )
        items = tuple(judging.judgement(item.id) for item in catalogue.requirements)
        clashes = contradictions(answers) + answered_otherwise(dossier)
    return Statuses(
        items=items,
        counts=count_states(items),
        conclusions=conclusions,
        prohibited=prohibited(answers),
        contradictions=clashes,
        catalogue=catalogue,
        language=language,
    )
