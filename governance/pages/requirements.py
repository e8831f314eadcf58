"""The requirements of a version: all of them at a glance, and one with everything that bears on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from core.access import Permission, can
from core.models import User
from core.pages.forms import HouseForm, attempt, bind
from core.pages.readers import HouseRequest, reads
from governance.access import check_may_accept_statement, check_may_state, check_may_withdraw_statement
from governance.models import Statement
from governance.questions import question
from governance.reports.wording import dated
from governance.rules import Reference
from governance.selectors import requirements as selectors
from governance.selectors.portal import STATES
from governance.selectors.requirements import Choices, Filters, Judged
from governance.selectors.statements import Revision, Shown, get_statement, history, open_draft, shown, to_carry
from governance.services.statements import accept_statement, return_statement
from governance.standing.judgements import Judgement
from models_registry.models import ModelVersion

DECISIONS = {"accept": accept_statement, "return": return_statement}
DONE = {"accept": "The statement is accepted. It counts from now on.", "return": "The draft went back to its author."}


class DecisionForm(HouseForm):
    """A remark and which statement it is about: the one that was read, not whatever is newest."""

    statement = forms.IntegerField(widget=forms.HiddenInput)
    act = forms.ChoiceField(
        choices=[(name, name) for name in DECISIONS], widget=forms.HiddenInput, error_messages={"required": "Choose."}
    )
    remark = forms.CharField(
        label="Remark",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="What you checked, or what has to change. It stays with the statement, under your name.",
        error_messages={"required": "Write what you checked, or what has to change."},
    )


def filters_from(sent: QueryDict) -> Filters:
    """What an address asks for. What it should not hold is left out of sight, not an error."""
    text = {name: sent.get(name, "")[:200].strip() for name in ("state", "regulation", "report", "owner", "q")}
    return Filters(**text, binding=sent.get("binding") == "1", draft=sent.get("draft") == "1")


@require_safe
@reads
def matrix(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """Every requirement with its state, filtered by the address, and whether each report is ready."""
    judged, filters = selectors.judge_version(slug, pk), filters_from(request.GET)
    rows = selectors.lines(judged, filters)
    context = {
        "version": judged.version,
        "judged": judged,
        "statuses": judged.statuses,
        "counts": _counts(judged),
        "rows": rows,
        "filters": filters,
        "choices": Choices(judged=judged),
        "reports": selectors.report_lines(judged.statuses),
        "hidden": judged.unanswered and not filters.any and request.GET.get("all") != "1",
    }
    return render(request, "governance/requirements.html", context)


@require_safe
@reads
def summary(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """The counts alone, for the page of the version, which does not wait for them."""
    judged = selectors.judge_version(slug, pk)
    context = {"version": judged.version, "judged": judged, "counts": _counts(judged)}
    context["reports"] = selectors.report_lines(judged.statuses)
    return render(request, "governance/_requirement_counts.html", context)


def _counts(judged: Judged) -> list[tuple[str, str, int]]:
    return [(state, STATES[state], n) for state, n in judged.statuses.counts.items()]


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """A required field: its value, where that comes from, and the page of it."""

    field: Shown
    stated: bool
    source: Reference | None
    href: str


TOLD = ("contradicted", "stale", "lacking", "held")
"""What a judgement says in sentences, what weighs most first."""


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What this person may do about a requirement, and why not where they may not."""

    write: Permission
    decide: Permission
    withdraw: Permission
    carry: Permission


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def requirement(request: HouseRequest, slug: str, pk: int, requirement: str) -> HttpResponse:
    """One requirement with its rule, its fields, its statements, and what can be done; a decision about the draft."""
    form = bind(DecisionForm, request)
    if attempt(form, lambda **sent: _decide(request.user, slug, pk, requirement, **sent)):
        messages.success(request, DONE[form.cleaned_data["act"]])
        return redirect("requirement", slug=slug, pk=pk, requirement=requirement)
    context = _context(request.user, selectors.judge_version(slug, pk), requirement) | {"form": form}
    return render(request, "governance/requirement.html", context, status=form.status)


def _context(user: User, judged: Judged, requirement: str) -> dict[str, Any]:
    """Everything that the page of one requirement shows."""
    item, catalogue = selectors.find_item(judged, requirement), judged.statuses.catalogue
    revisions = history(judged.version, item.requirement, judged.dossier, catalogue)
    draft = open_draft(revisions, judged.version)
    return {
        "version": judged.version,
        "people": judged.people,
        "item": item,
        "told": {name: [dated(text) for text in getattr(item, name)] for name in TOLD},
        "line": selectors.line_of(judged, item),
        "outline": catalogue.outline(item.requirement.report),
        "rows": _field_rows(judged, item, revisions),
        "references": [(one, _href(one, judged, revisions)) for one in item.references],
        "questions": [(one, judged.dossier["answers"].get(one.key)) for one in selectors.questions_of(item)],
        "revisions": revisions,
        "draft": draft,
        "carry": to_carry(revisions),
        "actions": _actions(user, draft),
    }


def _decide(by: User, slug: str, pk: int, key: str, *, statement: int, act: str, remark: str) -> Statement:
    return DECISIONS[act](statement=get_statement(slug, pk, key, statement), remark=remark, by=by)


def _actions(user: User, draft: Statement | None) -> Actions:
    write = can(check_may_state, user)
    carry = write
    if draft is not None and draft.author_id != user.pk and write:
        told = gettext("A draft of %(author)s is open. It has to be accepted, returned or withdrawn first.") % {
            "author": draft.author
        }
        write = carry = Permission(allowed=False, reason=told)
    about = draft or Statement()
    return Actions(
        write=write,
        carry=carry,
        decide=can(check_may_accept_statement, user, about),
        withdraw=can(check_may_withdraw_statement, user, about),
    )


def _field_rows(judged: Judged, item: Judgement, revisions: list[Revision]) -> list[FieldRow]:
    catalogue, rows = judged.statuses.catalogue, []
    for one in item.fields:
        told = shown(one, one.value, item.requirement.id, catalogue)
        href = _href(one.reference, judged, revisions) if one.reference else ""
        rows.append(FieldRow(field=told, stated=one.value is not None, source=one.reference, href=href))
    return rows


def _href(reference: Reference, judged: Judged, revisions: list[Revision]) -> str:
    """The page of what something rests on; empty where there is none."""
    key, version = reference.href_id, judged.version
    if reference.kind == "version":
        return _version_page(version)
    if reference.kind == "statement":
        return f"#statement-{key}" if key in {str(row.statement.pk) for row in revisions} else ""
    if reference.kind == "requirement":
        return reverse("requirement", args=[version.system.slug, version.pk, key])
    if reference.kind == "answer":
        return reverse("chapter", args=[version.system.slug, question(key).chapter]) + f"#q-{key}"
    if reference.kind == "measure":
        return reverse("oversight-system", args=[version.system.slug])
    pages = {name: name for name in ("audit", "review", "report", "risk", "incident", "deployment")}
    return reverse(pages[reference.kind], args=[key]) if reference.kind in pages and key.isdecimal() else ""


def _version_page(version: ModelVersion) -> str:
    return reverse("version", args=[version.system.slug, version.pk])
