"""Optional judges: absent unless an operator supplies weights; those that are there against independent oracles."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from core.digests import folder_manifest, manifest_digest
from core.errors import AdapterError, AuscultError, EnvironmentProblemError
from evaluation.engine.judges import JUDGES, judge_share, judges_status
from evaluation.engine.judges.green import green_score
from evaluation.engine.judges.radgraph import entities_of
from evaluation.engine.judges.reading import sentences_of, windows
from tests.judges import models

KEYS = ["chexbert", "green", "nli", "radgraph"]


def scores(key: str, references: list[str | None], generated: list[str | None]) -> list[float]:
    return judge_share([key], references, generated)[key].tolist()


# What is supplied, and what is not


def test_without_weights_every_judge_is_absent_and_none_scores(monkeypatch):
    monkeypatch.delenv("AUSCULT_JUDGES", raising=False)
    status = judges_status()
    assert list(status) == KEYS
    assert all(said == "absent: no weights were supplied (AUSCULT_JUDGES names no folder)" for said in status.values())
    assert judge_share(KEYS, ["effusion"], ["effusion"]) == {}


def test_a_folder_without_a_judge_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("AUSCULT_JUDGES", str(tmp_path))
    said = judges_status(["nli"])["nli"]
    assert said == "absent: no weights were supplied (there is no folder 'nli' where AUSCULT_JUDGES points)"
    assert str(tmp_path) not in said


def test_supplied_judges_are_told_by_the_digest_of_their_folder(own):
    status = judges_status()
    assert status == {key: manifest_digest(folder_manifest(own / key)) for key in KEYS}
    wishes = own / "green" / "auscult.json"
    wishes.write_text(wishes.read_text() + "\n")
    again = judges_status()
    assert again["green"] != status["green"]
    assert {key for key in KEYS if again[key] != status[key]} == {"green"}


def test_an_unknown_judge_is_refused_with_those_there_are():
    with pytest.raises(AuscultError, match="no judge called 'oracle'") as caught:
        judges_status(["oracle"])
    assert "nli" in caught.value.remedy


@pytest.mark.parametrize(
    ("key", "spoil", "told"),
    [
        ("nli", lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04x"), "pickle"),
        ("nli", lambda folder: (folder / "modeling.py").write_text("import os"), "code"),
        ("nli", lambda folder: (folder / "model.safetensors").unlink(), "missing"),
        ("nli", lambda folder: rename_classes(folder, {0: "a", 1: "b", 2: "c"}), "called entailment"),
        ("radgraph", lambda folder: rename_classes(folder, dict(enumerate("ABCD"))), "called O"),
        ("chexbert", lambda folder: edit(folder / "config.json", model_type="roberta"), "CheXbert is a BERT"),
        ("green", lambda folder: edit(folder / "auscult.json", prompt="no places"), "{reference} is there 0 times"),
        ("green", lambda folder: (folder / "auscult.json").unlink(), "auscult.json is missing"),
        ("green", lambda folder: edit(folder / "auscult.json", format="chat"), "no chat template"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why_and_scores_nothing(own, key, spoil, told):
    spoil(own / key)
    said = judges_status([key])[key]
    assert said.startswith("absent: the weights that were supplied cannot be used: ")
    assert told in said
    assert str(own) not in said
    with pytest.raises(AdapterError):
        judge_share([key], ["effusion"], ["effusion"])


def edit(path: Path, **more: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def rename_classes(folder: Path, names: dict[int, str]) -> None:
    edit(folder / "config.json", id2label=names, label2id={name: place for place, name in names.items()})


def test_a_head_that_is_missing_is_named(tmp_path, monkeypatch):
    models.save_chexbert(tmp_path / "chexbert", leave_out="linear_heads.9.weight")
    monkeypatch.setenv("AUSCULT_JUDGES", str(tmp_path))
    assert "The head of Pleural Effusion is missing" in judges_status(["chexbert"])["chexbert"]


# What holds for every judge


@pytest.mark.parametrize("key", KEYS)
def test_missing_and_blank_reports_have_no_score_and_order_does_not_matter(there, key):
    references = ["effusion", None, "effusion", "edema", "effusion", " "]
    generated = ["edema", "effusion", "", "edema", None, "edema"]
    found = scores(key, references, generated)
    assert [math.isnan(value) for value in found] == [False, True, True, False, True, True]
    assert all(0 <= value <= 1 for value in found if not math.isnan(value))
    turned = scores(key, references[::-1], generated[::-1])[::-1]
    alone = [scores(key, [one], [two])[0] for one, two in zip(references, generated, strict=True)]
    np.testing.assert_allclose(found, turned, atol=1e-6)
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_progress_is_told_after_each_batch(there):
    told: list[int] = []
    judge_share(["nli", "radgraph"], ["effusion."] * 20, ["edema."] * 19 + [None], told=told.append)
    assert told == [16, 19, 35, 38]


def test_a_score_out_of_range_is_an_error_not_a_measurement(there, monkeypatch):
    class Odd:
        title = "odd"

        def inspect(self, folder): ...

        def load(self, folder, *, device):
            return self

        def score(self, references, generated):
            return np.full(len(references), 1.5)

    JUDGES.get("nli")
    monkeypatch.setitem(JUDGES._members, "nli", Odd())
    monkeypatch.setattr("evaluation.engine.judges.supply._loaded", {})
    with pytest.raises(EnvironmentProblemError, match=r"the score 1\.5"):
        judge_share(["nli"], ["effusion"], ["effusion"])


# NLI


def entailed(folder: Path, premise: str, hypothesis: str, place: int = 1) -> float:
    """What transformers itself answers for one pair."""
    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder)
    words = models.tokenizer()(premise, hypothesis, return_tensors="pt")
    with torch.no_grad():
        return float(torch.softmax(model(**words).logits[0], dim=-1)[place])


def test_nli_is_the_mean_over_sentences_of_the_probability_of_entailment(there):
    reference, said = "No effusion. Heart is large.", "Effusion. Lungs clear."
    one = [entailed(there / "nli", reference, sentence) for sentence in ("Effusion.", "Lungs clear.")]
    assert scores("nli", [reference], [said])[0] == pytest.approx(np.mean(one), abs=1e-5)
    assert one[0] != pytest.approx(one[1], abs=1e-3)


def test_entailment_is_found_by_its_name_wherever_it_stands(there, tmp_path, monkeypatch):
    before = scores("nli", ["no effusion."], ["effusion."])[0]
    models.save_nli(tmp_path / "nli", labels={0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION"})
    monkeypatch.setenv("AUSCULT_JUDGES", str(tmp_path))
    found = scores("nli", ["no effusion."], ["effusion."])[0]
    assert found == pytest.approx(entailed(tmp_path / "nli", "no effusion.", "effusion.", place=0), abs=1e-5)
    assert found != pytest.approx(before, abs=1e-3)


def test_a_long_reference_is_read_in_windows_and_the_one_that_entails_most_counts(tmp_path, monkeypatch):
    models.save_nli(tmp_path / "nli", longest=16)
    monkeypatch.setenv("AUSCULT_JUDGES", str(tmp_path))
    sentences = ["no effusion and no edema.", "heart is large and small.", "lungs clear and left."]
    alone = [entailed(tmp_path / "nli", sentence, "effusion.") for sentence in sentences]
    found = scores("nli", [" ".join(sentences)], ["effusion."])[0]
    assert found == pytest.approx(max(alone), abs=1e-5)
    assert max(alone) > min(alone)


def test_sentences_and_windows():
    assert sentences_of("A 1.5 cm nodule. No effusion;\n\n- \n2.\nHeart  large") == [
        "A 1.5 cm nodule.", "No effusion;", "Heart  large",
    ]  # fmt: skip
    assert windows(["a b", "c", "d e f", "g h i j k"], 3, lambda text: len(text.split())) == [
        "a b c", "d e f", "g h i j k",
    ]  # fmt: skip


# CheXbert


def test_chexbert_compares_what_both_reports_assert(there):
    pairs = [
        ("effusion", "effusion", 1.0),
        ("effusion", "no effusion", 0.0),
        ("effusion and edema", "effusion", 2 / 3),
        ("no effusion", "no edema", 1.0),  # both: no finding
        ("heart is large and effusion", "effusion and edema", 0.5),
    ]
    found = scores("chexbert", [one for one, _, _ in pairs], [two for _, two, _ in pairs])
    assert found == pytest.approx([wanted for _, _, wanted in pairs])


def test_chexbert_reads_names_with_and_without_the_prefix(tmp_path, monkeypatch, there):
    models.save_chexbert(tmp_path / "chexbert", prefix="")
    before = scores("chexbert", ["effusion and edema"], ["edema"])
    monkeypatch.setenv("AUSCULT_JUDGES", str(tmp_path))
    assert scores("chexbert", ["effusion and edema"], ["edema"]) == before == pytest.approx([2 / 3])


# RadGraph


def test_radgraph_compares_entities_with_their_assertion(there):
    pairs = [
        ("no effusion.", "no effusion.", 1.0),
        ("no effusion.", "effusion.", 0.0),  # the same word, another class
        ("effusion and edema", "edema", 2 / 3),
        ("heart is large", "heart is small", 0.5),
    ]
    found = scores("radgraph", [one for one, _, _ in pairs], [two for _, two, _ in pairs])
    assert found == pytest.approx([wanted for _, _, wanted in pairs])


def test_runs_of_words_are_entities():
    words = ["Small", "pleural", "effusion", "left", "lung", "opacity", "opacity"]
    marks = ["O", "B-OBS", "I-OBS", "ANAT", "ANAT", "B-OBS", "B-OBS"]
    assert entities_of(words, marks) == {("pleural effusion", "OBS"), ("left lung", "ANAT"), ("opacity", "OBS")}
    assert entities_of(["a", "b", "c"], ["I-OBS", "O", "I-OBS"]) == {("a", "OBS"), ("c", "OBS")}


# GREEN


def test_green_asks_the_model_and_reads_its_counts(there):
    found = scores("green", ["effusion", "effusion", "edema", "edema"], ["effusion", "edema", "effusion", "edema"])
    assert found == pytest.approx([1.0, 0.5, 1.0, 0.5])


def test_an_answer_that_is_cut_off_or_too_long_a_pair_has_no_score(own):
    edit(own / "green" / "auscult.json", generation={"max_new_tokens": 6})
    assert math.isnan(scores("green", ["effusion"], ["effusion"])[0])
    edit(own / "green" / "auscult.json", generation={"max_new_tokens": 40})
    found = scores("green", ["effusion", "effusion"], ["effusion", "edema " * 20])
    assert found[0] == 1.0
    assert math.isnan(found[1])


ERRORS = "[Clinically Significant Errors]:\n"
MATCHED = "\n\n[Matched Findings]:\n"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (f"{ERRORS}(a) False report: 2. x; y\n(b) Missing a finding: 1. z{MATCHED}3. a; b; c", 0.5),
        (f"{ERRORS}No errors.{MATCHED}4. a; b; c; d", 1.0),
        (f"{ERRORS}(a) False report: 0. {MATCHED}0. ", 0.0),
        (f"{ERRORS}(1) False report: 1. x{MATCHED}1. a", 0.5),
        (
            f"[Explanation]:\n2 things\n\n{ERRORS}(a) False report: 1. x\n\n[Clinically Insignificant Errors]:\n"
            f"(d) Severity: 7. y{MATCHED}3. a",
            0.75,
        ),
        (f"{ERRORS}<count>{MATCHED}<count>\n{ERRORS}(a) F: 1. x{MATCHED}1. y", 0.5),  # the form, then the answer
        (f"{ERRORS}(a) False report: many{MATCHED}1. a", math.nan),
        (f"{ERRORS}No errors.{MATCHED}several", math.nan),
        (f"{ERRORS}No errors.", math.nan),
        ("The reports agree.", math.nan),
        ("", math.nan),
    ],
)
def test_green_scores_follow_the_definition(answer, wanted):
    assert green_score(answer) == pytest.approx(wanted, nan_ok=True)


def test_a_report_cannot_name_the_place_of_the_other(there, monkeypatch):
    from evaluation.engine.judges.green import _Parts

    parts = _Parts(there / "green")
    assert parts.fill("{generated}", "edema") == "E: {generated} M: edema ?"
