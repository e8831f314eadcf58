"""``report:language_model``: every text field, by one small language model that knows plan, readings and image."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.kinds.conditions import aligned, patient_numbers
from synthetic.generators.kinds.report_checking import check_reports
from synthetic.generators.kinds.report_conditions import Prefix, ReportConditions, learn_report_conditions
from synthetic.generators.kinds.report_words import LONGEST, Suppressed, Vocabulary, learn_vocabulary, shared_runs
from synthetic.generators.parts import PARTS, Learning, refuse_privacy
from synthetic.generators.persons import check_no_persons
from synthetic.generators.plans import Plans
from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies, Objects

if TYPE_CHECKING:
    from synthetic.generators.networks.language_model import Examples, ReportModel

Floats = npt.NDArray[np.float32]
STEPS = 2000
MOST_PASSES = 20
"""Times that each text is learnt at most: a small cohort's texts would be learnt by heart."""
REDRAWS = 4
REPORT_TEMPERATURE, TEMPERATURE = 0.9, 1.0
"""Of reports, which a plan decides, and of other texts, whose words are to be as frequent as the real ones."""
SCHEMA = "auscult/language-model/1"
ENCODED_AT_ONCE = 512


class Written:
    """Texts of one draw.

    Attributes:
        texts: Field -> object [n]: str, or None where a study is to have none.
        first: Field -> the texts as they were first drawn, where faulty ones were drawn again.
        redrawn, left: Reports that were drawn again, and those with a fault after the last draw.
    """

    def __init__(self) -> None:
        self.texts: dict[str, Objects] = {}
        self.first: dict[str, Objects] = {}
        self.redrawn = self.left = 0


