"""What a report part did: perplexity, what the image tells it, faults before and after drawing again, and copies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.kinds.report_checking import check_reports, verbatim_share, words_agree
from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies, split_patients

if TYPE_CHECKING:
    from synthetic.generators.kinds.report_language_model import LanguageModelReports

Given = tuple[LinkedStudies, npt.NDArray[np.float32] | None]
MOST = 600
"""Studies of each side on which reports are made to be checked."""


def report_facts(made: LanguageModelReports, learnt: Given, held_out: Given | None, *, seed: int) -> dict[str, Any]:
    """Figures on studies of other patients, where there are any; otherwise each is None with a reason."""
    if held_out is None or not len(held_out[0]):
        return {"held_out": None, "why": "no studies of other patients were given"}
    return {"held_out": {**_perplexities(made, held_out, seed), **_drawn(made, learnt, held_out, seed)}}


def _perplexities(made: LanguageModelReports, held_out: Given, seed: int) -> dict[str, Any]:
    """Perplexity of each field, and losses of reports with the images of other studies in place of their own."""
    from synthetic.generators.networks.language_model import text_losses

    examples, fields, model = made.examples(*held_out)
    losses = text_losses(model, examples)
    found: dict[str, Any] = {"perplexity": {}}
    for place, name in enumerate(fields):
        total, tokens = losses[examples.field == place].sum(axis=0)
        found["perplexity"][name] = round(float(np.exp(total / tokens)), 4) if tokens else None
    if not model.size.region or REPORT not in fields:
        return found | {"image": None}
    mixed = shuffled_images(examples.prefix, seed)
    rows = (examples.field == fields.index(REPORT)) & examples.prefix.has_image[examples.study]
    told: dict[str, Any] = {}
    for name, hide in (("plan told", False), ("plan hidden", True)):
        own = (losses if not hide else text_losses(model, examples, hide=True))[rows]
        other = text_losses(model, replace(examples, prefix=mixed), hide=hide)[rows]
        told[name] = {
            "own_image": round(float(own[:, 0].sum() / max(1.0, own[:, 1].sum())), 4),
            "other_image": round(float(other[:, 0].sum() / max(1.0, other[:, 1].sum())), 4),
        }
    return found | {"image": told}


def shuffled_images(prefix: Any, seed: int) -> Any:
    """The codes of studies, with the images of those that have one given to each other."""
    rows = np.flatnonzero(prefix.has_image)
    regions = prefix.regions.copy()
    regions[rows] = prefix.regions[generator(seed, "other images").permutation(rows)]
    return replace(prefix, regions=regions)


def _drawn(made: LanguageModelReports, learnt: Given, held_out: Given, seed: int) -> dict[str, Any]:
    """Reports for equally many studies that were learnt and that were not: so copies of either are as easy."""
    sides = [_some(side, min(MOST, len(learnt[0]), len(held_out[0])), seed) for side in (learnt, held_out)]
    if REPORT not in sides[0][0].texts or REPORT not in sides[1][0].texts:
        return {"reports": None}
    written = [made.written(studies, latents, seed=seed) for studies, latents in sides]
    rows = [np.flatnonzero([text is not None for text in item.texts[REPORT].tolist()]) for item in written]
    texts = [text for item, own in zip(written, rows, strict=True) for text in item.texts[REPORT][own].tolist()]
    if not texts:
        return {"reports": None}
    plans = [side[0].plans.rows(own) for side, own in zip(sides, rows, strict=True)]
    both = type(plans[0]).joined(plans)
    first = [text for item, own in zip(written, rows, strict=True) for text in item.first[REPORT][own].tolist()]
    real = [text for side, own in zip(sides, rows, strict=True) for text in side[0].texts[REPORT][own].tolist()]
    known = [[text for text in side[0].texts[REPORT].tolist() if text] for side in sides]
    copies = [verbatim_share(texts, pool) for pool in known]
    n = len(texts)
    return {
        "reports": n,
        "redrawn": round(sum(item.redrawn for item in written) / n, 4),
        "left": round(sum(item.left for item in written) / n, 4),
        "faults": {
            name: {kind: round(float(getattr(checked, kind).mean()), 4) for kind in ("faults", "parts")}
            for name, checked in (
                ("real", check_reports(real, both)), ("first", check_reports(first, both)),
                ("last", check_reports(texts, both)),
            )
        },
        "words": words_agree(texts, both),
        "verbatim": {
            "learnt": copies[0], "held_out": copies[1],
            "excess": None if None in copies else round((copies[0] or 0.0) - (copies[1] or 0.0), 4),
        },
    }  # fmt: skip


def _some(given: Given, many: int, seed: int) -> Given:
    """About as many studies, of whole patients."""
    studies, latents = given
    numbered = replace(studies, attributes={}, study_ids=np.arange(len(studies)).astype(object))
    part = split_patients(numbered, [min(1.0, many / len(studies))], seed=seed)[0]
    rows = part.study_ids.astype(np.int64)
    return studies.rows(rows), None if latents is None else latents[rows]
