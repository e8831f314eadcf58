"""The ledger, to read, to search, and to verify."""

from __future__ import annotations

from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from core import ledger
from core.pages.readers import reads
from core.selectors import acts_recorded, search_entries

PAGE_SIZE = 50


def _page(request: HttpRequest, check: ledger.LedgerCheck | None) -> HttpResponse:
    words, act = request.GET.get("q", "").strip(), request.GET.get("act", "")
    context = {
        "page": Paginator(search_entries(words=words, act=act), PAGE_SIZE).get_page(request.GET.get("page")),
        "head": check.head if check else ledger.tree_head(),
        "acts": acts_recorded(),
        "page_query": urlencode({"q": words, "act": act}) + "&",
        "q": words,
        "act": act,
        "check": check,
    }
    return render(request, "core/ledger.html", context)


@require_safe
@reads
def ledger_page(request: HttpRequest) -> HttpResponse:
    return _page(request, None)


@require_POST
@reads
def ledger_verify(request: HttpRequest) -> HttpResponse:
    """Recompute every hash now and show what was found above the entries."""
    return _page(request, ledger.verify())
