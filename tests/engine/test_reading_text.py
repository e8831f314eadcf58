"""Everything a text says: sides, severity, change, sections, comparisons, citations, languages, bad input."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from types import FrameType

import pytest

from evaluation.engine.text import reading
from evaluation.engine.text.reading import read_text, read_texts
from evaluation.engine.text.records import Assertion, Change, Claim, Section, Severity, Side

SIDES = {"L": Side.LEFT, "R": Side.RIGHT, "B": Side.BOTH, "-": None}
DEGREES = {"1": Severity.MILD, "2": Severity.MODERATE, "3": Severity.SEVERE, "-": None}

# finding -> side, severity, change.
DESCRIBED = {
    "Small left effusion and right pneumothorax.": {"effusion": "L1-", "pneumothorax": "R--"},
    "Bilateral pleural effusions, left greater than right.": {"effusion": "B--"},
    "There is a large effusion on the right.": {"effusion": "R3-"},
    "The heart is moderately enlarged, unchanged.": {"cardiomegaly": "-2 stable"},
    "Mild cardiomegaly and a large left pleural effusion.": {"cardiomegaly": "-1-", "effusion": "L3-"},
    "The right pleural effusion has increased.": {"effusion": "R- worse"},
    "Interval resolution of the left pneumothorax.": {"pneumothorax": "L- resolved"},
    "New consolidation in the left lower lobe.": {"consolidation": "L- new"},
    "No change in the small left apical pneumothorax.": {"pneumothorax": "L1 stable"},
    "Improved right basilar atelectasis; worsening left opacity.": {"atelectasis": "R- better", "opacity": "L- worse"},
    "Bibasilar opacities, likely atelectasis.": {"opacity": "B--", "atelectasis": "B--"},
    "Right upper lobe opacity, which may represent pneumonia.": {"opacity": "R--", "pneumonia": "R--"},
    "Pneumothorax on the left, effusion on the right.": {"pneumothorax": "L--", "effusion": "R--"},
    "Left-sided pneumothorax, small. Effusion: left, moderate.": {"pneumothorax": "L1-", "effusion": "L2-"},
    "Left lower lobe pneumonia, improved since the previous film.": {"pneumonia": "L- better"},
    "Tiny right and moderate left pleural effusions.": {"effusion": "B2-"},
    "The left lung is clear. A nodule is seen in the right lung.": {"nodule": "R--", "mass": "L--"},
    "Mild to moderate pulmonary edema.": {"edema": "-2-"},
    "Opacity in the right lower lobe representing pneumonia.": {"opacity": "R--", "pneumonia": "---"},
    "Right effusion but on the left, pneumothorax.": {"effusion": "R--", "pneumothorax": "L--"},
    "No left effusion.": {"effusion": "L--"},
    "No large effusion.": {"effusion": "---"},
    "Old right rib fracture; new left rib fracture.": {"fracture": "L- new"},
}


def said(claim: Claim) -> tuple[Side | None, Severity | None, Change | None]:
    return claim.side, claim.severity, claim.change


@pytest.mark.parametrize("text", DESCRIBED)
def test_a_finding_has_the_side_severity_and_change_that_are_said_of_it(text: str) -> None:
    last = {claim.finding: claim for claim in read_text(text).claims}
    for name, words in DESCRIBED[text].items():
        change = Change(words[2:].strip(" -")) if words[2:].strip(" -") else None
        assert said(last[name]) == (SIDES[words[0]], DEGREES[words[1]], change), name


def test_a_swap_of_left_and_right_changes_the_sides_alone() -> None:
    text = "Small left effusion. Opacity in the right lower lobe, likely pneumonia. No left pneumothorax."
    swapped = text.replace("left", "@").replace("right", "left").replace("@", "right")
    one, two = read_text(text), read_text(swapped)
    turned = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT, None: None}
    assert [turned[claim.side] for claim in one.claims] == [claim.side for claim in two.claims]
    assert [(c.finding, c.assertion) for c in one.claims] == [(c.finding, c.assertion) for c in two.claims]
    assert any(claim.side for claim in one.claims)


@pytest.mark.parametrize(
    ("text", "compares"),
    [
        ("Stable since prior.", True), ("Unchanged.", True), ("No significant interval change.", True),
        ("New effusion.", True), ("Effusion is again seen.", True), ("Compared to the prior study, larger.", True),
        ("Previously seen nodule.", True), ("The effusion has increased.", True), ("Resolved pneumonia.", True),
        ("Small effusion.", False), ("No prior studies are available for comparison.", False),
        ("Prior median sternotomy.", False), ("Findings consistent with prior CABG.", False),
        ("Short interval followup is advised.", False), ("No acute changes.", False), ("Similar to prior.", True),
        ("Chronic changes. Old fracture.", False), ("Large heart.", False),
        ("Comparison: chest radiograph of last year.\nFindings: small effusion.", False),
    ],
)  # fmt: skip
def test_comparisons_with_an_earlier_study(text: str, compares: bool) -> None:
    read = read_text(text)
    assert bool(read.comparisons) is compares, read.comparisons
    assert all(0 <= item.start < item.end <= len(text) for item in read.comparisons)


def test_modalities_that_a_text_cites() -> None:
    text = "WBC is elevated. The radiograph shows a nodule. Given the history of cancer, a mass is likely. SpO2 is 92%."
    cited = {text[item.start : item.end]: item.modality for item in read_text(text).citations}
    assert cited == {"WBC": "labs", "radiograph": "image", "Given the history": "history", "SpO2": "vitals"}
    assert not read_text("Small effusion.").citations


def test_sections_and_what_is_not_read() -> None:
    text = (
        "INDICATION: Rule out pneumonia.\nCOMPARISON: Effusion last year.\nFINDINGS: Small effusion. No mass.\n"
        "IMPRESSION: 1. Cardiomegaly. 2. Possible nodule."
    )
    found = {claim.finding: claim.section for claim in read_text(text).claims}
    findings, impression = Section.FINDINGS, Section.IMPRESSION
    assert found == {"effusion": findings, "mass": findings, "cardiomegaly": impression, "nodule": impression}
    assert [claim.section for claim in read_text("Small effusion.").claims] == [Section.BODY]


def test_spans_are_of_the_text_as_it_was_given() -> None:
    text = "FINDINGS:  The   heart\n is \t moderately\n enlarged.\r\n\r\nSmall  pleural \n effusion,   unchanged."
    read = read_text(text)
    assert [text[claim.start : claim.end] for claim in read.claims] == ["enlarged", "pleural \n effusion"]
    assert [text[item.start : item.end] for item in read.comparisons] == ["unchanged"]


def test_what_is_said_again_is_read_once() -> None:
    part = "FINDINGS: Small left effusion. No pneumothorax.\n"
    once, twice = read_text(part), read_text(part * 3)
    assert once.repeated == 0 and twice.repeated == 4
    assert twice.claims == once.claims


def test_text_in_marks_of_a_web_page_is_text() -> None:
    text = '<b>No effusion</b><script>alert("x")</script> <p>Small pneumothorax</p>'
    found = {claim.finding: (claim.assertion, text[claim.start : claim.end]) for claim in read_text(text).claims}
    assert found == {
        "effusion": (Assertion.ABSENT, "effusion"),
        "pneumothorax": (Assertion.PRESENT, "pneumothorax"),
    }


FOREIGN = {
    "es": "Cardiomegalia leve. No se observan infiltrados ni derrame pleural. Senos costofrénicos libres.",
    "fr": "Le coeur est de taille normale. Pas d'épanchement pleural ni de pneumothorax.",
    "de": "Das Herz ist normal groß. Kein Pleuraerguss, kein Pneumothorax. Die Lungen sind frei.",
    "it": "Il cuore è di dimensioni normali. Non si osserva versamento pleurico né pneumotorace.",
    "pt": "O coração tem tamanho normal. Não há derrame pleural nem pneumotórax.",
    "pl": "Serce jest prawidłowej wielkości. Nie ma płynu w jamie opłucnej ani odmy.",
    "tr": "Kalp boyutu normaldir. Plevral efüzyon veya pnömotoraks yok. Akciğerler temiz.",
    "ru": "Сердце нормальных размеров. Плеврального выпота нет.",
    "zh": "心脏大小正常。无胸腔积液。双肺清晰。未见气胸。",
}


@pytest.mark.parametrize("language", FOREIGN)
def test_a_text_of_another_language_is_not_read(language: str) -> None:
    read = read_text(FOREIGN[language])
    assert read.given and not read.supported and not read.abstains
    assert not read.claims and not read.comparisons and not read.quantities


@pytest.mark.parametrize(
    "text",
    ["Cardiomegaly.", "Heart size normal. Lungs clear. No effusion, no pneumothorax.", "XXXX XXXX XXXX XXXX XXXX XXXX",
     "5 \N{MICRO SIGN}m 37 \N{DEGREE SIGN}C",
     "Cardiomegaly; bilateral pleural effusions; bibasilar atelectasis; pulmonary edema",
     "RUL nodule. ETT OK. NGT OK. No PTX.", "Rotated film. Cardiomegaly. UL diversion. Kerley B lines."],
)  # fmt: skip
def test_a_telegram_of_english_is_english(text: str) -> None:
    assert read_text(text).supported


def test_texts_are_read_in_order_and_as_one_by_one() -> None:
    texts = ["No effusion.", None, "", "No effusion.", "Small effusion.", "No effusion. Small effusion.", " \n"]
    assert list(read_texts(texts)) == [read_text(text) for text in texts]
    assert not read_text("").given and read_text("").abstains and read_text(None).words == 0
    assert list(read_texts([])) == []


def test_memory_of_sentences_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Nodule of {number} mm. Small effusion." for number in range(60)]
    before = list(read_texts(texts))
    monkeypatch.setattr(reading, "KEPT", 10)
    monkeypatch.setattr(reading, "BATCH", 7)
    monkeypatch.setattr(reading, "_KNOWN", {})
    assert list(read_texts(texts)) == before
    assert all(len(known) <= 10 for known in reading._KNOWN.values())


def steps_of(text: str) -> int:
    """Calls that reading a text takes, of Python and of C, with no sentence known: its work, whatever else runs."""
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    read_text("No effusion.")
    reading._KNOWN.clear()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read_text(text)
    finally:
        sys.setprofile(before)
    return steps


def report(sentences: int) -> str:
    """A report whose sentences all differ."""
    return " ".join(
        f"No effusion, small nodule of {number} mm; rule out pneumonia. The heart is normal, and {number} clips."
        for number in range(sentences)
    )


def test_the_work_of_reading_is_linear_in_the_length_of_a_report() -> None:
    assert steps_of(report(20)) > 2000
    assert steps_of(report(400)) < 1.15 * 10 * steps_of(report(40))


@pytest.mark.parametrize(
    "piece",
    ["\n", " ", "a", ", small ", "indication: ", "no ", "no\n", "heart ", "lungs enlarged ", "effusion not seen ", ":",
     "enlarged ", "no acute ", "\n- ", "may represent ", "<", "effusion and "],
)  # fmt: skip
def test_no_repeated_piece_makes_reading_hang(piece: str) -> None:
    """An expression that goes back over what it has read would need hours here: the test's guard ends it."""
    text = (piece * (100_000 // len(piece)))[:100_000]
    faulthandler.dump_traceback_later(300, exit=True)
    try:
        read = read_text(text)
        assert all(0 <= claim.start < claim.end <= len(text) for claim in read.claims)
    finally:
        faulthandler.cancel_dump_traceback_later()


def test_a_report_of_a_megabyte_without_a_full_stop_is_read_to_its_end() -> None:
    text = "word " * 200_000 + "with a large left effusion"
    read = read_text(text)
    assert len(text) > 1_000_000 and read.words == 200_005
    assert [(claim.finding, claim.side, text[claim.start : claim.end]) for claim in read.claims] == [
        ("effusion", Side.LEFT, "effusion")
    ]


def test_reading_loads_spacy_and_no_torch() -> None:
    """A web process that shows a report must not pay for torch, which spaCy would load where it finds it."""
    code = (
        "import sys\nfrom evaluation.engine.text.reading import read_text\n"
        "assert 'spacy' not in sys.modules, 'spaCy is loaded before a text is read'\n"
        "assert read_text('Small effusion.').claims\n"
        "print('spacy' in sys.modules, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
