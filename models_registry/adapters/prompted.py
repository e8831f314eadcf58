"""Models that are told of a study in a prompt: with a picture or without. Registers no adapter."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.base import AdapterInfo, Capability, Draw, InferenceSettings, Predictions, Said
from models_registry.adapters.generation import Generation, Writer, Written, check_length, said, seed_of, turn_of
from models_registry.adapters.pretrained import Checkpoint, attempt, colour, load_model
from models_registry.adapters.prompts import QUESTION, Prompts
from models_registry.adapters.wishes import refusal
from models_registry.cohorts.schema import StudyBatch

TEMPLATE = "chat_template.jinja"
DAY = "26 Jul 2024"
TODAY = f'{{%- set date_string = "{DAY}" -%}}{{%- macro strftime_now(form) -%}}{DAY}{{%- endmacro -%}}'
"""What a chat template is told when it asks for today's date: a text must not depend on the day of the audit."""
LONGEST_TEXT = 512
SLACK = 16
"""Tokens kept free for each text: a text that is cut may need a few more tokens amid other words."""
QUESTION_TOKENS = 64

Encode = Callable[[Sequence[str], Sequence[Any]], dict[str, Any]]
"""Rendered prompts and their pictures -> tensors for the model, padded on the left."""


class Setting:
    """Prompts of one model, bound to its tokenizer: rendering, cutting, counting."""

    def __init__(
        self, *, prompts: Prompts, renderer: Any, tokenizer: Any, encode: Encode, image_sign: str = ""
    ) -> None:
        self.prompts = prompts
        self.renderer = renderer
        self.tokenizer = tokenizer
        self.encode = encode
        self.image_sign = image_sign
        self.text_tokens = LONGEST_TEXT
        signs = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        signs |= {image_sign} - {""}
        longest = sorted(signs, key=len, reverse=True)
        self._signs = re.compile("|".join(map(re.escape, longest))) if longest else None

    def check(self, folder: Path, *, generation: Generation, context: int | None, picture: Any) -> int:
        """Render the prompts without a study's texts, and see what room is left for these; gives the tokens taken.

        Raises:
            AdapterError: the template cannot be rendered or has no place for the picture, or the prompt, the texts
                and the new tokens do not fit into the context.
        """
        words = [self.prompts.report, self.prompts.question]
        rendered = [
            attempt(
                partial(self.render, text),
                folder,
                said="The chat template cannot be rendered",
                remedy="Mend the template, or leave out what it does not know, such as a system turn.",
                file=TEMPLATE,
            )
            for text in words
        ]
        if self.image_sign and any(text.count(self.image_sign) != 1 for text in rendered):
            raise AdapterError(
                f"The chat template makes {rendered[0].count(self.image_sign)} places for the picture "
                f"({self.image_sign}); there must be one.",
                remedy=f"Take {self.image_sign} out of the prompt where the template adds it; mend the template where "
                "it does not.",
                file=TEMPLATE,
            )
        pictures = [picture] * len(rendered) if self.prompts.image else []
        encoded = attempt(
            lambda: self.encode(rendered, pictures),
            folder,
            said="The prompt cannot be prepared",
            remedy="Register the tokenizer and the processor that the model was trained with.",
            file=TEMPLATE if not self.prompts.plain else "auscult.json",
        )
        lengths = [int(length) for length in encoded["attention_mask"].sum(dim=1)]
        check_length(generation, context, max(lengths))
        self._set_room(generation, context, max(lengths[0], lengths[1] + QUESTION_TOKENS))
        return lengths[0]

    def _set_room(self, generation: Generation, context: int | None, taken: int) -> None:
        number, wanted = len(self.prompts.inputs), self.prompts.text_tokens
        room = LONGEST_TEXT if wanted is None else wanted
        if context is not None and number:
            room = (context - generation.max_new_tokens - taken) // number - SLACK
        if number and room < SLACK:
            raise refusal(
                "generation.max_new_tokens" if wanted is None or wanted >= SLACK else "text_tokens",
                f"There is no room for the study's texts: {max(room, 0)} tokens for each.",
                f"Allow fewer new tokens, shorten the prompt, or allow texts {SLACK} tokens or more.",
            )
        if wanted is not None and wanted > room:
            raise refusal(
                "text_tokens",
                f"{wanted} tokens for each text do not fit into the model's context.",
                f"Write at most {room}, or allow fewer new tokens.",
            )
        self.text_tokens = wanted or min(room, LONGEST_TEXT)

    def words(self, template: str, batch: StudyBatch, row: int, question: str = "") -> str:
        """The filled prompt of one study."""
        texts = {name: self._cut(self.plain(text)) for name, text in self.prompts.texts(batch, row).items()}
        return self.prompts.fill(template, texts | {QUESTION: self.plain(question)})

    def render(self, words: str) -> str:
        """What the model reads, as text."""
        if self.prompts.plain:
            return words
        template = self.renderer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if isinstance(template, str) and ("date_string" in template or "strftime_now" in template):
            template = TODAY + template
        return str(
            self.renderer.apply_chat_template(
                self.prompts.messages(words), chat_template=template, add_generation_prompt=True, tokenize=False
            )
        )

    def plain(self, text: str) -> str:
        """A text without the model's own signs: a word of a study must not open a turn or stand for a picture."""
        return self._signs.sub(" ", text).strip() if self._signs else text.strip()

    def _cut(self, text: str) -> str:
        if text.isascii() and len(text) <= self.text_tokens:
            return text
        fast = bool(getattr(self.tokenizer, "is_fast", False))
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast)
        if len(found["input_ids"]) <= self.text_tokens:
            return text
        if fast:
            return text[: found["offset_mapping"][self.text_tokens - 1][1]]
        return str(self.tokenizer.decode(found["input_ids"][: self.text_tokens]))


