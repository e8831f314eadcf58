"""Design line 8: an autoencoder that erases a finding stops the training with the finding's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.kinds.image_gate import check_reconstructions
from synthetic.generators.kinds.image_latent_flow import LatentFlowPart
from synthetic.generators.networks import autoencoders
from synthetic.generators.parts import Learning, Reading
from synthetic.generators.settings import GeneratorSettings
from tests.synthetic.image_scene import EDGE, pictured, small_lessons

STUDIES, OTHERS = pictured(150), pictured(60, seed=2)
SETTINGS = GeneratorSettings(seed=3, image_size=EDGE, effort=0.01)


def test_line_8_an_autoencoder_that_erases_a_finding_stops_the_training_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_lessons(monkeypatch, flow=1)
    flows: list[str] = []
    right = autoencoders.Autoencoder.decode

    def erasing(self: Any, latents: Any, noise: Any) -> Any:
        made = right(self, latents, noise).clone()
        made[:, :, : EDGE // 4] = made[:, :, EDGE // 3 : EDGE // 3 + 1]
        return made

    monkeypatch.setattr(autoencoders.Autoencoder, "decode", erasing)
    with pytest.raises(AuscultError, match="erases 'band'") as caught:
        LatentFlowPart().fit(
            STUDIES, Learning(settings=SETTINGS, log=lambda curve, step, value: flows.append(curve)), held_out=OTHERS
        )
    assert caught.value.column == "band" and caught.value.remedy
    assert set(flows) == {"image.reader", "image.autoencoder"}, "the flow was never trained"


def _seen(present: Any) -> Reading:
    nothing = np.full((*present.shape, 3), np.nan, dtype=np.float32)
    return Reading(
        findings=OTHERS.plans.findings, present=present.astype(np.float32), side=nothing, zone=nothing, size=nothing
    )


def test_each_finding_is_judged_by_its_own_cases() -> None:
    rng = np.random.default_rng(1)
    truth = OTHERS.plans.present.astype(float)
    before = truth + 0.3 * rng.standard_normal(truth.shape)
    kept = check_reconstructions(_seen(before), _seen(before + 0.05 * rng.standard_normal(truth.shape)), OTHERS)
    assert kept["nodule"]["judged"] and kept["band"]["judged"] and not kept["never"]["judged"]
    assert kept["nodule"]["original"] > 0.9 and kept["never"]["reason"]
    lost = before.copy()
    lost[:, 0] = rng.standard_normal(len(lost))
    with pytest.raises(AuscultError, match="erases 'nodule'"):
        check_reconstructions(_seen(before), _seen(lost), OTHERS)
    # What the reader never saw is not held against the autoencoder, and said.
    blind = check_reconstructions(_seen(lost), _seen(rng.standard_normal(lost.shape) + truth * [0, 1, 0] * 9), OTHERS)
    assert not blind["nodule"]["judged"] and "does not see it" in blind["nodule"]["reason"]
