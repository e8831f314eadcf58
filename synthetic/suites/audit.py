"""One audit of synthetic patients: the figures of each suite that a protocol names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import AuscultError
from evaluation.engine import Protocol as Rules
from synthetic.generators.canaries import canaries_of
from synthetic.generators.settings import GeneratorSettings
from synthetic.suites.figures import AuditSets, Figure, not_computed

if TYPE_CHECKING:
    from synthetic.generators.linked import Generator

DECOYS = 1000
"""Texts that canaries are ranked among."""
Tell = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit: its rules, its patients, its generator; without one, the weights are not attacked."""

    rules: Rules
    sets: AuditSets
    generator: Generator | None

    def figures(self, suite: str, *, tell: Tell) -> tuple[Figure, ...]:
        """The figures of one suite. What breaks as a whole is told by each of its metrics, and so blocks a pass."""
        from evaluation.engine.registry import SUITES

        try:
            return self._computed(suite, tell)
        except AuscultError as error:
            reason = f"{error.message.rstrip('.')}"
        return tuple(not_computed(metric, reason) for metric in SUITES.get(suite).metrics)

    def _computed(self, suite: str, tell: Tell) -> tuple[Figure, ...]:
        assert self.rules.linked is not None
        if suite == "fidelity":
            from synthetic.suites.fidelity import audit_fidelity

            return audit_fidelity(self.sets, tell=tell)
        if suite == "crossmodal":
            from synthetic.suites.crossmodal import audit_crossmodal

            return audit_crossmodal(self.sets, tell=tell)
        if suite == "utility":
            from synthetic.suites.utility import audit_utility

            return audit_utility(self.sets, seeds=self.rules.linked.repeats, tell=tell)
        from synthetic.suites.privacy import audit_privacy

        return audit_privacy(
            self.sets,
            generator=self.generator,
            attacks=self.rules.linked.attacks,
            canaries=self.generator.canaries if self.generator else (),
            decoys=self._decoys(),
            tell=tell,
        )

    def _decoys(self) -> list[str]:
        """Texts of the same kind as the canaries, which nobody learnt."""
        if self.generator is None or not self.generator.canaries:
            return []
        settings = GeneratorSettings.from_dict(self.generator.body["settings"])
        if settings.privacy is not None and settings.privacy.domain is not None:
            from synthetic.generators.private.words import public_canaries

            return public_canaries(settings.privacy.domain, DECOYS, seed=settings.seed, purpose="decoys")
        return canaries_of(
            self.sets.learnt, DECOYS, rare_below=settings.rare_below, seed=settings.seed, purpose="decoys"
        )
