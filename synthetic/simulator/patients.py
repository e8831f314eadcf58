"""Who the simulated patients are and what is the matter with them: the joint truth behind every modality.

Findings follow a liability-threshold model. A patient's studies are a stationary autoregressive chain of
Gaussian liabilities, correlated between findings; a finding is present where its liability is over the
quantile that gives its prevalence. So prevalence, co-occurrence (effusion with a large heart), persistence
and resolution come from one model. None of it depends on sex, age, group, site, view or scanner: whatever
difference between groups an audit measures, beyond chance, was planted afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from synthetic.simulator.names import FINDINGS, GROUP_VALUES, SIDED, ZONES
from synthetic.simulator.planting import Drift
from synthetic.simulator.settings import SimulatorSettings

CORRELATION = np.array(
    [
        [1.00, 0.00, 0.20, 0.30],
        [0.00, 1.00, 0.00, 0.00],
        [0.20, 0.00, 1.00, 0.00],
        [0.30, 0.00, 0.00, 1.00],
    ]
)
"""Correlation of the findings' liabilities, in the order of FINDINGS."""

PATIENT_SHARE = 0.3
"""Of the variance of the severity that pictures show: what all pictures of a patient share."""

FIRST_DAY = np.datetime64("2021-01-01", "s")
SIZE_CUTS = (0.75, 1.25)
"""Severities from which a finding is moderate and large."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Studies:
    """The truth of n studies, sorted by patient and time. Arrays over findings are in the order of FINDINGS.

    Attributes:
        patient: Index of the patient; ``visit``: 0 for the first study.
        present: [n, 4].
        shown: [n, 4] severity: about 0 where absent, about 1 where present.
        seen: [n, 4] the severity that the picture shows: ``shown`` but where findings were made fainter.
        right: [n, 4] which side (patient's right); ``both``: [n, 4] on either; zone: [n] index into ZONES, for the
            consolidation.
        known_before: [n, 4] present in the patient's previous study.
        changed: [n] taken after the drift came.
    """

    patient: Ints
    visit: Ints
    time: npt.NDArray[np.datetime64]
    sex: npt.NDArray[np.str_]
    age: Ints
    group: npt.NDArray[np.str_]
    site: npt.NDArray[np.str_]
    view: npt.NDArray[np.str_]
    scanner: npt.NDArray[np.str_]
    present: Bools
    shown: Floats
    seen: Floats
    right: Bools
    both: Bools
    zone: Ints
    known_before: Bools
    changed: Bools

    def __len__(self) -> int:
        return len(self.patient)

    def attribute(self, name: str) -> npt.NDArray[np.str_]:
        """The column of one attribute in which a defect can be planted."""
        column: npt.NDArray[np.str_] = getattr(self, name)
        return column

    def sizes(self) -> Ints:
        """[n, 4] index into SIZES, for where a finding is present."""
        cut: Ints = np.searchsorted(SIZE_CUTS, self.shown)
        return cut


def draw_studies(settings: SimulatorSettings, rng: np.random.Generator) -> Studies:
    """Draw every study of the cohort. Patients first, then their visits in step.

    What was added to the simulator later draws from streams of its own, so that it moves nothing else.
    """
    later, drifting = rng.spawn(2)
    count, visits = settings.patients, settings.studies_max
    n_studies = rng.integers(settings.studies_min, settings.studies_max + 1, size=count)
    keep = np.arange(visits)[None, :] < n_studies[:, None]

    liability = _chain(rng, count, visits, settings.persistence)
    shared = rng.standard_normal((count, 1, len(FINDINGS)))
    own = rng.standard_normal((count, visits, len(FINDINGS)))
    spread = settings.difficulty * (np.sqrt(PATIENT_SHARE) * shared + np.sqrt(1 - PATIENT_SHARE) * own)

    age, time = _ages_and_times(rng, count, visits)
    changed = _changed(settings.drift, time, drifting)
    present = liability > _cuts(settings, changed)
    before = np.concatenate([np.zeros_like(present[:, :1]), present[:, :-1]], axis=1)
    patient = np.repeat(np.arange(count), visits).reshape(count, visits)
    sex = rng.permutation(np.resize(np.array(GROUP_VALUES["sex"]), count))
    group = rng.choice(np.array(GROUP_VALUES["group"]), size=count, p=[0.5, 0.3, 0.2])
    site = rng.choice(np.array(GROUP_VALUES["site"]), size=count)
    view = rng.choice(np.array(GROUP_VALUES["view"]), size=(count, visits))
    # A finding keeps its side and zone while it persists: they are drawn once per patient.
    right = rng.random((count, len(FINDINGS))) < 0.5
    zone = rng.integers(0, len(ZONES), size=count)
    scanner = _scanners(rng, settings.scanners, (count, visits))
    both = later.random((count, len(FINDINGS))) < settings.bilateral * np.isin(FINDINGS, SIDED)
    if settings.drift and settings.drift.scanners:
        scanner = np.where(changed, _scanners(drifting, settings.drift.scanners, (count, visits)), scanner)
    studies = Studies(
        patient=patient[keep],
        visit=np.broadcast_to(np.arange(visits), (count, visits))[keep],
        time=time[keep],
        sex=sex[patient[keep]],
        age=age[keep],
        group=group[patient[keep]],
        site=site[patient[keep]],
        view=view[keep],
        scanner=scanner[keep],
        present=present[keep],
        shown=(present + spread)[keep],
        seen=(present + spread)[keep],
        right=right[patient[keep]],
        both=both[patient[keep]],
        zone=zone[patient[keep]],
        known_before=before[keep],
        changed=changed[keep],
    )
    return _faded(studies, settings)


def _cuts(settings: SimulatorSettings, changed: Bools) -> Floats:
    """The liability [patients, visits, 4] over which a finding is present."""

    def cuts(shares: dict[str, float]) -> Floats:
        return np.array([NormalDist().inv_cdf(1 - shares[name]) for name in FINDINGS])

    usual = cuts(settings.prevalence)
    later = cuts(settings.prevalence | settings.drift.prevalence) if settings.drift else usual
    found: Floats = np.where(changed[:, :, None], later, usual)
    return found


def _changed(drift: Drift | None, time: npt.NDArray[np.datetime64], rng: np.random.Generator) -> Bools:
    """Which studies [patients, visits] were taken after the drift came."""
    if drift is None:
        return np.zeros(time.shape, dtype=np.bool_)
    came = drift.day + drift.over_days * rng.random(time.shape)
    found: Bools = (time - FIRST_DAY) / np.timedelta64(1, "D") >= came
    return found


def _scanners(rng: np.random.Generator, shares: dict[str, float], shape: tuple[int, int]) -> npt.NDArray[np.str_]:
    names = np.array(sorted(shares))
    chances = np.array([shares[name] for name in names])
    drawn: npt.NDArray[np.str_] = rng.choice(names, size=shape, p=chances / chances.sum())
    return drawn


def _faded(studies: Studies, settings: SimulatorSettings) -> Studies:
    """The studies with findings of one group made harder to see, where that was asked for."""
    planted = settings.faintness
    if planted is None:
        return studies
    members = studies.attribute(planted.attribute) == planted.value
    concerned = members[:, None] & studies.present & np.isin(FINDINGS, planted.findings)
    return replace(studies, seen=studies.shown - planted.share * concerned)


def _chain(rng: np.random.Generator, count: int, visits: int, persistence: float) -> Floats:
    """Liabilities [count, visits, 4]: standard normal at every visit, whatever the persistence."""
    shocks = rng.standard_normal((count, visits, len(FINDINGS))) @ np.linalg.cholesky(CORRELATION).T
    chain = np.empty_like(shocks)
    chain[:, 0] = shocks[:, 0]
    for visit in range(1, visits):
        chain[:, visit] = persistence * chain[:, visit - 1] + np.sqrt(1 - persistence**2) * shocks[:, visit]
    return chain


def _ages_and_times(rng: np.random.Generator, count: int, visits: int) -> tuple[Ints, npt.NDArray[np.datetime64]]:
    """Ages in whole years, even over 30 to 89 at the first study, and study times that move on with them."""
    birthday = rng.uniform(30, 90, size=count)
    first = rng.integers(0, 2 * 365 * 86_400, size=(count, 1))
    gaps = np.rint(rng.exponential(45 * 86_400, size=(count, visits))).astype(np.int64) + 3_600
    gaps[:, 0] = 0
    seconds = first + np.cumsum(gaps, axis=1)
    age = np.floor(birthday[:, None] + (seconds - first) / (365.25 * 86_400)).astype(np.int64)
    return age, FIRST_DAY + seconds.astype("timedelta64[s]")


def recorded_labels(
    studies: Studies, truth: dict[str, Bools], settings: SimulatorSettings, rng: np.random.Generator
) -> dict[str, Bools]:
    """The labels as somebody recorded them: the truth [n] of each, less what the planted defect takes away."""
    recorded = {name: present.copy() for name, present in truth.items()}
    defect = settings.underdiagnosis
    if defect is None:
        return recorded
    members = studies.attribute(defect.attribute) == defect.value
    for name, present in truth.items():
        if name not in defect.findings:
            continue
        positives = np.flatnonzero(members & present)
        erased = rng.choice(positives, size=round(defect.share * len(positives)), replace=False)
        recorded[name][erased] = False
    return recorded
