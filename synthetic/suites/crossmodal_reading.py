"""What the audit's reader sees in the images of a set, and what is read in its reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from synthetic.generators.plan_reading import read_plans
from synthetic.generators.plans import Plans
from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.likeness_gathering import patient_codes
from synthetic.suites.likeness_reader import ImageReader, SeenPlans

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A set of studies as it was planned, as its images look, and as its reports read.

    Attributes:
        plans: Over ``findings`` alone.
        codes, patients: The patient of each study, and how many there are.
        seen: Of the studies in ``images``; None where there are no images, or no reader.
        images: Rows with an image.
        reported: bool [n], studies with a report.
        told: What reports say; None where there are none.
    """

    plans: Plans
    codes: Ints
    patients: int
    seen: SeenPlans | None
    images: Ints
    reported: Bools
    told: Plans | None

    @cached_property
    def pictured(self) -> Plans:
        """The plans of the studies with an image."""
        return self.plans.rows(self.images)


def look_at(studies: LinkedStudies, reader: ImageReader | None, findings: Sequence[str]) -> Looked:
    """Look at all images and read all reports of a set."""
    codes, patients = patient_codes(studies)
    images = np.flatnonzero(studies.has_image) if studies.images is not None else np.zeros(0, dtype=np.int64)
    seen = None
    if reader is not None and studies.images is not None and len(images):
        seen = _only(reader.see(studies.images[images]), [reader.findings.index(name) for name in findings])
    texts = studies.texts[REPORT].tolist() if REPORT in studies.texts else []
    reported = np.array([bool(text and text.strip()) for text in texts] or [False] * len(studies), dtype=np.bool_)
    return Looked(
        plans=_over(studies.plans, findings),
        codes=codes,
        patients=patients,
        seen=seen,
        images=images,
        reported=reported,
        told=told_plans(texts, findings) if reported.any() else None,
    )


def told_plans(reports: Sequence[str | None], findings: Sequence[str]) -> Plans:
    """Plans as reports alone tell them: a finding is there where it is asserted, and absent where it is not."""
    from evaluation.engine.text.reading import read_texts
    from evaluation.engine.text.records import Assertion, Change

    said = {name: np.zeros(len(reports), dtype=np.int8) for name in findings}
    for row, text in enumerate(read_texts(reports)):
        for claim in text.claims:
            if (
                claim.finding in said
                and claim.assertion is Assertion.PRESENT
                and claim.change is not Change.RESOLVED
            ):  # fmt: skip
                said[claim.finding][row] = 1
    return read_plans(said, reports)


def _over(plans: Plans, findings: Sequence[str]) -> Plans:
    """The same plans over some findings; of one that they lack nothing is known."""
    made = Plans.empty(findings, len(plans))
    for place, name in enumerate(findings):
        if name in plans.findings:
            column = plans.findings.index(name)
            for part in ("present", "side", "zone", "size"):
                getattr(made, part)[:, place] = getattr(plans, part)[:, column]
    return made


def _only(seen: SeenPlans, columns: Sequence[int]) -> SeenPlans:
    parts = {name: values[:, columns] for name, values in seen.parts.items()}
    return SeenPlans(present=seen.present[:, columns], parts=parts, features=seen.features)
