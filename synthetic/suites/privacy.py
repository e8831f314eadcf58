"""What synthetic patients, and the weights that made them, give away of the patients that were learnt from.

Every attack is made on learnt patients and on others that were held out: only what goes beyond these is the generator's
doing. Beside each figure stands its null, the same attack with real patients in place of the synthetic ones. An attack
that fails to run says so in its figures; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from core.errors import AuscultError
from synthetic.generators.studies import Tell
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.privacy_arms import Arms, Attack, arms_of
from synthetic.suites.privacy_attacks import inference_figures, linkability_figures, singling_out_figures
from synthetic.suites.privacy_distance import copy_figures, density_figures, distance_figures
from synthetic.suites.privacy_images import image_attack
from synthetic.suites.privacy_meanings import GATES, MEANINGS, METRICS, Meaning
from synthetic.suites.privacy_texts import all_texts, extraction_figure, text_figures
from synthetic.suites.privacy_weights import NOT_GIVEN, WeightsUnderAttack, exposure_figure, weights_figures

__all__ = ["GATES", "MEANINGS", "METRICS", "Meaning", "WeightsUnderAttack", "audit_privacy"]

log = logging.getLogger(__name__)
WORDS = 200


def audit_privacy(
    sets: AuditSets,
    *,
    generator: WeightsUnderAttack | None,
    attacks: int = 2000,
    tell: Tell | None = None,
    canaries: Sequence[str] = (),
    decoys: Sequence[str] = (),
) -> tuple[Figure, ...]:
    """Every figure of :data:`METRICS`. Equal sets and seed give equal figures.

    Args:
        generator: The trained generator; None where only its patients are given, and the weights are not judged.
        attacks: Patients that are attacked, once each; where a set has fewer, all of them, and the interval is wider.
        tell: Called before each attack; may raise to stop.
        canaries: Sentences that were planted in what the generator learnt from (see ``synthetic.generators.canaries``).
        decoys: Sentences of the same form that were not.
    """
    from synthetic.generators.fixed_threads import fixed_threads

    told = tell or (lambda share, message: None)
    with fixed_threads():
        try:
            arms = arms_of(sets, attacks=attacks)
        except Exception as error:
            log.exception("The patients of a privacy audit could not be prepared")
            return tuple(not_computed(metric, _reason(error)) for metric in METRICS)
        null, steps = arms.null(), _steps(arms, generator, canaries, decoys)
        found: list[Figure] = []
        for place, step in enumerate(steps):
            told(place / len(steps), step.title)
            found += step.figures(arms, null)
    told(1.0, "Privacy attacks done")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One attack.

    Attributes:
        metrics: Those that it tells.
        attack: From the arms to figures; prepared once, so that the null has the same encoder.
        null: Whether it can be made with real patients in place of synthetic ones.
    """

    title: str
    metrics: tuple[str, ...]
    prepare: Callable[[Arms], Attack]
    null: bool = field(default=True)

    def figures(self, arms: Arms, null: Arms) -> list[Figure]:
        """The figures beside those of the null; what crashes is told with its class and words, and logged."""
        try:
            attack = self.prepare(arms)
            found = attack(arms)
        except Exception as error:
            log.exception("A privacy attack failed: %s", self.title)
            return [not_computed(metric, _reason(error)) for metric in self.metrics]
        if not self.null:
            return found
        try:
            nulls = {(item.metric, item.of): item for item in attack(null)}
        except Exception as error:
            log.exception("The null of a privacy attack failed: %s", self.title)
            return [replace(item, detail=item.detail | {"no_null": _reason(error)}) for item in found]
        return [_beside(item, nulls.get((item.metric, item.of))) for item in found]


def _steps(
    arms: Arms, generator: WeightsUnderAttack | None, canaries: Sequence[str], decoys: Sequence[str]
) -> list[_Step]:
    def plain(title: str, attack: Attack, *metrics: str, null: bool = True) -> _Step:
        return _Step(title=title, metrics=metrics, prepare=lambda arms: attack, null=null)

    def of_weights(attack: Callable[[Arms, WeightsUnderAttack], list[Figure]], *metrics: str) -> Attack:
        if generator is None:
            return lambda arms: [not_computed(metric, NOT_GIVEN) for metric in metrics]
        return lambda arms: attack(arms, generator)

    losses = of_weights(weights_figures, "weights_auc", "weights_tpr")
    exposed = of_weights(lambda arms, given: [exposure_figure(arms, given, canaries, decoys)], "canary_exposure")
    return [
        plain("Distances", distance_figures, "dcr_share", "dcr_tail", "near_copies"),
        plain("Copies", copy_figures, "copies"),
        plain("Densities", density_figures, "domias_auc", "domias_tpr"),
        plain("Singling out", singling_out_figures, "singling_out"),
        plain("Linkability", linkability_figures, "linkability"),
        plain("Inference", inference_figures, "inference"),
        _Step(title="Copied images", metrics=("image_copies",), prepare=image_attack),
        plain("Repeated texts", text_figures, "text_copies", "text_overlap", "text_longest_run"),
        plain(
            "Planted canaries",
            lambda arms: [extraction_figure(all_texts(arms.synthetic.studies), canaries)],
            "canaries_extracted",
            null=False,
        ),
        plain("Membership by weights", losses, "weights_auc", "weights_tpr", null=False),
        plain("Exposure of canaries", exposed, "canary_exposure", null=False),
    ]


def _beside(figure: Figure, null: Figure | None) -> Figure:
    """A figure with its null beside it."""
    if figure.value is None or null is None or null.value is None:
        return figure
    error = null.error
    if error is None and null.hits is not None:
        share = null.hits / null.n
        error = sqrt(share * (1 - share) / null.n)
    return replace(figure, null=null.value, null_error=error)


def _reason(error: Exception) -> str:
    """The error in a clause: its class and words, or the message alone of one that is meant to be read."""
    if isinstance(error, AuscultError):
        return f"{error.message[:1].lower()}{error.message[1:].rstrip('.')}"
    words = " ".join(str(error).split())[:WORDS].rstrip(".")
    return f"the attack failed with {type(error).__name__}: {words}"
