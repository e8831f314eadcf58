"""What judges say, as measurements: means by group by hand, and an absent judge named with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import AuscultError, ProtocolError
from evaluation.engine.judges import judge_share
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL, Measurement, ShardTable
from evaluation.engine.registry import SUITES
from evaluation.engine.suites.hallucination import judged

RULES = """
auscult_protocol: 1
name: judged
title: Judged
suites: [hallucination]
labels: []
reports: {findings: ["*"]}
attributes:
  - {name: sex, values: [F, M]}
criteria:
  - {id: invented, metric: chair_i, direction: at_most, margin: 0.1}
judges: [nli, chexbert]
"""


def rules(**changes: object) -> Protocol:
    protocol = Protocol.from_yaml(RULES)
    return replace(protocol, minimum_cell=1, **changes)


def table(scores: dict[str, list[float]], n: int) -> ShardTable:
    def column(values: list[object]) -> np.ndarray:
        made = np.empty(n, dtype=object)
        made[:] = values
        return made

    ids = column([f"s{row}" for row in range(n)])
    return ShardTable(
        patient_ids=column([f"p{row // 2}" for row in range(n)]),
        study_ids=ids,
        attributes={"sex": column(["F" if row // 2 % 2 else "M" for row in range(n)])},
        labels={},
        texts={"reference": column(["No effusion."] * n), "generated": column(["Effusion."] * n)},
        judged_by={name: np.array(values) for name, values in scores.items()},
    )


def measured(protocol: Protocol, *tables: ShardTable) -> dict[tuple[str, str], Measurement]:
    suite = SUITES.get("hallucination")
    first, *others = [suite.sketch(protocol, item) for item in tables]
    for other in others:
        first = first.merge(other)
    found = suite.measure(protocol, suite.load(first.to_bytes()), cross_check=False).measurements
    return {(item.metric, item.group): item for item in found if item.metric.startswith("judge_")}


def test_means_are_of_the_reports_that_were_scored(monkeypatch):
    monkeypatch.delenv("AUSCULT_JUDGES", raising=False)
    nan = float("nan")
    scores = [0.5, 1.0, nan, 0.25, 0.0, 0.75, 1.0, nan]
    found = measured(rules(judges=("nli",)), table({"nli": scores}, 8))
    assert set(found) == {("judge_nli", group) for group in (ALL, "F", "M")}  # described: no gap, no other judge
    men, women = [0.5, 1.0, 0.0, 0.75], [0.25, 1.0]
    for group, values in ((ALL, men + women), ("M", men), ("F", women)):
        item = found["judge_nli", group]
        assert item.value == pytest.approx(np.mean(values))
        assert item.n == len(values)
        assert item.low is not None and item.high is not None and item.low <= item.value <= item.high


def test_shares_merge_to_the_same(monkeypatch):
    scores = np.random.default_rng(3).random(40).round(3)
    whole = table({"nli": scores.tolist()}, 40)
    halves = []
    for rows in (slice(0, 20), slice(20, 40)):
        halves.append(
            ShardTable(
                patient_ids=whole.patient_ids[rows],
                study_ids=whole.study_ids[rows],
                attributes={name: values[rows] for name, values in whole.attributes.items()},
                labels={},
                texts={name: values[rows] for name, values in whole.texts.items()},
                judged_by={"nli": scores[rows]},
            )
        )
    protocol = rules(judges=("nli",))
    assert measured(protocol, whole) == measured(protocol, *halves[::-1])


def test_an_absent_judge_is_said_to_be_absent(monkeypatch):
    monkeypatch.delenv("AUSCULT_JUDGES", raising=False)
    found = measured(rules(), table({"nli": [0.5] * 8}, 8))
    assert found["judge_nli", ALL].value == 0.5
    missing = found["judge_chexbert", ALL]
    assert missing.value is None
    assert "absent: no weights were supplied" in missing.reason


def test_shares_that_different_weights_judged_do_not_merge(own: Path):
    suite, protocol = SUITES.get("hallucination"), rules(judges=("green",))
    one = suite.sketch(protocol, table({"green": [0.5] * 4}, 4))
    wishes = own / "green" / "auscult.json"
    wishes.write_text(wishes.read_text() + "\n")
    with pytest.raises(AuscultError, match="different vocabularies"):
        one.merge(suite.sketch(protocol, table({"green": [0.5] * 4}, 4)))


def test_a_judge_that_is_there_and_was_not_run_is_no_absent_one(there):
    missing = measured(rules(judges=("nli",)), table({}, 8))["judge_nli", ALL]
    assert missing.value is None
    assert judged.NOT_RUN in missing.reason


def test_what_real_judges_say_is_measured(there: Path):
    plain = table({}, 8)
    said = judge_share(["nli", "chexbert"], plain.texts["reference"].tolist(), plain.texts["generated"].tolist())
    found = measured(rules(), replace(plain, judged_by=said))
    assert found["judge_nli", ALL].value == pytest.approx(said["nli"].mean(), abs=0.0005)
    assert found["judge_chexbert", ALL].value == pytest.approx(0.0)  # "no effusion" against "effusion"
    assert found["judge_chexbert", ALL].n == 8


def test_without_judges_nothing_is_measured():
    assert measured(rules(judges=()), table({}, 8)) == {}


def test_no_criterion_can_rest_on_a_judge():
    text = RULES.replace("metric: chair_i", "metric: judge_nli")
    with pytest.raises(ProtocolError, match="judge_nli"):
        Protocol.from_yaml(text)
