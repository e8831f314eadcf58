"""Writing statements, taking them back, carrying them over, and the files that belong to them."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from core.access import Permission, can
from core.pages.forms import attempt, perform
from core.pages.readers import HouseRequest, reads
from governance.access import check_may_state
from governance.models import Statement
from governance.pages.statement_forms import MORE_ROWS, PREFIX, SPARE_ROWS, StatementForm, shown_value
from governance.pages.uploads import Received, capped, keep_uploads
from governance.selectors import requirements as selectors
from governance.selectors.requirements import Judged
from governance.selectors.statements import Revision, get_statement, history, open_draft, shown
from governance.services.attachments import files_of, open_attachment, seal
from governance.services.statements import carry_over, withdraw_statement, write_statement
from governance.standing.bindings import binding_of
from governance.standing.judgements import Judgement
from models_registry.selectors import get_version

DOWNLOAD_POLICY = "default-src 'none'; sandbox"


@capped
@require_http_methods(["GET", "HEAD", "POST"])
@reads
def statement_write(request: HouseRequest, slug: str, pk: int, requirement: str) -> HttpResponse:
    """The editor: a control for each required field, what the statement will be bound to, and the text."""
    judged = selectors.judge_version(slug, pk)
    item = selectors.find_item(judged, requirement)
    revisions = history(judged.version, item.requirement, judged.dossier, judged.statuses.catalogue)
    permission = _may_write(request, open_draft(revisions, judged.version))
    form, source = _form(request, judged, item, revisions, permission)
    act = partial(write_statement, version=judged.version, requirement=requirement, by=request.user)
    if attempt(form, act):
        messages.success(request, "The draft is kept. It counts when somebody else has accepted it.")
        return redirect("requirement", slug=slug, pk=pk, requirement=requirement)
    held = {one.name: shown(one, one.value, requirement, judged.statuses.catalogue) for one in _own_fields(item)}
    context = {
        "version": judged.version,
        "item": item,
        "form": form,
        "controls": form.controls(held),
        "bound": _bound(judged, item),
        "permission": permission,
        "source": source,
    }
    return render(request, "governance/statement_write.html", context, status=form.status)


def _may_write(request: HouseRequest, draft: Statement | None) -> Permission:
    allowed = can(check_may_state, request.user)
    if allowed and draft is not None and draft.author_id != request.user.pk:
        told = gettext("A draft of %(author)s is open. It has to be accepted, returned or withdrawn first.") % {
            "author": draft.author
        }
        return Permission(allowed=False, reason=told)
    return allowed


def _form(
    request: HouseRequest, judged: Judged, item: Judgement, revisions: list[Revision], permission: Permission
) -> tuple[StatementForm, Statement | None]:
    """The form as it was sent, with more rows where that was asked for; or begun from the newest statement."""
    make = partial(StatementForm, asked=item.requirement, version=judged.version, catalogue=judged.statuses.catalogue)
    if request.method != "POST":
        newest = next((row.statement for row in revisions if row.statement.version_id == judged.version.pk), None)
        return make(initial=_begin(item, judged, newest)), newest
    received, refused = _received(request, judged, item) if permission else ({}, {})
    form = make(request.POST, request.FILES, received=received, refused=refused)
    if wanted := request.POST.get("more"):
        return make(initial=form.as_typed(), received=received, spare={wanted: SPARE_ROWS + MORE_ROWS}), None
    return form, None


def _received(request: HouseRequest, judged: Judged, item: Judgement) -> Received:
    """The files that came with the form, kept already."""
    names = {PREFIX + one.name: one.name for one in item.requirement.required_fields if one.type == "file"}
    return keep_uploads(request, names, version=judged.version, requirement=item.requirement.id, by=request.user)


def _begin(item: Judgement, judged: Judged, newest: Statement | None) -> dict[str, Any]:
    """Values of the newest statement about this version, as the controls take them."""
    if newest is None:
        return {}
    kinds = {one.name: one.type.partition("{")[0] for one in item.requirement.required_fields}
    begun = {PREFIX + name: shown_value(kinds.get(name, "text"), value) for name, value in newest.fields.items()}
    tokens = {file: seal(file, version=judged.version, requirement=item.requirement.id) for file in files_of(newest)}
    for name, kind in kinds.items():
        if kind == "file" and name in newest.fields:
            value = newest.fields[name]
            own = value if isinstance(value, list) else [value]
            begun[PREFIX + name] = [token for file, token in tokens.items() if file.as_value() in own]
    return begun | {"text": newest.text}


def _own_fields(item: Judgement) -> list[Any]:
    """Fields that hold what the platform knows, and no statement said."""
    return [one for one in item.fields if one.value is not None and one.reference and one.reference.kind != "statement"]


def _bound(judged: Judged, item: Judgement) -> dict[str, Any]:
    """What the statement will be bound to, in the words of the page."""
    binding = binding_of(judged.dossier, item.requirement)
    cohort = judged.dossier["cohort"] if binding["cohort"] else None
    return {"cohort": cohort, "sites": binding["sites"], "entry": item.requirement.applies_from}


@require_POST
@reads
def statement_withdraw(request: HouseRequest, slug: str, pk: int, requirement: str, statement: int) -> HttpResponse:
    act = partial(withdraw_statement, statement=get_statement(slug, pk, requirement, statement), by=request.user)
    back = reverse("requirement", args=[slug, pk, requirement])
    return perform(request, act, done="The draft is withdrawn.", back=back)


@require_POST
@reads
def statement_carry(request: HouseRequest, slug: str, pk: int, requirement: str, statement: int) -> HttpResponse:
    found, version = get_statement(slug, pk, requirement, statement), get_version(slug, pk)
    act = partial(carry_over, statement=found, version=version, by=request.user)
    back = reverse("requirement", args=[slug, pk, requirement])
    done = "The statement is carried over as a draft. It counts when somebody else has accepted it."
    return perform(request, act, done=done, back=back)


@require_GET
@reads
def statement_file(
    request: HouseRequest, slug: str, pk: int, requirement: str, statement: int, digest: str
) -> HttpResponse:
    """A file of a statement, as a download and nothing else: no browser shows what somebody uploaded."""
    found = get_statement(slug, pk, requirement, statement)
    name, body = open_attachment(statement=found, digest=digest, by=request.user)
    response = HttpResponse(body, content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Content-Security-Policy"] = DOWNLOAD_POLICY
    response["X-Content-Type-Options"] = "nosniff"
    return response
