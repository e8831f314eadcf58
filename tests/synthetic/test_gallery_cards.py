"""Who is shown in a gallery: copies come first and are told, a redraw is told to be none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthetic.gallery.cards import SHOWN, Card, choose_cards
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.likeness_scene import world


def cards_of(made: LinkedStudies) -> list[Card]:
    sets = world()
    shards = [dict.fromkeys(one.study_ids.tolist(), 0) for one in (made, sets.learnt)]
    return choose_cards(made, sets.learnt, sets.held_out, shards=shards, seed=4)


def renamed(studies: LinkedStudies, name: str) -> LinkedStudies:
    patients, names = (
        np.array([f"{name}-{old}" for old in ids], dtype=object) for ids in (studies.patient_ids, studies.study_ids)
    )
    return replace(studies, patient_ids=patients, study_ids=names)


def test_a_redraw_raises_no_warning_and_stands_where_real_patients_do() -> None:
    cards = cards_of(world().synthetic)
    assert len(cards) == SHOWN == len({card.patient for card in cards})
    near = [item for card in cards for item in (card.by_rows, card.by_image) if item]
    assert len(near) > SHOWN and not any(item.copied or item.too_near for item in near)
    lot = [card.by_rows.commoner for card in cards[SHOWN // 2 :] if card.by_rows]
    assert 0.25 < float(np.median(np.array(lot, dtype=np.float64))) < 0.95
    assert near[0].others == len(world().held_out.patients)
    assert [Card.from_dict(card.to_dict()) for card in cards] == cards


def test_planted_copies_come_first_with_the_patient_whom_they_copy() -> None:
    sets = world()
    few = sets.learnt.patients[10:15]
    copies = sets.learnt.rows(np.isin(sets.learnt.patient_ids.astype(str), few))
    made = LinkedStudies.joined([sets.synthetic.rows(np.arange(300)), renamed(copies, "copy")])
    first = cards_of(made)[: len(few)]
    assert {card.patient for card in first} == {f"copy-{name}" for name in few}
    for card in first:
        assert card.by_rows is not None and card.by_rows.copied and card.by_rows.distance == 0
        assert f"copy-{card.by_rows.patient}" == card.patient


def test_an_image_that_is_nearly_a_copy_is_told_although_its_rows_are_another_patients() -> None:
    sets = world()
    made = sets.synthetic
    assert made.images is not None and sets.learnt.images is not None
    place = int(np.flatnonzero((made.visits() == 0) & made.has_image)[50])
    real = int(np.flatnonzero((sets.learnt.visits() == 0) & sets.learnt.has_image)[7])
    images = made.images.copy()
    noise = np.random.default_rng(0).integers(-2, 3, images[place].shape)
    images[place] = np.clip(sets.learnt.images[real].astype(np.int64) + noise, 0, 255).astype(np.uint8)
    cards = cards_of(replace(made, images=images))
    told = {card.study: card.by_image for card in cards[: SHOWN // 2]}
    found = told[str(made.study_ids[place])]
    assert found is not None and found.study == str(sets.learnt.study_ids[real])
    assert found.too_near and not found.equal
    others = [item for study, item in told.items() if item and study != str(made.study_ids[place])]
    assert not any(item.too_near for item in others)


def test_patients_without_images_have_a_neighbour_by_rows_alone() -> None:
    made = replace(world().synthetic, images=None, has_image=np.zeros(len(world().synthetic), dtype=np.bool_))
    cards = cards_of(made)
    assert len(cards) == SHOWN and all(card.by_image is None and card.by_rows is not None for card in cards)
