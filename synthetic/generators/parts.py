"""The parts of a generator, and the registry through which a hospital's own part plugs in.

A part plays one role (``tables``, ``series``, ``image``, ``report``, ``critic``). It is fitted on studies, saved in a
folder of safetensors and JSON, and makes its modality for studies whose earlier modalities are there, in this order:
tables (with the plans), series, image, report. The critic reads a plan back from an image; it never learns from the
studies that the others learn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from core.registry import Registry
from synthetic.generators.plans import NONE, PRESENT, Plans
from synthetic.generators.plans import PARTS as PLAN_WORDS
from synthetic.generators.private.accounting import Mechanism, Need
from synthetic.generators.private.noise import Noise
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, Objects, Pixels, Readings, Tell

Floats = npt.NDArray[np.float32]
MOST_PATIENTS = 1_000_000
LARGEST = 1e15
"""Numbers of a wish lie below: they are then the same as whole numbers and as floats."""
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Patients that are asked for.

    Attributes:
        patients: How many.
        attributes: Covariate -> value that each has in every study, such as ``sex: F``.
        least, most: Covariate -> bound of a number, ends included, such as ``age: 80``.
        findings: Finding -> word of a plan (see ``Plans.words``), ``present`` for any: at least one study of each
            patient has all of them.
    """

    patients: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Wish:
        """A wish from JSON.

        Raises:
            AuscultError: naming the field that is unknown or of the wrong kind.
        """
        known = {item.name for item in fields(cls)}
        for name, value in body.items():
            if name not in known:
                raise _wrong(name, value, f"one of {', '.join(sorted(known))}")
            if name != "patients" and not isinstance(value, Mapping):
                raise _wrong(name, value, "columns with their values")
        patients = body.get("patients")
        if type(patients) is not int or not 1 <= patients <= MOST_PATIENTS:
            raise _wrong("patients", patients, f"a whole number from 1 to {MOST_PATIENTS:,}")
        for name in ("least", "most"):
            for column, bound in body.get(name, {}).items():
                if isinstance(bound, str) or not _is_plain(bound):
                    raise _wrong(f"{name}.{column}", bound, "a number")
        for column, value in body.get("attributes", {}).items():
            if not _is_plain(value):
                raise _wrong(f"attributes.{column}", value, "a word, or a number with at most 15 digits")
        for column in set(body.get("least", {})) & set(body.get("most", {})):
            if body["least"][column] > body["most"][column]:
                raise _wrong(f"most.{column}", body["most"][column], "a number that is not below the least one")
        for finding, word in body.get("findings", {}).items():
            if not isinstance(word, str) or not _is_word(word):
                raise _wrong(f"findings.{finding}", word, f"{PRESENT}, {NONE}, or words such as left small")
        return cls(**body)


def _is_plain(value: Any) -> bool:
    """A word, or a number that JSON and floats hold as it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return isinstance(value, str) or (abs(value) < LARGEST and math.isfinite(value))


def _is_word(word: str) -> bool:
    return word in (PRESENT, NONE) or bool(word.split() and all(
        any(item in words for words in PLAN_WORDS.values()) for item in word.split()
    ))  # fmt: skip


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _wrong(name: str, value: object, expected: str) -> AuscultError:
    return AuscultError(f"The wish's {name} is {value!r}.", remedy=f"Give {expected}.", column=name)


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What a part is given to learn.

    Attributes:
        tell: Called with the share done and a message; may raise to stop. Losses go to ``log``.
        log: Called with the name of a curve, the step and the value, such as ``("image.flow", 200, .31)``.
        resume: Folder that survives an interruption: a part may keep its state there and go on from it.
        allowed: With differential privacy, what the part may spend, and ``noise``, the randomness to spend it with.
            Nothing else may be told of the patients: no loss, no count, no message.
    """

    settings: GeneratorSettings
    tell: Tell = lambda share, message: None
    log: Callable[[str, int, float], None] = lambda curve, step, value: None
    resume: Path | None = None
    allowed: Mechanism | None = None
    noise: Noise | None = None


def refuse_privacy(learning: Learning, part: str) -> None:
    """Raise where differential privacy is asked for, of a part that cannot hold it.

    Raises:
        AuscultError: naming the part, such as ``series:flow``, and the setting.
    """
    if learning.settings.privacy is not None:
        raise AuscultError(
            f"The part {part} cannot learn with differential privacy.",
            remedy="Train without the setting privacy, or name another part, or none, in the setting parts.",
            column="privacy",
        )


