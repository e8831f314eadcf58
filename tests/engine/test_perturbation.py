"""Plans of perturbation, and what is counted of the answers: against scipy, by hand, and with planted models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from evaluation.engine import ShardTable
from evaluation.engine.asking import REPORT, Asking, TruthRows, Utterances
from evaluation.engine.doubt import not_perturbed, plan_perturbed, settled_rows
from evaluation.engine.doubt.divergence import jensen_shannon
from evaluation.engine.protocol_sections import Perturbation, Probing, Reports
from evaluation.engine.records import Measurement
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.hallucination import perturbed
from evaluation.engine.suites.tallied import measure_tallies
from tests.engine.doubt_builders import (
    FINDINGS,
    PERTURBATION,
    READS,
    ask,
    asking_protocol,
    cohort,
    ignores_the_image,
    planned,
    reads_the_image,
)

RULES = asking_protocol(perturbation=PERTURBATION)


def sums(table: ShardTable, rules=RULES) -> dict[str, int]:
    rows = perturbed.rows_of(rules, table)
    return dict(zip(rows.columns, rows.values.sum(axis=0).tolist(), strict=True))


def measured(table: ShardTable, rules=RULES) -> dict[tuple[str, str], Measurement]:
    sketch = TallySketch.from_rows(
        perturbed.FAMILY, perturbed.rows_of(rules, table), table.patient_ids, all_groupings(rules, table)
    )
    found = measure_tallies(rules, sketch, perturbed.FAMILY, suite="hallucination")
    return {(item.metric, item.group): item for item in found}


# Jensen-Shannon divergence


@pytest.mark.parametrize("seed", range(5))
def test_divergence_is_scipys_squared(seed):
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 9, 4), rng.integers(0, 9, 4) + np.array([0, 1, 0, 0])
    one[0] += 1
    assert jensen_shannon(one.tolist(), two.tolist()) == pytest.approx(jensenshannon(one, two, base=2) ** 2, abs=1e-12)


def test_divergence_of_equal_shares_is_0_of_disjoint_answers_1_and_of_nothing_undefined():
    assert jensen_shannon([2, 6, 0, 0], [1, 3, 0, 0]) == pytest.approx(0, abs=1e-15)
    assert jensen_shannon([5, 0, 0, 0], [0, 0, 7, 0]) == 1.0
    assert jensen_shannon([0, 0, 0, 0], [1, 0, 0, 0]) is None


# Plans


def test_line_25_swapped_images_come_from_other_patients_with_other_labels():
    table = cohort(np.random.default_rng(1), patients=80, most=4)
    asked, truth = planned(RULES, table), settled_rows(RULES, table)
    swapped = asked.rows((asked.condition == "swapped") & (asked.kind != "wrong_image"))
    assert len(swapped) > 100
    own, other = table.patient_ids[swapped.study], table.patient_ids[swapped.partner]
    assert (own != other).all()
    columns = [truth.findings.index(name) for name in swapped.finding]
    mine, theirs = truth.truth[swapped.study, columns], truth.truth[swapped.partner, columns]
    assert (mine + theirs == 1).all(), "one has the finding and the other is known not to"
    assert (np.where(mine == 1, "yes", "no") == swapped.expected.astype(str)).all()


def test_line_25_swapped_reports_come_from_other_patients_with_other_labels():
    rules = replace(RULES, perturbation=Perturbation(of="reports", studies=100_000))
    table = cohort(np.random.default_rng(2), patients=60, most=3)
    asked, truth = planned(rules, table), settled_rows(rules, table)
    swapped = asked.rows((asked.kind == REPORT) & (asked.condition == "swapped"))
    assert len(swapped) == len(table)
    assert (table.patient_ids[swapped.study] != table.patient_ids[swapped.partner]).all()
    assert (truth.truth[swapped.study] != truth.truth[swapped.partner]).any(axis=1).all()


def test_what_is_not_known_is_no_other_label():
    truth = TruthRows(
        study_ids=np.array(["a", "b", "c"], dtype=object), patient_ids=np.array(["p", "q", "r"], dtype=object),
        findings=("effusion",), truth=np.array([[1], [-1], [1]], dtype=np.int8),
    )  # fmt: skip
    rules = replace(RULES, perturbation=Perturbation(of="reports", kinds=("swapped",), studies=10))
    assert len(plan_perturbed(rules, truth, Asking.of([]), reads=READS, n_studies=3)) == 0


def test_a_study_of_the_same_patient_is_never_the_partner():
    truth = TruthRows(
        study_ids=np.array(["a", "b"], dtype=object), patient_ids=np.array(["p", "p"], dtype=object),
        findings=("effusion",), truth=np.array([[1], [0]], dtype=np.int8),
    )  # fmt: skip
    rules = replace(RULES, perturbation=Perturbation(of="reports", kinds=("swapped",), studies=10))
    assert len(plan_perturbed(rules, truth, Asking.of([]), reads=READS, n_studies=2)) == 0


def test_every_question_is_asked_once_under_each_condition_in_its_own_words():
    table = cohort(np.random.default_rng(3), patients=30)
    asked = planned(RULES, table)
    plain = asked.rows((asked.condition == "plain") & np.isin(asked.expected, ("yes", "no")))
    units = {(int(s), str(f)) for s, f in zip(plain.study, plain.finding, strict=True)}
    for condition in ("blank", "noise", "dropped:text.indication"):
        found = asked.rows(asked.condition == condition)
        keys = list(zip(found.study.tolist(), found.finding.tolist(), strict=True))
        assert len(keys) == len(set(keys)) and set(keys) == units
    words = {(int(s), str(f)): str(q) for s, f, q in zip(plain.study, plain.finding, plain.question, strict=True)}
    other = asked.rows(asked.condition == "paraphrase")
    assert len(other) == 2 * len(units)
    for study, finding, question in zip(other.study, other.finding, other.question, strict=True):
        assert question and question != words[int(study), str(finding)]


def test_the_order_of_the_studies_changes_nothing():
    table = cohort(np.random.default_rng(4), patients=40)
    order = np.random.default_rng(5).permutation(len(table))
    turned = ShardTable(
        patient_ids=table.patient_ids[order], study_ids=table.study_ids[order], attributes={},
        labels={name: values[order] for name, values in table.labels.items()},
    )  # fmt: skip

    def named(one: ShardTable) -> set[tuple[str, ...]]:
        asked = planned(RULES, one)
        partner = [one.study_ids[row] if row >= 0 else "" for row in asked.partner]
        return set(
            zip(one.study_ids[asked.study], asked.kind, asked.finding, asked.condition, partner, asked.question,
                strict=True)
        )  # fmt: skip

    assert named(table) == named(turned)


def test_patients_are_chosen_whole_and_fewer_are_among_more():
    table = cohort(np.random.default_rng(6), patients=300, most=3)
    chosen = []
    for studies in (60, 200):
        asked = planned(replace(RULES, perturbation=replace(PERTURBATION, studies=studies)), table)
        again = set(table.patient_ids[asked.study[asked.condition == "blank"]])
        chosen.append(again)
        share = studies / len(table)
        assert abs(len(again) / 300 - share) < 4 * np.sqrt(share * (1 - share) / 300)
    assert chosen[0] < chosen[1]


def test_what_a_study_lacks_is_not_taken_from_it_and_not_borrowed_from_it():
    table = cohort(np.random.default_rng(20), patients=60)
    rows, lacks = settled_rows(RULES, table), np.arange(60) % 3 == 0
    probes = planned(replace(RULES, perturbation=None), table)
    asked = plan_perturbed(
        RULES, rows, probes, reads=READS, n_studies=60, given={"image": ~lacks, "text.indication": lacks}
    )
    changed = np.isin(asked.condition, ("blank", "noise", "swapped"))
    assert changed.sum() > 100 and not lacks[asked.study[changed]].any()
    assert not lacks[asked.partner[asked.condition == "swapped"]].any()
    assert lacks[asked.study[asked.condition == "dropped:text.indication"]].all()
    assert set(asked.study[asked.condition == "paraphrase"]) == set(probes.study)


def test_what_the_model_does_not_read_is_not_changed_and_that_is_said():
    reasons = not_perturbed(PERTURBATION, frozenset({"text.indication"}))
    assert set(reasons) == {"blank", "noise", "swapped"}
    table = cohort(np.random.default_rng(7), patients=10)
    asked = planned(RULES, table, reads=frozenset({"text.indication"}))
    assert set(asked.condition) == {"plain", "paraphrase", "dropped:text.indication"}
    assert set(not_perturbed(Perturbation(of="reports"), READS)) == {"paraphrase"}


# Planted models


def test_a_model_that_ignores_the_image_is_dangerous_and_a_mirage():
    table = ask(RULES, cohort(np.random.default_rng(8), patients=150, most=2), ignores_the_image)
    found = measured(table)
    for metric in ("dangerous", "mirage"):
        assert found[metric, "All"].value == pytest.approx(1.0)
    for condition in ("blank", "noise", "swapped", "paraphrase"):
        assert found[f"answer_change_{condition}", "All"].value == 0
        assert found[f"js_{condition}", "All"].value == pytest.approx(0, abs=1e-12)
    assert found["ideal", "All"].value == 0 and found["abstention_blank", "All"].value == 0
    assert found["accuracy_plain", "All"].value == found["accuracy_blank", "All"].value


def test_a_model_that_reads_the_image_is_neither():
    table = ask(RULES, cohort(np.random.default_rng(9), patients=150, most=2), reads_the_image)
    found = measured(table)
    assert found["dangerous", "All"].value == 0 and found["ideal", "All"].value == 1
    assert found["mirage", "All"].value == 0 and found["abstention_blank", "All"].value == 1
    assert found["accuracy_plain", "All"].value == found["accuracy_paraphrase", "All"].value == 1
    assert found["accuracy_swapped", "All"].value == 0 and found["answer_change_swapped", "All"].value == 1
    assert found["answer_change_blank", "All"].value == 1 and found["answer_change_paraphrase", "All"].value == 0
    assert found["js_blank", "All"].value == 1.0


def test_a_model_that_guesses_without_the_image_has_a_mirage_score_of_a_half():
    rng = np.random.default_rng(10)

    def guesses(row):
        return reads_the_image(row) if row["shown"] is not None else str(rng.choice(["Yes.", "No."]))

    found = measured(ask(RULES, cohort(rng, patients=400), guesses))["mirage", "All"]
    assert found.low < 0.5 < found.high and found.high - found.low < 0.15


def test_an_inconsistent_model_is_not_called_dangerous():
    def contrary(row):
        """Ignores the image, and answers the first paraphrase the other way."""
        answer = ignores_the_image(row)
        flip = row["condition"] == "paraphrase" and row["turn"] == 0
        return {"Yes.": "No.", "No.": "Yes."}[answer] if flip else answer

    found = measured(ask(RULES, cohort(np.random.default_rng(11), patients=80), contrary))
    assert found["dangerous", "All"].value == 0 and found["ideal", "All"].value == 0
    assert found["answer_change_paraphrase", "All"].value == 0.5


def test_one_change_that_moves_the_answer_is_enough_not_to_be_dangerous():
    """Answers from memory where the image shows nothing, and by the image of another patient."""

    def model(row):
        return reads_the_image(row) if row["shown"] is not None else {"yes": "Yes.", "no": "No."}[row["expected"]]

    found = measured(ask(RULES, cohort(np.random.default_rng(19), patients=80), model))
    assert found["answer_change_blank", "All"].value == found["answer_change_noise", "All"].value == 0
    assert found["mirage", "All"].value == 1, "the mirage score looks at the blank image alone"
    assert found["dangerous", "All"].value == 0 and found["ideal", "All"].value == 1


def test_line_20_a_refusal_is_neither_no_nor_right_when_the_study_is_changed():
    def declines(row):
        return "I cannot tell." if row["condition"] != "plain" else "No."

    table = ask(RULES, cohort(np.random.default_rng(12), patients=80), declines)
    found, total = measured(table), sums(table)
    assert total["blank_no"] == total["blank_right"] == 0 and total["blank_refused"] == total["blank_asked"] > 0
    assert found["accuracy_blank", "All"].value == 0 and found["abstention_blank", "All"].value == 1
    assert found["answer_change_blank", "All"].value == 1, "declining is another answer than 'no'"


def test_a_model_that_always_declines_is_consistent_and_not_dangerous():
    found = measured(ask(RULES, cohort(np.random.default_rng(13), patients=80), lambda row: None))
    assert found["dangerous", "All"].value == 0
    assert found["mirage", "All"].value is None and "no answer is right" in found["mirage", "All"].reason


def test_numbers_by_hand():
    first = {"study": 0, "kind": "present", "finding": "effusion", "expected": "yes", "question": "q"}
    other = {"study": 0, "kind": "random", "finding": "nodule", "expected": "no", "question": "r"}
    asked = Asking.of([
        first, other, {**first, "condition": "blank"}, {**other, "condition": "blank"},
        {**first, "condition": "paraphrase", "question": "s"},
        {**first, "condition": "paraphrase", "question": "t", "turn": 1},
    ])  # fmt: skip
    text = np.array(["Yes", "Yes", "Yes", "42", "Yes", "yes, there is"], dtype=object)
    table = replace(
        cohort(np.random.default_rng(0), patients=1),
        utterances=Utterances(asked=asked, text=text, truncated=np.zeros(6, dtype=bool)),
    )
    found = {name: count for name, count in sums(table).items() if count}
    assert found == {
        "studies": 1, "units": 2, "plain_right": 1, "judgeable": 1, "consistent": 1, "dangerous": 1,
        "blank_asked": 2, "blank_right": 1, "blank_changed": 1, "blank_yes": 1, "blank_unclear": 1,
        "blank_plain_right": 1, "blank_plain_yes": 2,
        "paraphrase_asked": 2, "paraphrase_right": 2, "paraphrase_yes": 2, "paraphrase_plain_right": 2,
        "paraphrase_plain_yes": 2,
    }  # fmt: skip


def test_a_dropped_modality_has_a_family_of_its_own():
    def needs_the_indication(row):
        """Right with the indication, always "no" without it."""
        return "No." if row["condition"].startswith("dropped") else reads_the_image(row)

    table = ask(RULES, cohort(np.random.default_rng(14), patients=120), needs_the_indication)
    (family,) = perturbed.dropped_families(RULES)
    rows = perturbed.dropped_rows(RULES, table, "text.indication")
    sketch = TallySketch.from_rows(family, rows, table.patient_ids, all_groupings(RULES, table))
    found = {
        item.metric: item
        for item in measure_tallies(RULES, sketch, family, suite="hallucination")
        if item.group == "All"
    }
    total = dict(zip(rows.columns, rows.values.sum(axis=0).tolist(), strict=True))
    yes = total["dropped_plain_yes"] / total["dropped_asked"]
    assert found["dropped_effect"].label == "without text.indication"
    assert found["dropped_effect"].value == pytest.approx(yes) and found["dropped_effect"].low > 0
    assert found["accuracy_dropped"].value == pytest.approx(1 - yes)
    assert found["js_dropped"].value == pytest.approx(jensenshannon([yes, 1 - yes], [0, 1], base=2) ** 2)


def test_shares_of_the_patients_merge_to_the_whole():
    table = ask(RULES, cohort(np.random.default_rng(15), patients=60, most=2), ignores_the_image)
    whole, half = perturbed.rows_of(RULES, table), table.patient_ids < "p00030"
    groupings = all_groupings(RULES, table)

    def sketch(rows: np.ndarray) -> TallySketch:
        part = replace(whole, values=whole.values[rows])
        ways = [replace(by, codes=by.codes[rows]) for by in groupings]
        return TallySketch.from_rows(perturbed.FAMILY, part, table.patient_ids[rows], ways)

    everyone = sketch(np.ones(len(table), dtype=bool)).to_bytes()
    assert sketch(half).merge(sketch(~half)).to_bytes() == sketch(~half).merge(sketch(half)).to_bytes() == everyone


def test_what_was_not_asked_is_undefined_with_the_reason():
    table = replace(cohort(np.random.default_rng(16), patients=30), utterances=None)
    found = measured(table)["mirage", "All"]
    assert found.value is None and "not asked" in found.reason


def test_reports_answer_for_as_many_absent_findings_as_present_ones():
    """A writer who sees the image names what it shows; without it, it writes that all is clear: half right by habit."""
    rules = asking_protocol(
        probing=Probing(findings=("effusion", "pneumothorax")), reports=Reports(findings=("*",)),
        perturbation=Perturbation(of="reports", kinds=("blank", "swapped"), studies=100_000),
    )  # fmt: skip
    table = cohort(np.random.default_rng(17), patients=60)
    truth = settled_rows(rules, table).truth
    words = {(0, 0): "Lungs are clear.", (1, 0): "Left pleural effusion.", (0, 1): "Right pneumothorax.",
             (1, 1): "Left pleural effusion. Right pneumothorax."}  # fmt: skip
    plain = np.array([words[tuple(row)] for row in truth.tolist()], dtype=object)
    table = replace(table, texts={"generated": plain, "reference": plain})
    asked = planned(rules, table)
    again = asked.rows(asked.kind == REPORT)
    assert set(again.condition) == {"blank", "swapped"}
    text = np.where(again.condition == "blank", "Lungs are clear.", plain[again.partner]).astype(object)
    table = replace(table, utterances=Utterances(asked=again, text=text, truncated=np.zeros(len(again), dtype=bool)))
    found = measured(table, rules)
    assert found["accuracy_plain", "All"].value == 1
    assert found["accuracy_plain", "All"].n == 2 * int((truth.sum(axis=1) == 1).sum()), "one present, one absent"
    assert found["mirage", "All"].value == 0.5 == found["answer_change_blank", "All"].value
    assert found["answer_change_swapped", "All"].value > 0.4
    assert found["dangerous", "All"].value is None, "a report has no paraphrase"
    same = np.full(len(again), "Left pleural effusion.", dtype=object)
    blind = replace(
        table, texts=table.texts | {"generated": np.full(len(table), same[0], dtype=object)},
        utterances=replace(table.utterances, text=same),
    )  # fmt: skip
    found = measured(blind, rules)
    assert found["mirage", "All"].value == 1 and found["answer_change_swapped", "All"].value == 0


def test_findings_are_those_of_the_reports_where_nothing_is_probed():
    rules = replace(asking_protocol(), probing=None, reports=Reports(findings=("effusion", "pneumothorax")))
    table = cohort(np.random.default_rng(18), patients=5)
    assert settled_rows(rules, table).findings == ("effusion", "pneumothorax")
    assert set(FINDINGS) > set(settled_rows(rules, table).findings)
