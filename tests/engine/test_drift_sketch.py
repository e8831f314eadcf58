"""What is kept of a window: exact in any order, one study of each patient, and nothing of another frame."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest

from core.errors import AuscultError, ProtocolError
from evaluation.engine.drift.cells import MOST_CATEGORIES, OTHER, merged
from evaluation.engine.drift.frame import DriftFrame, fit_frame
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams
from evaluation.engine.drift.sample import hashes_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.records import UNKNOWN, ShardTable
from evaluation.engine.registry import SUITES
from tests.engine.drift_builders import sketched, spec, studies, watching


def taken(table: ShardTable, rows: Any) -> ShardTable:
    """Some rows of a table of :func:`studies`."""
    streams = table.streams
    assert streams is not None
    picked = replace(
        streams,
        numbers={name: values[rows] for name, values in streams.numbers.items()},
        categories={name: values[rows] for name, values in streams.categories.items()},
    )
    return replace(
        table,
        patient_ids=table.patient_ids[rows],
        study_ids=table.study_ids[rows],
        attributes={name: values[rows] for name, values in table.attributes.items()},
        streams=picked,
    )


def mixed(n: int = 600, seed: int = 3) -> ShardTable:
    """Patients with up to three studies, two attributes, gaps in every column."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 15, n)
    age[rng.random(n) < 0.1] = np.nan
    return studies(
        {"age": age, "crp": np.round(np.exp(rng.normal(2, 1, n)), 1)},
        {
            "maker": rng.choice(np.array(["A", "B", None], dtype=object), n),
            "mask": rng.choice(["image", "image+text"], n),
        },
        patients=[f"p{number}" for number in rng.integers(0, n // 2, n)],
        sex=rng.choice(np.array(["F", "M", None], dtype=object), n),
        view=rng.choice(["PA", "AP"], n),
    )


def test_line_26_shares_in_any_order_give_the_same_bytes_and_the_same_shifts() -> None:
    """One or eight workers, any order of shares: equal bytes, equal numbers, intervals included."""
    protocol, table = watching("sex", "view", case_mix=["sex"]), mixed()
    whole = DriftSketch.from_table(protocol, table)
    share = hashes_of(table.patient_ids, seed=1) % 8
    parts = [DriftSketch.from_table(protocol, taken(table, np.flatnonzero(share == k))) for k in range(8)]
    for order in ([0, 1, 2, 3, 4, 5, 6, 7], [5, 2, 7, 0, 3, 6, 1, 4]):
        joined = reduce(DriftSketch.merge, [parts[k] for k in order])
        assert joined.to_bytes() == whole.to_bytes()
    shuffled = taken(table, np.random.default_rng(0).permutation(len(table)))
    assert DriftSketch.from_table(protocol, shuffled).to_bytes() == whole.to_bytes()
    reference = DriftSketch.from_table(protocol, mixed(seed=4))
    suite = SUITES.get("drift")
    found = [
        suite.measure(protocol, item.against(reference), cross_check=False)
        for item in (whole, DriftSketch.from_bytes(whole.to_bytes()), reduce(DriftSketch.merge, reversed(parts)))
    ]
    assert found[0].measurements == found[1].measurements == found[2].measurements
    assert any(item.value is not None for item in found[0].measurements)


def test_every_cell_counts_what_a_loop_over_patients_counts() -> None:
    protocol, table = watching("sex", "view"), mixed()
    sketch = DriftSketch.from_table(protocol, table)
    hashes = hashes_of(table.study_ids, seed=protocol.seed)
    first: dict[str, int] = {}
    for row, patient in enumerate(table.patient_ids):
        if patient not in first or hashes[row] < hashes[first[patient]]:
            first[patient] = row
    streams = table.streams
    assert streams is not None
    rows = list(first.values())
    groups = Counter((table.attributes["sex"][row] or UNKNOWN, table.attributes["view"][row]) for row in rows)
    assert {key: cell.n for key, cell in sketch.cells.items()} == groups
    assert sketch.n == len(set(table.patient_ids)) == sketch.total().n
    for (sex, view), cell in sketch.cells.items():
        own = [r for r in rows if (table.attributes["sex"][r] or UNKNOWN, table.attributes["view"][r]) == (sex, view)]
        age = streams.numbers["age"][own]
        assert cell.numbers["age"].n == np.isfinite(age).sum()
        assert cell.numbers["age"].missing == np.isnan(age).sum()
        assert cell.categories["maker"] == Counter(streams.categories["maker"][r] or "" for r in own)
    women = sketch.of_group("sex", "F")
    assert women.n == sum(number for (sex, _), number in groups.items() if sex == "F")
    assert women.numbers["age"].most == np.nanmax(
        [streams.numbers["age"][r] for r in rows if table.attributes["sex"][r] == "F"]
    )
    assert sketch.groups("sex") == ("F", "M", UNKNOWN)
    assert [part.n for part in sketch.strata(["view"]).values()] == [
        sum(number for (_, view), number in groups.items() if view == name) for name in ("AP", "PA")
    ]
    assert sketch.strata([])[()].n == sketch.n


def test_more_than_500_categories_still_merge_exactly() -> None:
    """Which categories are told apart does not depend on how the patients were shared out."""
    protocol = watching()
    names = np.array([f"device {k}" for k in np.random.default_rng(1).integers(0, 900, 4000)], dtype=object)
    table = studies(categories={"device": names})
    whole = DriftSketch.from_table(protocol, table)
    parts = [DriftSketch.from_table(protocol, taken(table, np.arange(k, 4000, 3))) for k in range(3)]
    assert reduce(DriftSketch.merge, parts).to_bytes() == whole.to_bytes()
    counts = whole.total().categories["device"]
    assert len(counts) == MOST_CATEGORIES + 1
    assert sum(counts.values()) == 4000
    told = Counter(names)
    assert all(counts[name] == told[name] for name in counts if name != OTHER)


def test_sketches_of_other_frames_and_columns_are_refused_by_name() -> None:
    protocol = watching("sex")
    sex = ["F", "M"] * 20
    one = sketched(protocol, {"age": np.arange(40.0)}, sex=sex)
    two = sketched(protocol, {"age": np.arange(40.0), "crp": np.arange(40.0)}, sex=sex)
    with pytest.raises(AuscultError, match="crp") as refused:
        one.against(two)
    assert refused.value.column == "crp"
    assert refused.value.remedy
    retyped = sketched(protocol, None, {"age": ["x"] * 40}, sex=sex)
    with pytest.raises(AuscultError, match="age"):
        one.merge(retyped)
    other = replace(one, frame_digest="0" * 64)
    with pytest.raises(AuscultError, match="frames"):
        one.against(other)
    with pytest.raises(AuscultError, match="not read for drift"):
        DriftSketch.from_table(protocol, replace(studies({"age": [1.0]}, sex=["F"]), streams=None))


def test_damaged_bytes_and_too_many_groups_are_refused() -> None:
    protocol = watching("sex", "site")
    sketch = sketched(protocol, {"age": np.arange(30.0)}, {"k": ["a"] * 30}, sex=["F"] * 30, site=["x"] * 30)
    data = sketch.to_bytes()
    for bad in (data[:-1], data + b"0", data.replace(b"auscult-drift-1", b"auscult-drift-2"), data[:40] + data[41:]):
        with pytest.raises(AuscultError, match="sketch"):
            DriftSketch.from_bytes(bad)
    n, wide = 5600, watching("sex", "site", "view")
    rng = np.random.default_rng(0)
    names = {name: [f"{name}{k}" for k in rng.integers(0, 40, n)] for name in ("sex", "site", "view")}
    with pytest.raises(ProtocolError, match="joint groups"):
        sketched(wide, {"age": np.zeros(n)}, **names)


def test_a_frame_survives_its_bytes_and_leaves_out_what_cannot_be_fitted() -> None:
    protocol = watching()
    image = StreamSpec(name="image:embedding", family=Family.IMAGE, shape=Shape.VECTOR, title="image", modality="image")
    ids = np.array([f"p{k}" for k in range(60)], dtype=object)
    table = ShardTable(patient_ids=ids, study_ids=ids, attributes={}, labels={})
    rng = np.random.default_rng(0)
    vectors = {"image:embedding": rng.normal(size=(60, 8)).astype(np.float32)}
    streams = StudyStreams(specs=(image, spec("age")), numbers={"age": np.zeros(60)}, vectors=vectors)
    words = {"text.report": (5, 3, 2**63 - 1)}
    frame = fit_frame(protocol, streams, table, vocabularies=words)
    assert [item.name for item in frame.specs] == ["age", "image:embedding"]
    again = DriftFrame.from_bytes(frame.to_bytes())
    assert again.digest == frame.digest
    assert again.vocabularies["text.report"] == (3, 5, 2**63 - 1)
    alike = replace(streams, vectors={"image:embedding": np.full((60, 8), np.nan, dtype=np.float32)})
    bare = fit_frame(protocol, alike, table)
    assert [item.name for item in bare.specs] == ["age"]
    assert "image:embedding" in bare.why_not
    with_frame = replace(table, streams=replace(streams, frame=frame))
    sketch = DriftSketch.from_table(protocol, with_frame)
    assert sketch.total().vectors["image:embedding"].n == 60
    assert DriftSketch.from_bytes(sketch.to_bytes()).to_bytes() == sketch.to_bytes()
    with pytest.raises(AuscultError, match="Two streams"):
        DriftFrame(specs=(spec("age"), spec("age")))
    with pytest.raises(AuscultError):
        DriftFrame.from_bytes(frame.to_bytes()[:-3])
    assert merged([]).n == 0
