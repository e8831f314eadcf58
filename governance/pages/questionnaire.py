"""The questionnaire of a system: what is asked, who answered what and why, and what follows from it.

A page knows which answers it was made from. What a person did not touch is not written again, and what somebody else
answered meanwhile is not written over: the page says so and asks to look again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.forms.boundfield import BoundField
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from core.access import Permission, can
from core.pages.forms import HouseForm, attempt
from core.pages.readers import HouseRequest, reads
from core.templatetags.figures import when
from governance.access import check_may_answer
from governance.applicability import Conclusion
from governance.conditions.reading import show_value
from governance.models import Answer
from governance.questions import AnswerError, Question, check_answer, load_questions
from governance.selectors.questionnaire import ChapterProgress, Sheet, find_chapter, find_system, read_sheet
from governance.services.answers import record_answers

NO_ANSWER = ("", "No answer yet")
YES_NO = {"yes": True, "no": False}


def value_typed(asked: Question, raw: Any) -> Any:
    """What was typed or ticked as a value of the question; None for nothing."""
    if asked.kind == "several":
        lines = raw if asked.options else str(raw or "").splitlines()
        return [line.strip() for line in lines if line.strip()] or None
    text = str(raw or "").strip()
    if not text:
        return None
    if asked.kind == "number":
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            return text
    return YES_NO.get(text, text) if asked.kind == "yes_no" else text


def value_shown(asked: Question, value: Any) -> Any:
    """A value as the control of its question takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\n".join(value) if asked.kind == "several" and not asked.options and value else value


def _field(asked: Question) -> forms.Field:
    about: dict[str, Any] = {"label": asked.text, "help_text": asked.help, "required": False}
    options = [(option.key, option.text[:1].upper() + option.text[1:]) for option in asked.options]
    if asked.kind == "yes_no":
        options = [("yes", "Yes"), ("no", "No")]
    if asked.kind == "several" and asked.options:
        return forms.MultipleChoiceField(choices=options, widget=forms.CheckboxSelectMultiple, **about)
    if options:
        return forms.ChoiceField(choices=[*options, NO_ANSWER], widget=forms.RadioSelect, **about)
    if asked.kind == "several":
        about["help_text"] = (gettext("%(help)s One in each line.") % {"help": asked.help}).strip()
    many = {"several": 4, "text": 3}
    if asked.kind in many:
        return forms.CharField(widget=forms.Textarea(attrs={"rows": many[asked.kind]}), **about)
    kind = {"date": "date", "number": "text"}[asked.kind]
    return forms.CharField(widget=forms.TextInput(attrs={"type": kind}), **about)


def reason_name(key: str) -> str:
    return f"reason-{key}"


