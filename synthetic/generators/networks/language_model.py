"""A small causal language model that is told image, attributes, readings and plan before the first word.

Places, in order: regions of the image, attributes with visit and readings, one for each finding of the plan, the field,
the words. Attention is causal, so what the image's places hold knows the image alone: from the last of them a linear
head predicts the plan, and its loss is added, so that the image is not passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import DynamicCache, GPT2Config, GPT2Model

from synthetic.generators.kinds.report_conditions import GRID, HIDDEN, PLAN_CODES, Prefix
from synthetic.generators.kinds.report_words import padded

Ints = npt.NDArray[np.int64]
REGIONS = GRID[0] * GRID[1]
ASIDE = (1, 3, 3, 3)
"""What the head predicts of a finding: whether it is there, and places in SIDES, ZONES and SIZES."""
ASIDE_WEIGHT = 0.2
HIDE_ALL, HIDE_ONE = 0.1, 0.1
"""Shares of training texts in which the whole plan, or one finding of it, is hidden: then the image has to tell."""
END = 1


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """How large the model is.

    Attributes:
        tokens, fields, findings, more: Sizes of the vocabulary, of the texts' fields, of the plan, of further codes.
        region: Numbers of a region of the image; 0 without images.
        longest: Words of the longest text.
    """

    tokens: int
    fields: int
    findings: int
    more: int
    region: int
    longest: int
    width: int = 128
    layers: int = 4
    heads: int = 4

    @property
    def places(self) -> int:
        """Places before the first word."""
        return (REGIONS if self.region else 0) + 1 + self.findings + 1


class ReportModel(nn.Module):  # type: ignore[misc]
    """GPT-2 behind embeddings of what it is told."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        width = size.width
        self.body = GPT2Model(
            GPT2Config(
                vocab_size=size.tokens, n_positions=size.places + size.longest + 1, n_embd=width, n_layer=size.layers,
                n_head=size.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None,
                eos_token_id=END,
            )
        )  # fmt: skip
        self.fields = nn.Embedding(size.fields, width)
        self.more = nn.EmbeddingBag(max(1, size.more), width, mode="sum")
        self.findings = nn.Embedding(max(1, size.findings), width)
        self.parts = nn.ModuleList(nn.Embedding(codes, width) for codes in PLAN_CODES.values())
        self.whole = nn.Linear(max(1, size.findings) * sum(PLAN_CODES.values()), width, bias=False)
        self.out = nn.Linear(width, size.tokens, bias=True)
        for table in (self.fields, self.more, self.findings, *self.parts):
            nn.init.normal_(table.weight, std=0.02)
        if size.region:
            self.image = nn.Sequential(nn.Linear(size.region, width), nn.GELU(), nn.Linear(width, width))
            self.places = nn.Parameter(0.02 * torch.randn(REGIONS, width))
            self.no_image = nn.Parameter(0.02 * torch.randn(width))
            self.aside = nn.Linear(width, size.findings * sum(ASIDE))

    def told(self, batch: Batch) -> Tensor:
        """Embeddings [n, places, width] of what comes before the first word."""
        n = len(batch.field)
        pieces = []
        if self.size.region:
            shown = self.image(batch.regions) + self.places
            pieces.append(torch.where(batch.has_image[:, None, None], shown, self.no_image + self.places))
        pieces.append(self.more(batch.more)[:, None])
        if self.size.findings:
            plan = self.findings.weight[None].expand(n, -1, -1)
            for part, table in enumerate(self.parts):
                plan = plan + table(batch.plan[:, :, part])
            pieces.append(plan)
        pieces.append(self.fields(batch.field)[:, None])
        return torch.cat(pieces, dim=1)

    def plan_of(self, batch: Batch) -> Tensor:
        """The whole plan in one vector [n, 1, width] that is added to every word: it is found there sooner than by
        attention alone."""
        if not self.size.findings:
            return torch.zeros(len(batch.field), 1, self.size.width)
        parts = [nn.functional.one_hot(batch.plan[:, :, part], codes) for part, codes in enumerate(PLAN_CODES.values())]
        found: Tensor = self.whole(torch.cat(parts, dim=2).flatten(1).float())[:, None]
        return found

    def losses(self, batch: Batch, *, each: bool = False) -> tuple[Tensor, Tensor]:
        """Cross entropy of words, mean or of each text (with the number of words), and loss of the plan's head."""
        told = self.told(batch)
        words = self.body.wte(batch.words[:, :-1]) + self.plan_of(batch)
        hidden = self.body(inputs_embeds=torch.cat([told, words], dim=1), use_cache=False).last_hidden_state
        logits = self.out(hidden[:, told.shape[1] - 1 :]).float()
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), batch.words, ignore_index=0, reduction="none")
        there = batch.words > 0
        if each:
            return (loss * there).sum(dim=1), there.sum(dim=1)
        there = there & batch.learnt
        aside = self._aside(hidden, batch) if self.size.region and self.size.findings else torch.zeros(())
        return (loss * there).sum() / there.sum().clamp(min=1), aside

    def _aside(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Loss of the plan as the last place of the image predicts it, over what the plan tells."""
        seen = batch.has_image
        said = self.aside(hidden[:, REGIONS - 1]).float().reshape(len(seen), self.size.findings, sum(ASIDE))
        state = batch.truth[:, :, 0]
        known = seen[:, None] & (state < 2)
        there = nn.functional.binary_cross_entropy_with_logits(said[:, :, 0], (state == 1).float(), reduction="none")
        total, count = (there * known).sum(), known.sum()
        start = 1
        for part, many in enumerate(ASIDE[1:], start=1):
            target = torch.where(seen[:, None], batch.truth[:, :, part] - 1, -1)
            logits = said[:, :, start : start + many].reshape(-1, many)
            total = total + nn.functional.cross_entropy(logits, target.reshape(-1), ignore_index=-1, reduction="sum")
            count = count + (target >= 0).sum()
            start += many
        return total / count.clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Texts with what they are told. ``truth`` is the plan without what is hidden in ``plan``; ``learnt`` says which
    words count in the mean loss."""

    plan: Tensor
    truth: Tensor
    more: Tensor
    regions: Tensor
    has_image: Tensor
    field: Tensor
    words: Tensor
    learnt: Tensor


@dataclass(frozen=True, kw_only=True)
class Examples:
    """m texts: of which study of ``prefix``, of which field, and their tokens.

    ``learnt``, bool [m, longest]: which of the tokens are learnt; all of them without it.
    """

    prefix: Prefix
    study: Ints
    field: Ints
    words: Sequence[tuple[int, ...]]
    learnt: npt.NDArray[np.bool_] | None = None

    def batch(self, rows: Ints, *, hidden: npt.NDArray[np.bool_] | None = None) -> Batch:
        """Some of the texts. ``hidden`` [rows, F] says which findings are not told."""
        own = self.prefix.rows(self.study[rows])
        plan = own.plan.copy()
        if hidden is not None:
            plan[hidden, :4] = (HIDDEN, 0, 0, 0)
        words = padded([self.words[row] for row in rows])
        learnt = words > 0 if self.learnt is None else self.learnt[rows, : words.shape[1]]
        return Batch(
            plan=torch.from_numpy(plan), truth=torch.from_numpy(own.plan), more=torch.from_numpy(own.more),
            regions=torch.from_numpy(own.regions), has_image=torch.from_numpy(own.has_image),
            field=torch.from_numpy(self.field[rows]), words=torch.from_numpy(words), learnt=torch.from_numpy(learnt),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """How a model learns. ``seed`` decides first weights, order of texts, and what is hidden."""

    steps: int
    seed: int
    batch: int = 16
    rate: float = 2e-3
    told_each: int = 25


def train_model(
    size: ModelSize, examples: Examples, training: ModelTraining, told: Callable[[int, float, float], None]
) -> ReportModel:
    """Learn the texts.

    Args:
        told: Called with the step, the mean loss of words and that of the plan's head since it was last called.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        made = ReportModel(size)
    rng = np.random.default_rng(training.seed)
    optimiser = torch.optim.AdamW(made.parameters(), lr=training.rate, weight_decay=0.01, betas=(0.9, 0.98))
    whole = max(2, training.steps + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(  # which divides by zero where the rise is one step long
        optimiser, max_lr=training.rate, total_steps=whole, pct_start=max(0.1, 1.5 / whole)
    )
    totals, since = [0.0, 0.0], 0
    made.train()
    for step, rows in zip(range(1, training.steps + 1), _batches(examples, training, rng), strict=False):
        batch = examples.batch(rows, hidden=_hidden(len(rows), size.findings, rng))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, aside = made.losses(batch)
        optimiser.zero_grad(set_to_none=True)
        (loss + ASIDE_WEIGHT * aside).backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        totals, since = [totals[0] + float(loss.detach()), totals[1] + float(aside.detach())], since + 1
        if step % training.told_each == 0 or step == training.steps:
            told(step, totals[0] / since, totals[1] / since)
            totals, since = [0.0, 0.0], 0
    made.eval()
    return made


def _batches(examples: Examples, training: ModelTraining, rng: np.random.Generator) -> Iterator[Ints]:
    """Rows of batches without end: texts of about one length together, so that little is padding."""
    lengths = np.array([len(words) for words in examples.words])
    while True:
        order = rng.permutation(len(lengths))
        for start in range(0, len(order), training.batch * 16):
            part = order[start : start + training.batch * 16]
            part = part[np.argsort(lengths[part], kind="stable")]
            cut = [part[at : at + training.batch] for at in range(0, len(part), training.batch)]
            yield from (cut[at] for at in rng.permutation(len(cut)))


def _hidden(n: int, findings: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (rng.random((n, findings)) < HIDE_ONE) | (rng.random((n, 1)) < HIDE_ALL)
    return found


def text_losses(model: ReportModel, examples: Examples, *, hide: bool = False) -> npt.NDArray[np.float64]:
    """[m, 2]: summed cross entropy of each text, and its number of tokens with the end. ``hide``: without the plan."""
    found = np.zeros((len(examples.study), 2))
    order = np.argsort([len(words) for words in examples.words], kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), 256):
            rows = order[start : start + 256]
            hidden = np.full((len(rows), model.size.findings), hide)
            loss, count = model.losses(examples.batch(rows, hidden=hidden), each=True)
            found[rows] = np.stack([loss.numpy(), count.numpy()], axis=1)
    return found


AT_ONCE = 512
GATHER = 8
"""Steps after which texts that have ended are taken out of the batch."""


def write(
    model: ReportModel, prefix: Prefix, field: Ints, uniform: npt.NDArray[np.float64], *, temperature: float
) -> list[list[int]]:
    """Tokens of n texts, without the end.

    Args:
        uniform: [n, longest] numbers in [0, 1) that decide each token: equal ones give equal texts.
    """
    made: list[list[int]] = []
    for start in range(0, len(prefix), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(prefix)))
        made += _write(model, prefix.rows(rows), field[rows], uniform[rows], temperature)
    return made


def _write(
    model: ReportModel, prefix: Prefix, field: Ints, uniform: npt.NDArray[np.float64], temperature: float
) -> list[list[int]]:
    made: list[list[int]] = [[] for _ in range(len(prefix))]
    examples = Examples(prefix=prefix, study=np.arange(len(prefix)), field=field, words=[(END,)] * len(prefix))
    rows = torch.arange(len(prefix))
    chance = torch.from_numpy(uniform.astype(np.float32))
    cache: Any = DynamicCache(config=model.body.config)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        batch = examples.batch(np.arange(len(prefix)))
        given, plan = model.told(batch), model.plan_of(batch)
        ended = torch.zeros(len(prefix), dtype=torch.bool)
        for step in range(min(model.size.longest, uniform.shape[1])):
            hidden = model.body(inputs_embeds=given, past_key_values=cache, use_cache=True).last_hidden_state
            logits = model.out(hidden[:, -1]).float() / temperature
            if step == 0:
                logits[:, END] = -torch.inf  # no text is empty
            token = _drawn(logits, chance[rows, step])
            ended |= token == END
            for row, number, stop in zip(rows.tolist(), token.tolist(), ended.tolist(), strict=True):
                if not stop:
                    made[row].append(number)
            if bool(ended.all()):
                break
            if step % GATHER == GATHER - 1 and bool(ended.any()):
                left = torch.nonzero(~ended)[:, 0]
                cache.batch_select_indices(left)
                rows, token, ended = rows[left], token[left], ended[left]
            given = model.body.wte(token)[:, None] + plan[rows]
    return made


def _drawn(logits: Tensor, chance: Tensor) -> Tensor:
    """One token of each row by inversion; never padding."""
    logits[:, 0] = -torch.inf
    shares = torch.softmax(logits, dim=1).cumsum(dim=1)
    found = torch.searchsorted(shares, (chance * shares[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=logits.shape[1] - 1)


def model_of(size: ModelSize, weights: dict[str, npt.NDArray[np.float32]]) -> ReportModel:
    """A model with these weights."""
    made = ReportModel(size)
    made.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    made.eval()
    return made
