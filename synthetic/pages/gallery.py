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
from django.utils.translation import gettext
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from core.access import can
from core.pages.readers import HouseRequest, reads
from core.templatetags.figures import percent, rate
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
    """One patient as a template shows it: ``pieces`` are the report in pieces with spans, ``distances`` in words."""

    title: str
    study: HeldStudy
    image: str
    pieces: list[tuple[str, Span | None]]
    charts: list[SeriesChart]
    distances: list[str]
    warning: str


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
    """An image of a card that was opened, for who opened it."""
    order, key = selectors.order_by_id(pk), request.GET.get("key", "")
    data = card_image(order, number, side, key=key, by=request.user)
    response = HttpResponse(data, content_type="image/png")
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _row(pk: int, seen: Seen) -> dict[str, Any]:
    card = seen.card
    made = _shown(pk, seen, "made", "Synthetic patient", seen.made, card.spans)
    return {"number": seen.number + 1, "card": card, "plan": _plan(card), "made": made, "near": _neighbours(pk, seen)}


def _neighbours(pk: int, seen: Seen) -> list[Shown]:
    """The real patients beside a card; one where the same study is nearest both ways."""
    rows, image = seen.card.by_rows, seen.card.by_image
    if seen.rows is not None and rows and image and rows.study == image.study:
        return [_shown(pk, seen, "rows", "Nearest real patient by rows and by image", seen.rows, near=(rows, image))]
    found = []
    if seen.rows is not None and rows:
        found.append(_shown(pk, seen, "rows", "Nearest real patient by rows", seen.rows, near=(rows,)))
    if seen.image is not None and image:
        found.append(_shown(pk, seen, "image", "Nearest real image", seen.image, near=(image,)))
    return found


def _shown(
    pk: int,
    seen: Seen,
    side: str,
    title: str,
    held: HeldStudy,
    spans: tuple[Span, ...] = (),
    near: tuple[Neighbour, ...] = (),
) -> Shown:
    source = f"{reverse('gallery-image', args=[pk, seen.number, side])}?{urlencode({'key': seen.image_key})}"
    return Shown(
        title=title,
        study=held,
        image=source if held.has_image else "",
        pieces=pieces_of(held.texts.get(REPORT, ""), spans),
        charts=[series_chart(name.replace("_", " "), values) for name, values in held.series.items() if len(values)],
        distances=[_distance(item) for item in near],
        warning=next((warning for item in near if (warning := _warning(item))), ""),
    )


def _distance(near: Neighbour) -> str:
    """The distance in words, beside those of patients who were never learnt from."""
    said = gettext("Distance %(x3)s") % {"x3": rate(near.distance, 3)}
    if near.commoner is None:
        return f"{said}."
    of = gettext("%(others)s real patients never learnt from") % {"others": f"{near.others:,}"}
    said += gettext("; typical of %(of)s: %(x3)s. %(commoner)s of them have somebody as near.") % {
        "of": of,
        "x3": rate(near.typical, 3),
        "commoner": percent(near.commoner),
    }
    return (
        gettext("%(said)s Too little is compared to tell a copy.") % {"said": said}
        if near.equal and not near.copied
        else said
    )


def _warning(near: Neighbour) -> str:
    if near.copied:
        return "A copy: what is compared is equal. It must not leave the house."
    if near.too_near:
        return (
            "Less than half as far as the nearest in a hundred of those never learnt from: look whether it is a copy."
        )
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
