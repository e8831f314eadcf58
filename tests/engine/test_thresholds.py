"""Thresholds are chosen on data that are not audited, and patients are on one side only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from config.cli.protocol import protocol as command
from core.digests import sha256_file
from core.errors import CohortError, ProtocolError
from evaluation.engine import Protocol, load_protocol, run_audit
from evaluation.engine.protocol import bundled_source
from evaluation.engine.thresholds import Rule, choose_threshold
from tests.engine.threshold_files import RULES, TEXT, frame, run, save, tune

# What a rule picks


def worth_of(rule: Rule, tp: int, fp: int, present: int, absent: int) -> float | None:
    """What a rule makes larger, from its definition; None for a threshold that it does not allow."""
    kind, target = rule.kind.value, rule.target or 0.0
    if kind == "sensitivity":
        return -fp if present and tp >= target * present - 1e-9 else None
    if kind == "specificity":
        return tp if absent and absent - fp >= target * absent - 1e-9 else None
    if kind == "youden":
        return tp * absent - fp * present if present and absent else None
    return round(tp * (1 - target) - fp * target, 9) if present + absent else None


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 1)), min_size=1, max_size=40),
    st.sampled_from([*RULES, "sensitivity=1", "specificity=1", "sensitivity=0.5", "net-benefit=0.7"]),
)
def test_a_rule_picks_what_a_search_over_all_thresholds_finds(rows: list[tuple[int, int]], text: str) -> None:
    scores, reference = np.array([s / 20 for s, _ in rows]), np.array([y for _, y in rows], dtype=np.int8)
    rule = Rule.parse(text)
    found = choose_threshold(scores, reference, rule)
    truth, known = reference[reference >= 0] == 1, scores[reference >= 0]
    options = []
    for value in sorted({*known, 1.0, 0.0}):
        tp, fp = int(((known >= value) & truth).sum()), int(((known >= value) & ~truth).sum())
        worth = worth_of(rule, tp, fp, int(truth.sum()), int((~truth).sum()))
        if worth is not None:
            options.append((worth, -tp, tp, fp))
    if found is None:
        assert not options
        return
    best = max(score for score, *_ in options)
    tp, fp = int(((known >= found.value) & truth).sum()), int(((known >= found.value) & ~truth).sum())
    assert (tp, fp) in {(t, f) for score, _, t, f in options if score == best}
    assert tp == max(t for score, _, t, _ in options if score == best), "of equals, the one that misses fewest"
    assert (found.n, found.positives) == (len(known), int(truth.sum()))
    if found.sensitivity is not None:
        assert found.sensitivity == tp / truth.sum()
    if found.specificity is not None:
        assert found.specificity == pytest.approx(1 - fp / (~truth).sum())


def test_youden_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_curve

    data = frame()
    truth, scores = data["label.x"].to_numpy(np.int8), data["score.x"].to_numpy()
    found = choose_threshold(scores, truth, Rule.parse("youden"))
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found is not None and found.sensitivity is not None and found.specificity is not None
    assert found.sensitivity + found.specificity - 1 == pytest.approx((tpr - fpr).max())


def test_the_number_is_as_short_as_the_scores_allow() -> None:
    scores, truth = np.array([0.123456, 0.3141592, 0.3541592, 0.9]), np.array([0, 0, 1, 1], dtype=np.int8)
    found = choose_threshold(scores, truth, Rule.parse("youden"))
    assert found is not None
    assert found.value == 0.35
    assert choose_threshold(scores, np.zeros(4, np.int8), Rule.parse("sensitivity=0.9")) is None
    certain = np.array([1.0, 1.0])
    assert choose_threshold(certain, np.array([0, 1], np.int8), Rule.parse("specificity=0.9")) is None


@pytest.mark.parametrize(
    "text", ["", "youden=1", "sensitivity", "sensitivity=2", "sensitivity=nan", "f1", "net-benefit=1"]
)
def test_what_is_no_rule_lists_the_rules(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Rule.parse(text)
    assert "sensitivity=0.90, specificity=0.90, youden, net-benefit=0.10" in caught.value.remedy


# Section 5, line 4


@pytest.mark.parametrize("rule", RULES)
def test_4_the_threshold_is_the_same_when_test_labels_are_permuted(tmp_path: Path, rule: str) -> None:
    data = frame()
    one = tune(save(data, tmp_path / "one.parquet"), rule)
    test = data["split"] == "test"
    rng = np.random.default_rng(0)
    for name in ("label.x", "label.y", "score.x"):
        data.loc[test, name] = rng.permutation(data.loc[test, name].to_numpy())
    two = tune(save(data, tmp_path / "two.parquet"), rule)
    assert one.points == two.points
    assert [item.threshold.value for item in one.protocol.labels] == [
        item.threshold.value for item in two.protocol.labels
    ]


def test_the_audit_judges_with_the_threshold_of_the_protocol_whatever_the_test_labels(tmp_path: Path) -> None:
    data = frame()
    tuned = tune(save(data, tmp_path / "tuning.parquet")).protocol
    rates = []
    for seed in (0, 1):
        test = data["split"] == "test"
        data.loc[test, "label.x"] = np.random.default_rng(seed).permutation(data.loc[test, "label.x"].to_numpy())
        found = run_audit(protocol=tuned, predictions=save(data, tmp_path / "p.parquet"), cross_check=False)
        rates.append(
            next(
                row.value
                for row in found.assessment.measurements
                if (row.metric, row.label, row.attribute) == ("selection_rate", "x", "")
            )
        )
        assert found.cohort["n_studies"] == 400
    assert rates[0] == rates[1] == (data.loc[test, "score.x"] >= tuned.labels[0].threshold.value).mean()


# What is written


def test_the_comments_of_the_protocol_stay(tmp_path: Path) -> None:
    path = save(frame(), tmp_path / "tuning.parquet")
    tuned = tune(path, "sensitivity=0.9")
    assert tuned.comments_kept
    assert Protocol.from_yaml(tuned.text) == tuned.protocol
    kept = [line for line in tuned.text.splitlines() if "threshold:" not in line]
    assert kept == [line for line in TEXT.splitlines() if "{name: y}" not in line]
    x, y = tuned.protocol.labels
    assert x.threshold is not None and y.threshold is not None
    digest = sha256_file(path)[:12]
    said = f"sensitivity of at least 0.9; tuning.parquet, split tuning, SHA-256 {digest}, 400 studies"
    assert x.threshold.source.startswith(said)
    assert f"{tuned.points['x'].positives} with the finding" in x.threshold.source
    again = tune(path, "sensitivity=0.9", text=tuned.text)
    assert again.text == tuned.text, "a second time changes nothing"


@pytest.mark.parametrize(
    "labels",
    [
        "labels:\n  - name: x\n    threshold: {value: 0.1, source: old}   # was\n  - name: y\n    threshold:\n",
        "labels:\n  - name: x\n    threshold:\n      value: 0.1   # was\n      source: old\n    # after\n  - name: y\n",
        "labels:\n  - threshold: null\n    name: x\n  - name: y\n",
        "labels: [{name: x, threshold: {value: 0.1, source: old}}, {name: y}]\n",
        '"labels": [{"name": "x", "threshold": null}, {"name": "y"}]\n',
        "labels:\n- name: x\n- name: 'y'\n",
        "labels:\n  - name: >-\n      x\n  - name: y\n",
    ],
)
def test_thresholds_go_into_any_yaml(tmp_path: Path, labels: str) -> None:
    start, _, rest = TEXT.partition("labels:")
    text = start + labels + "attributes:" + rest.partition("attributes:")[2]
    tuned = tune(save(frame(), tmp_path / "t.parquet"), text=text)
    assert Protocol.from_yaml(tuned.text) == tuned.protocol
    assert all(label.threshold is not None and "t.parquet" in label.threshold.source for label in tuned.protocol.labels)
    assert tuned.comments_kept == ("# Rules of a test" in tuned.text)
    for comment in ("# was", "# after"):
        assert comment not in text or comment in tuned.text or not tuned.comments_kept or comment == "# was"


def test_a_bundled_protocol_is_completed(tmp_path: Path) -> None:
    names = load_protocol("imaging-classifier-v1").label_names
    data = frame().drop(columns=["split", "label.x", "label.y", "score.x", "score.y"])
    rng = np.random.default_rng(2)
    for name in names:
        data[f"label.{name}"], data[f"score.{name}"] = rng.integers(0, 2, len(data)), rng.random(len(data))
    tuned = tune(save(data, tmp_path / "t.parquet"), text=bundled_source("imaging-classifier-v1"))
    assert tuned.comments_kept
    assert "split" not in tuned.protocol.labels[0].threshold.source


def test_one_label_is_tuned_and_the_others_are_left(tmp_path: Path) -> None:
    tuned = tune(save(frame(), tmp_path / "t.parquet"), labels=["y"])
    assert [label.threshold is None for label in tuned.protocol.labels] == [True, False]
    assert list(tuned.points) == ["y"]


@pytest.mark.parametrize(
    ("change", "text", "labels", "said"),
    [
        (lambda d: d.drop(columns="score.y"), TEXT, [], "no column score.y"),
        (lambda d: d, TEXT, ["z"], "no label 'z'"),
        (lambda d: d.assign(split="test"), TEXT, [], "No study is in the split tuning"),
        (lambda d: d, TEXT.replace("splits:", "#"), [], "has the splits test, tuning, and the protocol does not say"),
        (lambda d: d, TEXT.replace(", tuning: [tuning]", ""), [], "does not say on which of them"),
        (
            lambda d: d.assign(**{"label.x": 0}),
            TEXT,
            [],
            "400 studies have a reference and a score, 0 with the finding",
        ),
        (lambda d: d.assign(**{"score.x": 2.0}), TEXT, [], "outside [0, 1]"),
    ],
)
def test_what_cannot_be_tuned_is_told(tmp_path: Path, change: Any, text: str, labels: list[str], said: str) -> None:
    path = save(change(frame()), tmp_path / "t.parquet")
    with pytest.raises((ProtocolError, CohortError)) as caught:
        tune(path, text=text, labels=labels)
    assert said in caught.value.message
    assert caught.value.file in {"t.parquet", "p.yaml"}
    assert caught.value.remedy


def test_the_command_writes_a_protocol_that_the_audit_takes(tmp_path: Path) -> None:
    data, rules, out = save(frame(), tmp_path / "d.parquet"), tmp_path / "p.yaml", tmp_path / "tuned.yaml"
    rules.write_text(TEXT)
    given = ["thresholds", "--predictions", str(data), "--protocol", str(rules), "--rule", "youden"]
    ran = CliRunner().invoke(command, given)
    assert ran.exit_code == 0, ran.stderr
    assert Protocol.from_yaml(ran.stdout).labels[0].threshold is not None
    assert "x: threshold 0." in ran.stderr and "sensitivity" in ran.stderr
    assert rules.read_text() == TEXT
    ran = CliRunner().invoke(command, [*given, "--out", str(out)])
    assert ran.exit_code == 0 and Protocol.from_yaml(out.read_text()).digest[:12] in ran.stdout
    again = CliRunner().invoke(command, [*given, "--out", str(out)])
    assert again.exit_code == 3 and "--force" in again.stderr
    assert CliRunner().invoke(command, [*given, "--out", str(data), "--force"]).exit_code == 3
    assert CliRunner().invoke(command, [*given[:-1], "best"]).exit_code == 3
    tuning, test = (
        save(frame()[frame()["split"] == name], tmp_path / f"{name}.parquet") for name in ("tuning", "test")
    )
    given[2] = str(tuning)
    assert CliRunner().invoke(command, [*given, "--out", str(out), "--force"]).exit_code == 0
    ran = run(test, out, "--tuning", tuning)
    assert ran.exit_code in {0, 1, 2}, ran.stderr
    assert "which the protocol names." in ran.stdout
