"""Point values against fairlearn, from rows and from merged counts; and the real NIH labels."""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import AuscultError
from evaluation.engine import Assessment, Outcome, ShardTable, assess, load_protocol, sketch_shard
from evaluation.engine.statistics.clusters import Rate
from evaluation.engine.suites.fairness.groups import LabelGroups
from tests.engine.builders import cells_of, clustered, protocol, table

GROUPS = ["F", "M", "X", "Y", "Z"]


def value_of(found: Assessment, metric: str, group: str, attribute: str, label: str) -> float | None:
    return next(
        m.value for m in found.measurements
        if (m.metric, m.group, m.attribute, m.label) == (metric, group, attribute, label)
    )  # fmt: skip


def test_rates_and_differences_equal_fairlearns_metric_frame_on_rows() -> None:
    from fairlearn import metrics
    from sklearn.metrics import precision_score

    rng = np.random.default_rng(0)
    rows = clustered(rng, patients=1500, tpr=dict(zip(GROUPS, rng.random(5), strict=True)))
    read = protocol(criteria=[{"id": "t", "metric": "equalized_odds_difference", "attribute": "sex",
                               "direction": "at_most", "margin": 0.1}])  # fmt: skip
    found = assess(read, sketch_shard(read, table(rows)))
    functions = {
        "tpr": partial(metrics.true_positive_rate, pos_label=1),
        "fpr": partial(metrics.false_positive_rate, pos_label=1),
        "selection_rate": metrics.selection_rate,
        "ppv": partial(precision_score, zero_division=0.0),
    }
    known = {"y_true": rows["y_x"], "y_pred": rows["d_x"], "sensitive_features": rows["sex"]}
    frame = metrics.MetricFrame(metrics=functions, **known)
    for metric in functions:
        for group in GROUPS:
            assert value_of(found, metric, group, "sex", "x") == pytest.approx(
                frame.by_group.loc[group, metric], abs=1e-12
            )
        assert value_of(found, metric, "All", "", "x") == pytest.approx(frame.overall[metric], abs=1e-12)
    gaps = {m.metric: m.value for m in found.measurements if m.attribute == "sex" and " vs " in m.group}
    assert gaps["equal_opportunity_difference"] == pytest.approx(frame.difference()["tpr"])
    assert gaps["equalized_odds_difference"] == pytest.approx(metrics.equalized_odds_difference(
        known["y_true"], known["y_pred"], sensitive_features=rows["sex"]))  # fmt: skip
    assert gaps["demographic_parity_ratio"] == pytest.approx(frame.ratio()["selection_rate"])
    check = found.cross_checks[0]
    assert check["name"] == "fairlearn"
    assert check["cells"] == 6 * 5
    assert check["largest_difference"] <= 1e-9


def test_a_value_that_fairlearn_does_not_confirm_stops_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.engine.suites.fairness.cross_check import compare_with_fairlearn

    part = LabelGroups(protocol(), "x", "sex", cells_of({"F": (40, 7, 23, 81), "M": (0, 3, 0, 9)}))
    assert compare_with_fairlearn([part])["cells"] == 9, "the sensitivity of M is undefined and not compared"
    honest = part.rate("tpr", "F")
    wrong = Rate(**(vars(honest) | {"value": 0.5}))
    monkeypatch.setitem(part._rates, ("tpr", "F"), wrong)
    with pytest.raises(AuscultError, match=r"fairlearn .* gives .* for tpr of x"):
        compare_with_fairlearn([part])


@pytest.fixture(scope="module")
def nih() -> Assessment:
    """The audit of NIH's text-mined labels against expert readers, from the file that torchxrayvision brings."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed: pip install --no-deps torchxrayvision==1.5.7")
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "google2019_nih-chest-xray-labels.csv.gz"
    with gzip.open(path, "rt") as stream:
        rows = pd.read_csv(stream)
    mined = rows["Finding Labels"].str.split("|").map(set)
    opacity = {"Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis"}
    data = ShardTable(
        patient_ids=rows["Patient ID"].astype(str).to_numpy(object),
        study_ids=rows["Image Index"].to_numpy(object),
        attributes={
            "sex": rows["Patient Gender"].to_numpy(object),
            "age": rows["Patient Age"].to_numpy(object),
            "view": rows["View Position"].to_numpy(object),
        },
        labels={
            "pneumothorax": (rows["Pneumothorax"] == "YES").to_numpy(np.int8),
            "airspace_opacity": (rows["Airspace opacity"] == "YES").to_numpy(np.int8),
        },
        decisions={
            "pneumothorax": mined.map(lambda found: "Pneumothorax" in found).to_numpy(np.int8),
            "airspace_opacity": mined.map(lambda found: bool(opacity & found)).to_numpy(np.int8),
        },
    )
    read = load_protocol("nih-labels-v1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return assess(read, sketch_shard(read, data))


@pytest.mark.parametrize(
    ("label", "attribute", "group", "expected"),
    [
        ("pneumothorax", "", "All", 0.458),
        ("pneumothorax", "view", "PA", 0.581),
        ("pneumothorax", "view", "AP", 0.361),
        ("pneumothorax", "sex", "F", 0.436),
        ("pneumothorax", "sex", "M", 0.477),
        ("pneumothorax", "age_band", "<=40", 0.535),
        ("pneumothorax", "age_band", ">60", 0.417),
        ("airspace_opacity", "view", "AP", 0.542),
        ("airspace_opacity", "view", "PA", 0.346),
    ],
)
def test_the_real_labels_give_the_known_sensitivities(
    nih: Assessment, label: str, attribute: str, group: str, expected: float
) -> None:
    value = value_of(nih, "tpr", group, attribute, label)
    assert value is not None
    assert round(value, 3) == expected


def test_the_real_labels_fail_by_view_and_the_impossible_age_is_told(nih: Assessment) -> None:
    failed = {(v.label, v.attribute, v.metric) for v in nih.verdicts if v.outcome is Outcome.FAIL}
    assert failed == {("airspace_opacity", "view", "equal_opportunity_difference")}
    support = next(m for m in nih.measurements if (m.metric, m.label, m.group) == ("support", "pneumothorax", "All"))
    assert (support.n, support.patients, support.detail["positives"]) == (4376, 1695, 238)
    assert any("impossible or unreadable value of age band: fewer than 11 of 4,376" in note for note in nih.notes)
    assert nih.cross_checks[0]["cells"] > 50
