"""Cross-modal consistency: a redraw fails nothing; sides, reports, images and series that do not belong together do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.plans import PARTS, SIDES, Plans
from synthetic.generators.studies import LinkedStudies
from synthetic.suites import crossmodal_agreement as agreement
from synthetic.suites.crossmodal import GATES, MEANINGS, METRICS, audit_crossmodal
from synthetic.suites.crossmodal_reading import look_at, told_plans
from synthetic.suites.crossmodal_retrieval import _one_each, _recalled, lab_gaps
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.likeness_reader import train_reader
from tests.synthetic.likeness_scene import FINDINGS, failing, patients, reader, report, valued, with_synthetic, world


def failed(figures: Iterable[Figure]) -> set[tuple[str, str]]:
    return failing(figures, METRICS, GATES)


def audited(sets: AuditSets) -> tuple[Figure, ...]:
    return audit_crossmodal(sets, reader=reader())


def other_sides(plans: Plans, seed: int = 0) -> Plans:
    """Sides drawn anew, without a look at anything else."""
    side = plans.side.copy()
    told = side >= 0
    side[told] = np.random.default_rng(seed).integers(0, 2, told.sum())
    return replace(plans, side=side)


def written(plans: Plans) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"reference": np.array([report(plans, row, rng) for row in range(len(plans))], dtype=object)}


def test_a_redraw_fails_nothing_and_reaches_the_ceiling() -> None:
    figures = audited(world())
    assert failed(figures) == set()
    assert set(METRICS) == set(MEANINGS) and set(GATES) <= set(METRICS)
    assert {item.metric for item in figures} >= set(GATES)
    for metric in ("finding_agreement", "side_agreement", "report_side_agreement", "image_report_side"):
        found = valued(figures, metric)
        assert found.value == pytest.approx(1, abs=0.06) and found.null == pytest.approx(1, abs=0.06)
    permuted = valued(figures, "retrieval_permuted", "R@10").value
    assert permuted is not None and permuted < 2, "exchanged reports are found by chance"
    assert len({(item.metric, item.of) for item in figures}) == len(figures)
    json.dumps([item.to_dict() for item in figures], allow_nan=False)
    assert audited(world()) == figures, "equal sets give equal figures"


def test_sides_that_the_image_does_not_show_fail_while_labels_stand() -> None:
    plans = other_sides(world().synthetic.plans)
    figures = audited(with_synthetic(plans=plans, texts=written(plans)))
    found = failed(figures)
    assert {("side_agreement", ""), ("image_report_side", ""), ("side_agreement", "effusion")} <= found
    assert not {metric for metric, _ in found} & {"finding_agreement", "report_agreement", "report_side_agreement"}


def test_labels_alone_never_pass() -> None:
    """Reports written from labels, their sides by chance: where the plan is read from them, the image tells."""
    made = world().synthetic
    figures = audited(with_synthetic(texts=written(other_sides(made.plans))))
    found = failed(figures)
    assert {("report_side_agreement", ""), ("image_report_side", "")} <= found
    assert not any(metric in ("finding_agreement", "report_agreement") for metric, _ in found)
    silent = np.array(
        [text.replace("left ", "").replace("right ", "") for text in made.texts["reference"]], dtype=object
    )
    figures = audited(with_synthetic(texts={"reference": silent}))
    assert ("report_side_agreement", "") in failed(figures), "a report that tells no side agrees with none"
    assert valued(figures, "image_report_side", "effusion").value is None


def test_images_of_other_patients_and_noise_fail() -> None:
    made = world().synthetic
    assert made.images is not None
    noise = np.random.default_rng(0).integers(0, 255, made.images.shape).astype(np.uint8)
    found = failed(audited(with_synthetic(images=noise)))
    assert {("finding_agreement", ""), ("side_agreement", ""), ("retrieval", "R@10")} <= found
    turned = failed(audited(with_synthetic(images=np.roll(made.images, 7, axis=0))))
    assert {("finding_agreement", name) for name in FINDINGS} <= turned


def test_reports_of_others_are_not_found_by_their_images() -> None:
    made = world().synthetic
    mixed = made.texts["reference"][np.random.default_rng(0).permutation(len(made))]
    found = failed(audited(with_synthetic(texts={"reference": mixed})))
    assert {("retrieval", "R@1"), ("retrieval", "R@10"), ("report_agreement", "")} <= found


def test_equal_reports_share_their_places() -> None:
    """Where all reports are the same, each is found with the chance of its place."""
    made = world().synthetic
    same = replace(made, texts={"reference": np.array([made.texts["reference"][0]] * len(made), dtype=object)})
    looked = look_at(same, reader(), FINDINGS)
    places = _one_each(looked, 1)
    assert _recalled(looked, places, 200, 10).value == pytest.approx(10 / 200)


def test_findings_that_leave_the_series_alone_fail() -> None:
    made = world().synthetic
    present = made.plans.present[:, FINDINGS.index("consolidation")]
    halved = [
        None if item is None else item - np.array([0, 30.0 * present[row]])
        for row, item in enumerate(made.series["crp"])
    ]
    assert failed(lab_gaps(world())) == set()
    found = failed(lab_gaps(with_synthetic(series={**made.series, "crp": halved})))
    assert ("lab_gap", "crp and consolidation") in found


def test_a_plan_is_read_from_the_words_of_a_report() -> None:
    plans = world().synthetic.plans
    told = told_plans(world().synthetic.texts["reference"].tolist(), FINDINGS)
    assert (told.present == plans.present).all()
    for part in PARTS:
        assert (told.part(part) == plans.part(part)).all()
    (resolved,) = told_plans(["Resolved left pleural effusion."], ("effusion",)).present.tolist()
    assert resolved == [0] and told_plans([None], ("effusion",)).present.tolist() == [[0]]


def test_a_finding_that_real_images_do_not_show_is_not_judged_by_images() -> None:
    sets, changed = world(), {}
    for name in ("learnt", "readers", "held_out", "synthetic"):
        one: LinkedStudies = getattr(sets, name)
        rng = np.random.default_rng(len(one))
        hidden = rng.integers(0, 2, len(one)).astype(np.int8)
        columns = {part: np.column_stack([one.plans.part(part), np.full(len(one), -1, np.int8)]) for part in PARTS}
        present = np.column_stack([one.plans.present, hidden])
        changed[name] = replace(one, plans=Plans(findings=(*FINDINGS, "gout"), present=present, **columns))
    own = train_reader(changed["readers"], seed=1, steps=50)
    held = look_at(changed["held_out"], own, (*FINDINGS, "gout"))
    looked = agreement.LookedSets(findings=(*FINDINGS, "gout"), synthetic=held, learnt=held, held_out=held)
    figures = list(agreement.findings_in_images(looked))
    assert {item.of for item in figures if item.metric == "finding_agreement"} == {*FINDINGS, ""}
    ceiling = valued(figures, "finding_ceiling", "gout")
    assert ceiling.value == pytest.approx(0.5, abs=0.1) and ceiling.detail["judged"] is False


def test_what_is_not_there_is_said() -> None:
    sets, changed = world(), {}
    for name in ("learnt", "readers", "held_out", "synthetic"):
        one: LinkedStudies = getattr(sets, name)
        changed[name] = replace(one, images=None, has_image=np.zeros(len(one), dtype=np.bool_), series={})
    figures = audit_crossmodal(replace(sets, **changed))
    reasons = {item.metric: item.reason for item in figures if item.value is None}
    assert all("fewer than 50 images" in reasons[name] for name in ("side_agreement", "retrieval", "finding_agreement"))
    assert reasons["lab_gap"] == "the cohort has no series"
    assert valued(figures, "report_agreement").value == pytest.approx(1)


def test_patients_in_two_sets_are_refused() -> None:
    with pytest.raises(AuscultError, match="'learnt' and in 'readers'"):
        audit_crossmodal(replace(world(), readers=world().learnt))


def test_the_reader_is_the_same_for_the_same_seed() -> None:
    few = patients(9, "few", 150)
    assert few.images is not None
    one, two, other = (train_reader(few, seed=seed, steps=4).see(few.images[:20]) for seed in (1, 1, 2))
    assert (one.present == two.present).all() and (one.features == two.features).all()
    assert not (one.present == other.present).all()
    assert one.parts["side"].shape == (20, 3, len(SIDES))
    with pytest.raises(AuscultError, match="too few to learn from"):
        train_reader(few.rows(slice(0, 50)), seed=1)
