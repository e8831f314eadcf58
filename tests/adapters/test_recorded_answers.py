"""Answers that a model gave elsewhere: read with care, found by everything that was asked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Answers, Capability, Draw, InferenceSettings, Posed, Recalls, Speaks
from models_registry.cohorts.schema import StudyBatch

RECORDED = ADAPTERS.get("recorded")
HEAD = "study_id,question,condition,turn,modality,partner,temperature,text,truncated\n"
GOOD = (
    HEAD
    + '1,Is there an effusion?,plain,0,,,,"No, there\nis none.",0\n'
    + "1,Is there an effusion?,blank,0,image,,,I cannot tell.,\n"
    + "1,Is there an effusion?,swapped,0,image,2,,Yes,0\n"
    + "1,Is there an effusion?,sampled,1,,,0.7,Yes,1\n"
    + "1,,sampled,0,,,0.7,Effusion.,0\n"
    + "2,Is there an effusion?,plain,0,,,,NA,0\n"
    + "2,Is there an effusion?,noise,0,image,,,,\n"
)


def log(folder: Path, text: str, name: str = "answers.csv") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder


def load(folder: Path):
    return RECORDED.load(folder, settings=InferenceSettings())


def asked(study: str, condition: str = "plain", turn: int = 0, **more: str) -> Posed:
    return Posed(study_id=study, question="Is there an effusion?", condition=condition, turn=turn, **more)


def batch(*studies: str) -> StudyBatch:
    return StudyBatch(study_ids=studies, patient_ids=studies, images=[None] * len(studies))


def test_an_answer_is_found_by_everything_that_was_asked(tmp_path):
    model = load(log(tmp_path, GOOD))
    assert isinstance(model, Recalls) and isinstance(model, Speaks) and isinstance(model, Answers)
    report = Posed(study_id="1", question="", condition="sampled", turn=0)
    said = model.recall(
        [
            asked("1"), asked("1", "blank", modality="image"), asked("1", "swapped", modality="image", partner="2"),
            asked("1", "sampled", 1), report, asked("2"), asked("2", "noise", modality="image"),
        ]
    )  # fmt: skip
    assert said.text.tolist() == ["No, there\nis none.", "I cannot tell.", "Yes", "Yes", "Effusion.", "NA", None]
    assert said.truncated.tolist() == [False, False, False, True, False, False, False]
    unknown = [
        asked("3"),
        asked("1", "blank"),
        asked("1", "swapped", modality="image", partner="3"),
        asked("1", turn=1),
    ]
    assert model.recall(unknown).text.tolist() == [None] * 4
    assert model.holds("swapped", report=False) and model.holds("sampled", report=True)
    assert not model.holds("noise", report=False) and not model.holds("plain", report=True)


def test_studies_as_they_are_can_be_asked_directly(tmp_path):
    model = load(log(tmp_path, GOOD))
    question = ["Is there an effusion?"] * 3
    assert model.answer(batch("2", "1", "9"), question).tolist() == ["NA", "No, there\nis none.", None]
    drawn = model.say(batch("1"), question[:1], draw=Draw(temperature=0.7, turn=1))
    assert (drawn.text.tolist(), drawn.truncated.tolist()) == (["Yes"], [True])
    assert model.say(batch("1"), None, draw=Draw(temperature=0.7, turn=0)).text.tolist() == ["Effusion."]


def test_answers_stand_alone_or_beside_predictions(tmp_path):
    info = RECORDED.inspect(log(tmp_path, GOOD))
    assert (info.capabilities, info.outputs) == ({Capability.ANSWER}, ())
    assert (info.details["recorded_answers"], info.details["recorded_questions"]) == (7, 6)
    assert load(tmp_path).predict(batch("1")).texts == {}
    log(tmp_path, "study_id,text.generated,truncated.generated\n1,Clear.,1\n2,Effusion.,\n", "predictions.csv")
    assert RECORDED.inspect(tmp_path).capabilities == {Capability.ANSWER, Capability.GENERATE}
    found = load(tmp_path).predict(batch("2", "1", "9"))
    assert found.texts["generated"].tolist() == ["Effusion.", "Clear.", None]
    assert found.truncated["generated"].tolist() == [False, True, False]


def test_a_log_of_drawn_reports_answers_no_question(tmp_path):
    model = load(log(tmp_path, HEAD + "1,,sampled,0,,,1,Effusion.,0\n"))
    assert isinstance(model, Recalls) and not isinstance(model, Answers)
    assert Capability.ANSWER not in model.info.capabilities


def test_a_row_that_cannot_be_read_is_not_quoted(tmp_path):
    with pytest.raises(AdapterError, match="Expected 9 columns, got 10") as caught:
        RECORDED.inspect(log(tmp_path, HEAD + "1,,sampled,0,,,1,John Smith has, an effusion.,0\n"))
    assert "John" not in str(caught.value) and "effusion" not in str(caught.value)


def test_a_log_without_answers_cannot_be_asked(tmp_path):
    model = load(log(tmp_path, "study_id,text.generated\n1,Clear.\n", "predictions.csv"))
    assert not isinstance(model, Recalls) and not isinstance(model, Speaks)


def test_parquet_says_the_same_as_csv(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    table = pa.table({"study_id": [1, 2], "question": ["Why?", "Why?"], "text": ["So.", None]})
    pq.write_table(table, tmp_path / "one" / "answers.parquet")
    log(tmp_path / "other", "study_id,question,text\n1,Why?,So.\n2,Why?,\n")
    posed = [Posed(study_id=name, question="Why?", condition="plain") for name in ("1", "2")]
    for folder in ("one", "other"):
        assert load(tmp_path / folder).recall(posed).text.tolist() == ["So.", None]


def test_a_megabyte_of_answer_is_kept(tmp_path):
    long = "No effusion. " * 90_000
    model = load(log(tmp_path, HEAD + f'1,Is there an effusion?,plain,0,,,,"{long}",0\n'))
    assert model.recall([asked("1")]).text[0] == long


@pytest.mark.parametrize(
    ("text", "column", "row"),
    [
        ("question,text\nWhy?,So.\n", "study_id", None),
        ("study_id,question\n1,Why?\n", "text", None),
        ("study_id,question,text\n1,Why?,So.\n1,Why?,No.\n", "question", 2),
        ("study_id,question,text\n,Why?,So.\n", "study_id", 1),
        ("study_id,question,turn,text\n1,Why?,first,So.\n", "turn", None),
        ("study_id,question,text,truncated\n1,Why?,So.,0\n2,Why?,So.,2\n", "truncated", 2),
    ],
)
def test_a_bad_log_is_refused_with_its_place(tmp_path, text, column, row):
    with pytest.raises(AdapterError) as caught:
        RECORDED.inspect(log(tmp_path, text))
    assert (caught.value.file, caught.value.column, caught.value.row) == ("answers.csv", column, row)
    assert caught.value.remedy


def test_numbers_are_no_answers(tmp_path):
    pq.write_table(pa.table({"study_id": ["1"], "text": [3.5]}), tmp_path / "answers.parquet")
    with pytest.raises(AdapterError, match="type double") as caught:
        RECORDED.inspect(tmp_path)
    assert caught.value.column == "text"


def test_bytes_that_are_no_utf8_are_named_by_row(tmp_path):
    """The first row has a line end inside of its quotes: rows are counted, not lines."""
    data = b'study_id,question,text\n1,Why?,"So\nit is."\n2,Why?,' + b"caf\xe9\n"
    for name in ("answers.csv", "predictions.csv"):
        home = tmp_path / name
        home.mkdir()
        (home / name).write_bytes(data)
        with pytest.raises(AdapterError, match="UTF-8") as caught:
            RECORDED.inspect(home)
        assert (caught.value.file, caught.value.row) == (name, 2)
