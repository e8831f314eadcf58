"""The sketch of what is counted: exact counts, exact merging, canonical bytes, refusal of damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AuscultError, ProtocolError
from evaluation.engine.protocol import Reports
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import OVERALL, all_groupings
from evaluation.engine.sketches.tallies import TallyRows, TallySketch, denominators_of
from evaluation.engine.suites.fairness.report_metrics import FAMILY
from evaluation.engine.suites.fairness.reports import parity_sketch
from evaluation.engine.text.marking import PairContext, ReportRules, mark_pair
from evaluation.engine.text.reading import read_text
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


RULES = ReportRules.of(PROTOCOL)


def sketch(studies: list[tuple]) -> TallySketch:
    made = table(studies)
    return parity_sketch(PROTOCOL, made, all_groupings(PROTOCOL, made))


def tally(reference: str | None, generated: str | None) -> dict[str, int]:
    """What one pair contributes, with the zeros."""
    made = mark_pair(read_text(reference), read_text(generated), context=PairContext(prior=False), rules=RULES).tally
    return {name: made.get(name, 0) for name in FAMILY.columns}


def by_hand(studies: list[tuple]) -> dict[str, np.ndarray]:
    """Sums per sex, study by study."""
    found: dict[str, np.ndarray] = {}
    for _, sex, _, reference, generated in studies:
        row = found.setdefault(sex or "Unknown", np.zeros(len(FAMILY.columns), int))
        row += list(tally(reference, generated).values())
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
    place = denominators_of(FAMILY).index(("pairs",))
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
    assert TallySketch.from_bytes(whole, FAMILY).to_bytes() == whole


def test_moments_are_the_products_of_the_patients_vectors() -> None:
    studies = [(0, "F", "PA", TEXTS[4], TEXTS[9]), (0, "M", "PA", TEXTS[9], None), (1, "F", "AP", TEXTS[5], TEXTS[6])]
    cells = sketch(studies).cells["sex"]
    vectors = np.zeros((2, len(cells.groups) * len(FAMILY.columns)))
    for study in studies:
        start = cells.groups.index(study[1]) * len(FAMILY.columns)
        vectors[study[0], start : start + len(FAMILY.columns)] += by_hand([study])[study[1]]
    size = vectors.shape[1]
    np.testing.assert_array_equal(cells.moments.product(np.eye(size), np.eye(size)), vectors.T @ vectors)


def test_damaged_bytes_are_refused() -> None:
    data = sketch([(0, "F", "PA", TEXTS[4], TEXTS[9]), (1, "M", "AP", TEXTS[5], TEXTS[6])]).to_bytes()
    swaps = ((b"auscult-tallies-1", b"auscult-tallies-9"), (b'"unpaired"', b'"unpaire_"'), (b'"<u1"', b'"<u2"'))
    for bad in (b"", data[:-1], data + b"x", *(data.replace(*swap) for swap in swaps)):
        with pytest.raises(AuscultError):
            TallySketch.from_bytes(bad, FAMILY)


def test_bytes_of_another_family_are_refused() -> None:
    from evaluation.engine.suites.hallucination.reports import FAMILY as OTHER

    with pytest.raises(AuscultError, match="version can read"):
        TallySketch.from_bytes(sketch([(0, "F", "PA", CLEAR, CLEAR)]).to_bytes(), OTHER)


def test_rows_of_other_columns_or_below_zero_are_refused() -> None:
    made = table([(0, "F", "PA", CLEAR, CLEAR)])
    ways = all_groupings(PROTOCOL, made)
    values = np.zeros((1, len(FAMILY.columns)), dtype=np.int64)
    for rows in (
        TallyRows(columns=FAMILY.columns[::-1], values=values),
        TallyRows(columns=FAMILY.columns, values=values - 1),
    ):
        with pytest.raises(AuscultError, match="defect of a suite"):
            TallySketch.from_rows(FAMILY, rows, made.patient_ids, ways)


def test_reasons_of_every_shard_are_kept_whatever_the_order() -> None:
    made = table([(0, "F", "PA", CLEAR, CLEAR)])
    ways = all_groupings(PROTOCOL, made)
    values = np.zeros((1, len(FAMILY.columns)), dtype=np.int64)
    one, two = (
        TallySketch.from_rows(
            FAMILY, TallyRows(columns=FAMILY.columns, values=values, why_not=why), made.patient_ids, ways
        )
        for why in ({"blank": "it reads no image"}, {"blank": "another reason", "probing": "it answers nothing"})
    )
    assert one.merge(two).to_bytes() == two.merge(one).to_bytes()
    assert one.merge(two).why_not == {
        "blank": ("another reason", "it reads no image"), "probing": ("it answers nothing",),
    }  # fmt: skip


def test_no_reports_in_the_protocol_make_an_empty_sketch() -> None:
    plain = report_protocol(reports=None, labels=[{"name": "x"}])
    made = table([(0, "F", "PA", None, None)])
    empty = parity_sketch(plain, made, [])
    assert empty.cells == {} and TallySketch.from_bytes(empty.to_bytes(), FAMILY).to_bytes() == empty.to_bytes()
    assert empty.merge(empty).to_bytes() == empty.to_bytes()
    with pytest.raises(AuscultError, match="vocabularies"):
        empty.merge(sketch([(0, "F", "PA", CLEAR, CLEAR)]))


@pytest.mark.parametrize("absent", ["reference", "generated"])
def test_a_missing_column_is_named_with_a_remedy(absent: str) -> None:
    made = table([(0, "F", "PA", CLEAR, CLEAR)])
    del made.texts[absent]
    with pytest.raises(ProtocolError, match=f"text.{absent}") as told:
        parity_sketch(PROTOCOL, made, all_groupings(PROTOCOL, made))
    assert told.value.column == f"text.{absent}" and "reports" in told.value.remedy


def test_only_the_named_findings_are_compared() -> None:
    pair = (0, "F", "PA", "Small effusion. The heart is enlarged.", "Small effusion. Pneumothorax.")
    made = table([pair])
    few = report_protocol(reports={"findings": ["cardiomegaly"]})
    assert few.reports == Reports(findings=("cardiomegaly",))
    row = parity_sketch(few, made, all_groupings(few, made)).sums(OVERALL)
    assert (row["reference"], row["found"], row["generated"], row["unsupported"], row["missed"]) == (1, 0, 0, 0, 1)
