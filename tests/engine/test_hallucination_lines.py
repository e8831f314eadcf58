"""What a toy gets wrong of written reports, line by line of the list in the design: 17, 18, 21, 22, 23, 24."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.assessment import assess
from evaluation.engine.records import Assessment, Measurement, StudyFacts
from evaluation.engine.sketch import sketch_shard
from evaluation.engine.text.reading import read_text
from evaluation.engine.text.records import Assertion
from tests.engine.report_builders import report_protocol, report_table

PATIENTS = 80


def protocol(**changes: object) -> Protocol:
    return report_protocol(suites=["hallucination"], **changes)


def cohort(reference: str | Sequence[str], generated: str | Sequence[str]) -> ShardTable:
    """One study for each of 80 patients; a text for all of them, or one for each."""
    texts = [[item] * PATIENTS if isinstance(item, str) else list(item) for item in (reference, generated)]
    return report_table([f"p{i}" for i in range(PATIENTS)], {"sex": ["F", "M"] * (PATIENTS // 2)}, *texts)


def audited(rules: Protocol, table: ShardTable) -> Assessment:
    return assess(rules, sketch_shard(rules, table), cross_check=False)


def overall(table: ShardTable, **changes: object) -> dict[str, Measurement]:
    """Metric -> its measurement over all studies."""
    rows = audited(protocol(**changes), table).measurements
    return {row.metric: row for row in rows if not row.attribute}


def test_line_17_no_effusion_turned_into_effusion_is_an_error() -> None:
    found = overall(cohort("No effusion.", "Effusion."))
    assert found["chair_i"].value == found["chair_s"].value == found["negation_flip"].value == 1
    right = overall(cohort("No effusion.", "No effusion."))
    assert right["negation_flip"].value == right["chair_s"].value == 0
    silent = overall(cohort("Effusion.", "No effusion."))
    assert silent["negation_flip"].value == silent["omission"].value == 1 and silent["chair_s"].value == 0


def test_line_18_an_empty_report_scores_chair_0_and_omission_1() -> None:
    found = overall(cohort("Small left effusion. The heart is enlarged.", ""))
    assert (found["chair_s"].value, found["omission"].value, found["abstention"].value) == (0, 1, 1)
    assert found["chair_s"].detail["omission"] == 1
    assert found["chair_i"].value is None and "no findings reported" in found["chair_i"].reason


def test_line_21_cannot_exclude_pneumonia_is_uncertain() -> None:
    (claim,) = read_text("Cannot exclude pneumonia.").claims
    assert (claim.finding, claim.assertion) == ("pneumonia", Assertion.UNCERTAIN)
    found = overall(cohort("No pneumonia.", "Cannot exclude pneumonia."))
    assert found["chair_s"].value == 0 and found["chair_s_lenient"].value == 1
    assert found["negation_flip"].value is None
    missed = overall(cohort("Pneumonia.", "Cannot exclude pneumonia."))
    assert missed["omission"].value == 1 and missed["omission_lenient"].value == 0


def test_line_22_a_swapped_side_changes_laterality_and_nothing_else() -> None:
    references = [
        "Small left pleural effusion. Consolidation in the right lower lobe.",
        "Moderate right pneumothorax. No effusion.",
        "Left basilar atelectasis. The heart is enlarged.",
        "Bilateral effusions. Possible right pneumonia.",
    ] * 20
    swapped = [
        re.sub("left|right", lambda word: {"left": "right", "right": "left"}[word[0]], text.lower())
        for text in references
    ]
    same, other = (audited(protocol(), cohort(references, texts)).measurements for texts in (references, swapped))
    changed = {
        one.metric
        for one, two in zip(same, other, strict=True)
        if (one.value, one.low, one.high) != pytest.approx((two.value, two.low, two.high), abs=1e-12)
    }
    assert changed == {"laterality_error", "laterality_error_difference"}
    values = [
        next(row.value for row in rows if row.metric == "laterality_error" and not row.attribute)
        for rows in (same, other)
    ]
    assert values == [0, pytest.approx(0.8)]  # both sides stay both


@pytest.mark.parametrize("text", ["Stable since prior. Small effusion.", "Small effusion, unchanged from prior study."])
def test_line_23_stable_since_prior_is_an_error_iff_no_prior_was_supplied(text: str) -> None:
    table = cohort(text, text)
    assert overall(table)["prior_hallucination"].value == 1
    declared = {"reports": {"findings": ["*"], "prior": "text.prior"}}
    given = replace(table, facts=StudyFacts(prior=np.ones(PATIENTS, dtype=bool)))
    none = overall(given, **declared)["prior_hallucination"]
    assert none.value is None and "without an earlier study" in none.reason
    half = replace(table, facts=StudyFacts(prior=np.arange(PATIENTS) < PATIENTS // 2))
    found = overall(half, **declared)["prior_hallucination"]
    assert (found.value, found.n) == (1, PATIENTS // 2)
    fresh = overall(cohort("Small effusion. No prior study for comparison.", "Small effusion. No prior study."))
    assert fresh["prior_hallucination"].value == 0


@pytest.mark.parametrize(("printed", "wrong"), [("1.0", 0), ("1.00", 0), ("1", 0), ("10", 1), ("1.2", 1)])
def test_line_24_one_point_nought_matches_one_point_nought_nought_and_ten_does_not(printed: str, wrong: int) -> None:
    rules = {"reports": {"findings": ["*"], "numbers": [{"analyte": "lactate", "series": "lactate", "unit": "mmol/L"}]}}
    series = np.empty(PATIENTS, dtype=object)
    series[:] = [np.array([[0.0, 1.0]])] * PATIENTS
    facts = StudyFacts(prior=np.zeros(PATIENTS, dtype=bool), series={"lactate": series})
    table = replace(cohort("Small effusion.", f"Small effusion. Lactate {printed} mmol/L."), facts=facts)
    found = overall(table, **rules)
    assert (found["number_error"].value, found["number_value"].value) == (wrong, wrong)
    assert found["number_fabricated"].value == 0 and found["number_error"].n == PATIENTS
