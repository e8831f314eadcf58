"""Cross-modal consistency: whether plan, image, report and series of a synthetic patient tell one story.

A network taught on real images of other patients reads the synthetic ones. It is not perfect, so that each agreement is
given as a share of what it reaches on real images that neither it nor the generator has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.studies import Tell
from synthetic.suites import crossmodal_agreement as agreement
from synthetic.suites.crossmodal_metrics import GATES, MEANINGS, METRICS
from synthetic.suites.crossmodal_reading import look_at
from synthetic.suites.crossmodal_retrieval import lab_gaps, retrieval
from synthetic.suites.fidelity_images import no_images
from synthetic.suites.fidelity_texts import no_reports
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.likeness_gathering import Work, check_apart, equal_patients, gathered, lacking, some_patients
from synthetic.suites.likeness_reader import ImageReader, train_reader

__all__ = ["GATES", "MEANINGS", "METRICS", "audit_crossmodal"]
MOST_PATIENTS = 3000


def audit_crossmodal(
    sets: AuditSets, *, tell: Tell | None = None, reader: ImageReader | None = None
) -> tuple[Figure, ...]:
    """All figures of :data:`METRICS`. What cannot be computed has no value and says why; the others stand.

    Args:
        reader: Of images, learnt from ``sets.readers`` alone; trained here where it is left out.

    Raises:
        AuscultError: two of the real sets share patients, or a set is too small.
    """
    check_apart(sets)
    with fixed_threads():
        return gathered(_work(sets, reader), tell)


def _work(sets: AuditSets, reader: ImageReader | None) -> dict[tuple[str, ...], Work]:
    seed, findings = sets.seed, sets.readers.plans.findings
    images, reports = no_images(sets), no_reports(sets)
    plans = "" if findings else "the cohort has no findings that a plan could be made of"

    @cache
    def looked() -> agreement.LookedSets:
        own = None if images else reader or train_reader(sets.readers, seed=seed)
        made = some_patients(sets.synthetic, MOST_PATIENTS, seed=seed, purpose="synthetic")
        learnt = equal_patients(made, sets.learnt, seed=seed, purpose="learnt")
        held = some_patients(sets.held_out, MOST_PATIENTS, seed=seed, purpose="held out")
        parts = {"synthetic": made, "learnt": learnt, "held_out": held}
        return agreement.LookedSets(
            findings=findings, **{name: look_at(one, own, findings) for name, one in parts.items()}
        )

    def unless(
        reason: str, metrics: tuple[str, ...], compute: Callable[[agreement.LookedSets], Iterable[Figure]]
    ) -> None:
        work[metrics] = (lambda: lacking(metrics, reason)) if reason else (lambda: compute(looked()))

    work: dict[tuple[str, ...], Work] = {}
    unless(plans or images, ("finding_agreement", "finding_ceiling"), agreement.findings_in_images)
    unless(
        plans or images, ("side_agreement", "zone_agreement", "size_agreement"), agreement.parts_in_images
    )  # fmt: skip
    unless(plans or reports, ("report_agreement",), agreement.findings_in_reports)
    unless(plans or reports, ("report_side_agreement",), agreement.sides_in_reports)
    both = plans or images or reports
    unless(both, ("image_report_side", "image_report_zone"), agreement.images_and_reports)
    unless(both, ("retrieval", "retrieval_permuted"), lambda sets: retrieval(sets, seed))
    no_series = plans or ("" if sets.readers.series else "the cohort has no series")
    gaps = ("lab_gap", "lab_gap_weak")
    work[gaps] = (lambda: lacking(gaps[:1], no_series)) if no_series else (lambda: lab_gaps(sets))
    return work
