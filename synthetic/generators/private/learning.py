"""What every part that learns with differential privacy does alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import AuscultError
from synthetic.generators.private.accounting import Mechanism
from synthetic.generators.private.domain import Domain, missing_domain

if TYPE_CHECKING:
    from synthetic.generators.parts import Learning
    from synthetic.generators.private.noise import Noise
    from synthetic.generators.settings import GeneratorSettings

UNIT = "one patient with all studies"


def domain_of(settings: GeneratorSettings) -> Domain:
    """The domain of settings.

    Raises:
        AuscultError: they have none.
    """
    if settings.privacy is None or settings.privacy.domain is None:
        raise missing_domain()
    return settings.privacy.domain


def allowance(learning: Learning, part: str) -> tuple[Mechanism, Noise]:
    """What a part may spend, and its noise.

    Raises:
        AuscultError: no differential privacy is asked for: a part that always adds noise would be mistaken for one that
            keeps a promise.
    """
    if learning.settings.privacy is None or learning.allowed is None or learning.noise is None:
        raise AuscultError(
            f"The part {part} learns with differential privacy alone, and none is asked for.",
            remedy="Give the setting privacy, or name another part in the setting parts.", column="privacy",
        )  # fmt: skip
    return learning.allowed, learning.noise


def told(allowed: Mechanism, settings: GeneratorSettings) -> dict[str, Any]:
    """The mechanism of a part for its facts, with what it would cost alone. What all cost together stands with the
    generator and is less than the sum."""
    assert settings.privacy is not None
    delta = settings.privacy.delta
    return allowed.to_dict() | {"epsilon": allowed.epsilon(delta), "delta": delta, "unit": UNIT}
