"""How many findings match and how many errors are significant, as a language model of the GREEN family counts them.

The model is given both reports and answers in sections: significant errors of six kinds, insignificant ones, matched
findings. The score is ``matched / (matched + significant errors)``, and 0 where nothing matches. An answer that cannot
be read, or that ends at the limit of tokens, gives no score.

The prompt is the model's own and comes with its weights: it stands in ``auscult.json`` beside them, with the places
``{reference}`` and ``{generated}``. Source: Ostmeier et al., Findings of EMNLP 2024, "GREEN".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.engine.judges.base import JUDGES, Floats, Judge
from evaluation.engine.judges.reading import batches

KIND = "a causal language model"
KEYS: dict[str, type | tuple[type, ...]] = {"prompt": str, "format": str, "generation": dict}
PLACES = ("{reference}", "{generated}")
CHAT, PLAIN = "chat", "plain"
AT_ONCE = 4
SIGNIFICANT, MATCHED = "Clinically Significant Errors", "Matched Findings"
HEADING = re.compile(r"^[ \t]*\[([A-Za-z ]{3,60})\][ \t]*:", re.MULTILINE)
ERRORS = re.compile(r"^[ \t]*\([a-f1-6]\)[^:\n]{0,200}:[ \t]*(\d{1,4})\b", re.MULTILINE)
COUNT = re.compile(r"\s*(\d{1,4})\b")
NONE = re.compile(r"\s*(?:no|none|n/a)\b", re.IGNORECASE)


class GreenFactory:
    """Runs a causal language model in safetensors with the prompt that it was trained to answer."""

    title = "matched findings as a share of matched findings and significant errors (GREEN)"

    def inspect(self, folder: Path) -> None:
        _Parts(folder)

    def load(self, folder: Path, *, device: str) -> Judge:
        from models_registry.adapters.base import InferenceSettings
        from models_registry.adapters.generation import Writer
        from models_registry.adapters.pretrained import load_model

        parts = _Parts(folder)
        model = load_model(folder, parts.checkpoint, settings=InferenceSettings(), device=device)
        writer = Writer(model=model, tokenizer=parts.tokenizer, generation=parts.generation, device=device)
        return _GreenJudge(parts=parts, writer=writer)


JUDGES.register("green")(GreenFactory())


def green_score(answer: str) -> float:
    """The score that an answer tells; NaN where it lacks one of the two sections, or a count in it."""
    sections = _sections(answer)
    if SIGNIFICANT not in sections or MATCHED not in sections:
        return float("nan")
    matched, errors = _matched(sections[MATCHED]), _errors(sections[SIGNIFICANT])
    if matched is None or errors is None:
        return float("nan")
    return matched / (matched + errors) if matched else 0.0


def _sections(answer: str) -> dict[str, str]:
    """The last section of each heading: a model may repeat the form that it is to fill in."""
    places = [*HEADING.finditer(answer)]
    ends = [*(place.start() for place in places[1:]), len(answer)]
    return {" ".join(place[1].split()): answer[place.end() : end] for place, end in zip(places, ends, strict=False)}


def _matched(section: str) -> int | None:
    if found := COUNT.match(section):
        return int(found[1])
    return 0 if NONE.match(section) else None


def _errors(section: str) -> int | None:
    if found := ERRORS.findall(section):
        return sum(map(int, found))
    return 0 if NONE.match(section) else None


class _Parts:
    """Everything of a folder but the weights, checked."""

    def __init__(self, folder: Path) -> None:
        from models_registry.adapters.generation import Generation, check_length
        from models_registry.adapters.pretrained import check_vocabulary, load_tokenizer, offline, read_checkpoint
        from models_registry.adapters.prompted import pad_left
        from models_registry.adapters.wishes import read_wishes, refusal

        offline()
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        self.checkpoint = read_checkpoint(folder, dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), kind=KIND)
        self.tokenizer = load_tokenizer(folder)
        check_vocabulary(self.tokenizer, self.checkpoint.config)
        pad_left(self.tokenizer)
        wishes = read_wishes(folder, KEYS, required=("prompt",))
        self.generation = Generation.from_wishes(wishes)
        self.prompt = str(wishes["prompt"])
        for place in PLACES:
            if self.prompt.count(place) != 1:
                raise refusal(
                    "prompt",
                    f"The place {place} is there {self.prompt.count(place)} times.",
                    "Write the prompt that the model was trained with, with each of the two reports at its place once.",
                )
        self.chat = wishes.get("format", CHAT if self.tokenizer.chat_template else PLAIN) == CHAT
        if self.chat and not self.tokenizer.chat_template:
            raise refusal("format", "The checkpoint has no chat template.", f'Write "{PLAIN}".')
        check_length(self.generation, self.checkpoint.context, len(self.encode(["", ""])["input_ids"][0]))

    def encode(self, texts: Sequence[str]) -> Any:
        """One or several rendered prompts as tensors."""
        return self.tokenizer(
            [self.render(text) for text in texts], padding=True, return_tensors="pt", add_special_tokens=not self.chat
        )

    def fill(self, reference: str, generated: str) -> str:
        """The prompt of one pair; places are filled at once, so that no report can name the other's place."""
        texts = dict(zip(PLACES, (reference, generated), strict=True))
        return re.sub("|".join(map(re.escape, PLACES)), lambda place: texts[place.group()], self.prompt)

    def render(self, words: str) -> str:
        if not self.chat:
            return words
        # Templates of this family name the speaker in one of two ways.
        turn = {"role": "user", "content": words, "from": "human", "value": words}
        return str(self.tokenizer.apply_chat_template([turn], add_generation_prompt=True, tokenize=False))


class _GreenJudge:
    def __init__(self, *, parts: _Parts, writer: Any) -> None:
        self.parts, self.writer = parts, writer

    def score(self, references: Sequence[str], generated: Sequence[str]) -> Floats:
        """The score of each pair; NaN where the answer cannot be read, ends too early, or the pair is too long."""
        found = np.full(len(references), np.nan)
        words = [self.parts.fill(*pair) for pair in zip(references, generated, strict=True)]
        rows = [row for row, text in enumerate(words) if self._fits(text)]
        for part in batches(rows, AT_ONCE):
            inputs = dict(self.parts.encode([words[row] for row in part]))
            written = self.writer.write(inputs, [0] * len(part))
            for row, text, truncated in zip(part, written.texts, written.truncated, strict=True):
                found[row] = float("nan") if truncated else green_score(text)
        return found

    def _fits(self, text: str) -> bool:
        context = self.parts.checkpoint.context
        length = len(self.parts.encode([text])["input_ids"][0])
        return context is None or length + self.parts.generation.max_new_tokens <= context
