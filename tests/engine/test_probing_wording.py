"""The words of questions: articles, plurals, paraphrases, what cannot be asked; and what is true of a study."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuscultError, ProtocolError
from evaluation.engine import ShardTable
from evaluation.engine.asking import ProbeKind
from evaluation.engine.probing import options_of, questions_for, truth_rows
from evaluation.engine.probing.wording import join_options, letter_of_none, phrase_of, plain_name, wording
from evaluation.engine.text.ontology import ontology
from models_registry.cohorts.nih import EXPERT
from synthetic.simulator.settings import LABELS
from tests.engine.probing_builders import asking

OPENI = (
    "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    "consolidation", "edema", "emphysema", "fibrosis", "pleural_thickening", "hernia",
)  # fmt: skip
ASKED = sorted({*ontology().findings, *LABELS, *OPENI, *EXPERT})
INDEFINITE = {
    "effusion": "a pleural effusion", "pneumothorax": "a pneumothorax", "consolidation": "consolidation",
    "cardiomegaly": "cardiomegaly", "opacity": "a lung opacity", "infiltration": "an infiltrate",
    "edema": "pulmonary oedema", "support_device": "support devices", "fracture": "a fracture",
    "endotracheal_tube": "an endotracheal tube", "airspace_opacity": "a lung opacity",
    "nodule_or_mass": "a lung nodule or mass", "Pleural Effusion": "a pleural effusion",
    "Lung Opacity": "a lung opacity",
    "Enlarged Cardiomediastinum": "a widened mediastinum", "Support Devices": "support devices",
    "deterioration": "signs of deterioration within 24 hours", "sarcoidosis": "signs of sarcoidosis",
    # not in the list: by the end of the last word
    "kyphosis": "kyphosis", "scoliosis": "scoliosis", "aortic_aneurysm": "an aortic aneurysm", "lipoma": "a lipoma",
    "rib_lesions": "rib lesions", "bronchitis": "bronchitis", "tracheal_deviation": "tracheal deviation",
    "situs_inversus": "a situs inversus", "abscess": "an abscess", "calcified_lymph_nodes": "calcified lymph nodes",
    "pulmonary_embolism": "a pulmonary embolism", "contusion": "a contusion",
}  # fmt: skip


@pytest.mark.parametrize("finding, words", sorted(INDEFINITE.items()))
def test_every_finding_has_its_article(finding: str, words: str) -> None:
    assert phrase_of(finding).indefinite == words


@pytest.mark.parametrize("modality", ["image", "text.findings", "series.crp"])
@pytest.mark.parametrize("finding", ASKED)
def test_every_question_about_every_finding_is_a_sentence(finding: str, modality: str) -> None:
    words = phrase_of(finding)
    for kind in ProbeKind:
        asked = questions_for(kind, finding, modality)
        assert len(asked) == len(set(asked)) >= 3, "a question has paraphrases"
        for question in asked:
            assert question[0].isupper()
            assert "{" not in question
            assert "_" not in question
            assert "  " not in question
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(?:a|an|the) (?:a|an|the)\b", question), question
            assert words.noun in question
            if words.number == "many" and kind is not ProbeKind.NONE_OF_ABOVE:
                assert not re.search(rf"\bis (?:there |the )?{words.noun}|{words.noun}[\w ]* is\b", question), question
            elif words.number != "many":
                assert not re.search(rf"\bare (?:there )?(?:the |a |an )?{words.noun}", question, re.I), question
            if kind not in {ProbeKind.NONE_OF_ABOVE, ProbeKind.FALSE_PREMISE}:
                assert "yes or no" in question.lower()
    assert "image" in questions_for("random", finding, "image")[0]
    assert "report" in questions_for("random", finding, "text.findings")[0]
    assert "study" in questions_for("random", finding, "series.crp")[0]


def test_questions_read_as_a_person_would_ask() -> None:
    assert questions_for("present", "effusion", "image")[:2] == (
        "Is there a pleural effusion in this image? Answer yes or no.",
        "Does this image show a pleural effusion? Answer yes or no.",
    )
    assert questions_for("random", "support_device", "image")[0] == (
        "Are there support devices in this image? Answer yes or no."
    )
    assert questions_for("false_premise", "effusion", "image")[0] == "How large is the pleural effusion in this image?"
    assert questions_for("false_premise", "edema", "image")[0] == "How severe is the pulmonary oedema in this image?"
    assert questions_for("false_premise", "fracture", "image")[0] == "Where is the fracture in this image?"
    assert questions_for("none_of_above", "effusion|edema", "text.findings")[0] == (
        "Which of these does this report describe as present? Answer with one letter.\n"
        "A) a pleural effusion\nB) pulmonary oedema\nC) none of the above"
    )


def test_options_are_joined_and_taken_apart() -> None:
    assert options_of(join_options(["effusion", "edema"])) == ("effusion", "edema")
    assert letter_of_none(("effusion", "edema")) == "C"


def test_what_is_no_question_is_refused() -> None:
    for name in ("no_finding", "No Finding", "normal"):
        with pytest.raises(ProtocolError, match="No question can be asked"):
            questions_for("random", name, "image")
    with pytest.raises(AuscultError, match="no question of the kind 'report'"):
        questions_for("report", "effusion", "image")
    with pytest.raises(AuscultError, match="9 options"):
        questions_for("none_of_above", "|".join(OPENI[:9]), "image")


def test_every_name_of_a_finding_has_its_words() -> None:
    for name, finding in wording().names.items():
        assert wording().phrases[name] is wording().phrases[finding]
        assert plain_name(name) == name


@given(
    st.text(min_size=1, max_size=80).filter(
        lambda name: name == name.strip() and plain_name(name) not in wording().never
    )
)
def test_any_name_can_be_asked_about(name: str) -> None:
    assert questions_for("random", name, "image")


def table(texts: list[str | None] | None = None, **labels: list[int]) -> ShardTable:
    n = len(texts) if texts is not None else len(next(iter(labels.values())))
    ids = np.array([f"s{row}" for row in range(n)], dtype=object)
    return ShardTable(
        patient_ids=ids,
        study_ids=ids,
        attributes={},
        labels={name: np.array(values, dtype=np.int8) for name, values in labels.items()},
        texts={} if texts is None else {"reference": np.array(texts, dtype=object)},
    )


def test_labels_are_the_truth_where_there_are_some() -> None:
    rows = truth_rows(asking(("effusion", "edema")), table(effusion=[1, 0, -1], edema=[0, 1, 0]))
    assert rows.findings == ("effusion", "edema")
    assert rows.truth.tolist() == [[1, 0], [0, 1], [-1, 0]]


def test_else_the_experts_report_is() -> None:
    told: list[tuple[str | None, list[int]]] = [
        ("There is a small left pleural effusion.", [1, 0, 0]),
        ("No effusion. The heart is enlarged.", [0, 1, 0]),
        ("Cannot exclude a small effusion.", [-1, 0, 0]),
        ("Consolidation in the left lower lobe.", [0, 0, 1]),
        ("Possible consolidation.", [0, 0, -1]),
        ("The lungs are clear.", [0, 0, 0]),
        ("", [-1, -1, -1]),
        (None, [-1, -1, -1]),
        ("Unable to assess: non diagnostic study.", [-1, -1, -1]),
        (
            "Se observa un derrame pleural izquierdo pequeño. El corazón es de tamaño normal y no hay neumotórax.",
            [-1, -1, -1],
        ),
    ]
    rows = truth_rows(asking(("effusion", "cardiomegaly", "opacity")), table([text for text, _ in told]))
    assert rows.truth.tolist() == [expected for _, expected in told]


def test_labels_and_reports_together() -> None:
    rows = truth_rows(asking(("effusion", "sarcoidosis")), table(["An effusion.", "No effusion."], sarcoidosis=[0, 1]))
    assert rows.truth.tolist() == [[1, 0], [0, 1]]


def test_what_contradicts_itself_is_not_asked() -> None:
    """A consolidation is an opacity: where one label says yes and the other no, no question rests on the second."""
    rows = truth_rows(asking(("consolidation", "opacity")), table(consolidation=[1, 0, 1], opacity=[0, 0, 1]))
    assert rows.truth.tolist() == [[1, -1], [0, 0], [1, 1]]


def test_a_finding_whose_truth_is_not_known_is_refused_by_name() -> None:
    for found in (table(effusion=[1]), table(["No effusion."], effusion=[1])):
        with pytest.raises(ProtocolError, match="'sarcoidosis'") as caught:
            truth_rows(asking(("effusion", "sarcoidosis")), found)
        assert "label.sarcoidosis" in str(caught.value)
    with pytest.raises(ProtocolError, match="asks no questions"):
        truth_rows(replace(asking(), probing=None), table(effusion=[1]))


def test_names_of_a_cohort_are_read_by_the_ontology() -> None:
    """A label in another writing is not in the data; the report is read by the finding that it means."""
    names: Any = ("Pleural Effusion", "lung_lesion")
    rows = truth_rows(asking(names), table(["A pleural effusion.", "A nodule.", "A mass.", "Clear lungs."]))
    assert rows.truth.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]
