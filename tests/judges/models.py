"""Tiny judges, really saved to disk: an NLI model of random weights, and three that are trained to know a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters import models_g2

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["no", "effusion", "edema", "heart", "is", "large", "small", "left", "right", "clear", "lungs", "and", ".", ","]
NLI = {0: "contradiction", 1: "entailment", 2: "neutral"}
ENTITIES = ["O", "OBS-DP", "OBS-DA", "ANAT-DP"]
FORM = "E: {reference} M: {generated} ?"
HEADINGS = ["[Clinically Significant Errors]:\n", "\n[Matched Findings]:\n"]
GOOD = f"{HEADINGS[0]}No errors.{HEADINGS[1]}2. two"
BAD = f"{HEADINGS[0]}(a) False: 1. x{HEADINGS[1]}1. y"


def tokenizer(longest: int = 512) -> Any:
    """Words of the list; [CLS] a [SEP] b [SEP], as BERT's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    places = {word: place for place, word in enumerate(SPECIAL + WORDS)}
    inner = Tokenizer(models.WordLevel(vocab=places, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=longest,
    )  # fmt: skip


def config(**more: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        vocab_size=len(SPECIAL) + len(WORDS), max_position_embeddings=64, pad_token_id=0, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip


def seeded(make: Any, seed: int = 0) -> Any:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def save_nli(folder: Path, *, labels: dict[int, str] = NLI, longest: int = 512) -> Path:
    from transformers import BertForSequenceClassification

    model = seeded(lambda: BertForSequenceClassification(config(num_labels=3, id2label=labels)).eval())
    models_g2.stir(model)
    model.save_pretrained(folder)
    tokenizer(longest).save_pretrained(folder)
    return folder


def train(model: Any, steps: int, loss_of: Any, rate: float = 3e-3) -> None:
    import torch

    def run() -> None:
        best = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(steps):
            best.zero_grad()
            loss_of().backward()
            best.step()

    seeded(run)


def save_radgraph(folder: Path) -> Path:
    """Knows that what follows "no" is absent, that heart and lungs are anatomy, and that commas are nothing."""
    import torch
    from transformers import BertForTokenClassification

    labels = dict(enumerate(ENTITIES))
    model = seeded(lambda: BertForTokenClassification(config(num_labels=len(ENTITIES), id2label=labels)))
    lessons = [
        ("no effusion", [0, 2]), ("effusion", [1]), ("edema", [1]), ("no edema", [0, 2]), ("heart is large", [3, 0, 1]),
        ("heart is small", [3, 0, 1]), ("lungs clear", [3, 1]), ("no effusion and edema", [0, 2, 0, 2]),
        ("left effusion", [0, 1]), ("effusion and edema", [1, 0, 1]), ("no effusion .", [0, 2, 0]),
        ("effusion .", [1, 0]), ("edema .", [1, 0]), ("no edema .", [0, 2, 0]), ("heart is large .", [3, 0, 1, 0]),
    ]  # fmt: skip
    words = tokenizer()(
        [text.split() for text, _ in lessons], is_split_into_words=True, padding=True, return_tensors="pt"
    )
    wanted = torch.full(words["input_ids"].shape, -100)
    for row, (_, right) in enumerate(lessons):
        wanted[row, 1 : 1 + len(right)] = torch.tensor(right)
    train(model, 120, lambda: model(**words, labels=wanted).loss)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


CHEXBERT_LESSONS = {
    "effusion": {9: 1}, "no effusion": {9: 2, 13: 1}, "edema": {4: 1}, "no edema": {4: 2, 13: 1},
    "effusion and edema": {9: 1, 4: 1}, "heart is large": {1: 1}, "lungs clear": {13: 1},
    "heart is large and effusion": {1: 1, 9: 1}, "no effusion and no edema": {9: 2, 4: 2, 13: 1},
}  # fmt: skip
"""Text -> head -> class; 0 where a head is not named."""


def save_chexbert(folder: Path, *, prefix: str = "module.", leave_out: str = "") -> Path:
    """With the names of the published checkpoint."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertModel

    bert = seeded(lambda: BertModel(config()))
    heads = seeded(lambda: torch.nn.ModuleList([torch.nn.Linear(32, 4) for _ in range(13)] + [torch.nn.Linear(32, 2)]))
    whole = torch.nn.ModuleDict({"bert": bert, "linear_heads": heads})
    words = tokenizer()(list(CHEXBERT_LESSONS), padding=True, return_tensors="pt")
    asked = {name: words[name] for name in ("input_ids", "attention_mask")}
    wanted = torch.tensor([[right.get(head, 0) for head in range(14)] for right in CHEXBERT_LESSONS.values()])

    def loss() -> Any:
        first = bert(**asked).last_hidden_state[:, 0]
        return sum(torch.nn.functional.cross_entropy(head(first), wanted[:, at]) for at, head in enumerate(heads))

    train(whole, 80, loss)
    folder.mkdir(exist_ok=True)
    tensors = {f"{prefix}{name}": value for name, value in whole.state_dict().items() if name != leave_out}
    save_file(tensors, folder / "model.safetensors")
    bert.config.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_green(folder: Path, *, prompt: str = FORM, new_tokens: int = 40) -> Path:
    """A Llama that has learnt to count one error where the model's report says "edema", and none elsewhere."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = models_g2.tokenizer()
    words.padding_side = "left"
    words.add_tokens(HEADINGS)  # each is one token, so that the model learns them at once
    size = LlamaConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
        vocab_size=len(words), max_position_embeddings=128, pad_token_id=models_g2.PAD,
        bos_token_id=models_g2.START, eos_token_id=models_g2.END,
    )  # fmt: skip
    model = seeded(lambda: LlamaForCausalLM(size))
    pairs = [("effusion", "effusion", GOOD), ("effusion", "edema", BAD), ("edema", "effusion", GOOD),
             ("edema", "edema", BAD)]  # fmt: skip
    rows = [
        (words(FORM.format(reference=one, generated=two))["input_ids"], words(answer)["input_ids"])
        for one, two, answer in pairs
    ]
    longest = max(len(begin) + len(end) + 1 for begin, end in rows)
    ids = torch.full((len(rows), longest), models_g2.PAD)
    mask = torch.zeros_like(ids)
    wanted = torch.full_like(ids, -100)
    for row, (begin, end) in enumerate(rows):
        whole = [*begin, *end, models_g2.END]
        ids[row, -len(whole) :] = torch.tensor(whole)
        mask[row, -len(whole) :] = 1
        wanted[row, -len(end) - 1 :] = torch.tensor([*end, models_g2.END])
    train(model, 130, lambda: model(input_ids=ids, attention_mask=mask, labels=wanted).loss, rate=4e-3)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    body = {"prompt": prompt, "format": "plain", "generation": {"max_new_tokens": new_tokens}}
    (folder / "auscult.json").write_text(json.dumps(body))
    return folder
