"""Whether a report tells what its plan says, and nothing against itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import SIDES, UNTOLD, Plans

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ReportFaults:
    """What is wrong with n reports over F findings. All arrays are bool [n, F].

    Attributes:
        against: It asserts what the plan says is absent, or denies what is present.
        side: It tells another side than the plan.
        itself: It asserts a finding in one place and denies it in another.
    """

    against: Bools
    side: Bools
    itself: Bools

    @property
    def any(self) -> Bools:
        """bool [n]: the report has at least one fault."""
        found: Bools = np.any(self.against | self.side | self.itself, axis=1)
        return found


def report_faults(reports: Sequence[str | None], plans: Plans) -> ReportFaults:
    """Faults of reports. A missing report, and what a report is silent about, is no fault.

    A finding is asserted or denied as ``evaluation.engine.text`` reads it; what is said to be resolved or past is
    neither. What is uncertain counts as asserted against an absent finding, and as no denial of a present one.
    """
    from evaluation.engine.text.reading import read_texts
    from evaluation.engine.text.records import Assertion, Change

    shape = plans.present.shape
    said, denied = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    sure, side = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    places = {name: column for column, name in enumerate(plans.findings)}
    for row, text in enumerate(read_texts(reports)):
        for claim in text.claims:
            at = places.get(claim.finding)
            if at is None or claim.change is Change.RESOLVED:
                continue
            if claim.assertion is Assertion.ABSENT:
                denied[row, at] = True
                continue
            said[row, at] = True
            sure[row, at] |= claim.assertion is Assertion.PRESENT
            planned = plans.side[row, at]
            if claim.side is not None and planned != UNTOLD and SIDES[planned] != claim.side.value:
                side[row, at] = True
    against = (said & (plans.present == 0)) | (denied & ~said & (plans.present == 1))
    return ReportFaults(against=against, side=side & (plans.present == 1), itself=sure & denied)
