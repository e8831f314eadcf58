"""The counts sketch against a loop over rows, and its algebra."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import AuscultError, ProtocolError
from evaluation.engine import AuditSketch, sketch_shard
from evaluation.engine.sketches.counts import OVERALL, CountsSketch, all_groupings, number_patients
from evaluation.engine.sketches.segments import distinct
from tests.engine.builders import body, protocol, table

CELL = {(1, 1): 0, (0, 1): 1, (1, 0): 2, (0, 0): 3}
TWO_WAYS = protocol(
    attributes=[{"name": "sex"}, {"name": "age_band", "column": "age", "bands": [0, 40], "plausible": [0, 120]}],
    intersections=[["sex", "age_band"]],
)
studies = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["F", "M", None, " "]),
        st.sampled_from([20, 39.5, 40, 80, 155, -1, None, "x"]),
        st.sampled_from([0, 1, -1]),
        st.sampled_from([0, 1, -1]),
    ),
    max_size=25,
)


def frame(rows: list[tuple[int, str | None, object, int, int]], prefix: str = "") -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["patient", "sex", "age", "y_x", "d_x"], dtype=object)
    made["patient"] = prefix + made["patient"].astype(str)
    return made


def by_hand(rows: pd.DataFrame, group: str) -> Counter[tuple[tuple[tuple[str, int], int], ...]]:
    """Patients per vector, as a loop over rows gives them."""
    patients: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
    for row in rows.itertuples():
        if row.y_x >= 0 and row.d_x >= 0:
            value = getattr(row, group)
            name = value if isinstance(value, str) and value.strip() else "Unknown"
            patients[row.patient][name, CELL[row.y_x, row.d_x]] += 1
    return Counter(tuple(sorted(vector.items())) for vector in patients.values())


def as_counter(sketch: CountsSketch, by: str) -> Counter[tuple[tuple[tuple[str, int], int], ...]]:
    cells = sketch.cells["x", by]
    found: Counter[tuple[tuple[tuple[str, int], int], ...]] = Counter()
    for vector, count in zip(cells.vectors, cells.counts, strict=True):
        key = tuple(sorted(((cells.groups[i // 4], i % 4), int(n)) for i, n in enumerate(vector) if n))
        found[key] += int(count)
    return found


@settings(max_examples=60, deadline=None)
@given(studies)
def test_the_sketch_counts_what_a_loop_over_rows_counts(rows: list[tuple[int, str | None, object, int, int]]) -> None:
    data = frame(rows)
    sketch = CountsSketch.from_table(TWO_WAYS, table(data))
    assert as_counter(sketch, "sex") == by_hand(data, "sex")
    silent = sketch.cells["x", "sex"].silent.sum(axis=0)
    assert silent[0] == (data["y_x"] < 0).sum()
    assert silent[1] == ((data["y_x"] >= 0) & (data["d_x"] < 0)).sum()
    assert sketch.tallies["sex"].sizes[:, 0].sum() == len(data)
    assert sketch.tallies["age_band"].implausible == data["age"].isin([155, -1, "x"]).sum()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(studies, studies, studies)
def test_merging_is_associative_commutative_and_equal_to_one_pass(one: list, two: list, three: list) -> None:  # type: ignore[type-arg]
    parts = [frame(rows, prefix) for rows, prefix in ((one, "a"), (two, "b"), (three, "c"))]
    a, b, c = (sketch_shard(TWO_WAYS, table(part)) for part in parts)
    whole = sketch_shard(TWO_WAYS, table(pd.concat(parts, ignore_index=True))).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == whole
    assert c.merge(a.merge(b)).to_bytes() == whole
    assert b.merge(c).merge(a).to_bytes() == whole
    assert AuditSketch.from_bytes(whole).to_bytes() == whole
    counts = CountsSketch.from_table(TWO_WAYS, table(parts[0])).update(TWO_WAYS, table(parts[1]))
    assert counts.to_bytes() == CountsSketch.from_table(TWO_WAYS, table(pd.concat(parts[:2]))).to_bytes()


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    rows = frame([(int(rng.integers(50)), str(rng.choice(["F", "M"])), 30, int(rng.integers(2)), int(rng.integers(2)))
                  for _ in range(300)])  # fmt: skip
    shuffled = rows.sample(frac=1, random_state=3)
    assert sketch_shard(TWO_WAYS, table(rows)).to_bytes() == sketch_shard(TWO_WAYS, table(shuffled)).to_bytes()


def test_intersections_are_unknown_where_any_part_is() -> None:
    rows = frame([(1, "F", 20, 1, 1), (2, "F", None, 1, 1), (3, None, 20, 1, 0), (4, "M", 50, 0, 0)])
    cells = CountsSketch.from_table(TWO_WAYS, table(rows)).cells["x", "sex & age_band"]
    assert cells.groups == ("F & <40", "M & >=40", "Unknown")
    assert cells.totals.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]]


def test_patients_that_span_groups_are_counted_and_kept_whole() -> None:
    rows = frame([(1, "F", 20, 1, 1), (1, "M", 20, 1, 0), (2, "F", 20, 1, 1)])
    sketch = CountsSketch.from_table(TWO_WAYS, table(rows))
    assert sketch.tallies["sex"].spanning == 1
    assert sketch.tallies["sex"].sizes.tolist() == [[2, 2], [1, 1]]
    assert sorted(sketch.cells["x", "sex"].counts.tolist()) == [1, 1]


def test_the_composite_is_present_if_any_finding_is() -> None:
    read = protocol(
        labels=[{"name": "x"}, {"name": "z"}], underdiagnosis={"name": "any", "findings": ["x", "z"]},
    )  # fmt: skip
    rows = pd.DataFrame(
        [(1, "F", 1, 0, 0, 0), (2, "F", 0, 0, 1, 1), (3, "F", 0, 0, 0, 1), (4, "F", 0, 0, 0, 0), (5, "F", 0, -1, 0, 0)],
        columns=["patient", "sex", "y_x", "y_z", "d_x", "d_z"],
    )
    cells = CountsSketch.from_table(read, table(rows, ("x", "z"))).cells["any", OVERALL]
    assert cells.totals.tolist() == [[0, 2, 1, 1]]
    assert cells.silent.tolist() == [[1, 0]]


def test_a_threshold_of_the_protocol_is_inclusive_and_a_missing_score_is_no_decision() -> None:
    read = protocol(labels=[{"name": "x", "threshold": {"value": 0.5, "source": "tuning split"}}])
    rows = pd.DataFrame({"patient": range(4), "sex": "F", "y_x": 1, "s_x": [0.5, 0.49, np.nan, 1.0]})
    cells = CountsSketch.from_table(read, table(rows)).cells["x", OVERALL]
    assert cells.totals.tolist() == [[2, 0, 1, 0]]
    assert cells.silent.tolist() == [[0, 1]]


def test_scores_without_a_threshold_are_refused() -> None:
    rows = pd.DataFrame({"patient": range(2), "sex": "F", "y_x": 1, "s_x": 0.5})
    with pytest.raises(ProtocolError, match="no threshold") as caught:
        sketch_shard(protocol(), table(rows))
    assert caught.value.column == "score.x"


def test_too_many_groups_ask_for_bands() -> None:
    rows = pd.DataFrame({"patient": range(100), "sex": np.arange(100.0), "y_x": 1, "d_x": 1})
    with pytest.raises(ProtocolError, match="100 distinct groups") as caught:
        sketch_shard(protocol(), table(rows))
    assert "bands" in caught.value.remedy


def test_free_text_is_no_attribute() -> None:
    rows = pd.DataFrame({"patient": range(2), "sex": ["F", "a long remark " * 10], "y_x": 1, "d_x": 1})
    with pytest.raises(ProtocolError, match="a group of 139 characters"):
        sketch_shard(protocol(), table(rows))


def test_damaged_or_foreign_bytes_are_refused() -> None:
    rows = frame([(1, "F", 20, 1, 1)])
    data = sketch_shard(TWO_WAYS, table(rows)).to_bytes()
    for bad in (b"", b"nonsense", data[:-1], data + b"x", data.replace(b"counts-1", b"counts-9"), data[:40]):
        with pytest.raises(AuscultError):
            AuditSketch.from_bytes(bad)


def test_sketches_of_different_protocols_do_not_merge() -> None:
    rows = table(pd.DataFrame({"patient": [1], "sex": ["F"], "y_x": [1], "d_x": [1]}))
    with pytest.raises(AuscultError, match="different protocols"):
        sketch_shard(protocol(), rows).merge(sketch_shard(protocol(**body(seed=9)), rows))


def test_without_labels_there_are_tallies_alone() -> None:
    read = dataclasses.replace(TWO_WAYS, labels=())
    rows = frame([(1, "F", 20, 1, 1), (1, "M", 20, 1, 0), (2, "F", 50, 1, 1)])
    sketch = CountsSketch.from_table(read, table(rows))
    assert sketch.cells == {}
    assert sketch.tallies[OVERALL].sizes.tolist() == [[3, 2]]
    assert sketch.tallies["sex"].spanning == 1
    assert CountsSketch.from_bytes(sketch.merge(sketch).to_bytes()).tallies[OVERALL].sizes.tolist() == [[6, 4]]


def test_groupings_that_are_at_hand_need_not_be_made_again() -> None:
    rows = table(frame([(i % 7, "FM"[i % 2], 20 + i, i % 2, i % 3 % 2) for i in range(40)]))
    groupings = all_groupings(TWO_WAYS, rows)
    assert [item.name for item in groupings] == [OVERALL, "sex", "age_band", "sex & age_band"]
    made = CountsSketch.from_table(TWO_WAYS, rows, groupings)
    assert made.to_bytes() == CountsSketch.from_table(TWO_WAYS, rows).to_bytes()


def many(rng: np.random.Generator, n: int, patients: int, groups: int) -> pd.DataFrame:
    made = frame([(0, "", 30, 1, 1)] * n)
    return made.assign(
        patient=rng.integers(0, patients, n), sex=[f"g{code:02}" for code in rng.integers(0, groups, n)],
        y_x=rng.integers(-1, 2, n), d_x=rng.integers(-1, 2, n),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n", "patients", "groups"),
    [(3000, 30, 50), (40000, 2, 2), (600, 600, 1)],
    ids=["patients in fifty groups", "runs too long for one number", "one study each"],
)
def test_patients_are_told_apart_however_much_they_have(n: int, patients: int, groups: int) -> None:
    data = many(np.random.default_rng(n), n, patients, groups)
    read = protocol()
    sketch = CountsSketch.from_table(read, table(data))
    assert as_counter(sketch, "sex") == by_hand(data, "sex")
    vectors = sketch.cells["x", "sex"].vectors
    assert np.array_equal(vectors, np.unique(vectors, axis=0)), "distinct, in lexicographic order"


@pytest.mark.parametrize("names", [["a", "a", "b"], ["b", "a", "b"], ["10", "9"], [1, 1, 2], ["a", 2]])
def test_patients_are_numbered_as_they_first_appear(names: list[object]) -> None:
    found = number_patients(np.array(names, dtype=object))
    assert found.tolist() == [list(dict.fromkeys(names)).index(name) for name in names]
    assert number_patients(np.array([], dtype=object)).tolist() == []


@pytest.mark.parametrize("names", [[None, None], ["a", None], [None, "a"], ["a", float("nan")]])
def test_a_study_without_a_patient_is_refused(names: list[object]) -> None:
    with pytest.raises(AuscultError, match="no patient"):
        number_patients(np.array(names, dtype=object))


@pytest.mark.parametrize("largest", [1, 300, 1 << 40])
def test_distinct_vectors_are_in_lexicographic_order_with_their_counts_added(largest: int) -> None:
    rng = np.random.default_rng(largest)
    vectors = np.where(rng.random((400, 7)) < 0.6, 0, rng.integers(0, largest + 1, (400, 7)))[rng.integers(0, 400, 900)]
    counts = rng.integers(1, 9, 900)
    expected, places = np.unique(vectors, axis=0, return_inverse=True)
    found, times = distinct(vectors, counts)
    assert np.array_equal(found, expected)
    assert np.array_equal(times, np.bincount(places.reshape(-1), weights=counts).astype(int))
