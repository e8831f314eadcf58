"""The small report decoder of a backbone: words from the fused tokens, one after the other.

This module imports torch: import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models_registry.reference.layers import Block, CrossAttention

if TYPE_CHECKING:
    from models_registry.reference.model import AuscultFusionConfig

SAYABLE = 2
"""Numbers below stand for no word and for an unknown one, which are never said."""

Memory = tuple[Tensor, Tensor]


class DecoderLayer(nn.Module):  # type: ignore[misc]
    """Causal attention over the words so far, attention over the fused tokens, a perceptron."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.own = Block(config.width, config.heads, config.dropout)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross = CrossAttention(config.width, config.heads)

    def forward(self, states: Tensor, memory: Memory, keep: Tensor, past: Memory | None) -> tuple[Tensor, Memory]:
        """States of the words [n, t, width], and what the next word needs of them.

        Without ``past`` all words of a text are given, each sees those before it. With it, one word is given.
        """
        query, key, value = self.own.heads_of(self.own.attention_norm(states))
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        seen = scaled_dot_product_attention(query, key, value, is_causal=past is None)
        states = states + self.own.joined(seen)
        states = states + self.cross(self.cross_norm(states), memory, keep)
        return states + self.own.perceptron(states), (key, value)


class ReportDecoder(nn.Module):  # type: ignore[misc]
    """Writes a report. Its first word is asked for by a mark, which also ends it: number ``vocabulary_size``."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.mark, self.length = config.vocabulary_size, config.report_length
        self.words = nn.Embedding(config.vocabulary_size + 1, config.width)
        self.position = nn.Parameter(torch.zeros(config.report_length + 1, config.width))
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, words: Tensor, tokens: Tensor, keep: Tensor) -> Tensor:
        """Logits of the next word after each place of known reports, the mark before the first: teacher forcing.

        Args:
            words: [n, length] of word numbers, 0 after the end.
            tokens, keep: The fused tokens [n, t, width] and which of them count [n, t].

        Returns:
            float [n, length + 1, vocabulary_size + 1].
        """
        start = words.new_full((len(words), 1), self.mark)
        given = torch.cat([start, words], dim=1)
        states = self.words(given) + self.position[: given.shape[1]]
        for layer in self.layers:
            states, _ = layer(states, layer.cross.remember(tokens), keep, None)
        return self._logits(states)

    def target(self, words: Tensor) -> Tensor:
        """What :meth:`forward` should say: the words, then the mark; -100 where nothing is asked [n, length + 1]."""
        ends = (words != 0).sum(1, keepdim=True)
        shifted = torch.cat([words, words.new_zeros((len(words), 1))], dim=1)
        target = torch.where(shifted >= SAYABLE, shifted, -100)
        return target.scatter(1, ends, self.mark)

    def write(self, tokens: Tensor, keep: Tensor, *, choose: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The most likely word at each place until the mark (greedy): int64 [n, report_length], 0 after the end.

        Args:
            choose: Changes the logits of the next words [n, vocabulary_size + 1] so that the largest is the choice.
        """
        memories = [layer.cross.remember(tokens) for layer in self.layers]
        pasts: list[Memory | None] = [None] * len(self.layers)
        word = torch.full((len(tokens), 1), self.mark, device=tokens.device)
        running = torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device)
        written = []
        for place in range(self.length):
            states = self.words(word) + self.position[place]
            for number, layer in enumerate(self.layers):
                states, pasts[number] = layer(states, memories[number], keep, pasts[number])
            logits = self._logits(states)[:, -1]
            logits[:, :SAYABLE] = -torch.inf
            logits = logits.float() if choose is None else choose(logits.float())
            word = logits.argmax(dim=-1, keepdim=True)
            running &= word != self.mark
            written.append(word.masked_fill(~running, 0))
            if not bool(running.any()):
                break
        found = torch.cat(written, dim=1)
        return nn.functional.pad(found, (0, self.length - found.shape[1]))

    def _logits(self, states: Tensor) -> Tensor:
        """Words are read and said with the same vectors."""
        result: Tensor = self.norm(states) @ self.words.weight.T
        return result