class LanguageModelReports:
    """Texts that were learnt."""

    def __init__(
        self, conditions: ReportConditions, vocabulary: Vocabulary, fields: tuple[str, ...], model: ReportModel,
        facts: dict[str, Any],
    ) -> None:  # fmt: skip
        self.facts = facts
        self._conditions, self._vocabulary, self._fields, self._model = conditions, vocabulary, fields, model

    def sample(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> dict[str, Objects]:
        """Texts of every field of the studies, where it holds text or "": a field that was never learnt is None.

        A report that is against its plan, against itself, or does not tell a side, zone or size of its plan is drawn
        again, up to four times; what is still wrong then stays as it was drawn last.
        """
        from synthetic.generators.fixed_threads import fixed_threads

        with fixed_threads():
            return self.written(studies, latents, seed=seed).texts

    def written(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> Written:
        """As :meth:`sample`, with what was drawn again."""
        prefix = self._conditions.prefix(studies, self._usable(latents))
        done = Written()
        for name, given in studies.texts.items():
            done.texts[name] = np.full(len(studies), None, dtype=object)
            rows = np.flatnonzero([text is not None for text in given.tolist()])
            if name in self._fields and len(rows):
                done.texts[name][rows] = self._draw(prefix, name, rows, generator(seed, "texts", name))
                if name == REPORT:
                    done.first[name] = done.texts[name].copy()
                    self._draw_again(done, prefix, aligned(studies.plans, self._conditions.findings), rows, seed)
        return done

    def _usable(self, latents: Floats | None) -> Floats | None:
        return latents if self._model.size.region else None

    def _draw(self, prefix: Prefix, name: str, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> list[str]:
        from synthetic.generators.networks.language_model import write

        field = np.full(len(rows), self._fields.index(name), dtype=np.int64)
        told = self._shown(prefix.rows(rows))
        heat = REPORT_TEMPERATURE if name == REPORT else TEMPERATURE
        numbers = write(self._model, told, field, rng.random((len(rows), self._model.size.longest)), temperature=heat)
        return [self._vocabulary.decode(text) for text in numbers]

    def _shown(self, prefix: Prefix) -> Prefix:
        """Regions of the right size where no latents were given, though images were learnt from."""
        from synthetic.generators.networks.language_model import REGIONS

        if self._model.size.region and not prefix.regions.size:
            empty = np.zeros((len(prefix), REGIONS, self._model.size.region), dtype=np.float32)
            return replace(prefix, regions=empty)
        return prefix

    def _draw_again(self, done: Written, prefix: Prefix, plans: Plans, rows: npt.NDArray[np.int64], seed: int) -> None:
        texts = done.texts[REPORT]
        wrong = rows[check_reports(texts[rows].tolist(), plans.rows(rows)).any]
        done.redrawn = len(wrong)
        for attempt in range(REDRAWS):
            if not len(wrong):
                break
            texts[wrong] = self._draw(prefix, REPORT, wrong, generator(seed, "texts again", str(attempt)))
            wrong = wrong[check_reports(texts[wrong].tolist(), plans.rows(wrong)).any]
        done.left = len(wrong)

    def examples(self, studies: LinkedStudies, latents: Floats | None) -> tuple[Examples, tuple[str, ...], ReportModel]:
        """Texts of studies as the model is asked for their loss, the fields by number, and the model.

        Of a text that is longer than any that was learnt, the beginning.
        """
        prefix = self._shown(self._conditions.prefix(studies, self._usable(latents)))
        found = examples_of(studies, prefix, self._fields, self._vocabulary)
        short = [words[: self._model.size.longest] for words in found.words]
        return replace(found, words=short), self._fields, self._model

    def losses(self, studies: LinkedStudies, latents: Floats | None, *, seed: int) -> Floats:
        """How badly the model explains the report of each study: float32 [n], the mean negative logarithm of a word's
        probability; NaN where no sentence of the report is left once words that few patients have are taken out."""
        from synthetic.generators.fixed_threads import fixed_threads
        from synthetic.generators.networks.language_model import text_losses

        found = np.full(len(studies), np.nan, dtype=np.float32)
        if REPORT not in self._fields:
            return found
        with fixed_threads():
            examples, fields, model = self.examples(studies, latents)
            rows = examples.field == fields.index(REPORT)
            told = text_losses(model, examples)[rows]
        found[examples.study[rows]] = told[:, 0] / np.maximum(told[:, 1], 1)
        return found

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        from synthetic.generators.networks.flows_series import weights_of

        save_file(weights_of(self._model), folder / "language_model.safetensors")
        body = {
            "schema": SCHEMA, "size": asdict(self._model.size), "fields": list(self._fields),
            "conditions": self._conditions.to_dict(), "tokens": list(self._vocabulary.tokens), "facts": self.facts,
        }  # fmt: skip
        (folder / "report.json").write_text(json.dumps(body, sort_keys=True) + "\n")


class LanguageModelPart:
    """How they are learnt."""

    def missing(self, studies: LinkedStudies) -> str:
        if not studies.texts:
            return "the cohort has no text"
        return "" if _filled(studies) else "no study has a text"

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> LanguageModelReports:
        """Learn all text fields together.

        Args:
            others: ``image``: a fitted image part, whose latents the texts are told; ``held_out``: studies on which
                perplexity, faults and copies are measured.

        Raises:
            CohortError: a text looks as if it named a person.
            AuscultError: differential privacy is asked for, or every sentence holds a word that few patients have.
        """
        from synthetic.generators.fixed_threads import fixed_threads

        refuse_privacy(learning, "report:language_model")
        learning.tell(0.0, "texts are searched for names, dates and numbers of persons")
        check_no_persons(studies)
        with fixed_threads():
            return _fit(studies, learning, others.get("image"), others.get("held_out"))

    def load(self, folder: Path) -> LanguageModelReports:
        from safetensors.numpy import load_file

        from synthetic.generators.networks.language_model import ModelSize, model_of

        file = folder / "report.json"
        body = json.loads(file.read_text()) if file.is_file() else {}
        if body.get("schema") != SCHEMA:
            raise AuscultError(
                "The folder holds no reports that this version can read.", remedy="Train it again.", file=folder.name
            )
        model = model_of(ModelSize(**body["size"]), load_file(folder / "language_model.safetensors"))
        return LanguageModelReports(
            ReportConditions.from_dict(body["conditions"]), Vocabulary(tuple(body["tokens"])), tuple(body["fields"]),
            model, body["facts"],
        )  # fmt: skip


def _filled(studies: LinkedStudies) -> tuple[str, ...]:
    """Fields in which a study has a text, sorted."""
    return tuple(
        sorted(name for name, texts in studies.texts.items() if any(text and text.strip() for text in texts.tolist()))
    )


def latents_of(image: Any, studies: LinkedStudies) -> Floats | None:
    """Latents of the studies' images; None without an image part, or without images."""
    if image is None or studies.images is None or not studies.has_image.any():
        return None
    starts = range(0, len(studies), ENCODED_AT_ONCE)
    return np.concatenate([image.encode(studies.images[start : start + ENCODED_AT_ONCE]) for start in starts])


def examples_of(studies: LinkedStudies, prefix: Prefix, fields: tuple[str, ...], vocabulary: Vocabulary) -> Examples:
    """Every text of the fields of which a sentence is left."""
    from synthetic.generators.networks.language_model import Examples

    found = [
        (row, place, vocabulary.encode(text))
        for place, name in enumerate(fields)
        for row, text in enumerate(studies.texts[name].tolist() if name in studies.texts else [])
    ]
    kept = [item for item in found if item[2]]
    return Examples(
        prefix=prefix,
        study=np.array([row for row, _, _ in kept], dtype=np.int64),
        field=np.array([place for _, place, _ in kept], dtype=np.int64),
        words=[words for _, _, words in kept],
    )


def _fit(studies: LinkedStudies, learning: Learning, image: Any, held_out: Any) -> LanguageModelReports:
    from synthetic.generators.kinds.report_facts import report_facts
    from synthetic.generators.networks.language_model import ModelSize, ModelTraining, train_model

    settings = learning.settings
    fields = _filled(studies)
    vocabulary, suppressed = _learn_words(studies, fields, settings.rare_below)
    latents = latents_of(image, studies)
    conditions = learn_report_conditions(studies, latents, rare_below=settings.rare_below)
    prefix = conditions.prefix(studies, latents)
    examples = _shared(examples_of(studies, prefix, fields, vocabulary), studies, settings.rare_below)
    size = ModelSize(
        tokens=len(vocabulary), fields=len(fields), findings=len(conditions.findings), more=conditions.more_codes,
        region=prefix.regions.shape[2], longest=min(LONGEST, max(map(len, examples.words))),
    )  # fmt: skip
    training = ModelTraining(steps=0, seed=int(generator(settings.seed, "report").integers(2**62)))
    steps = min(settings.steps(STEPS), -(-MOST_PASSES * len(examples.words) // training.batch))
    curve: list[tuple[float, float]] = []

    def told(step: int, loss: float, aside: float) -> None:
        curve.append((loss, aside))
        learning.log("report.words", step, loss)
        if size.region:
            learning.log("report.plan", step, aside)
        learning.tell(0.05 + 0.8 * step / steps, f"reports: {step:,} of {steps:,} steps")

    model = train_model(size, examples, replace(training, steps=steps), told)
    made = LanguageModelReports(conditions, vocabulary, fields, model, {})
    learning.tell(0.88, "reports: figures")
    held_latents = latents_of(image, held_out) if held_out is not None else None
    made.facts = _training_facts(studies, examples, model, suppressed, curve, steps) | report_facts(
        made, (studies, latents), None if held_out is None else (held_out, held_latents), seed=settings.seed
    )
    return made


def _shared(examples: Examples, studies: LinkedStudies, rare_below: int) -> Examples:
    """The texts, of which only words are learnt that enough patients have in this order.

    Raises:
        AuscultError: there is no such word.
    """
    owners = patient_numbers(studies)[examples.study]
    learnt = shared_runs(examples.words, owners, rare_below=rare_below)
    if not learnt.any():
        raise AuscultError(
            f"Every sentence of the texts holds a word, or an order of words, that fewer than {rare_below} patients "
            "have: nothing is left to learn from.",
            remedy="Give a cohort of more patients, or leave the reports out of the setting parts.",
        )
    return replace(examples, learnt=learnt)


def _learn_words(studies: LinkedStudies, fields: tuple[str, ...], rare_below: int) -> tuple[Vocabulary, Suppressed]:
    texts = [text for name in fields for text in studies.texts[name].tolist()]
    return learn_vocabulary(texts, np.tile(patient_numbers(studies), len(fields)), rare_below=rare_below)


def _training_facts(
    studies: LinkedStudies, examples: Examples, model: ReportModel, suppressed: Suppressed,
    curve: list[tuple[float, float]], steps: int,
) -> dict[str, Any]:  # fmt: skip
    owners = studies.patient_ids[np.unique(examples.study)]
    learnt = 1.0 if examples.learnt is None else examples.learnt.sum() / sum(map(len, examples.words))
    return {
        "texts": len(examples.study), "patients": len(set(owners.tolist())), "steps": steps,
        "tokens": model.size.tokens, "parameters": sum(item.numel() for item in model.parameters()),
        "with_images": bool(model.size.region), "suppressed": suppressed.to_dict(), "privacy": None,
        "tokens_learnt": round(float(learnt), 4),
        "loss": {"first": round(curve[0][0], 4), "last": round(curve[-1][0], 4)},
        "plan_loss": {"first": round(curve[0][1], 4), "last": round(curve[-1][1], 4)} if model.size.region else None,
    }  # fmt: skip


PARTS.register("report:language_model")(LanguageModelPart())
