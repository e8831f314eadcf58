"""The sketch of report claims: exact counts, exact merging, canonical bytes, refusal of damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AuscultError, ProtocolError
from evaluation.engine.protocol import Reports
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.claims import COLUMNS, DENOMINATORS, ClaimsSketch
from evaluation.engine.sketches.counts import OVERALL, all_groupings
from evaluation.engine.text.compare import compare_reports, reader
from evaluation.engine.text.ontology import ontology
from tests.engine.report_builders import CLEAR, report_protocol, report_table

TEXTS = (
    None, "", "  ", CLEAR, "Small effusion. No pneumothorax.", "Consolidation in the left lung.", "Lung opacity.",
    "Possible pneumonia.", "Unable to assess.", "The heart is enlarged. Small effusion and pneumothorax.",
    "Central venous line in place.",
)  # fmt: skip
STUDY = st.tuples(
    st.integers(0, 8), st.sampled_from(["F", "M", None]), st.sampled_from(["PA", "AP"]),
    st.sampled_from(TEXTS), st.sampled_from(TEXTS),
)  # fmt: skip
PROTOCOL = report_protocol(attributes=[{"name": "sex"}, {"name": "view"}], intersections=[["sex", "view"]])


def table(studies: list[tuple]) -> ShardTable:
    return report_table(
        [f"p{row[0]}" for row in studies],
        {"sex": [row[1] for row in studies], "view": [row[2] for row in studies]},
        [row[3] for row in studies],
        [row[4] for row in studies],
    )


def sketch(studies: list[tuple]) -> ClaimsSketch:
    made = table(studies)
    return ClaimsSketch.from_table(PROTOCOL, made, all_groupings(PROTOCOL, made))


def by_hand(studies: list[tuple]) -> dict[str, np.ndarray]:
    """Sums per sex, study by study."""
    words, read = ontology(), reader()
    found: dict[str, np.ndarray] = {}
    for _, sex, _, reference, generated in studies:
        row = found.setdefault(sex or "Unknown", np.zeros(len(COLUMNS), int))
        if not (reference or "").strip():
            row[-1] += 1
            continue
        tally = compare_reports(
            read(reference), read(generated), findings=frozenset(words.findings), pathologies=words.pathologies
        )
        row[:-1] += list(vars(tally).values())
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(STUDY, max_size=25))
def test_totals_and_patients_are_those_counted_by_hand(studies: list[tuple]) -> None:
    cells = sketch(studies).cells["sex"]
    expected = by_hand(studies)
    assert cells.groups == tuple(sorted(expected))
    for group, row in zip(cells.groups, cells.totals, strict=True):
        assert row.tolist() == expected[group].tolist()
    paired = [row for row in studies if (row[3] or "").strip()]
    place = list(DENOMINATORS).index("pairs")
    for one, first in enumerate(cells.groups):
        for two, second in enumerate(cells.groups):
            inside = [{row[0] for row in paired if (row[1] or "Unknown") == name} for name in (first, second)]
            assert cells.patients[place, one, two] == len(inside[0] & inside[1])
    everyone = sketch(studies).cells[OVERALL]
    assert everyone.totals.sum(axis=0).tolist() == cells.totals.sum(axis=0).tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(STUDY, max_size=30), st.randoms(use_true_random=False))
def test_shards_by_patient_in_any_order_give_the_bytes_of_one_pass(studies: list[tuple], random) -> None:
    shards = [[row for row in studies if row[0] % 3 == shard] for shard in range(3)]
    parts = [sketch(shard) for shard in shards if shard]
    random.shuffle(parts)
    if not parts:
        return
    whole = sketch(studies).to_bytes()
    left = parts[0]
    for part in parts[1:]:
        left = left.merge(part)
    right = parts[-1]
    for part in parts[-2::-1]:
        right = part.merge(right)
    assert left.to_bytes() == right.to_bytes() == whole
    assert ClaimsSketch.from_bytes(whole).to_bytes() == whole


def test_moments_are_the_products_of_the_patients_vectors() -> None:
    studies = [(0, "F", "PA", TEXTS[4], TEXTS[9]), (0, "M", "PA", TEXTS[9], None), (1, "F", "AP", TEXTS[5], TEXTS[6])]
    cells = sketch(studies).cells["sex"]
    vectors = np.zeros((2, len(cells.groups) * len(COLUMNS)))
    for study in studies:
        start = cells.groups.index(study[1]) * len(COLUMNS)
        vectors[study[0], start : start + len(COLUMNS)] += by_hand([study])[study[1]]
    size = vectors.shape[1]
    np.testing.assert_array_equal(cells.moments.product(np.eye(size), np.eye(size)), vectors.T @ vectors)


def test_damaged_bytes_are_refused() -> None:
    data = sketch([(0, "F", "PA", TEXTS[4], TEXTS[9]), (1, "M", "AP", TEXTS[5], TEXTS[6])]).to_bytes()
    swaps = ((b"auscult-claims-1", b"auscult-claims-9"), (b'"unpaired"', b'"unpaire_"'), (b'"<u1"', b'"<u2"'))
    for bad in (b"", data[:-1], data + b"x", *(data.replace(*swap) for swap in swaps)):
        with pytest.raises(AuscultError):
            ClaimsSketch.from_bytes(bad)


def test_no_reports_in_the_protocol_make_an_empty_sketch() -> None:
    plain = report_protocol(reports=None, labels=[{"name": "x"}])
    made = table([(0, "F", "PA", None, None)])
    empty = ClaimsSketch.from_table(plain, made, [])
    assert empty.cells == {} and ClaimsSketch.from_bytes(empty.to_bytes()).to_bytes() == empty.to_bytes()
    assert empty.merge(empty).to_bytes() == empty.to_bytes()
    with pytest.raises(AuscultError, match="vocabularies"):
        empty.merge(sketch([(0, "F", "PA", CLEAR, CLEAR)]))


@pytest.mark.parametrize("absent", ["reference", "generated"])
def test_a_missing_column_is_named_with_a_remedy(absent: str) -> None:
    made = table([(0, "F", "PA", CLEAR, CLEAR)])
    del made.texts[absent]
    with pytest.raises(ProtocolError, match=f"text.{absent}") as told:
        ClaimsSketch.from_table(PROTOCOL, made, all_groupings(PROTOCOL, made))
    assert told.value.column == f"text.{absent}" and "reports" in told.value.remedy


def test_only_the_named_findings_are_compared() -> None:
    pair = (0, "F", "PA", "Small effusion. The heart is enlarged.", "Small effusion. Pneumothorax.")
    made = table([pair])
    few = report_protocol(reports={"findings": ["cardiomegaly"]})
    assert few.reports == Reports(findings=("cardiomegaly",))
    row = dict(
        zip(COLUMNS, ClaimsSketch.from_table(few, made, all_groupings(few, made)).cells[""].totals[0], strict=True)
    )
    assert (row["reference"], row["found"], row["generated"], row["unsupported"], row["missed"]) == (1, 0, 0, 0, 1)


def test_a_general_word_is_supported_by_a_special_one_and_not_the_other_way_round() -> None:
    read, words = reader(), ontology()
    every = {"findings": frozenset(words.findings), "pathologies": words.pathologies}
    special, general = read("Left consolidation."), read("Left opacity.")
    vague = compare_reports(special, general, **every)
    assert (vague.supported, vague.unsupported, vague.found, vague.omission) == (1, 0, 0, 1.0)
    bold = compare_reports(general, special, **every)
    assert (bold.supported, bold.unsupported, bold.found, bold.omission) == (0, 1, 1, 0.0)


def test_an_empty_report_scores_chair_0_and_omission_1() -> None:
    read, words = reader(), ontology()
    tally = compare_reports(
        read("Small effusion."), read(""), findings=frozenset(words.findings), pathologies=words.pathologies
    )
    assert (tally.chair_i, tally.chair_s, tally.omission) == (0.0, 0.0, 1.0)
    assert (tally.abstained, tally.missed, tally.written) == (1, 1, 0)


def test_a_flipped_negation_is_an_invention() -> None:
    read, words = reader(), ontology()
    tally = compare_reports(
        read("No effusion."), read("Effusion."), findings=frozenset(words.findings), pathologies=words.pathologies
    )
    assert (tally.unsupported, tally.chair_i, tally.omission) == (1, 1.0, None)


def test_a_device_alone_does_not_make_a_patient_ill() -> None:
    read, words = reader(), ontology()
    every = {"findings": frozenset(words.findings), "pathologies": words.pathologies}
    assert compare_reports(read("Pacemaker."), read(CLEAR), **every).ill == 0
    assert compare_reports(read("Effusion."), read("Pacemaker."), **every).missed == 1
