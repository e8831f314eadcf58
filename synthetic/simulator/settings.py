"""What decides a simulated cohort, entirely: equal settings give equal bytes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from core.errors import CohortError

FINDINGS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly")
RARE_DISEASES = (
    "sarcoidosis",
    "pulmonary_hypertension",
    "lymphangioleiomyomatosis",
    "cardiac_amyloidosis",
    "alveolar_proteinosis",
)
TASKS: dict[str, tuple[str, ...]] = {
    "findings": FINDINGS,
    "deterioration": ("deterioration",),
    "rare": RARE_DISEASES,
}
"""What can be asked of a model, and the labels that each task adds to a cohort."""

LABELS = tuple(label for labels in TASKS.values() for label in labels)
TASK_PREVALENCE = {
    "deterioration": 0.15,
    "sarcoidosis": 0.03,
    "pulmonary_hypertension": 0.02,
    "lymphangioleiomyomatosis": 0.01,
    "cardiac_amyloidosis": 0.02,
    "alveolar_proteinosis": 0.015,
}
"""Share of studies with each label of the further tasks, unless ``prevalence`` names another."""

SERIES = ("crp", "spo2", "heart_rate", "nt_probnp")
MODALITIES = ("image", "text.indication", *(f"series.{name}" for name in SERIES))
GROUP_VALUES = {
    "sex": ("F", "M"),
    "view": ("AP", "PA"),
    "group": ("A", "B", "C"),
    "site": ("harbour", "hill"),
}
"""The attributes in which a defect can be planted, with their values."""

SCANNERS = ("Aquila DR", "Borealis CR", "Corvus mobile")
MOST_PATIENTS = 1_000_000
IMAGE_SIZES = (32, 64, 96, 128)


@dataclass(frozen=True, kw_only=True)
class Underdiagnosis:
    """A defect of known size: positive labels of one group that were recorded as negative.

    Attributes:
        attribute, value: The group, for example ``sex`` and ``F``.
        share: Of the group's positive labels, per finding, this share is recorded 0, rounded to whole labels.
        findings: The labels concerned, those of further tasks among them.
    """

    attribute: str
    value: str
    share: float
    findings: tuple[str, ...] = FINDINGS

    def __post_init__(self) -> None:
        if self.attribute not in GROUP_VALUES:
            raise _wrong("underdiagnosis.attribute", self.attribute, f"one of {', '.join(GROUP_VALUES)}")
        if self.value not in GROUP_VALUES[self.attribute]:
            known = ", ".join(GROUP_VALUES[self.attribute])
            raise _wrong("underdiagnosis.value", self.value, f"one of {known}")
        if not _number(self.share) or not 0 <= self.share <= 1:
            raise _wrong("underdiagnosis.share", self.share, "a number from 0 to 1")
        for finding in self.findings:
            if finding not in LABELS:
                raise _wrong("underdiagnosis.findings", finding, f"some of {', '.join(LABELS)}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "attribute": self.attribute,
            "value": self.value,
            "share": self.share,
            "findings": list(self.findings),
        }


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

    def __post_init__(self) -> None:
        _check_whole("patients", self.patients, 1, MOST_PATIENTS)
        _check_whole("seed", self.seed, 0, 2**32 - 1)
        _check_whole("studies_min", self.studies_min, 1, 20)
        _check_whole("studies_max", self.studies_max, self.studies_min, 20)
        if self.image_size not in IMAGE_SIZES:
            raise _wrong("image_size", self.image_size, f"one of {', '.join(map(str, IMAGE_SIZES))}")
        if not _number(self.difficulty) or not 0 <= self.difficulty <= 3:
            raise _wrong("difficulty", self.difficulty, "a number from 0 to 3")
        if not _number(self.persistence) or not 0 <= self.persistence < 1:
            raise _wrong("persistence", self.persistence, "a number from 0 up to, not including, 1")
        _check_tasks(self.tasks)
        object.__setattr__(self, "tasks", tuple(task for task in TASKS if task in self.tasks))
        further = tuple(label for label in self.labels if label not in FINDINGS)
        _check_shares("prevalence", self.prevalence, FINDINGS + further, needed=FINDINGS)
        _check_shares("missing", self.missing, MODALITIES)
        _check_shares("scanners", self.scanners, SCANNERS)
        if abs(sum(self.scanners.values()) - 1) > 1e-6:
            raise _wrong("scanners", self.scanners, "shares that add up to 1")
        if not all(0 < share < 1 for share in self.prevalence.values()):
            raise _wrong("prevalence", self.prevalence, "shares between 0 and 1, both excluded")
        for finding in self.underdiagnosis.findings if self.underdiagnosis else ():
            if finding not in self.labels:
                raise _wrong("underdiagnosis.findings", finding, f"labels of the tasks: {', '.join(self.labels)}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are written, in the order of the file."""
        return tuple(label for task in self.tasks for label in TASKS[task])

    def share_with(self, label: str) -> float:
        """The share of studies in which a label is to be 1."""
        return self.prevalence.get(label, TASK_PREVALENCE.get(label, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """JSON. The tasks are left out where they are the default, so that settings of before keep their digest."""
        body = {item.name: getattr(self, item.name) for item in fields(self)}
        body["tasks"] = list(self.tasks)
        if self.tasks == ("findings",):
            del body["tasks"]
        for name in ("prevalence", "missing", "scanners"):
            body[name] = dict(body[name])
        body["underdiagnosis"] = self.underdiagnosis.to_dict() if self.underdiagnosis else None
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
                raise _wrong(name, body[name], f"one of the settings {', '.join(sorted(known))}")
        for name in ("patients", "seed"):
            if name not in body:
                raise _wrong(name, None, "a whole number")
        values = dict(body)
        planted = values.get("underdiagnosis")
        if isinstance(planted, dict):
            values["underdiagnosis"] = _underdiagnosis(planted)
        elif planted is not None:
            raise _wrong("underdiagnosis", planted, "an object with attribute, value and share, or null")
        if isinstance(values.get("tasks"), list):
            values["tasks"] = tuple(values["tasks"])
        return cls(**values)


def _underdiagnosis(body: dict[str, Any]) -> Underdiagnosis:
    known = {item.name for item in fields(Underdiagnosis)}
    for name in body:
        if name not in known:
            raise _wrong(f"underdiagnosis.{name}", body[name], f"one of {', '.join(sorted(known))}")
    for name in ("attribute", "value", "share"):
        if name not in body:
            raise _wrong(f"underdiagnosis.{name}", None, "a value")
    return Underdiagnosis(**{**body, "findings": tuple(body.get("findings", FINDINGS))})


def _wrong(name: str, value: object, expected: str) -> CohortError:
    return CohortError(f"The simulator's setting {name} is {value!r}.", remedy=f"Give {expected}.", column=name)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")


def _check_tasks(tasks: object) -> None:
    valid = isinstance(tasks, tuple) and bool(tasks) and all(isinstance(task, str) and task in TASKS for task in tasks)
    if not isinstance(tasks, tuple) or not valid or len(set(tasks)) < len(tasks):
        raise _wrong("tasks", tasks, f"a list of at least one of {', '.join(TASKS)}, each once")


def _check_shares(name: str, shares: object, known: tuple[str, ...], *, needed: tuple[str, ...] = ()) -> None:
    if not isinstance(shares, dict):
        raise _wrong(name, shares, f"an object with a share for each of {', '.join(known)}")
    for key, share in shares.items():
        if key not in known:
            raise _wrong(f"{name}.{key}", share, f"shares for {', '.join(known)}")
        if not _number(share) or not 0 <= share <= 1:
            raise _wrong(f"{name}.{key}", share, "a number from 0 to 1")
    if not set(needed) <= set(shares):
        raise _wrong(name, shares, f"a share for every one of {', '.join(needed)}")
