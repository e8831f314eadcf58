"""What looks as if it named a person is found; what a report usually says is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthetic.generators.persons import OWN, PATTERNS, check_no_persons, scan_texts
from tests.synthetic.series_scene import scene

PLAIN = (
    "Small left pleural effusion. No pneumothorax. The heart is mildly enlarged.",
    "Nodule of 1.5 x 2.0 cm in the right upper lobe, series 4, image 112.",
    "BP 120/80, SpO2 94-96%, 3/10 pain, ratio 0.55, CRP 12.5 mg/L, WBC 11,200.",
    "Compared with ___, findings discussed with Dr. ___ at 10:45 AM.",
    "Patient of [**Hospital 12**], seen on [**2101-3**]; T12-L1 disc, C5/6 narrowing.",
    "May 3 days later show change. No change since March. 2021 series reviewed.",
    "Name of the finding: Small Effusion? Signed.",
    "Dr notified. Mr imaging advised. MR of the chest in 12/24 months.",
)
NAMED = {
    "a name after a title": ["Seen by Dr. Quixote.", "Mrs Panza was told.", "Prof. O'Neil agrees."],
    "a name after a role": ["Patient name: Sancho Panza", "Dictated by: Panza, Sancho", "Signed by Dr. Sancho Panza"],
    "a record number": [
        "MRN: 00123456",
        "Medical record no. 4711-22",
        "accession number A-123456",
        "NHS number 943476",
    ],
    "a date": ["Compared with 12/03/2021.", "on 2021-03-12", "since March 12, 2021", "3rd Jan 2020", "03.12.21 film"],
    "an e-mail address": ["write to s.panza@example.org"],
    "a social security number": ["078-05-1120"],
    "a telephone number": ["call 555-867-5309", "(020) 794 6095 or +44 20 7946 0958"],
    "a long number": ["case 123456789 reviewed"],
    "a web address": ["see https://example.org/p/1"],
}


@pytest.mark.parametrize("text", PLAIN)
def test_what_reports_usually_say_passes(text: str) -> None:
    assert [kind for kind, pattern in PATTERNS.items() if pattern.search(text)] == []


@pytest.mark.parametrize("kind", PATTERNS)
def test_what_names_a_person_is_found(kind: str) -> None:
    assert all(PATTERNS[kind].search(text) for text in NAMED[kind])


def test_identifiers_of_the_cohort_are_found_and_rows_are_named() -> None:
    studies = scene(30)
    check_no_persons(studies)
    texts = studies.texts["indication"].copy()
    texts[3] = f"Cough. Former study {studies.study_ids[8]}."
    texts[5] = "Cough. Patient: mail a@b.org"
    found = scan_texts(replace(studies, texts=studies.texts | {"indication": texts}))
    assert [(item.text, item.row, item.kinds) for item in found] == [
        ("indication", 4, (OWN,)), ("indication", 6, ("an e-mail address",)),
    ]  # fmt: skip
    short = replace(
        studies, patient_ids=np.array(["12"] * 60, dtype=object), study_ids=np.array(["3"] * 60, dtype=object)
    )
    assert scan_texts(short) == []
