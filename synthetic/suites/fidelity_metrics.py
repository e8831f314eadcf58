"""What the suite on fidelity measures, and the margins that are proposed for it."""

from __future__ import annotations

from evaluation.engine.registry import MetricInfo, MetricKind

RATE, DEVIATION, DESCRIBED = MetricKind.RATE, MetricKind.DEVIATION, MetricKind.DESCRIBED
EXACT = 1 - 1e-6
"""The margin of what has to be 1: below it by less than one study among a million."""

METRICS: dict[str, MetricInfo] = {
    "column_shape": MetricInfo(title="likeness of a column's values", kind=RATE, counted="values"),
    "column_shape_mean": MetricInfo(title="mean likeness of the columns' values", kind=RATE, counted="columns"),
    "missing_share": MetricInfo(title="share of values that are missing, less the real one", kind=DESCRIBED),
    "pair_trend": MetricInfo(title="likeness of how two columns of a table go together", kind=RATE, counted="rows"),
    "pair_trend_mean": MetricInfo(
        title="mean likeness of how columns of a table go together", kind=RATE, counted="pairs of columns"
    ),
    "intertable_trend": MetricInfo(
        title="likeness of how columns of two tables go together", kind=RATE, counted="rows"
    ),
    "intertable_trend_mean": MetricInfo(
        title="mean likeness of how columns of two tables go together", kind=RATE, counted="pairs of columns"
    ),
    "cardinality": MetricInfo(title="likeness of the number of studies per patient", kind=RATE, counted="patients"),
    "referential_integrity": MetricInfo(title="share of keys in order", kind=RATE, counted="keys"),
    "series_lag1": MetricInfo(
        title="correlation of successive readings, less the real one", kind=DEVIATION, counted="pairs of readings"
    ),
    "visit_lag1": MetricInfo(
        title="correlation of successive visits, less the real one", kind=DESCRIBED, counted="pairs of visits"
    ),
    "time_index": MetricInfo(
        title="share of series whose times increase, less the real one", kind=RATE, counted="series"
    ),
    "c2st": MetricInfo(title="area under the curve of a classifier of synthetic against real", kind=RATE),
    "alpha_precision": MetricInfo(title="alpha-precision", kind=RATE, counted="synthetic patients"),
    "beta_recall": MetricInfo(title="beta-recall", kind=RATE, counted="real patients"),
    "authenticity": MetricInfo(
        title="authenticity, less that of real patients", kind=RATE, counted="synthetic patients"
    ),
    "image_frechet": MetricInfo(title="Fréchet distance of the images, relative", kind=RATE, counted="images"),
    "image_kid": MetricInfo(title="kernel distance of the images", kind=DESCRIBED, counted="images"),
    "image_variety": MetricInfo(
        title="MS-SSIM within a class, less the real one", kind=DEVIATION, counted="pairs of images"
    ),
    "text_perplexity": MetricInfo(
        title="perplexity of the reports, relative to real ones",
        kind=DEVIATION, ideal=1.0, relative=True, counted="reports",
    ),
    "self_bleu": MetricInfo(title="Self-BLEU of the reports, less the real one", kind=RATE, counted="reports"),
    "contradictions": MetricInfo(
        title="share of reports that contradict themselves, less the real one", kind=RATE, counted="reports"
    ),
    "sdmetrics": MetricInfo(title="score of SDMetrics", kind=DESCRIBED, counted="rows"),
}  # fmt: skip

GATES: dict[str, tuple[str, float]] = {
    "column_shape": ("at_least", 0.80),
    "column_shape_mean": ("at_least", 0.90),
    "pair_trend": ("at_least", 0.80),
    "pair_trend_mean": ("at_least", 0.90),
    "intertable_trend": ("at_least", 0.75),
    "intertable_trend_mean": ("at_least", 0.85),
    "cardinality": ("at_least", 0.95),
    "referential_integrity": ("at_least", EXACT),
    "series_lag1": ("at_most", 0.05),
    "time_index": ("at_least", -0.02),
    "c2st": ("at_most", 0.65),
    "alpha_precision": ("at_least", 0.90),
    "beta_recall": ("at_least", 0.80),
    "authenticity": ("at_least", -0.05),
    "image_frechet": ("at_most", 0.10),
    "image_variety": ("at_most", 0.05),
    "text_perplexity": ("at_most", 0.25),
    "self_bleu": ("at_most", 0.05),
    "contradictions": ("at_most", 0.01),
}
"""Metric -> direction and margin of a criterion on it."""

MEANINGS: dict[str, str] = {
    "column_shape": "1 less the largest difference between the real and the synthetic distribution of a column:"
    " Kolmogorov and Smirnov's for numbers, the total variation for categories.",
    "column_shape_mean": "The mean of these over all columns.",
    "missing_share": "How much more often a value is missing in synthetic studies than in real ones.",
    "pair_trend": "1 less the difference of the rank correlations of two columns that go together in real patients;"
    " categories are first put in the order that fits the other column best in patients apart.",
    "pair_trend_mean": "The mean of these over all pairs of columns of one table that go together.",
    "intertable_trend": "The same for a column of one table with a column of another: patients, studies, series.",
    "intertable_trend_mean": "The mean of these over all such pairs that go together.",
    "cardinality": "1 less the total variation between the real and the synthetic numbers of studies per patient.",
    "referential_integrity": "The share of synthetic names that are unique, belong to one patient, and name no real"
    " patient or study.",
    "series_lag1": "How much more strongly a reading resembles the one before it than in real series; a set whose"
    " readings are drawn one by one loses it.",
    "visit_lag1": "The same from one visit of a patient to the next.",
    "time_index": "The share of series whose times strictly increase, less that of real series: a repeated time is a"
    " fault.",
    "c2st": "How well a classifier tells synthetic from real studies that it has not seen: 0.5 is not at all.",
    "alpha_precision": "Whether synthetic patients lie where real ones do, typical and untypical ones as often"
    " (Alaa and others 2022).",
    "beta_recall": "Whether all kinds of real patients have synthetic ones near them; it falls where a generator"
    " repeats a few (Alaa and others 2022).",
    "authenticity": "The share of synthetic patients that are no closer to a patient who was learnt from than that"
    " patient's nearest neighbour, less the share among real patients.",
    "image_frechet": "The Fréchet distance between real and synthetic images in what an encoder of other patients sees"
    " in them, as a share of how much real images vary: 1 is as far as a single average image.",
    "image_kid": "The unbiased kernel distance of the same features; 0 for images of one distribution.",
    "image_variety": "How much more alike two images with the same findings are than two real ones; above 0 a"
    " generator repeats itself.",
    "text_perplexity": "How surprising synthetic reports are to a language model of other patients' reports, relative"
    " to real reports.",
    "self_bleu": "How much more reports repeat each other's words than real reports do.",
    "contradictions": "How much more often a report asserts a finding in one place and denies it in another.",
    "sdmetrics": "Scores of SDMetrics' reports on quality and diagnostic: shown, and not trusted alone.",
}
