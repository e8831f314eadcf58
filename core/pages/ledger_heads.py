"""Signed heads of the ledger: what was signed when, and the files that show it to others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core import ledger
from core.errors import ConflictError, NotFoundError
from core.models import SignedHead
from core.pages.ledger import entry_number, json_file
from core.pages.readers import reads
from core.proofs import consistency_file, head_file
from core.verification import head_problem

PAGE = 25


@require_safe
@reads
def ledger_heads(request: HttpRequest) -> HttpResponse:
    return _page(request)


def _page(request: HttpRequest, refusal: str = "", status: int = 200) -> HttpResponse:
    heads = SignedHead.objects.order_by("-size")
    before = entry_number(request, "before")
    shown = list(heads.filter(size__lt=before)[: PAGE + 1] if before else heads[: PAGE + 1])
    rows = [{"head": head, "problem": head_problem(head, older)} for head, older in pairwise([*shown, None]) if head]
    newest = heads.first()
    context: dict[str, Any] = {
        "rows": rows[:PAGE],
        "older": shown[PAGE - 1].size if len(shown) > PAGE else None,
        "first_page": before is None,
        "newest": newest,
        "waiting": ledger.tree_head().size - (newest.size if newest else 0),
        "refusal": refusal,
        "old": request.GET.get("from", ""),
        "new": request.GET.get("to", ""),
    }
    return render(request, "core/ledger_heads.html", context, status=status)


@require_safe
@reads
def ledger_head(request: HttpRequest, size: int) -> HttpResponse:
    """The file of a signed head: what a witness keeps."""
    head = SignedHead.objects.filter(size=size).first()
    if head is None:
        raise NotFoundError(f"No head of {size} entries was signed.", remedy="Choose one from the list.")
    return json_file(head_file(head), f"ledger-head-{size}.json")


@require_safe
@reads
def ledger_consistency(request: HttpRequest) -> HttpResponse:
    """The file that shows that the ledger of one signed head begins with that of another."""
    old, new = entry_number(request, "from"), entry_number(request, "to")
    try:
        if old is None or new is None:
            raise ConflictError("Two sizes are needed.", remedy="Choose two signed heads.")
        return json_file(consistency_file(old, new), f"ledger-{old}-to-{new}.json")
    except (ConflictError, NotFoundError) as error:
        return _page(request, refusal=f"{error.message} {error.remedy}".strip(), status=422)