class ChapterForm(HouseForm):
    """The questions of a chapter that were shown, with a reason for each; cleaned to what the person changed."""

    def __init__(self, *args: Any, questions: tuple[Question, ...], sheet: Sheet, seen: int, **kwargs: Any) -> None:
        self.questions, self.sheet, self.seen = questions, sheet, seen
        before = sheet.as_of(seen)
        self.before: Mapping[str, Answer] = {item.key: before[item.key] for item in questions if item.key in before}
        kwargs["initial"] = self._initial()
        super().__init__(*args, **kwargs)
        for item in questions:
            self.fields[item.key] = _field(item)
            self.fields[reason_name(item.key)] = forms.CharField(
                label="Reason",
                required=False,
                widget=forms.Textarea(
                    attrs={
                        "rows": 2,
                        "aria-label": gettext("Reason for the answer to: %(label)s") % {"label": item.label},
                    }
                ),
            )

    def _initial(self) -> dict[str, Any]:
        values = {item.key: "" for item in self.questions} | {
            item.key: value_shown(item, self.before[item.key].value)
            for item in self.questions
            if item.key in self.before and self.before[item.key].value is not None
        }
        return values | {reason_name(key): row.reason for key, row in self.before.items()}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        for item in self.questions:
            raw, reason = self.cleaned_data.get(item.key), self.cleaned_data.get(reason_name(item.key)) or ""
            if item.key in self.errors:
                continue
            try:
                value = check_answer(item, value_typed(item, raw))
            except AnswerError as error:
                self.add_error(item.key, f"{error.message} {error.remedy}")
                continue
            if self._changed(item, value, reason.strip()):
                values[item.key], reasons[item.key] = value, reason.strip()
        return {"answers": values, "reasons": reasons}

    def _changed(self, item: Question, value: Any, reason: str) -> bool:
        """Whether the person changed it; an error where that is a reason for nothing, or somebody was faster."""
        row = self.before.get(item.key)
        old = (None, "") if row is None else (row.value, row.reason)
        if (value, reason) == old and type(value) is type(old[0]):
            return False
        if value is None and reason and old[0] is None:
            self.add_error(
                reason_name(item.key),
                gettext("“%(label)s” has a reason and no answer. Answer it too.") % {"label": item.label},
            )
        newest = self.sheet.newest.get(item.key)
        if newest is not None and newest.pk > self.seen and (newest.value, newest.reason) != (value, reason):
            told = gettext("%(author)s answered “%(value)s” %(at)s") % {
                "author": newest.author,
                "value": show_value(item, newest.value),
                "at": when(newest.answered_at),
            }
            self.add_error(
                item.key, gettext("%(told)s, while this page was open. Look at it, then save again.") % {"told": told}
            )
        return True


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question on the page, with the answer that stands, its history, and what it decides."""

    question: Question
    field: BoundField
    reason: BoundField
    answer: Answer | None
    value: str
    history: list[tuple[Answer, str]]
    effects: list[Conclusion]
    prohibited: bool

    @property
    def inline(self) -> bool:
        """Whether its options are few and short."""
        return self.question.kind == "yes_no"


def _rows(form: ChapterForm) -> list[Row]:
    return [_row(item, form) for item in form.questions]


def _row(item: Question, form: ChapterForm) -> Row:
    sheet = form.sheet
    answer = sheet.newest.get(item.key)
    return Row(
        question=item,
        field=form[item.key],
        reason=form[reason_name(item.key)],
        answer=answer,
        value=show_value(item, answer.value) if answer else "",
        history=[(row, show_value(item, row.value)) for row in sheet.history(item.key)[1:]],
        effects=sheet.decided_by(item),
        prohibited=item.key.removeprefix("art5_") in sheet.prohibited and item.key.startswith("art5_"),
    )


@require_safe
@reads
def questionnaire(request: HouseRequest, slug: str) -> HttpResponse:
    """Every chapter with its progress, and what the answers say together."""
    sheet = read_sheet(find_system(slug))
    context = {
        "sheet": sheet,
        "system": sheet.system,
        "may_answer": can(check_may_answer, request.user),
        "next": next((item for item in sheet.chapters if item.answered < item.asked), None),
        "versions": sheet.system.versions.order_by("-submitted_at", "-pk").only("pk", "label", "system_id"),
    }
    return render(request, "governance/questionnaire.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def chapter(request: HouseRequest, slug: str, chapter: str) -> HttpResponse:
    """The questions of one chapter that are asked now, saved together."""
    sheet = read_sheet(find_system(slug))
    found, may_answer = find_chapter(sheet, chapter), can(check_may_answer, request.user)
    form = _form(request, sheet, chapter, may_answer)
    written = attempt(form, partial(record_answers, system=sheet.system, by=request.user))
    if written is not None:
        messages.success(request, _saved(sheet, len(written), chapter))
        return redirect("chapter", slug=slug, chapter=_then(request.POST, sheet, found))
    context = {
        "sheet": sheet,
        "system": sheet.system,
        "chapter": found,
        "form": form,
        "rows": _rows(form),
        "may_answer": may_answer,
        "after": _after(sheet, found),
    }
    return render(request, "governance/chapter.html", context, status=form.status)


def _form(request: HouseRequest, sheet: Sheet, chapter: str, may_answer: Permission) -> ChapterForm:
    """What was sent, about the questions that were shown; or the questions that are asked now."""
    if request.method == "POST":
        shown, seen = set(request.POST.getlist("shown")), request.POST.get("seen", "")
        questions = tuple(item for item in load_questions() if item.chapter == chapter and item.key in shown)
        known = int(seen) if seen.isdecimal() and len(seen) < 19 else 0
        return ChapterForm(request.POST, questions=questions, sheet=sheet, seen=known)
    questions = tuple(item for item in sheet.asked if item.chapter == chapter)
    form = ChapterForm(questions=questions, sheet=sheet, seen=sheet.seen)
    for field in form.fields.values():
        field.disabled = not may_answer
    return form


def _saved(before: Sheet, written: int, chapter: str) -> str:
    """How many answers were saved, and how many questions they brought up."""
    if not written:
        return "Nothing was changed, so nothing was saved."
    now = {item.key for item in read_sheet(before.system).asked}
    new = now - {item.key for item in before.asked}
    told = ngettext("%(n)s answer saved.", "%(n)s answers saved.", written) % {"n": written}
    if not new:
        return told
    here = len([item for item in load_questions() if item.key in new and item.chapter == chapter])
    return ngettext(
        "%(told)s %(new)s more question is asked now, %(here)s in this chapter.",
        "%(told)s %(new)s more questions are asked now, %(here)s in this chapter.",
        len(new),
    ) % {"told": told, "new": len(new), "here": here}


def _after(sheet: Sheet, found: ChapterProgress) -> ChapterProgress | None:
    """The next chapter that asks something."""
    place = sheet.chapters.index(found)
    return next((item for item in sheet.chapters[place + 1 :] if item.asked), None)


def _then(sent: QueryDict, before: Sheet, found: ChapterProgress) -> str:
    """The chapter to show after saving: this one, or the next that asks something now."""
    if sent.get("then") != "next":
        return found.key
    sheet = read_sheet(before.system)
    following = _after(sheet, find_chapter(sheet, found.key))
    return following.key if following else found.key
