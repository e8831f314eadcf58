"""Looking at synthetic patients beside the real ones who are most like them.

Until a data protection officer has released a cohort, nobody has shown that its patients are nobody: they are looked at
by readers of patient-level content and by the officer who is to decide, and every look is in the ledger. The real
neighbours are patients, and shown to readers of patient-level content alone, whatever was released. Which of them were
shown, the ledger keeps as it does for every study that is opened: under the installation's own key.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from django.core import signing
from django.core.cache import cache
from django.db import transaction

from core import ledger
from core.access import can, check_role
from core.case_keys import keyed_digest
from core.errors import DeniedError, NotFoundError
from core.models import Role, User
from core.reach import limited
from evaluation.access import check_may_read_patients
from evaluation.studies.held import HeldStudy, held_study, study_image
from synthetic.execution_gallery import gallery_file
from synthetic.gallery.cards import Card, Neighbour
from synthetic.models import Generation
from synthetic.selectors import cohort_of

AGAIN_SECONDS = 600
"""After so long, a gallery that has not come is asked for again, and so is one that could not be prepared."""
PAGE = 6
SIDES = ("made", "rows", "image")
IMAGE_SECONDS = 3600
"""How long the images of cards that were opened can be asked for."""
SALT = "synthetic.gallery.image"


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
    """One card with what the cohorts hold of its studies. ``rows`` and ``image`` are None for who may not see them.

    Attributes:
        image_key: What its images are asked for with: signed, for this person and this card, for an hour.
    """

    number: int
    card: Card
    made: HeldStudy
    rows: HeldStudy | None
    image: HeldStudy | None
    image_key: str


def check_may_see_gallery(user: User, order: Generation) -> None:
    """Anybody of the house once it is released; before, readers of patient-level content and the officer.

    Raises:
        DeniedError: the cohort is in quarantine, and ``user`` is neither.
    """
    if order.result is not None and not order.result.quarantined:
        return
    check_role(user, Role.PATIENT_READER, Role.DPO, to="look at synthetic patients who are in quarantine")


@limited
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
    body = json.loads(file.read_text()) if file.is_file() else None
    old = body is not None and "error" in body and time.time() - file.stat().st_mtime > AGAIN_SECONDS
    if (body is None or old) and cache.add(f"gallery-{order.pk}", "asked", AGAIN_SECONDS):
        from synthetic import tasks

        tasks.prepare_gallery.delay(order.pk)
    if body is None:
        return None
    cards = tuple(Card.from_dict(item) for item in body["cards"])
    return Gallery(cards=cards, error=body.get("error", ""), remedy=body.get("remedy", ""))


@limited
def open_cards(order: Generation, chosen: list[tuple[int, Card]], *, by: User) -> list[Seen]:
    """What the cohorts hold of some cards. Opening them is an act in the ledger.

    Args:
        chosen: Number of each card in the gallery, and the card.

    Raises:
        DeniedError: ``by`` may not see them.
    """
    check_may_see_gallery(by, order)
    assert order.result is not None and order.version is not None
    parent = cohort_of(order.version) if can(check_may_read_patients, by) else None
    real = parent.digest if parent else ""
    slug = order.version.system.slug
    near = {item.study for _, card in chosen for item in (card.by_rows, card.by_image) if item and real}
    shown = {"cohort": order.result.digest, "patients": len(chosen), "real_neighbours": bool(real)}
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="gallery.opened",
            subject=("Generation", order.pk),
            payload=shown | {"studies": sorted(keyed_digest("study", slug, study) for study in near)},
        )
    return [
        Seen(
            number=number,
            card=card,
            made=held_study(order.result.digest, card.shard, card.study, with_reference=True),
            rows=_held(real, card.by_rows),
            image=_held(real, card.by_image),
            image_key=signing.dumps([by.pk, order.pk, number], salt=SALT),
        )
        for number, card in chosen
    ]


def _held(cohort: str, near: Neighbour | None) -> HeldStudy | None:
    return held_study(cohort, near.shard, near.study, with_reference=True) if cohort and near else None


@limited
def card_image(order: Generation, number: int, side: str, *, key: str, by: User) -> bytes:
    """An image of a card that ``by`` has opened within the last hour, as PNG. That opening is the act on record.

    Args:
        side: Of the synthetic study (``made``), or of a neighbour by ``rows`` or by ``image``.

    Raises:
        DeniedError: ``by`` may not see it, or has not opened the card.
        NotFoundError: there is none.
    """
    gallery = gallery_of(order, by=by)
    if gallery is None or not 0 <= number < len(gallery.cards) or side not in SIDES:
        raise NotFoundError("The gallery has no such image.", remedy="Open the gallery again.")
    try:
        opened = signing.loads(key, salt=SALT, max_age=IMAGE_SECONDS)
    except signing.BadSignature:
        opened = None
    if opened != [by.pk, order.pk, number]:
        raise DeniedError("An image is shown in the gallery.", remedy="Open the gallery (again).")
    card = gallery.cards[number]
    assert order.result is not None and order.version is not None
    if side == "made":
        return study_image(order.result.digest, card.shard, card.study)
    check_may_read_patients(by)
    near, parent = {"rows": card.by_rows, "image": card.by_image}[side], cohort_of(order.version)
    if near is None or parent is None:
        raise NotFoundError("The gallery has no such image.", remedy="Open the gallery again.")
    return study_image(parent.digest, near.shard, near.study)