class PromptedAdapter:
    """A loaded model that writes a report of a study, and answers questions about it."""

    def __init__(self, *, info: AdapterInfo, setting: Setting, writer: Writer, context: int | None, seed: int) -> None:
        self.info = info
        self.setting = setting
        self.writer = writer
        self.context = context
        self.seed = seed

    def predict(self, batch: StudyBatch) -> Predictions:
        """A text for each study, None where a required modality is missing.

        Raises:
            AdapterError: the weights gave logits that are not numbers, or a prompt is longer than the context.
        """
        found = self.say(batch, None)
        return Predictions(
            study_ids=batch.study_ids, texts={"generated": found.text}, truncated={"generated": found.truncated}
        )

    def answer(self, batch: StudyBatch, questions: Sequence[str]) -> npt.NDArray[np.object_]:
        """One answer for each study and its question, object [n]: str, or None where a required modality is missing.

        Raises:
            AdapterError: as :meth:`predict`; not one question for each study, or an empty one.
        """
        return self.say(batch, questions).text

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """A text for each study: a report where ``questions`` is None, else an answer to its question.

        Args:
            draw: Words are drawn with its temperature; ``top_k`` and ``top_p`` are those of the registered settings.

        Raises:
            AdapterError: as :meth:`predict` and :meth:`answer`.
        """
        if questions is not None:
            _check_questions(batch, questions)
        prompts = self.setting.prompts
        template = prompts.report if questions is None else prompts.question
        rows = prompts.ready(batch)
        asked = ["" if questions is None else questions[row] for row in rows]
        words = [self.setting.words(template, batch, row, text) for row, text in zip(rows, asked, strict=True)]
        return said(self._write(batch, rows, words, asked, draw), rows, len(batch))

    def _write(
        self, batch: StudyBatch, rows: list[int], words: list[str], asked: list[str], draw: Draw | None
    ) -> Written:
        if not rows:
            return Written(texts=[], truncated=[])
        pictures = [colour(batch.images[row]) for row in rows] if self.setting.prompts.image else []
        inputs = self.setting.encode([self.setting.render(text) for text in words], pictures)
        longest = int(inputs["attention_mask"].sum(dim=1).max())
        if self.context is not None and longest + self.writer.generation.max_new_tokens > self.context:
            raise AdapterError(
                f"A prompt of {longest} tokens and {self.writer.generation.max_new_tokens} new ones do not fit into "
                f"the model's context of {self.context}.",
                remedy="Ask a shorter question, give smaller pictures, or allow fewer new tokens in auscult.json.",
            )
        more = turn_of(draw)
        seeds = [seed_of(self.seed, batch.study_ids[row], text, *more) for row, text in zip(rows, asked, strict=True)]
        return self.writer.write(inputs, seeds, draw=draw)


def _check_questions(batch: StudyBatch, questions: Sequence[str]) -> None:
    if len(questions) != len(batch) or not all(question.strip() for question in questions):
        raise AdapterError(
            f"{len(questions)} questions were asked about {len(batch)} studies, or one of them is empty.",
            remedy="Ask one question for each study.",
        )


class Parts(Protocol):
    """Everything of a folder but the weights, checked."""

    checkpoint: Checkpoint
    tokenizer: Any
    generation: Generation
    setting: Setting

    @property
    def info(self) -> AdapterInfo: ...


def load_prompted(folder: Path, parts: Parts, *, settings: InferenceSettings, device: str) -> PromptedAdapter:
    """A model that is ready to write on ``device``, from a folder that was checked."""
    model = load_model(folder, parts.checkpoint, settings=settings, device=device)
    writer = Writer(model=model, tokenizer=parts.tokenizer, generation=parts.generation, device=device)
    return PromptedAdapter(
        info=parts.info,
        setting=parts.setting,
        writer=writer,
        context=parts.checkpoint.context,
        seed=settings.seed,
    )


def pad_left(tokenizer: Any) -> None:
    """Put padding before the prompt, so that every text begins where its prompt ends.

    Raises:
        AdapterError: the tokenizer has neither a token to pad with nor one that ends a text.
    """
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise AdapterError(
                "The tokenizer has neither pad_token nor eos_token.",
                remedy="Set one of them.",
                file="tokenizer_config.json",
                column="pad_token",
            )
        tokenizer.pad_token = tokenizer.eos_token


def describe(
    checkpoint: Checkpoint, setting: Setting, generation: Generation, *, prompt_tokens: int, preprocessing: str
) -> AdapterInfo:
    """What a model with a prompt declares."""
    prompts = setting.prompts
    return AdapterInfo(
        capabilities=frozenset({Capability.GENERATE, Capability.ANSWER}),
        labels=(),
        outputs=("text.generated",),
        modalities=prompts.modalities,
        required=prompts.needed,
        details={
            "architecture": checkpoint.architecture,
            "parameters": checkpoint.parameters,
            "context": checkpoint.context,
            "generation": generation.to_dict(),
            **prompts.to_dict(),
            "prompt_tokens": prompt_tokens,
            "text_tokens": setting.text_tokens if prompts.inputs else 0,
            "preprocessing": preprocessing,
            **({"stored_as": checkpoint.stored} if checkpoint.gguf else {}),
        },
    )
