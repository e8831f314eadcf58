"""Whether an assessment is owed: Article 35(1) and (3), and the nine criteria of WP248, as answered and stated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from governance.applicability import Truth
from governance.reports.blocks import Block, Gap, Note, Paragraph, Table
from governance.reports.view import View
from governance.reports.wording import ABSENT, count, moment, yes_no

CRITERIA = range(1, 10)
CASES = ("dpia_case_a", "dpia_case_b", "dpia_case_c", "dpia_national_list", "dpia_chosen")
ENOUGH = 2


def conclusion(view: View) -> Note:
    """Whether the answers say that an assessment is owed, and why."""
    found = view.statuses.conclusions["dpia_required"]
    titles = {
        Truth.YES: _("An assessment is required"),
        Truth.NO: _("The answers require no assessment"),
        Truth.UNKNOWN: _("Whether an assessment is required is not determined"),
    }
    return Note(title=titles[found.truth], text=found.reason)


def screening(view: View) -> Iterator[Block]:
    """Chapter 0: the compulsory cases, the nine criteria, and what follows from their number."""
    yield conclusion(view)
    yield _table(
        view,
        list(CASES),
        _("Cases in which Article 35 requires an assessment, and the controller's own choice"),
    )
    rows = criteria(view)
    yield Table(
        caption=_(
            "Screening by the nine criteria of WP248 rev.01; as a rule of thumb, two of them call for an assessment"
        ),
        headers=(_("Criterion"), _("Met"), _("Reason"), _("By")),
        rows=tuple((f"{row['number']}. {row['title']}", _met(row["met"]), row["reason"], row["by"]) for row in rows),
        sources=tuple(row["source"] for row in rows if row["source"] is not None),
        wide=True,
    )
    met, left = (sum(row["met"] is truth for row in rows) for truth in (True, None))
    yield Paragraph(text=_verdict(met, left))
    if left:
        numbers = ", ".join(str(row["number"]) for row in rows if row["met"] is None)
        yield Gap(text=_("Criteria that nobody has answered: %(numbers)s") % {"numbers": numbers})


def _verdict(met: int, left: int) -> str:
    words = {"met": count(met), "left": count(left)}
    if met >= ENOUGH:
        return _("%(met)s of nine criteria are met: by the rule of thumb an assessment is needed.") % words
    if met + left >= ENOUGH:
        return (
            _(
                "%(met)s of nine criteria are met and %(left)s are not answered: whether the rule of thumb calls for "
                "an assessment is open."
            )
            % words
        )
    return _("%(met)s of nine criteria are met: the rule of thumb calls for no assessment by itself.") % words


def criteria(view: View) -> list[dict[str, Any]]:
    """The nine criteria: an accepted statement counts before the answer, as in the rules."""
    return [_criterion(view, number) for number in CRITERIA]


def _criterion(view: View, number: int) -> dict[str, Any]:
    requirement, question = f"WP248-C{number}", f"wp248_c{number}"
    row: dict[str, Any] = {
        "number": number,
        "title": view.catalogue.requirement(requirement).title,
        "met": None,
        "reason": "—",
        "by": "—",
        "source": None,
    }
    met, reason = view.field(requirement, "met"), view.text(requirement, "reason")
    told = view.dossier["answers"].get(question)
    accepted = view.judgement(requirement).accepted
    if accepted is not None and met is not None and isinstance(met.value, bool):
        row |= {"met": met.value, "reason": reason or str(ABSENT)}
        row["source"] = next(iter(view.field_source(met)), None)
        row["by"] = f"{accepted['author']}, {moment(accepted['written_at'])}"
    elif told is not None and isinstance(told["value"], bool):
        row |= {"met": told["value"], "reason": told["reason"] or str(ABSENT), "source": view.answer_source(question)}
        row["by"] = f"{told['author']}, {moment(told['at'])}"
    return row


def _met(value: bool | None) -> str:
    return "?" if value is None else yes_no(value)


def _table(view: View, questions: list[str], caption: str) -> Table:
    texts = {key: f"{item.text} ({item.source})" for key, item in view.questions.items()}
    rows, sources = [], []
    for key in questions:
        told = view.dossier["answers"].get(key)
        if told is None:
            rows.append((texts.get(key, key), "?", _("not answered"), "—"))
            continue
        met = _met(told["value"] if isinstance(told["value"], bool) else None)
        rows.append(
            (texts.get(key, key), met, told["reason"] or str(ABSENT), f"{told['author']}, {moment(told['at'])}")
        )
        sources.append(view.answer_source(key))
    return Table(
        caption=caption,
        headers=(_("Case"), _("Met"), _("Reason"), _("By")),
        rows=tuple(rows),
        sources=tuple(sources),
        wide=True,
    )


def screening_data(view: View) -> dict[str, Any]:
    """The screening as it stands in the report's JSON."""
    rows = criteria(view)
    found = view.statuses.conclusions["dpia_required"]
    return {
        "required": found.truth.value,
        "reason": found.reason,
        "cases": {key: view.answer(key) for key in CASES},
        "criteria": [{key: row[key] for key in ("number", "title", "met", "reason")} for row in rows],
        "criteria_met": sum(row["met"] is True for row in rows),
        "criteria_open": sum(row["met"] is None for row in rows),
    }
