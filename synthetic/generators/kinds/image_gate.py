"""The gate of an autoencoder: what it makes of real images must still show every finding.

A reader reads held-out images and what the autoencoder makes of them. Where the area under the ROC curve of a finding
falls by more than :data:`LOST`, the training stops with the finding's name: a flow over such latents never shows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import AuscultError
from synthetic.generators.kinds.conditions import aligned, patient_numbers
from synthetic.generators.parts import Reading
from synthetic.generators.studies import LinkedStudies

LOST = 0.05
"""Of the area, that a finding may lose. More counts where chance does not explain it: where the 95 % interval of the
loss (paired, over patients) is above 0."""
ENOUGH = 20
"""Held-out studies with a finding, and without, from which it is judged."""
READABLE = 0.6
"""Area on real images below which a reader does not see a finding well enough to judge what becomes of it."""


def check_reconstructions(before: Reading, after: Reading, studies: LinkedStudies) -> dict[str, Any]:
    """Areas on real images and on what was made of them, by finding.

    Args:
        before, after: What one reader sees in the images of ``studies``, and in what was made of them.

    Returns:
        Finding -> ``original``, ``reconstruction``, ``with``, ``without``; ``judged`` is False, with a reason, for
        findings with fewer than :data:`ENOUGH` studies of either kind, or an area below :data:`READABLE` before.

    Raises:
        AuscultError: naming the finding that loses most, where one loses more than :data:`LOST`
            and more than by chance.
    """
    from evaluation.engine.statistics.auroc import compare_auroc

    plans, patients = aligned(studies.plans, before.findings), patient_numbers(studies)
    facts: dict[str, Any] = {}
    lost: list[tuple[float, str]] = []
    for column, name in enumerate(before.findings):
        state, one, two = plans.present[:, column], before.present[:, column], after.present[:, column]
        rows = (state >= 0) & np.isfinite(one) & np.isfinite(two)
        cases = [int((state[rows] == value).sum()) for value in (1, 0)]
        body: dict[str, Any] = {"with": cases[0], "without": cases[1], "original": None, "reconstruction": None}
        facts[name] = body
        if min(cases) < ENOUGH:
            body |= {"judged": False, "reason": f"fewer than {ENOUGH} held-out studies with it, or without"}
            continue
        found = compare_auroc(one[rows], two[rows], state[rows], clusters=patients[rows])
        original, made = (float(area.value or 0.0) for area in found.areas)
        body |= {"original": round(original, 4), "reconstruction": round(made, 4), "judged": original >= READABLE}
        if original < READABLE:
            body["reason"] = "the reader does not see it in real images well enough to judge"
        elif original - made > LOST and ((limits := found.interval(0.05)) is None or limits[0] > 0):
            lost.append((original - made, name))
    if lost:
        _, name = max(lost)
        raise AuscultError(
            f"The autoencoder erases '{name}': read from what it makes of real images, the AUROC is "
            f"{facts[name]['reconstruction']:.3f}, from the images {facts[name]['original']:.3f}.",
            remedy="Train with more effort or larger images, or leave the finding out of the setting findings.",
            column=name,
        )
    return facts
