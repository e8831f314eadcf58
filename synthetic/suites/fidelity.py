"""Fidelity: whether synthetic patients look like real ones, column by column and modality by modality.

Every figure holds synthetic against held-out real patients, and is given once more with as many of the patients that
were learnt from in the place of the synthetic ones: what a perfect generator would reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.studies import Tell
from synthetic.suites import fidelity_images as images
from synthetic.suites import fidelity_manifold as manifold
from synthetic.suites import fidelity_series as series
from synthetic.suites import fidelity_tables as tables
from synthetic.suites import fidelity_texts as texts
from synthetic.suites.fidelity_metrics import GATES, MEANINGS, METRICS
from synthetic.suites.fidelity_sdmetrics import sdmetrics_reports
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.likeness_columns import frame, schema
from synthetic.suites.likeness_gathering import Work, check_apart, equal_patients, gathered, lacking
from synthetic.suites.likeness_reader import ImageReader, train_reader

__all__ = ["GATES", "MEANINGS", "METRICS", "audit_fidelity"]


def audit_fidelity(
    sets: AuditSets, *, tell: Tell | None = None, reader: ImageReader | None = None, sdmetrics: bool = True
) -> tuple[Figure, ...]:
    """All figures of :data:`METRICS`. What cannot be computed has no value and says why; the others stand.

    Args:
        reader: Of images, learnt from ``sets.readers`` alone; trained here where it is left out.
        sdmetrics: Whether SDMetrics' reports are attached.

    Raises:
        AuscultError: two of the real sets share patients, or a set is too small.
    """
    check_apart(sets)
    with fixed_threads():
        return gathered(_work(sets, reader, sdmetrics), tell)


def _work(sets: AuditSets, reader: ImageReader | None, sdmetrics: bool) -> dict[tuple[str, ...], Work]:
    seed = sets.seed
    no_images, no_reports = images.no_images(sets), texts.no_reports(sets)

    @cache
    def frames() -> tables.Frames:
        columns = schema((sets.learnt, sets.readers, sets.held_out))
        learnt = equal_patients(sets.synthetic, sets.learnt, seed=seed, purpose="null")
        parts = {"synthetic": sets.synthetic, "learnt": learnt, "readers": sets.readers, "held_out": sets.held_out}
        return tables.Frames(columns=columns, **{name: frame(one, columns) for name, one in parts.items()})

    @cache
    def points() -> manifold.Points:
        return manifold.patients_as_points(frames(), seed=seed)

    @cache
    def features() -> images.Features:
        return images.Features(sets, reader or train_reader(sets.readers, seed=seed))

    work: dict[tuple[str, ...], Work] = {
        ("referential_integrity",): lambda: tables.integrity(sets),
        ("column_shape", "column_shape_mean", "missing_share"): lambda: tables.shapes(frames()),
        ("pair_trend", "pair_trend_mean", "intertable_trend", "intertable_trend_mean"): lambda: tables.pairs(frames()),
        ("cardinality",): lambda: tables.cardinality(frames()),
        ("series_lag1", "visit_lag1"): lambda: series.lags(sets),
        ("time_index",): lambda: series.time_index(sets),
        ("c2st",): lambda: manifold.classifier(frames(), seed=seed),
        ("alpha_precision", "beta_recall", "authenticity"): lambda: _of_points(points(), "columns", seed),
    }
    if no_images:
        metrics = [name for name in METRICS if name.startswith("image_")]
        work[("image_frechet", "image_kid", "image_variety")] = lambda: lacking(metrics, no_images)
    else:
        work[("image_frechet", "image_kid")] = lambda: images.distances(features(), seed)
        work[("alpha_precision", "beta_recall")] = lambda: _of_points(features().points(), "images", seed)
        work[("image_variety",)] = lambda: images.variety(sets)
    if no_reports:
        metrics_of_texts = ("text_perplexity", "self_bleu", "contradictions")
        work[metrics_of_texts] = lambda: lacking(metrics_of_texts, no_reports)
    else:
        work[("text_perplexity",)] = lambda: texts.perplexity(sets)
        work[("self_bleu",)] = lambda: texts.self_bleu(sets)
        work[("contradictions",)] = lambda: texts.contradictions(sets)
    if sdmetrics:
        work[("sdmetrics",)] = lambda: sdmetrics_reports(frames(), seed=seed)
    return work


def _of_points(points: manifold.Points, of: str, seed: int) -> Iterator[Figure]:
    yield manifold.precision(points, of, seed=seed)
    yield manifold.recall(points, of, seed=seed)
    if of != "images":
        yield manifold.authenticity(points, of)
