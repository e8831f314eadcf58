"""The gallery of an order: synthetic patients with all modalities, beside the real ones who are most like them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from csp.decorators import csp_exempt
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from core.access import can
from core.pages.readers import HouseRequest, reads
from evaluation.access import check_may_read_patients
from evaluation.pages.series_drawing import SeriesChart, series_chart
from evaluation.studies.held import HeldStudy
from synthetic import selectors
from synthetic.gallery.cards import REPORT, Card, Neighbour
from synthetic.gallery.spans import Span
from synthetic.services.gallery import PAGE, Seen, card_image, gallery_of, open_cards

POLL_SECONDS = 3
private = cache_control(private=True, no_store=True)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One patient as a template shows it: ``facts`` are pairs of words, ``pieces`` the report in pieces with spans."""

    title: str
    study: HeldStudy
    image: str
    pieces: list[tuple[str, Span | None]]
    charts: list[SeriesChart]
    near: Neighbour | None = None
    warning: str = ""


@require_safe
@reads
@private
def gallery(request: HouseRequest, pk: int) -> HttpResponse:
    """One page of the gallery; while it is prepared, the page asks again by itself."""
    order = selectors.order_by_id(pk)
    found = gallery_of(order, by=request.user)
    context: dict[str, Any] = {"order": order, "gallery": found, "wait_seconds": POLL_SECONDS}
    if found is not None:
        finding = request.GET.get("finding", "")
        chosen = [(at, card) for at, card in enumerate(found.cards) if not finding or finding in card.findings]
        page = Paginator(chosen, PAGE).get_page(request.GET.get("page"))
        context |= {
            "page": page,
            "finding": finding,
            "page_query": f"{urlencode({'finding': finding})}&" if finding else "",
            "rows": [_row(pk, item) for item in open_cards(order, list(page), by=request.user)] if chosen else [],
            "may_compare": can(check_may_read_patients, request.user),
        }
    return render(request, "synthetic/gallery.html", context)


@require_safe
@reads
@private
@csp_exempt()
def gallery_image(request: HouseRequest, pk: int, number: int, side: str) -> HttpResponse:
    """An image of a card, for who may see the card."""
    data = card_image(selectors.order_by_id(pk), number, side, by=request.user)
    response = HttpResponse(data, content_type="image/png")
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _row(pk: int, seen: Seen) -> dict[str, Any]:
    card = seen.card
    made = _shown(pk, seen.number, "made", "Synthetic patient", seen.made, card.spans)
    near = []
    if seen.rows is not None:
        near.append(_shown(pk, seen.number, "rows", "Nearest real patient by rows", seen.rows, (), card.by_rows))
    if seen.image is not None and (card.by_rows is None or card.by_image != card.by_rows):
        near.append(_shown(pk, seen.number, "image", "Nearest real image", seen.image, (), card.by_image))
    return {"number": seen.number + 1, "card": card, "plan": _plan(card), "made": made, "near": near}


def _shown(
    pk: int, number: int, side: str, title: str, held: HeldStudy, spans: tuple[Span, ...], near: Neighbour | None = None
) -> Shown:
    return Shown(
        title=title,
        study=held,
        image=reverse("gallery-image", args=[pk, number, side]) if held.has_image else "",
        pieces=pieces_of(held.texts.get(REPORT, ""), spans),
        charts=[series_chart(name.replace("_", " "), values) for name, values in held.series.items() if len(values)],
        near=near,
        warning=_warning(near),
    )


def _warning(near: Neighbour | None) -> str:
    if near is None:
        return ""
    if near.equal:
        return "A copy: what is compared is equal. It must not leave the house."
    if near.commoner is not None and near.commoner < 0.01:
        return "Nearer than all but one in a hundred real patients are to one another. Look closely."
    return ""


def _plan(card: Card) -> list[str]:
    return [f"{name.replace('_', ' ')}: {card.plan[name]}" for name in card.findings]


def pieces_of(text: str, spans: tuple[Span, ...]) -> list[tuple[str, Span | None]]:
    """A text in pieces, those of spans with their span."""
    found: list[tuple[str, Span | None]] = []
    at = 0
    for span in spans:
        if span.start > at:
            found.append((text[at : span.start], None))
        found.append((text[span.start : span.end], span))
        at = span.end
    return [*found, (text[at:], None)] if text[at:] else found
