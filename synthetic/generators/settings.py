"""What decides a generator, entirely: equal settings, data and versions give equal weights and equal patients.

With differential privacy they do not: its noise comes from a secret that is no setting (see ``private.noise``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from core.errors import AuscultError
from synthetic.generators.private.domain import Domain, check_domain

ROLES = ("tables", "series", "image", "report", "critic")
LEAST_PATIENTS = 200
"""Fewer patients are not enough to learn from: what is made would be copies, or nothing like them."""


PLAIN = {"tables": "copula", "series": "flow", "image": "latent_flow", "report": "language_model", "critic": "cnn"}
PRIVATE = {"tables": "private", "series": "private", "image": "private", "report": "private"}
"""Parts that learn with differential privacy. There is no critic among them: nobody needs to be read from an image at
the cost of the others' share."""
_UNNAMED: Mapping[str, str] = MappingProxyType({})
LEAST_EPSILON, MOST_EPSILON = 0.1, 100.0
LEAST_DELTA, MOST_DELTA = 1e-15, 1e-2


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Differential privacy over all parts together, for a patient with all studies, who is there or not.

    Attributes:
        epsilon: Bound over the whole generator; ``delta`` below one over the number of patients.
        domain: What is public of the data; without one no part can learn. See ``private.domain``.
    """

    epsilon: float
    delta: float
    domain: Domain | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("epsilon", LEAST_EPSILON, MOST_EPSILON), ("delta", LEAST_DELTA, MOST_DELTA)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise _wrong(f"privacy.{name}", value, f"a number from {least:g} to {most:g}")

    def to_dict(self) -> dict[str, Any]:
        domain = None if self.domain is None else self.domain.to_dict()
        return {"epsilon": self.epsilon, "delta": self.delta, "domain": domain}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Privacy:
        """From JSON.

        Raises:
            AuscultError: naming the entry that is missing, unknown or out of range.
        """
        for name in body:
            if name not in ("epsilon", "delta", "domain"):
                raise _wrong(f"privacy.{name}", body[name], "epsilon, delta and domain")
        domain = body.get("domain")
        return cls(
            epsilon=body.get("epsilon", 0), delta=body.get("delta", 0),
            domain=None if domain is None else check_domain(domain),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """How a generator is trained.

    Attributes:
        seed: Decides every draw, of training and of what the trained generator is asked for without a seed of its own.
        findings: Labels that plans are made of; all of the cohort's where it is empty.
        image_size: Edge of the square grey image, in pixels.
        parts: Role -> name of the part that plays it, as registered; see ``parts.PARTS``. Where none are named,
            :data:`PLAIN`, or :data:`PRIVATE` with differential privacy.
        effort: Share of the full number of training steps of every part: 1 for use, little for a try.
        rare_below: Values of a category that fewer patients hold are not learnt from.
        canaries: Invented texts that the report part learns beside the real ones, for audits to look for.
        privacy: Differential privacy; None without.
    """

    seed: int
    findings: tuple[str, ...] = ()
    image_size: int = 64
    parts: Mapping[str, str] = field(default_factory=lambda: _UNNAMED)
    effort: float = 1.0
    rare_below: int = 11
    canaries: int = 100
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        if self.parts is _UNNAMED:
            object.__setattr__(self, "parts", dict(PLAIN if self.privacy is None else PRIVATE))
        if not 0 <= self.seed < 2**32:
            raise _wrong("seed", self.seed, "a whole number from 0 to 4,294,967,295")
        if self.image_size not in (32, 64, 96, 128):
            raise _wrong("image_size", self.image_size, "32, 64, 96 or 128")
        if not 0 < self.effort <= 4:
            raise _wrong("effort", self.effort, "a number above 0 and at most 4")
        if not 2 <= self.rare_below <= 1000:
            raise _wrong("rare_below", self.rare_below, "a whole number from 2 to 1,000")
        if not 0 <= self.canaries <= 1000:
            raise _wrong("canaries", self.canaries, "a whole number from 0 to 1,000")
        if unknown := set(self.parts) - set(ROLES):
            raise _wrong("parts", ", ".join(sorted(unknown)), f"parts for {', '.join(ROLES)}")

    def steps(self, full: int) -> int:
        """Training steps of a part that takes ``full`` of them at an effort of 1."""
        return max(1, round(full * self.effort))

    def to_dict(self) -> dict[str, Any]:
        body = {item.name: getattr(self, item.name) for item in fields(self)}
        body |= {"findings": list(self.findings), "parts": dict(self.parts)}
        return body | {"privacy": self.privacy.to_dict() if self.privacy else None}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> GeneratorSettings:
        """Settings from JSON.

        Raises:
            AuscultError: naming the first setting that is unknown or out of range.
        """
        known = {item.name for item in fields(cls)}
        for name in body:
            if name not in known:
                raise _wrong(name, body[name], f"one of the settings {', '.join(sorted(known))}")
        if "seed" not in body:
            raise AuscultError("The generator's settings lack a seed.", remedy="Give a whole number.", column="seed")
        for name, (expected, fits) in KINDS.items():
            if name in body and not fits(body[name]):
                raise _wrong(name, body[name], expected)
        made = dict(body)
        if isinstance(made.get("privacy"), Mapping):
            made["privacy"] = Privacy.from_dict(made["privacy"])
        if "findings" in made:
            made["findings"] = tuple(made["findings"])
        return cls(**made)


def _whole(value: object) -> bool:
    return type(value) is int


def _words(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, str) for item in (*value, *value.values()))


KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("seed", "image_size", "rare_below", "canaries"), ("a whole number", _whole)),
    "effort": ("a number above 0 and at most 4", lambda value: type(value) in (int, float)),
    "findings": ("a list of labels", _words),
    "parts": ("a part for each role, such as tables: copula", _named),
    "privacy": ("nothing, or epsilon, delta and domain", lambda value: isinstance(value, Mapping | Privacy | None)),
}
"""What JSON has to hold for each setting, in words and as a test."""


def _wrong(name: str, value: object, expected: str) -> AuscultError:
    return AuscultError(f"The generator's setting {name} is {value!r}.", remedy=f"Give {expected}.", column=name)