@runtime_checkable
class HoldsPrivacy(Protocol):
    """A part that can learn with differential privacy: it asks its patients through one mechanism alone.

    ``fit`` is given :attr:`Learning.allowed` and :attr:`Learning.noise`, among ``others`` the fitted tables with their
    noisy number of patients (``patients``), and no patients that were held out. What it returns is public.
    """

    def need(self, settings: GeneratorSettings) -> Need:
        """How it asks, from the settings alone."""

    def lacks(self, settings: GeneratorSettings, studies: LinkedStudies) -> str:
        """Why the domain, or the names of the cohort's columns, leave it nothing to learn; "" where they do not."""


class Fitted(Protocol):
    """A part that has learnt."""

    facts: dict[str, Any]
    """For the datasheet: sizes, losses, gates with their values. No patient."""

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder: safetensors and JSON, byte for byte equal for equal parts."""


class Tables(Fitted, Protocol):
    def sample(self, wish: Wish, *, seed: int) -> LinkedStudies:
        """Studies with attributes, times, labels, plans and ``has_image``. Series hold None where a study is to have no
        readings and an array [t, 2] of NaN of the right length where it is to have them; texts hold None or "".

        Raises:
            AuscultError: the wish names a value that was never learnt, or that no patient can have.
        """


class Series(Fitted, Protocol):
    def sample(self, studies: LinkedStudies, *, seed: int) -> dict[str, Readings]:
        """Readings for every study whose series holds an array."""


class Images(Fitted, Protocol):
    def sample(self, studies: LinkedStudies, *, seed: int) -> Pixels:
        """uint8 [n, size, size]; zeros where a study is to have none."""

    def encode(self, images: Pixels) -> Floats:
        """Latents float32 [n, channels, h, w] of images: what the report part sees of them."""


class Reports(Fitted, Protocol):
    def sample(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> dict[str, Objects]:
        """Texts for every study that is to have them."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a critic sees in n images over F findings.

    Attributes:
        findings: In the order of the second axis.
        present: float32 [n, F], probability that it is there.
        side, zone, size: float32 [n, F, 3], probability of each of SIDES, ZONES, SIZES given that it is there; NaN
            for what it has not learnt to tell.
    """

    findings: tuple[str, ...]
    present: Floats
    side: Floats
    zone: Floats
    size: Floats


class Critic(Fitted, Protocol):
    def read(self, images: Pixels) -> Reading: ...

    def agreement(self, images: Pixels, plans: Plans) -> Floats:
        """float32 [n]: mean log-probability of the plan's told parts; NaN where it tells none."""


@runtime_checkable
class Wishable(Protocol):
    """A tables part that can tell beforehand whether it understands a wish."""

    def check(self, wish: Wish) -> None:
        """Nothing where it does; quick, since a page waits for it.

        Raises:
            AuscultError: the wish names what was never learnt, or bounds exclude one another.
        """


@runtime_checkable
class Explains(Protocol):
    """A part that can tell how well it explains studies that are given: what an attack on its weights needs."""

    def losses(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> Floats:
        """float32 [n]: loss of each study, NaN where it lacks what the part makes. The lower, the better known."""


class Part(Protocol[T_co]):
    """How a part is made. Members of :data:`PARTS` are modules' singletons or classes with these two methods."""

    def missing(self, studies: LinkedStudies) -> str:
        """Why these studies cannot teach it, such as "no study has an image"; "" where they can."""

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> T_co:
        """Learn.

        Args:
            others: Fitted parts of earlier roles by role, for parts that build on them (``image`` for ``report``), and
                ``held_out``: studies of other patients, for gates.

        Raises:
            AuscultError: what was learnt fails a gate, or cannot be learnt; with the finding or column by name.
        """

    def load(self, folder: Path) -> T_co:
        """What :meth:`Fitted.save` wrote."""


PARTS: Registry[Part[Any]] = Registry(
    kind="part of a generator", package="synthetic.generators.kinds", group="auscult.generators"
)
"""Every part, by role and name: ``tables:copula``, ``image:latent_flow``, and those of other distributions."""
