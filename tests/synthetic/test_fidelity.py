"""Fidelity: a redraw fails nothing, and each planted defect fails where it lies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.studies import LinkedStudies
from synthetic.suites import fidelity_images as images
from synthetic.suites import fidelity_manifold as manifold
from synthetic.suites import fidelity_series as series
from synthetic.suites import fidelity_tables as tables
from synthetic.suites import fidelity_texts as texts
from synthetic.suites.fidelity import GATES, MEANINGS, METRICS, audit_fidelity
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.likeness_columns import frame, schema
from tests.synthetic.likeness_scene import failing, reader, valued, with_synthetic, without, world


def frames_of(sets: AuditSets) -> tables.Frames:
    columns = schema((sets.learnt, sets.readers, sets.held_out))
    parts = {name: frame(getattr(sets, name), columns) for name in ("synthetic", "learnt", "readers", "held_out")}
    return tables.Frames(columns=columns, **parts)


def failed(figures: Iterable[Figure]) -> set[tuple[str, str]]:
    return failing(figures, METRICS, GATES)


def shuffled(studies: LinkedStudies, seed: int = 0) -> LinkedStudies:
    """Every attribute and label in an order of its own: columns keep their shapes and lose each other."""
    rng = np.random.default_rng(seed)
    whose, first = np.unique(studies.patient_ids.astype(str), return_index=True)
    codes = np.searchsorted(whose, studies.patient_ids.astype(str))
    mixed = {name: values[first][rng.permutation(len(first))][codes] for name, values in studies.attributes.items()}
    labels = {name: values[rng.permutation(len(values))] for name, values in studies.labels.items()}
    return replace(studies, attributes=mixed, labels=labels)


def test_a_redraw_fails_nothing_and_stands_beside_its_null() -> None:
    told: list[float] = []
    figures = audit_fidelity(world(), reader=reader(), tell=lambda share, message: told.append(share))
    assert failed(figures) == set()
    assert {item.metric for item in figures} == set(METRICS) == set(MEANINGS) and set(GATES) <= set(METRICS)
    # Scanners are drawn study by study, and everyone has a region: nothing is lacking but what is constant.
    assert [item.of for item in figures if item.value is None] == []
    assert all(item.null is not None for item in figures if item.value is not None)
    assert told == sorted(told) and told[-1] == 1.0
    assert len({(item.metric, item.of) for item in figures}) == len(figures)
    json.dumps([item.to_dict() for item in figures], allow_nan=False)
    assert abs(valued(figures, "c2st", "series").value - 0.5) < 0.08  # type: ignore[operator]


def test_shuffled_columns_keep_their_shapes_and_lose_their_pairs() -> None:
    clean = frames_of(world())
    broken = frames_of(replace(world(), synthetic=shuffled(world().synthetic)))
    assert failed(tables.pairs(clean)) == set()
    found = failed(tables.pairs(broken))
    assert ("pair_trend", "age and region") in found and ("intertable_trend_mean", "") in found
    assert failed(tables.shapes(broken)) == set()


def test_a_shifted_column_fails_by_name_and_alone() -> None:
    made = world().synthetic
    older = np.array([value + 15 for value in made.attributes["age"]], dtype=object)
    found = frames_of(with_synthetic(attributes={**made.attributes, "age": older}))
    assert failed(tables.shapes(found)) == {("column_shape", "age")}
    assert ("c2st", "patients and studies") in failed(manifold.classifier(found, seed=1))


def test_the_distance_of_numbers_is_that_of_kolmogorov_and_smirnov() -> None:
    from scipy.stats import ks_2samp

    sets = world()
    of_age = [
        np.array([value for value, visit in zip(one.attributes["age"], one.visits(), strict=True) if visit == 0])
        for one in (sets.synthetic, sets.held_out)
    ]
    found = valued(tables.shapes(frames_of(sets)), "column_shape", "age")
    assert found.value == pytest.approx(1 - ks_2samp(*of_age).statistic)
    assert found.n == len(of_age[0]) and found.counted == "patients"


def test_columns_that_tell_nothing_are_not_computable() -> None:
    sets = world()
    changed = {}
    for name in ("learnt", "readers", "held_out", "synthetic"):
        one: LinkedStudies = getattr(sets, name)
        n = len(one)
        lacking = {"hospital": np.array(["x"] * n, dtype=object), "weight": np.array([None] * n, dtype=object)}
        changed[name] = replace(one, attributes={**one.attributes, **lacking})
    figures = list(tables.shapes(frames_of(replace(sets, **changed))))
    hospital, weight = (valued(figures, "column_shape", name) for name in ("hospital", "weight"))
    assert (hospital.value, hospital.reason) == (None, "all patients have the same value")
    assert (weight.value, weight.reason) == (None, "no real patient has a value")
    lost = replace(
        sets.synthetic, attributes={**sets.synthetic.attributes, "age": np.array([None] * len(sets.synthetic))}
    )
    found = valued(tables.shapes(frames_of(replace(sets, synthetic=lost))), "column_shape", "age")
    assert (found.value, found.reason) == (None, "no synthetic patient has a value")


def test_a_value_that_few_hold_is_named_nowhere() -> None:
    sets, changed = world(), {}
    for name in ("learnt", "readers", "held_out", "synthetic"):
        one: LinkedStudies = getattr(sets, name)
        values = one.attributes["region"].copy()
        values[one.patient_ids == one.patients[0]] = "Lighthouse"
        changed[name] = replace(one, attributes={**one.attributes, "region": values})
    found = frames_of(replace(sets, **changed))
    assert all("Lighthouse" not in column.codes for column in found.columns)
    figures = [*tables.shapes(found), *tables.pairs(found)]
    assert "Lighthouse" not in json.dumps([item.to_dict() for item in figures])


def test_keys_of_real_patients_and_double_studies_are_found() -> None:
    made = world().synthetic
    assert failed(tables.integrity(world())) == set()
    copied = made.patient_ids.copy()
    copied[copied == made.patients[0]] = world().learnt.patients[0]
    assert failed(tables.integrity(with_synthetic(patient_ids=copied))) == {
        ("referential_integrity", "patients who are none of the real ones")
    }
    double = made.study_ids.copy()
    double[1] = double[0]
    assert failed(tables.integrity(with_synthetic(study_ids=double))) == {
        ("referential_integrity", "studies of a name of their own")
    }
    orphans = made.patient_ids.copy()
    orphans[0] = ""
    of = {of for _, of in failed(tables.integrity(with_synthetic(patient_ids=orphans)))}
    assert "studies that belong to a patient" in of


def test_the_number_of_visits_is_compared() -> None:
    first = world().synthetic.visits() == 0
    alone = replace(world(), synthetic=world().synthetic.rows(first))
    assert failed(tables.cardinality(frames_of(alone))) == {("cardinality", "")}


def test_a_repeated_time_index_fails() -> None:
    made = world().synthetic
    repeated = [None if item is None else item[np.array([0, *range(len(item) - 1)])] for item in made.series["crp"]]
    found = failed(series.time_index(with_synthetic(series={**made.series, "crp": repeated})))
    assert found == {("time_index", "crp")} and failed(series.time_index(world())) == set()


def test_readings_drawn_one_by_one_lose_their_course() -> None:
    made, rng = world().synthetic, np.random.default_rng(0)
    values = rng.permutation(np.concatenate([item[:, 1] for item in made.series["crp"] if item is not None])).tolist()
    mixed = [
        None if item is None else np.column_stack([item[:, 0], [values.pop() for _ in item]])
        for item in made.series["crp"]
    ]
    assert failed(series.lags(world())) == set()
    assert failed(series.lags(with_synthetic(series={**made.series, "crp": mixed}))) == {("series_lag1", "crp")}


def test_a_collapsed_set_is_precise_and_recalls_nothing() -> None:
    made = world().synthetic
    few = np.isin(made.patient_ids.astype(str), made.patients[:12])
    rows = np.tile(np.flatnonzero(few), 40)
    names = np.array([f"{made.patient_ids[row]}-{k // few.sum()}" for k, row in enumerate(rows)], dtype=object)
    collapsed = replace(world(), synthetic=replace(made.rows(rows), patient_ids=names))
    points = manifold.patients_as_points(frames_of(collapsed), seed=1)
    assert failed([manifold.recall(points, "columns", seed=1)]) == {("beta_recall", "columns")}
    clean = manifold.patients_as_points(frames_of(world()), seed=1)
    assert failed([manifold.recall(clean, "columns", seed=1), manifold.authenticity(clean, "columns")]) == set()


def test_copies_of_the_learnt_patients_are_not_authentic_and_far_away_ones_not_precise() -> None:
    points = manifold.patients_as_points(frames_of(world()), seed=1)
    assert failed([manifold.authenticity(replace(points, synthetic=points.learnt), "columns")])
    far = replace(points, synthetic=1.6 * points.synthetic)
    assert failed([manifold.precision(far, "columns", seed=1)]) == {("alpha_precision", "columns")}


def test_noise_and_repeated_images_are_found() -> None:
    made = world().synthetic
    assert made.images is not None
    noise = np.random.default_rng(0).integers(0, 255, made.images.shape).astype(np.uint8)
    noisy = with_synthetic(images=noise)
    found = failed(images.distances(images.Features(noisy, reader()), seed=1))
    assert found == {("image_frechet", "")}
    same = with_synthetic(images=np.broadcast_to(made.images[:1], made.images.shape).copy())
    assert failed(images.variety(same)) == {("image_variety", "")}
    assert failed(images.variety(world())) == set()


def test_ms_ssim_is_1_of_equal_images_and_falls_with_noise() -> None:
    made = world().synthetic.images
    assert made is not None
    rng = np.random.default_rng(0)
    some = made[:20]
    noisier = [np.clip(some + rng.normal(0, spread, some.shape), 0, 255).astype(np.uint8) for spread in (5, 40)]
    assert images.ms_ssim(some, some) == pytest.approx(np.ones(20))
    near, far = (images.ms_ssim(some, one) for one in noisier)
    assert (near > far).all() and (far < 0.9).all()


def test_the_distance_of_gaussians_is_frechets() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, (200, 4)), rng.normal(0.5, 2, (300, 4))
    sums = [images._sums(points, np.arange(len(points))).sum(axis=0) for points in (one, two)]
    covariances = [np.cov(points.T, bias=True) for points in (one, two)]
    crossed = sqrtm(covariances[0] @ covariances[1]).real
    apart = ((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum()
    assert images._distance(*sums) == pytest.approx(apart + np.trace(sum(covariances) - 2 * crossed))


def test_a_language_model_gives_probabilities() -> None:
    heard = ["no effusion is seen .", "no effusion .", "large effusion is seen .", "large heart ."]
    model = texts.TrigramModel(heard)
    words = [*sorted({word for text in heard for word in text.split()}), "</s>", "<unseen>"]
    known = [word for word in words if word in model._known or word == "<unseen>"]
    for context in (("<s>", "<s>"), ("<s>", "no"), ("no", "effusion"), ("never", "heard")):
        assert sum(model._probability([*context, word]) for word in known) == pytest.approx(1, abs=0.01)
    near, far = (model.surprise(text) for text in ("no effusion is seen .", "seen is effusion no ."))
    assert near[0] / near[1] < far[0] / far[1]


def test_reports_that_babble_repeat_or_contradict_themselves_are_found() -> None:
    sets, rng = world(), np.random.default_rng(0)
    told = sets.synthetic.texts["reference"]
    babble = np.array([" ".join(rng.permutation(text.split())) for text in told], dtype=object)
    assert failed(texts.perplexity(sets)) == set()
    assert failed(texts.perplexity(with_synthetic(texts={"reference": babble}))) == {("text_perplexity", "")}
    against = np.array(
        [f"{text} Right pleural effusion. No pleural effusion." if k % 4 == 0 else text for k, text in enumerate(told)],
        dtype=object,
    )
    assert failed(texts.contradictions(with_synthetic(texts={"reference": against}))) == {("contradictions", "")}


def test_self_bleu_tells_variety_from_repetition() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{k}" for k in range(300)]
    sets = {}
    for name in ("learnt", "held_out", "synthetic"):
        one: LinkedStudies = getattr(world(), name)
        made = np.array([" ".join(rng.choice(words, 12)) for _ in range(len(one))], dtype=object)
        sets[name] = replace(one, texts={"reference": made})
    assert failed(texts.self_bleu(replace(world(), **sets))) == set()
    same = np.array([sets["synthetic"].texts["reference"][0]] * len(sets["synthetic"]), dtype=object)
    sets["synthetic"] = replace(sets["synthetic"], texts={"reference": same})
    assert failed(texts.self_bleu(replace(world(), **sets))) == {("self_bleu", "")}
    grams = [texts._grams(texts.words_of(text)) for text in ("the heart is large .", "no effusion here at all .")]
    assert texts.bleu(grams[0], grams) == pytest.approx(1.0) and texts.bleu(grams[0], grams[1:]) < 0.5


def test_what_is_not_there_is_said_and_a_crash_stops_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(frames: tables.Frames) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tables, "cardinality", crash)
    bare = without(world(), images=None, series={}, texts={})
    bare = replace(
        bare,
        **{
            name: replace(getattr(bare, name), has_image=np.zeros(len(getattr(bare, name)), dtype=np.bool_))
            for name in ("learnt", "readers", "held_out", "synthetic")
        },
    )
    figures = audit_fidelity(bare, sdmetrics=False)
    reasons = {item.metric: item.reason for item in figures if item.value is None}
    assert reasons["cardinality"] == "the computation broke off with ZeroDivisionError" and "crashed" in caplog.text
    assert "fewer than 50 images" in reasons["image_frechet"] and "fewer than 50 reports" in reasons["self_bleu"]
    assert reasons["time_index"] == reasons["series_lag1"] == "the cohort has no series"
    assert failed(figures) == set() and valued(figures, "column_shape_mean").value is not None
    assert audit_fidelity(bare, sdmetrics=False) == figures, "equal sets give equal figures"


def test_sets_that_share_patients_and_sets_that_are_too_small_are_refused() -> None:
    shared = replace(world(), readers=LinkedStudies.joined([world().readers, world().held_out.rows(slice(0, 3))]))
    with pytest.raises(AuscultError, match="'readers' and in 'held_out'"):
        audit_fidelity(shared)
    with pytest.raises(AuscultError, match="The set 'synthetic' has 3 patients"):
        audit_fidelity(
            replace(world(), synthetic=world().synthetic.rows(world().synthetic.visits() == 0).rows(slice(0, 3)))
        )


def test_whoever_tells_can_stop_the_work() -> None:
    def stop(share: float, message: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        audit_fidelity(world(), tell=stop)
