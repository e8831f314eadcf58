"""What a model's README says, and what is refused in one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from core.errors import AdapterError
from models_registry.intake.card import LONGEST_README, LONGEST_TEXT, read_card

CARD = """---
license: apache-2.0
base_model:
- acme/cxr-base
datasets: [mimic-cxr, chexpert]
language: no
tags: [radiology]
training_cohort: {digest}
compute: 8 A100, 40 hours
model-index:
- name: cxr
  results:
  - task: {{type: image-classification}}
    dataset: {{name: CheXpert, type: x}}
    metrics:
    - {{type: roc_auc, value: 0.93}}
---
# CXR <script>alert(1)</script>

## Intended use

Second reader.

### Not for

Children.

## Compute

Something else.
"""


def card(folder: Path, text: str | bytes, name: str = "README.md") -> dict[str, Any]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_card(folder)


def test_a_card_is_read_as_data(tmp_path: Path) -> None:
    found = card(tmp_path, CARD.format(digest="ab" * 32))
    assert found["licence"] == "Apache-2.0" and found["licence_known"] is True
    assert found["base_model"] == ["acme/cxr-base"]
    assert found["datasets"] == ["mimic-cxr", "chexpert", "ab" * 32]
    assert found["training_cohort"] == "ab" * 32
    assert found["language"] == ["no"]  # Norwegian, not False
    assert found["intended_use"] == "Second reader.\n\n### Not for\n\nChildren."
    assert found["compute"] == "8 A100, 40 hours"
    assert found["results"] == [
        {"task": "image-classification", "dataset": "CheXpert", "metric": "roc_auc", "value": "0.93"}
    ]
    assert found["text"].startswith("# CXR <script>") and "---" not in found["text"]
    assert found["missing"] == [] and found["file"] == "README.md"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert read_card(tmp_path)["missing"] == ["the licence", "the intended use", "a description"]
    assert card(tmp_path, "Just a text.", "readme.MD")["missing"] == ["the licence", "the intended use"]
    (tmp_path / "readme.MD").unlink()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert read_card(tmp_path)["licence"] == ""  # a tokenizer's card is not the model's


@pytest.mark.parametrize(
    ("matter", "licence", "known"),
    [
        ("license: MIT", "MIT", True),
        ("license: cc-by-nc-4.0", "CC-BY-NC-4.0", True),
        ("license: llama3.1", "llama3.1", False),
        ("license: other\nlicense_name: acme-research", "acme-research", False),
        ("license: other\nlicense_name: bsd-3-clause", "BSD-3-Clause", True),
        ("license: other", "other", False),
        ("license: [mit, gpl]", "", False),
        ("licence: mit", "", False),
        ("", "", False),
    ],
)
def test_a_licence_is_known_by_its_spdx_identifier(tmp_path: Path, matter: str, licence: str, known: bool) -> None:
    found = card(tmp_path, f"---\n{matter}\n---\nText")
    assert (found["licence"], found["licence_known"]) == (licence, known)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nlicense: [\n---\n", "no YAML"),
        ("---\n- a\n- b\n---\n", "no YAML mapping"),
        ("---\na: &x [1]\nb: [*x, *x]\n---\n", "refers to other places"),
        ("---\na: " + "[" * 60_000 + "\n---\n", "nested too deeply"),
        ("---\n" + "".join(" " * n + "a:\n" for n in range(300)) + "---\n", "nested too deeply"),
        ("---\na: " + "x" * 70_000 + "\n---\n", "more than 65,536 characters"),
        (b"---\nlicense: mit\n---\n\xff\xfe", "Line 4 is not UTF-8"),
        ("x" * (LONGEST_README + 1), "more than 1,048,576 bytes"),
    ],
)
def test_a_card_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(AdapterError, match=words) as caught:
        card(tmp_path, text)
    assert caught.value.remedy and caught.value.file == "README.md"


def test_nothing_in_front_matter_becomes_an_object(tmp_path: Path) -> None:
    found = card(tmp_path, "---\nlicense: !!python/object/apply:os.system ['true']\ntags: [!!int 3, 2026-01-01]\n---\n")
    assert found["licence"] == "" and found["tags"] == ["3", "2026-01-01"]


def test_odd_values_do_no_harm(tmp_path: Path) -> None:
    matter = "base_model: {a: b}\ndatasets: [[x], y, 3]\ntags: " + str(["t" * 400] * 110)
    found = card(tmp_path, f"---\n{matter}\nmodel-index: [1, {{results: 3}}]\n---\n" + "x" * (LONGEST_TEXT + 5))
    assert found["base_model"] == [] and found["datasets"] == ["y", "3"] and found["results"] == []
    assert len(found["tags"]) == 100 and len(found["tags"][0]) == 300 and len(found["text"]) == LONGEST_TEXT


def test_windows_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    found = card(tmp_path, b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n\r\nText")
    assert (found["licence"], found["text"]) == ("MIT", "Text")


@pytest.mark.parametrize(
    "text", ["# a\n" * 200_000, "# " + " " * 900_000 + "x", "---\n" + "x\n" * 400_000, "#" * 900_000]
)
def test_a_long_card_is_read_in_time(tmp_path: Path, text: str) -> None:
    started = time.process_time()
    card(tmp_path, text)
    assert time.process_time() - started < 2
