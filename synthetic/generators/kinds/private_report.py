"""``report:private``: texts by the language model of public words, trained with differential privacy.

First it learns plain sentences about patients that the tables part draws, which costs nothing: so it tells plans even
where the share of epsilon teaches little. Then it learns real texts of the domain's fields, one of a patient at a step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.kinds.report_conditions import ReportConditions
from synthetic.generators.kinds.report_language_model import (
    LanguageModelPart,
    LanguageModelReports,
    examples_of,
    latents_of,
)
from synthetic.generators.kinds.report_words import Vocabulary
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.private.accounting import Need
from synthetic.generators.private.bounded import bounded, rows_by_patient
from synthetic.generators.private.conditions import report_conditions_of
from synthetic.generators.private.learning import allowance, domain_of, told
from synthetic.generators.private.words import reports_of, vocabulary_of
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies

if TYPE_CHECKING:
    from synthetic.generators.networks.language_model import Examples, ModelSize
    from synthetic.generators.private.tables_layout import Layout

STEPS, RATE, LESSONS = 250, 0.03, 700
DRAWN = 1500
"""Patients that the tables part draws for the public lessons."""
LONGEST = 96
"""Words of a text that are learnt."""
WIDTH, LAYERS, HEADS = 48, 2, 2
PACE = 1.5e-3
"""A little slower than the others: what the public sentences taught is not to be lost in noise."""


class PrivateReportPart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        return "" if studies.texts else "the cohort has no text"

    def need(self, settings: GeneratorSettings) -> Need:
        return Need(rate=RATE, steps=settings.steps(STEPS))

    def lacks(self, settings: GeneratorSettings, studies: LinkedStudies) -> str:
        named = set(domain_of(settings).texts) & set(studies.texts)
        return "" if named else "the domain names no text of the cohort"

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> LanguageModelReports:
        """Learn all text fields of the domain together.

        Names of persons are not looked for: a word that is not public is not learnt, whoever's it is.

        Raises:
            AuscultError: no domain is given, or no differential privacy is asked for.
        """
        with fixed_threads():
            return _Fit(studies, learning, others).learnt()

    def load(self, folder: Path) -> LanguageModelReports:
        return LanguageModelPart().load(folder)


class _Fit:
    """One training of the model."""

    def __init__(self, studies: LinkedStudies, learning: Learning, others: dict[str, Any]) -> None:
        self.learning, self.settings = learning, learning.settings
        self.allowed, self.noise = allowance(learning, "report:private")
        self.domain = domain_of(self.settings)
        self.tables, self.image = others["tables"], others.get("image")
        self.layout: Layout = self.tables.layout
        self.studies, self.fields = studies, tuple(sorted(self.layout.texts))
        self.vocabulary: Vocabulary = vocabulary_of(self.domain)
        self.seed = int(generator(self.settings.seed, "private reports").integers(2**31))

    def learnt(self) -> LanguageModelReports:
        from synthetic.generators.private.descent import Descent
        from synthetic.generators.private.text_training import train_private_model

        self.learning.tell(0.0, "reports: public sentences")
        public, conditions = self._public()
        size = self._size(public, conditions)
        real, by_patient = self._real(conditions)
        descent = Descent(
            allowed=self.allowed, noise=self.noise, patients=self.tables.patients, seed=self.seed, pace=PACE
        )  # fmt: skip
        lessons = self.settings.steps(LESSONS)
        model = train_private_model(size, public, lessons, real, by_patient, descent, self._step)
        facts: dict[str, Any] = {
            "fields": list(self.fields), "steps": self.allowed.steps, "public_lessons": lessons, "tokens": size.tokens,
            "parameters": sum(int(value.numel()) for value in model.parameters()), "with_images": bool(size.region),
            "privacy": told(self.allowed, self.settings),
        }  # fmt: skip
        return LanguageModelReports(conditions, self.vocabulary, self.fields, model, facts)

    def _step(self, number: int) -> None:
        steps = self.allowed.steps
        self.learning.tell(0.3 + 0.7 * number / steps, f"reports: {number:,} of {steps:,} steps")

    def _public(self) -> tuple[Examples, ReportConditions]:
        """Sentences on patients whom the tables part draws, with images that the image part makes of them."""
        drawn = self.tables.sample(Wish(patients=DRAWN), seed=self.seed)
        rng = generator(self.settings.seed, "public sentences")
        texts = {name: np.array(reports_of(drawn.plans, rng), dtype=object) for name in self.fields}
        drawn = replace(drawn, texts=texts)
        if self.image is not None:
            drawn = replace(drawn, images=self.image.sample(drawn, seed=self.seed))
        latents = latents_of(self.image, drawn)
        conditions = report_conditions_of(self.layout, 0 if latents is None else latents.shape[1])
        return examples_of(drawn, conditions.prefix(drawn, latents), self.fields, self.vocabulary), conditions

    def _size(self, public: Examples, conditions: ReportConditions) -> ModelSize:
        from synthetic.generators.networks.language_model import ModelSize

        return ModelSize(
            tokens=len(self.vocabulary), fields=len(self.fields), findings=len(conditions.findings),
            more=conditions.more_codes, region=public.prefix.regions.shape[2], longest=LONGEST, width=WIDTH,
            layers=LAYERS, heads=HEADS,
        )  # fmt: skip

    def _real(self, conditions: ReportConditions) -> tuple[Examples, list[npt.NDArray[np.int64]]]:
        given = bounded(self.studies, self.domain)
        latents = latents_of(self.image, given.studies) if conditions.middle else None
        prefix = conditions.prefix(given.studies, latents)
        if conditions.middle and latents is None:
            prefix = replace(prefix, regions=np.zeros((len(prefix), *_regions(self.image)), dtype=np.float32))
        examples = examples_of(given.studies, prefix, self.fields, self.vocabulary)
        owner = given.owner[examples.study]
        return examples, rows_by_patient(owner, np.ones(len(owner), dtype=np.bool_))


def _regions(image: Any) -> tuple[int, int]:
    """Shape of the regions of one image, where no study has any."""
    from synthetic.generators.kinds.report_conditions import regions_of

    edge = image.facts["edge"]
    found = regions_of(image.encode(np.zeros((1, edge, edge), dtype=np.uint8)))
    return found.shape[1], found.shape[2]


PARTS.register("report:private")(PrivateReportPart())
