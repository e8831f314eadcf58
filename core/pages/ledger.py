"""The ledger, to read, to search, and to verify; each entry with its proof."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core import ledger, verification
from core.errors import NotFoundError
from core.ledger_checks import LedgerCheck
from core.models import LedgerEntry, LedgerHead
from core.pages.forms import HouseForm
from core.pages.readers import HouseRequest, reads
from core.proofs import covering_head, inclusion_file
from core.selectors import EntryPage, Search, entry_page, words_recorded

MOST_LETTERS = 200


class SearchForm(HouseForm):
    """What to look for; all of it may be left out."""

    number = forms.IntegerField(label="Entry number", required=False, min_value=0, max_value=2**62)
    q = forms.CharField(label="Words or digest", required=False, max_length=MOST_LETTERS)
    act = forms.CharField(label="Act", required=False, max_length=80)
    actor = forms.CharField(label="Who (user name)", required=False, max_length=150)
    kind = forms.CharField(label="On", required=False, max_length=80)
    subject = forms.CharField(label="Its number", required=False, max_length=80)
    since = forms.DateField(label="From", required=False)
    until = forms.DateField(label="To", required=False)

    @property
    def search(self) -> Search:
        said = self.cleaned_data
        return Search(
            words=said["q"],
            act=said["act"],
            actor=said["actor"],
            subject_kind=said["kind"],
            subject_id=said["subject"],
            since=_midnight(said["since"]),
            until=_midnight(said["until"] + timedelta(days=1)) if said["until"] else None,
        )

    @property
    def query(self) -> str:
        """The search as the beginning of an address."""
        kept = {name: self.data.get(name, "") for name in self.fields if self.data.get(name)}
        return urlencode(kept) + "&" if kept else ""


def _midnight(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time())) if day else None


def entry_number(request: HttpRequest, name: str) -> int | None:
    """A number of an entry from the address; None where it is none."""
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _page(request: HttpRequest, form: SearchForm, check: LedgerCheck | None) -> HttpResponse:
    page = EntryPage(entries=[], older=None, newer=None)
    if form.is_valid():
        page = entry_page(form.search, before=entry_number(request, "before"), after=entry_number(request, "after"))
    acts, kinds = words_recorded()
    context = {
        "page": page,
        "form": form,
        "head": check.head if check else ledger.tree_head(),
        "acts": acts,
        "kinds": kinds,
        "check": check,
        "state": None if check else verification.latest(),
    }
    return render(request, "core/ledger.html", context)


@require_safe
@reads
def ledger_page(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    if form.is_valid() and form.cleaned_data["number"] is not None:
        return HttpResponseRedirect(reverse("ledger-entry", args=[form.cleaned_data["number"]]))
    return _page(request, form, None)


@require_POST
@reads
def ledger_verify(request: HouseRequest) -> HttpResponse:
    """Verify now and show what was found; a ledger that is too long for a page is verified by a worker."""
    size = LedgerHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    if size <= verification.AT_ONCE:
        return _page(request, SearchForm({}), verification.verify_all())
    verification.ask_for_verification(by=request.user.get_username())
    return HttpResponseRedirect(reverse("ledger") + "#verification")


@require_safe
@reads
def ledger_verification(request: HttpRequest) -> HttpResponse:
    """How far the worker is: the part of the page that asks again by itself."""
    return render(request, "core/_ledger_verification.html", {"state": verification.latest()})


@require_safe
@reads
def ledger_entry(request: HttpRequest, index: int) -> HttpResponse:
    entry = LedgerEntry.objects.filter(index=index).first()
    if entry is None:
        raise NotFoundError(f"The ledger has no entry {index}.", remedy="Search for it in the ledger.")
    pretty, behind = _readable(entry.body)
    head = covering_head(index)
    context = {
        "entry": entry,
        "pretty": pretty,
        "behind": behind,
        "head": head,
        "proof": ledger.prove_inclusion(index, head.size) if head else None,
        "following": LedgerEntry.objects.filter(index=index + 1).exists(),
    }
    return render(request, "core/ledger_entry.html", context)


def _readable(body: str) -> tuple[str, int | None]:
    """A body with its lines broken, and by how much its clock was behind. One that was tampered with stays as it is."""
    try:
        said = json.loads(body)
        return json.dumps(said, indent=2, ensure_ascii=False), said.get("clock_behind_seconds")
    except (ValueError, AttributeError):
        return body, None


@require_safe
@reads
def ledger_proof(request: HttpRequest, index: int) -> HttpResponse:
    """The proof that the entry is in the ledger with the newest signed head, as a file."""
    return json_file(inclusion_file(index), f"ledger-entry-{index}.json")


def json_file(data: bytes, name: str) -> HttpResponse:
    """A download."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(data, content_type="application/json", headers=disposition)
