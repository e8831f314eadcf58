"""What the suite on modalities that belong together measures, and the margins that are proposed for it."""

from __future__ import annotations

from evaluation.engine.registry import MetricInfo, MetricKind

RATE, DEVIATION, DESCRIBED = MetricKind.RATE, MetricKind.DEVIATION, MetricKind.DESCRIBED

METRICS: dict[str, MetricInfo] = {
    "finding_agreement": MetricInfo(
        title="agreement of image and plan on a finding, relative to real images", kind=RATE, counted="images"
    ),
    "finding_ceiling": MetricInfo(
        title="how well the audit's reader sees a finding in real images", kind=DESCRIBED, counted="images"
    ),
    "side_agreement": MetricInfo(
        title="agreement of image and plan on the side, relative to real images", kind=RATE, counted="images"
    ),
    "zone_agreement": MetricInfo(
        title="agreement of image and plan on the zone, relative to real images", kind=RATE, counted="images"
    ),
    "size_agreement": MetricInfo(
        title="agreement of image and plan on the size, relative to real images", kind=RATE, counted="images"
    ),
    "report_agreement": MetricInfo(
        title="agreement of report and plan on a finding, relative to real reports", kind=RATE, counted="reports"
    ),
    "report_side_agreement": MetricInfo(
        title="agreement of report and plan on the side, relative to real reports", kind=RATE, counted="reports"
    ),
    "image_report_side": MetricInfo(
        title="agreement of image and report on the side, relative to real pairs", kind=RATE, counted="pairs"
    ),
    "image_report_zone": MetricInfo(
        title="agreement of image and report on the zone, relative to real pairs", kind=RATE, counted="pairs"
    ),
    "retrieval": MetricInfo(
        title="retrieval of a report by its image, relative to real pairs", kind=RATE, counted="pairs"
    ),
    "retrieval_permuted": MetricInfo(
        title="retrieval with reports permuted, relative to chance", kind=DESCRIBED, counted="pairs"
    ),
    "lab_gap": MetricInfo(
        title="gap that a finding makes in a series, relative to the real one", kind=DEVIATION, ideal=1.0,
        counted="studies",
    ),
    "lab_gap_weak": MetricInfo(
        title="weaker gap that a finding makes in a series, relative to the real one", kind=DESCRIBED, counted="studies"
    ),
}  # fmt: skip

GATES: dict[str, tuple[str, float]] = {
    "finding_agreement": ("at_least", 0.95),
    "side_agreement": ("at_least", 0.90),
    "zone_agreement": ("at_least", 0.80),
    "size_agreement": ("at_least", 0.90),
    "report_agreement": ("at_least", 0.95),
    "report_side_agreement": ("at_least", 0.90),
    "image_report_side": ("at_least", 0.90),
    "image_report_zone": ("at_least", 0.80),
    "retrieval": ("at_least", 0.80),
    "lab_gap": ("at_most", 0.15),
}
"""Metric -> direction and margin of a criterion on it."""

MEANINGS: dict[str, str] = {
    "finding_agreement": "How well a network, taught on real images of other patients, tells synthetic images with a"
    " finding from those without, as a share of how well it does on real images; findings that it cannot see in real"
    " images are left out.",
    "finding_ceiling": "The area under the curve of that network on real images that nothing learnt from.",
    "side_agreement": "How often that network sees a present finding on the side that the plan says, as a share of how"
    " often it does in real images.",
    "zone_agreement": "The same for the zone of the lung.",
    "size_agreement": "The same for the size.",
    "report_agreement": "How well reports assert what the plan says is present and nothing else, as a share of how well"
    " real reports do.",
    "report_side_agreement": "How often a report tells the side that the plan says, as a share of how often real"
    " reports do; a report that tells no side counts as wrong.",
    "image_report_side": "How often the side that a report tells is the one that the network sees in its image, as a"
    " share of how often it is in real pairs: it asks for no plan.",
    "image_report_zone": "The same for the zone of the lung.",
    "retrieval": "How often an image's own report is the one, or among the ten, that fit it best among 500, as a share"
    " of how often it is for real pairs; equal reports share the place.",
    "retrieval_permuted": "The same after reports were exchanged at random, over what chance gives: about 1.",
    "lab_gap": "How much findings raise or lower the means of series, as a share of how much they do in real patients:"
    " all significant gaps together, and each strong one.",
    "lab_gap_weak": "The same for each weaker gap: at this size chance alone moves it beyond the margin.",
}
