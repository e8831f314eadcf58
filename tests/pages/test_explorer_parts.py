"""The explorer's parts without a database: texts cut at marks, small charts, answers, bytes of an index."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuscultError
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.registry import SUITES, Basis
from evaluation.engine.text.marking import MarkKind
from evaluation.execution.explorer import DENIED, index_share
from evaluation.pages.explorer_words import FLAGS, about
from evaluation.pages.report_marks import LOOKS, MOST_CHARACTERS, marked_text
from evaluation.pages.series_drawing import HEIGHT, MOST_POINTS, WIDTH, series_chart
from evaluation.pages.spoken import spoken_of
from evaluation.studies.classes import CLASSES, class_of_metric
from evaluation.studies.index import pack_share, read_index, read_texts_of
from evaluation.studies.rows import SpokenRow, StudyMarks, TextMark

RULES = """
auscult_protocol: 1
name: parts
title: Parts
suites: [hallucination]
labels: []
reports: {findings: ["*"]}
attributes: [{name: sex, values: [F, M]}]
criteria: [{id: chair, metric: chair_i, direction: at_most, margin: 0.1}]
"""


def mark(start: int, end: int, kind: str = "unsupported", finding: str = "effusion") -> TextMark:
    return TextMark(side="generated", kind=kind, start=start, end=end, finding=finding, note="Why.")


def table(*pairs: tuple[str | None, str | None]) -> ShardTable:
    """One study of a patient for each pair of an expert's report and a model's."""

    def column(values: list[Any]) -> Any:
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    count = range(len(pairs))
    return ShardTable(
        patient_ids=column([f"p{number}" for number in count]),
        study_ids=column([f"s{number}" for number in count]),
        attributes={"sex": column(["FM"[number % 2] for number in count])},
        labels={},
        texts={"reference": column([one for one, _ in pairs]), "generated": column([two for _, two in pairs])},
    )


@given(
    text=st.text(alphabet="ab <&\n", max_size=60),
    places=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from(sorted(LOOKS))), max_size=8),
)
def test_pieces_make_the_text_again_and_carry_every_mark_that_lies_on_them(
    text: str, places: list[tuple[int, int, str]]
) -> None:
    marks = [mark(min(at, len(text)), min(at + size, len(text)), kind) for at, size, kind in places]
    cut = marked_text(text, marks)
    assert "".join(piece.text for piece in cut.pieces) == text
    assert all(piece.head + piece.tail == piece.text for piece in cut.pieces)
    at = 0
    for piece in cut.pieces:
        lying = {id(item) for item in marks if item.start <= at and item.end >= at + len(piece.text)}
        assert {id(item.mark) for item in piece.marks} == lying
        at += len(piece.text)
    shown = {item.number for piece in cut.pieces for item in piece.marks}
    assert shown == {item.number for item in cut.marks if item.mark.end > item.mark.start}


def test_the_gravest_mark_is_worn_where_marks_lie_on_each_other() -> None:
    cut = marked_text("a large effusion", [mark(2, 16, "supported"), mark(8, 16, "wrong_side")])
    looks = [(piece.text, [item.look.title for item in piece.marks]) for piece in cut.pieces]
    assert looks == [("a ", []), ("large ", ["Supported"]), ("effusion", ["Wrong side", "Supported"])]


def test_of_a_report_of_a_megabyte_the_beginning_is_shown_and_every_mark_is_listed() -> None:
    text = "No change. " * 100_000
    cut = marked_text(text, [mark(3, 9), mark(len(text) - 8, len(text) - 2)])
    assert sum(len(piece.text) for piece in cut.pieces) == MOST_CHARACTERS
    assert cut.hidden == len(text) - MOST_CHARACTERS and len(cut.marks) == 2
    assert [len(piece.marks) for piece in cut.pieces] == [0, 1, 0]


def test_a_chart_stays_in_its_frame() -> None:
    for values in ([[0.0, 5.0]], [[0.0, 5.0], [1.0, 5.0]], [[float(hour), hour % 7] for hour in range(5000)]):
        chart = series_chart("CRP", np.array(values, dtype=np.float64), unit="mg/L", low=0.0, high=4.0)
        places = [tuple(map(float, place.split(","))) for place in chart.line.split()]
        assert all(0 <= across <= WIDTH and 0 <= down <= HEIGHT for across, down in places)
        assert len(places) <= MOST_POINTS and chart.band is not None and chart.reference == "0 to 4"
        assert len(chart.rows) + chart.more == len(values)
    alone = series_chart("CRP", np.array([[2.0, 7.25]]))
    assert (alone.latest, alone.hours, alone.band, alone.reference) == ("7.25", "2 h", None, "")


def spoken(**changes: Any) -> SpokenRow:
    row = {
        "kind": "present", "finding": "effusion", "expected": "yes", "condition": "plain", "turn": 0,
        "question": "Is it?", "text": "No.", "truncated": False, "answer": "no", "fault": "answer_wrong",
    }  # fmt: skip
    return SpokenRow(**row | changes)


def test_samples_that_are_alike_are_told_once_and_a_changed_study_is_not_judged() -> None:
    samples = [spoken(condition="sampled", turn=turn, text="Yes." if turn else "No.") for turn in range(4)]
    reports = [spoken(kind="report", finding="", expected="", condition="dropped:text.indication", answer="", fault="")]
    told = spoken_of([spoken(), *samples, spoken(condition="blank", fault=""), *reports])
    (question,) = told.questions
    assert question.plain is not None and (question.plain.word, question.plain.state) == ("wrong", "fail")
    assert [(item.condition, item.times) for item in question.others] == [
        ("Drawn with chance", 1), ("Drawn with chance", 3), ("Made blank", 1),
    ]  # fmt: skip
    assert question.others[-1].word == "" and question.others[-1].answer == "no"
    assert [item.condition for item in told.reports] == ["Without text indication"]


def test_an_index_keeps_texts_flags_and_marks_and_equal_tables_give_equal_bytes() -> None:
    rules = Protocol.from_yaml(RULES)
    studies = table(
        ("Small pleural effusion.", "No pleural effusion."),
        (None, "Pleural effusion."),
        ("No pneumothorax.", "Pneumothorax. <b>bold</b>"),
        ("No pneumothorax.", None),
    )
    data = index_share(rules, studies)
    assert data == index_share(rules, table(*zip(*studies.texts.values(), strict=True)))
    index = read_index(data)
    found = {
        (int(row), index.kind.names[kind], index.finding.names[finding])
        for row, kind, finding in zip(index.row, index.kind.codes, index.finding.codes, strict=True)
    }
    assert found == {
        (0, DENIED, "effusion"), (0, "omitted", "effusion"), (1, "no_reference", ""),
        (2, "contradicted", "pneumothorax"), (3, "abstained", ""),
    }  # fmt: skip
    assert read_texts_of(data, 2).texts["generated"] == "Pneumothorax. <b>bold</b>"
    assert [item.kind for item in read_texts_of(data, 0).of("reference")] == ["omitted"]
    with pytest.raises(IndexError):
        read_texts_of(data, 4)


def test_an_index_of_nothing_and_a_damaged_one() -> None:
    rules = Protocol.from_yaml(RULES)
    empty = read_index(pack_share(rules, table(), [], []))
    assert len(empty) == 0 and len(empty.row) == 0 and not empty.kind.is_any(["omitted"]).any()
    data = pack_share(rules, table(("a", "b")), [StudyMarks()], [])
    for spoilt in (b"", data[:-1], b"x" + data):
        with pytest.raises(AuscultError):
            read_index(spoilt)


def test_an_answer_that_does_not_rest_on_the_study_is_found() -> None:
    rows = [(0, spoken(condition=condition, fault="")) for condition in ("plain", "blank", "paraphrase")]
    rows += [(1, spoken(fault="")), (1, spoken(condition="blank", answer="refused", fault=""))]
    rows += [(2, spoken(fault="")), (2, spoken(condition="paraphrase", answer="yes", fault=""))]
    rows += [(3, spoken(answer="refused", fault="")), (3, spoken(condition="paraphrase", answer="yes", fault=""))]
    rows += [(3, spoken(condition="blank", answer="refused", fault=""))]
    rows += [
        (4, spoken(answer="unparseable", fault="")),
        (4, spoken(condition="paraphrase", answer="truncated", fault="")),
    ]
    studies = table(*[("Effusion.", "Effusion.")] * 5)
    index = read_index(pack_share(Protocol.from_yaml(RULES), studies, [StudyMarks()] * 5, rows))
    kinds = {int(row): index.kind.names[kind] for row, kind in zip(index.row, index.kind.codes, strict=True)}
    assert kinds == {0: "answer_unmoved", 2: "answer_reworded", 3: "answer_reworded"}, "as the metric counts changes"


def test_what_a_report_that_was_cut_off_lacks_is_marked_and_not_counted() -> None:
    rules, studies = Protocol.from_yaml(RULES), table(*[("Small pleural effusion.", "Pneumothorax.")] * 2)
    cut = replace(studies, truncated={"generated": np.array([True, False])})
    data = index_share(rules, cut)
    index = read_index(data)
    assert index.row[index.kind.is_any(["omitted"])].tolist() == [1], "omission leaves out what was cut off"
    assert index.row[index.kind.is_any(["unsupported"])].tolist() == [0, 1]
    assert [item.kind for item in read_texts_of(data, 0).of("reference")] == ["omitted"]


def test_every_kind_has_a_look_and_a_class_and_every_metric_on_texts_leads_to_studies() -> None:
    kinds = {str(kind) for kind in MarkKind} | {DENIED}
    assert kinds <= set(LOOKS)
    classed = {kind for item in CLASSES.values() for kind in item.kinds}
    assert classed == (kinds | set(FLAGS)) - {"agreed_absent"}
    for metric in SUITES.get("hallucination").metrics:
        error = class_of_metric(metric)
        assert error is not None and (error in CLASSES or error in {"", "any"}), metric
    fairness = SUITES.get("fairness").metrics
    assert class_of_metric("tpr") is None and class_of_metric("nonsense") is None
    assert {class_of_metric(name) for name, info in fairness.items() if info.basis is not Basis.REPORTS} == {None}
    assert class_of_metric("omission_difference") == "omitted"
    assert (about("crp"), about("pleural_effusion"), about("")) == ("C-reactive protein", "pleural effusion", "")
