"""The sample of a monitor: the same whoever holds which share, one study of a patient, and whole after writing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import AuscultError
from evaluation.engine import Protocol
from evaluation.engine.drift.records import StudyStreams
from evaluation.engine.drift.sample import DriftSample, hashes_of, merge_samples, one_study_each
from evaluation.engine.protocol_drift import Drift
from evaluation.engine.records import ShardTable

SOURCE = """
auscult_protocol: 1
name: sampled-v1
title: Sampled
labels: [{name: effusion, threshold: {value: 0.5, source: tuning}}]
attributes: [{name: sex, values: [F, M]}]
criteria: [{id: tpr, metric: tpr, direction: at_least, margin: 0.5}]
"""


def rules(size: int = 100) -> Protocol:
    return replace(Protocol.from_yaml(SOURCE), drift=Drift(sample=size))


def table(patients: np.ndarray, studies: np.ndarray) -> ShardTable:
    n = len(patients)
    rng = np.random.default_rng(len(patients))
    return ShardTable(
        patient_ids=patients,
        study_ids=studies,
        attributes={"sex": np.array(["F" if hash_even(p) else "M" for p in patients], dtype=object)},
        labels={"effusion": rng.integers(-1, 2, n).astype(np.int8)},
        scores={"effusion": rng.random(n)},
        streams=StudyStreams(
            specs=(),
            numbers={"age": np.array([float(len(str(p))) for p in patients])},
            categories={"scanner": np.array([None if hash_even(p) else "a" for p in patients], dtype=object)},
        ),
    )


def hash_even(patient: str) -> bool:
    return int(hashes_of(np.array([patient], dtype=object), seed=9)[0]) % 2 == 0


def some(n: int, per_patient: int = 1, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    patients = np.array([f"p{first + place // per_patient}" for place in range(n)], dtype=object)
    return patients, np.array([f"s{first + place}" for place in range(n)], dtype=object)


def test_shares_in_any_order_give_the_sample_of_the_whole() -> None:
    patients, studies = some(900, per_patient=3)
    whole = DriftSample.of(rules(), table(patients, studies))
    cuts = [slice(0, 300), slice(300, 600), slice(600, 900)]
    shares = [DriftSample.of(rules(), table(patients[cut], studies[cut])) for cut in cuts]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        merged = merge_samples([shares[place] for place in order], size=100)
        assert merged.study_ids.tolist() == whole.study_ids.tolist()
        assert merged.columns["category.scanner"].tolist() == whole.columns["category.scanner"].tolist()
    assert len(whole) == 100 and len(set(whole.patient_ids)) == 100


def test_one_study_of_each_patient_does_not_depend_on_the_order_of_rows() -> None:
    patients, studies = some(60, per_patient=4)
    rows = one_study_each(patients, studies, seed=1)
    shuffled = np.random.default_rng(0).permutation(60)
    again = one_study_each(patients[shuffled], studies[shuffled], seed=1)
    assert sorted(studies[rows]) == sorted(studies[shuffled][again])
    assert len(rows) == 15
    assert sorted(studies[one_study_each(patients, studies, seed=2)]) != sorted(studies[rows])


def test_written_and_read_it_is_the_same_and_damage_is_told() -> None:
    sample = DriftSample.of(rules(), table(*some(50)))
    data = sample.to_bytes()
    again = DriftSample.from_bytes(data)
    assert again.to_bytes() == data
    np.testing.assert_array_equal(again.columns["label.effusion"], sample.columns["label.effusion"])
    with pytest.raises(AuscultError, match="not a sample"):
        DriftSample.from_bytes(data[:40])


def test_a_column_that_one_share_lacks_is_missing_there() -> None:
    one, two = DriftSample.of(rules(), table(*some(30))), DriftSample.of(rules(), table(*some(30, first=500)))
    bare = replace(two, columns={name: values for name, values in two.columns.items() if name != "number.age"})
    merged = one.merge(bare, size=100)
    assert int(np.isnan(merged.columns["number.age"]).sum()) == 30


def test_studies_that_were_not_read_for_drift_have_no_sample() -> None:
    with pytest.raises(AuscultError, match="not read for drift"):
        DriftSample.of(rules(), replace(table(*some(5)), streams=None))
