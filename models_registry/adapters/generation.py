"""Checking and running models that write text, whatever they read. Registers no adapter.

A study's text must not depend on the studies beside it. Prompts are therefore padded on the left and masked; the words
that padding adds are not counted by the repetition penalty; and a word is drawn with noise of the study's own: the
likeliest word after adding Gumbel noise to the log-probabilities is a draw from them (Gumbel 1954; Maddison et al.,
"A* Sampling", 2014), so no state is shared by the studies of a batch.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.base import Draw, Said
from models_registry.adapters.wishes import check_keys, refusal

SAMPLING = ("temperature", "top_k", "top_p")
GENERATION: dict[str, type | tuple[type, ...]] = {
    "max_new_tokens": int,
    "min_new_tokens": int,
    "do_sample": bool,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "repetition_penalty": float,
}
NEW_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How words are chosen: greedily, or drawn with a seed of each study's own.

    Attributes:
        max_new_tokens, min_new_tokens: Limits of the text in tokens of the model.
        temperature, top_k, top_p: Only where ``do_sample``; ``top_k`` 0 and ``top_p`` 1 leave every word in play.
        repetition_penalty: Above 1, words of the prompt and of the text so far become less likely.
    """

    max_new_tokens: int = NEW_TOKENS
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    @classmethod
    def from_wishes(cls, wishes: Mapping[str, Any]) -> Generation:
        """The key ``generation``.

        Raises:
            AdapterError: an unknown key, a value out of range, or a setting of sampling where nothing is drawn.
        """
        body = wishes.get("generation", {})
        check_keys(body, GENERATION, inside="generation")
        found = cls(**body)
        ranges = {
            "max_new_tokens": (found.max_new_tokens >= 1, "a whole number from 1"),
            "min_new_tokens": (0 <= found.min_new_tokens <= found.max_new_tokens, "0 to max_new_tokens"),
            "temperature": (0 < found.temperature <= 10, "a number above 0 and up to 10"),
            "top_k": (found.top_k >= 0, "a whole number from 0 (no limit)"),
            "top_p": (0 < found.top_p <= 1, "a number above 0 and up to 1"),
            "repetition_penalty": (0.1 <= found.repetition_penalty <= 10, "a number from 0.1 to 10"),
        }
        for name, (good, wanted) in ranges.items():
            if not good:
                raise refusal(f"generation.{name}", f"The value is {body.get(name)!r}.", f"Write {wanted}.")
        for name in SAMPLING:
            if name in body and not found.do_sample:
                raise refusal(
                    f"generation.{name}",
                    "The key has no effect where nothing is drawn.",
                    'Add "do_sample": true, or remove it: the model then always takes the likeliest word.',
                )
        return found

    def drawn(self, draw: Draw | None) -> Generation:
        """These settings, or those of a draw: its temperature, and of the rest what the model was registered with."""
        return self if draw is None else replace(self, do_sample=True, temperature=draw.temperature)

    def to_dict(self) -> dict[str, Any]:
        """What is in force, for the documentation of the model."""
        left_out = () if self.do_sample else SAMPLING
        return {name: getattr(self, name) for name in GENERATION if name not in left_out}


def check_length(generation: Generation, context: int | None, prompt_tokens: int) -> None:
    """Prompt and text must fit into the context.

    Raises:
        AdapterError: naming ``generation.max_new_tokens``.
    """
    if context is not None and prompt_tokens + generation.max_new_tokens > context:
        raise refusal(
            "generation.max_new_tokens",
            f"{generation.max_new_tokens} new tokens after a prompt of {prompt_tokens} do not fit into the model's "
            f"context of {context}.",
            f"Write at most {max(context - prompt_tokens, 0)}, or shorten the prompt.",
        )


def seed_of(seed: int, *parts: str) -> int:
    """A seed of a study's own, from the run's seed and the study: where it stands in a batch does not matter."""
    digest = hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def turn_of(draw: Draw | None) -> tuple[str, ...]:
    """What a draw adds to the parts of :func:`seed_of`: each turn has a seed of its own, and none that of no draw."""
    return () if draw is None else ("draw", str(draw.turn))


@dataclass(frozen=True, kw_only=True)
class Written:
    """Texts of a batch; ``truncated`` says of each that no token ended it before the limit was reached."""

    texts: list[str]
    truncated: list[bool]


