"""What decides a simulated cohort, entirely: equal settings give equal bytes."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from synthetic.simulator.checking import (
    check_flag,
    check_number,
    check_prevalence,
    check_scanners,
    check_shares,
    check_some,
    check_whole,
    is_number,
    wrong,
)
from synthetic.simulator.names import (
    FINDINGS,
    GROUP_VALUES,
    LABELS,
    MODALITIES,
    RARE_DISEASES,
    SCANNERS,
    SERIES,
    TASK_PREVALENCE,
    TASKS,
)
from synthetic.simulator.planting import DEFECTS, Defect, Drift, Faintness, Hallucination, Underdiagnosis

__all__ = [
    "FINDINGS",
    "GROUP_VALUES",
    "HEADROOM",
    "LABELS",
    "MODALITIES",
    "RARE_DISEASES",
    "SCANNERS",
    "SERIES",
    "TASKS",
    "TASK_PREVALENCE",
    "SimulatorSettings",
    "Underdiagnosis",
]

MOST_PATIENTS = 1_000_000
IMAGE_SIZES = (32, 64, 96, 128)
SINCE_FIRST = frozenset(
    ("patients", "seed", "underdiagnosis", "prevalence", "studies_min", "studies_max", "image_size", "difficulty",
     "persistence", "missing", "scanners")
)  # fmt: skip
"""Settings that there were from the first. Later ones are written down only where they are not the default, so that
settings of before keep their digest."""


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings:
    """How many patients, how ill, how hard to read, what is missing, and which defect is planted.

    Attributes:
        patients: Number of patients; each has between ``studies_min`` and ``studies_max`` studies.
        seed: Decides every draw. Patient ids carry it, so cohorts of different seeds share no patient.
        underdiagnosis: A defect in the recorded labels; None records the truth. All else is equal with and
            without it.
        tasks: Which labels are written: "findings" (four findings in the picture), "deterioration" (within 24
            hours after the study) and "rare" (five rare diseases). A further task also brings its signs into
            pictures, words and series. They are kept in the order of TASKS.
        prevalence: Label -> share of studies in which it is present, in (0, 1): all four findings, and labels
            of further tasks where they should differ from TASK_PREVALENCE.
        difficulty: Standard deviation of the severity that the picture shows, where 1 is the distance between
            the means of an absent and a present finding. A reader who sees severity perfectly, and nothing
            else, has an AUROC of Phi(1 / (sqrt(2) * difficulty)): .94 at .45.
        persistence: Correlation of a finding's liability between successive studies of a patient.
        missing: Modality -> share of studies without it.
        scanners: Scanner -> share of studies taken with it.
        image_size: Edge of the square grey picture, in pixels.
        hints: Factor on what findings change in series and indications: at 0 only the picture tells them.
        fine_pictures: Pictures are drawn at 128 px with branching vessels, edges of ribs and a thin pleural line,
            and averaged down to ``image_size``: the larger the picture, the more can be seen.
        bilateral: Share of patients in whom a finding with a side, where it is present, lies on both.
        sizes_told: Reports also tell the size of a consolidation and of an enlarged heart.
        records: Columns of a health record are written besides: diagnoses, medication, visits of the last year.
        faintness: A group in whose pictures findings are harder to see.
        hallucination: False statements in the experts' reports.
        drift: What is different from a day on.
    """

    patients: int
    seed: int
    underdiagnosis: Underdiagnosis | None = None
    tasks: tuple[str, ...] = ("findings",)
    prevalence: dict[str, float] = field(
        default_factory=lambda: {
            "effusion": 0.30,
            "pneumothorax": 0.25,
            "consolidation": 0.30,
            "cardiomegaly": 0.30,
        }
    )
    studies_min: int = 1
    studies_max: int = 4
    image_size: int = 64
    difficulty: float = 0.40
    persistence: float = 0.6
    missing: dict[str, float] = field(
        default_factory=lambda: {"image": 0.02, "text.indication": 0.05} | {f"series.{name}": 0.08 for name in SERIES}
    )
    scanners: dict[str, float] = field(
        default_factory=lambda: {"Aquila DR": 0.5, "Borealis CR": 0.3, "Corvus mobile": 0.2}
    )
    hints: float = 1.0
    fine_pictures: bool = False
    bilateral: float = 0.0
    sizes_told: bool = False
    records: bool = False
    faintness: Faintness | None = None
    hallucination: Hallucination | None = None
    drift: Drift | None = None

    def __post_init__(self) -> None:
        check_whole("patients", self.patients, 1, MOST_PATIENTS)
        check_whole("seed", self.seed, 0, 2**32 - 1)
        check_whole("studies_min", self.studies_min, 1, 20)
        check_whole("studies_max", self.studies_max, self.studies_min, 20)
        if self.image_size not in IMAGE_SIZES:
            raise wrong("image_size", self.image_size, f"one of {', '.join(map(str, IMAGE_SIZES))}")
        check_number("difficulty", self.difficulty, 0, 3)
        check_number("hints", self.hints, 0, 3)
        check_number("bilateral", self.bilateral, 0, 1)
        for name in ("fine_pictures", "sizes_told", "records"):
            check_flag(name, getattr(self, name))
        if not is_number(self.persistence) or not 0 <= self.persistence < 1:
            raise wrong("persistence", self.persistence, "a number from 0 up to, not including, 1")
        check_some("tasks", self.tasks, tuple(TASKS))
        object.__setattr__(self, "tasks", tuple(task for task in TASKS if task in self.tasks))
        further = tuple(label for label in self.labels if label not in FINDINGS)
        check_shares("prevalence", self.prevalence, FINDINGS + further, needed=FINDINGS)
        check_prevalence("prevalence", self.prevalence)
        check_shares("missing", self.missing, MODALITIES)
        check_scanners("scanners", self.scanners, SCANNERS)
        for name, kind in DEFECTS.items():
            if not isinstance(getattr(self, name), kind | None):
                raise wrong(name, getattr(self, name), "an object of its own, or null")
        for finding in self.underdiagnosis.findings if self.underdiagnosis else ():
            if finding not in self.labels:
                raise wrong("underdiagnosis.findings", finding, f"labels of the tasks: {', '.join(self.labels)}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are written, in the order of the file."""
        return tuple(label for task in self.tasks for label in TASKS[task])

    def share_with(self, label: str) -> float:
        """The share of studies in which a label is to be 1."""
        return self.prevalence.get(label, TASK_PREVALENCE.get(label, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """JSON. Settings that came later are left out where they are the default (see ``SINCE_FIRST``)."""
        body: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in SINCE_FIRST and value == _default(item.name):
                continue
            if isinstance(value, Defect):
                value = value.to_dict()
            body[item.name] = dict(value) if isinstance(value, dict) else list(value) if item.name == "tasks" else value
        return body

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> SimulatorSettings:
        """Settings from JSON.

        Raises:
            CohortError: naming the first setting that is unknown, missing or out of range.
        """
        known = {item.name for item in fields(cls)}
        for name in body:
            if name not in known:
                raise wrong(name, body[name], f"one of the settings {', '.join(sorted(known))}")
        for name in ("patients", "seed"):
            if name not in body:
                raise wrong(name, None, "a whole number")
        values = dict(body)
        for name, kind in DEFECTS.items():
            if values.get(name) is not None:
                values[name] = kind.from_dict(values[name])
        if isinstance(values.get("tasks"), list):
            values["tasks"] = tuple(values["tasks"])
        return cls(**values)


def _default(name: str) -> Any:
    item = next(item for item in fields(SimulatorSettings) if item.name == name)
    return None if item.default is MISSING else item.default


HEADROOM = {"difficulty": 0.5, "hints": 0.4}
"""Settings at which nobody is perfect: whoever sees severity as it is, and reads series and indications besides, ranks
each finding with an AUROC of at most .95. So what a learner gains or loses can be seen. Figures: docs/simulator.md."""
