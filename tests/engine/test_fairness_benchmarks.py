"""The benchmarks of the fairness engine run and tell what they should; how fast, and how well, is not judged here."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks import fairness, validity_fairness, validity_scores


@pytest.mark.parametrize(
    ("main", "arguments", "targets"),
    [
        (fairness.main, [], {"draw of ten times the rows", "peak memory of that process, data included"}),
        (
            validity_fairness.main,
            ["--replicates", "2"],
            {
                "mean coverage of 95 % intervals, tpr",
                "protocols that fail on equal groups, margin 0, 1-5 studies a patient",
            },
        ),
        (validity_scores.main, [], {"mean coverage, auroc", "mean coverage, AUROC difference"}),
    ],
    ids=["fairness", "validity_fairness", "validity_scores"],
)
def test_a_benchmark_tells_its_targets_as_json(
    main: Callable[[list[str]], None],
    arguments: list[str],
    targets: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--quick", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert targets <= {item["name"] for item in told["targets"]}
    assert all(isinstance(item["value"], float) for item in told["targets"])
    assert told["facts"]


def test_point_values_are_exactly_fairlearns() -> None:
    found, _ = fairness._beside_fairlearn(fairness.QUICK)
    assert next(item.value for item in found if item.name.startswith("largest difference")) == 0


def test_a_replicate_depends_on_its_own_number_alone() -> None:
    whole = validity_fairness.coverage(30, 0.8, "1-5", 0, 4)
    parts = [validity_fairness.coverage(30, 0.8, "1-5", start, start + 1) for start in range(4)]
    assert whole == sum(parts[1:], parts[0])