class Writer:
    """Writes texts for a batch of prepared prompts."""

    def __init__(
        self, *, model: Any, tokenizer: Any, generation: Generation, device: str, start: int | None = None
    ) -> None:
        """``start`` is the first token of a decoder with an encoder; None for a model that continues its prompt."""
        from transformers import GenerationConfig

        self.model, self.tokenizer, self.generation, self.device = model, tokenizer, generation, device
        self.takes = set(inspect.signature(model.forward).parameters)
        self.ends = ends = end_tokens(model, tokenizer)
        pad = tokenizer.pad_token_id
        self.start = start
        self.config = GenerationConfig(
            max_new_tokens=generation.max_new_tokens,
            min_new_tokens=generation.min_new_tokens or None,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=pad if pad is not None else ends[0],
            bos_token_id=tokenizer.bos_token_id,
            decoder_start_token_id=start,
        )
        # What generation_config.json says of beams, sampling or lengths must not come back as a default.
        model.generation_config = self.config

    def write(self, inputs: dict[str, Any], seeds: Sequence[int], *, draw: Draw | None = None) -> Written:
        """One text for each row; ``seeds`` has one seed for each.

        Raises:
            AdapterError: the weights gave logits that are not numbers.
        """
        import torch
        from transformers import LogitsProcessorList

        given = {name: self._placed(value) for name, value in inputs.items() if name in self.takes}
        mask = given.get("attention_mask") if self.start is None else None
        width = given["input_ids"].shape[1] if self.start is None else 1
        chooser = _Chooser(self.generation.drawn(draw), seeds, mask)
        with torch.inference_mode():
            found = self.model.generate(
                **given, generation_config=self.config, logits_processor=LogitsProcessorList([chooser])
            )
        if self.start is None and not torch.equal(found[:, :width], given["input_ids"]):
            raise AdapterError(
                "The model does not give back its prompt before its text.",
                remedy="Only models that continue their prompt can be run by this adapter.",
            )
        words = found[:, width:]
        texts = self.tokenizer.batch_decode(words, skip_special_tokens=True)
        ended = torch.isin(words, torch.tensor(self.ends, device=words.device)).any(dim=1)
        return Written(texts=[text.strip() for text in texts], truncated=(~ended).tolist())

    def _placed(self, value: Any) -> Any:
        import torch

        if torch.is_floating_point(value):
            return value.to(self.device, self.model.dtype)
        return value.to(self.device)


class Gumbel:
    """Adds a study's own noise to the logits of its next word: float [rows, words] in and out.

    One generator for each study: its noise is the same whoever is beside it, and however long they write.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float = 1.0) -> None:
        import torch

        self.temperature = temperature
        self.draws = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, scores: Any) -> Any:
        import torch

        words = scores.shape[1]
        noise = torch.stack([torch.empty(words).exponential_(generator=draw).log().neg() for draw in self.draws])
        return scores / self.temperature + noise.to(scores.device)


class _Chooser:
    """Changes the logits of the next word so that the largest one is the choice: float [rows, words] in and out."""

    def __init__(self, generation: Generation, seeds: Sequence[int], mask: Any) -> None:
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self.generation = generation
        self.pads = None if mask is None else mask.shape[1] - mask.sum(dim=1)
        self.warpers: list[Any] = []
        self.noise: Gumbel | None = None
        if generation.do_sample:
            self.noise = Gumbel(seeds)
            self.warpers.append(TemperatureLogitsWarper(float(generation.temperature)))
            if generation.top_k:
                self.warpers.append(TopKLogitsWarper(generation.top_k))
            if generation.top_p < 1:
                self.warpers.append(TopPLogitsWarper(float(generation.top_p)))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        if not bool((scores < torch.inf).all()):
            raise AdapterError(
                "The model answered logits that are not numbers.",
                remedy="Check the weights: a NaN in them, or an overflow in half precision, does this.",
            )
        scores = scores.float()
        if self.generation.repetition_penalty != 1:
            scores = self._penalised(input_ids, scores)
        for warper in self.warpers:
            scores = warper(input_ids, scores)
        return scores if self.noise is None else self.noise(scores)

    def _penalised(self, input_ids: Any, scores: Any) -> Any:
        """Make words of the prompt and of the text so far less likely; padding is no word (Keskar et al., 2019)."""
        import torch

        penalty = self.generation.repetition_penalty
        said = torch.zeros_like(scores, dtype=torch.bool)
        for row, tokens in enumerate(input_ids):
            said[row, tokens if self.pads is None else tokens[int(self.pads[row]) :]] = True
        return torch.where(said, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a text: the checkpoint's generation settings, else its configuration, else the tokenizer's."""
    found = [
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config.get_text_config(decoder=True), "eos_token_id", None),
        tokenizer.eos_token_id,
    ]
    chosen = next((value for value in found if value is not None), None)
    if chosen is None:
        raise AdapterError(
            "No token ends a text.",
            remedy="Set eos_token_id in generation_config.json or eos_token in tokenizer_config.json.",
            file="tokenizer_config.json",
            column="eos_token",
        )
    return list(chosen) if isinstance(chosen, list | tuple) else [int(chosen)]


def spread(texts: Sequence[str], rows: Sequence[int], size: int) -> npt.NDArray[np.object_]:
    """Texts at their rows, None elsewhere: object [size]."""
    found = np.full(size, None, dtype=object)
    for row, text in zip(rows, texts, strict=True):
        found[row] = text
    return found


def answers_none() -> AdapterError:
    """What a model that writes reports alone says to a question."""
    return AdapterError(
        "This model answers no questions.", remedy="Ask it for reports, or use a model with the capability 'answer'."
    )


def said(written: Written, rows: Sequence[int], size: int) -> Said:
    """What was written at its rows; elsewhere no text, which is not cut off either."""
    truncated = np.zeros(size, dtype=np.bool_)
    truncated[list(rows)] = written.truncated
    return Said(text=spread(written.texts, rows, size), truncated=truncated)
