"""Looking at synthetic patients beside the real ones who are most like them.

Until a data protection officer has released a cohort, nobody has shown that its patients are nobody: they are looked at
by readers of patient-level content and by the officer who is to decide, and every look is in the ledger. The real
neighbours are patients, and shown to readers of patient-level content alone, whatever was released.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.core.cache import cache
from django.db import transaction

from core import ledger
from core.access import can, check_role, roles_of
from core.errors import NotFoundError
from core.models import Role, User
from evaluation.access import check_may_read_patients
from evaluation.studies.held import HeldStudy, held_study, study_image
from synthetic.execution_gallery import gallery_file
from synthetic.gallery.cards import Card, Neighbour
from synthetic.models import Generation
from synthetic.selectors import cohort_of

AGAIN_SECONDS = 600
"""After so long, a gallery that has not come is asked for again."""
PAGE = 6
SIDES = ("made", "rows", "image")


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The cards of an order, or why there are none."""

    cards: tuple[Card, ...]
    error: str = ""
    remedy: str = ""

    @property
    def findings(self) -> list[str]:
        return sorted({name for card in self.cards for name in card.findings})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One card with what the cohorts hold of its studies. ``rows`` and ``image`` are None for who may not see them."""

    number: int
    card: Card
    made: HeldStudy
    rows: HeldStudy | None
    image: HeldStudy | None


def check_may_see_gallery(user: User, order: Generation) -> None:
    """Anybody of the house once it is released; before, readers of patient-level content and the officer.

    Raises:
        DeniedError: the cohort is in quarantine, and ``user`` is neither.
    """
    if order.result is not None and not order.result.quarantined:
        return
    check_role(user, Role.PATIENT_READER, Role.DPO, to="look at synthetic patients who are in quarantine")


def gallery_of(order: Generation, *, by: User) -> Gallery | None:
    """The gallery; None where it is being prepared, which this asks for.

    Raises:
        DeniedError: ``by`` may not see it.
        NotFoundError: the order has made nobody.
    """
    check_may_see_gallery(by, order)
    if order.result is None:
        raise NotFoundError("This order has made no patients yet.", remedy="Wait until it is done.")
    file = gallery_file(order)
    if not file.is_file():
        if cache.add(f"gallery-{order.pk}", "asked", AGAIN_SECONDS):
            from synthetic import tasks

            tasks.prepare_gallery.delay(order.pk)
        return None
    body = json.loads(file.read_text())
    cards = tuple(Card.from_dict(item) for item in body["cards"])
    return Gallery(cards=cards, error=body.get("error", ""), remedy=body.get("remedy", ""))


def open_cards(order: Generation, chosen: list[tuple[int, Card]], *, by: User) -> list[Seen]:
    """What the cohorts hold of some cards. Opening them is an act in the ledger.

    Args:
        chosen: Number of each card in the gallery, and the card.

    Raises:
        DeniedError: ``by`` may not see them.
    """
    check_may_see_gallery(by, order)
    assert order.result is not None and order.version is not None
    readers = Role.PATIENT_READER in roles_of(by) and can(check_may_read_patients, by).allowed
    parent = cohort_of(order.version)
    real = parent.digest if parent and readers else ""
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="gallery.opened",
            subject=("Generation", order.pk),
            payload={"cohort": order.result.digest, "patients": len(chosen), "real_neighbours": bool(real)},
        )
    return [
        Seen(
            number=number,
            card=card,
            made=held_study(order.result.digest, card.shard, card.study, with_reference=True),
            rows=_held(real, card.by_rows),
            image=_held(real, card.by_image),
        )
        for number, card in chosen
    ]


def _held(cohort: str, near: Neighbour | None) -> HeldStudy | None:
    return held_study(cohort, near.shard, near.study, with_reference=True) if cohort and near else None


def card_image(order: Generation, number: int, side: str, *, by: User) -> bytes:
    """An image of a card as PNG: of the synthetic study (``made``), or of a neighbour by ``rows`` or by ``image``.

    Raises:
        DeniedError: ``by`` may not see it.
        NotFoundError: there is none.
    """
    gallery = gallery_of(order, by=by)
    if gallery is None or not 0 <= number < len(gallery.cards) or side not in SIDES:
        raise NotFoundError("The gallery has no such image.", remedy="Open the gallery again.")
    card = gallery.cards[number]
    assert order.result is not None and order.version is not None
    if side == "made":
        return study_image(order.result.digest, card.shard, card.study)
    check_may_read_patients(by)
    near, parent = {"rows": card.by_rows, "image": card.by_image}[side], cohort_of(order.version)
    if near is None or parent is None:
        raise NotFoundError("The gallery has no such image.", remedy="Open the gallery again.")
    return study_image(parent.digest, near.shard, near.study)
