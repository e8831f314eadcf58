"""The benchmarks of the hallucination suite run, and plant what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import hallucination as speed
from benchmarks import validity_hallucination as planted
from evaluation.engine.text.marking import mark_table


@pytest.fixture(autouse=True)
def few_patients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Experts' reports of fewer patients than the study draws from."""
    monkeypatch.setattr(planted, "POOL", 200)
    planted._pool.cache_clear()
    yield
    planted._pool.cache_clear()


def test_the_planted_rate_is_the_rate_of_the_texts() -> None:
    table = planted._table(0.1, np.random.default_rng(1))
    pairs = list(zip(table.texts["reference"], table.texts["generated"], strict=True))
    invented = sum(planted.INVENTED in said for _, said in pairs)
    compared = sum(planted.COMPARED in said for _, said in pairs)
    assert not any("nodule" in expert or "prior" in expert for expert, _ in pairs)
    counts = sum((Counter(dict(pair.tally)) for pair in mark_table(planted._protocol(), table)), Counter())
    assert (counts["inventing"], counts["comparing"]) == (invented, compared)
    assert counts["unsupported"] == invented and counts["flipped"] == 0
    assert counts["sided"] > counts["wrong_side"] > 0
    clean = planted._table(0.0, np.random.default_rng(1))
    assert (clean.texts["reference"] == clean.texts["generated"]).all()


def test_a_few_planted_audits_are_judged_and_told() -> None:
    found = planted.planted(0.1, 0, 6)
    for metric in ("chair_s", "laterality_error", "prior_hallucination"):
        outcomes = [found[f"{metric} {word}"] for word in ("passes", "fails", "lacks evidence")]
        assert sum(outcomes) == 6 and outcomes[0] == 0
    assert planted.planted(0.0, 0, 2)["chair_s"] == 2
    targets, facts = planted._told({0.0: found, 0.1: found}, 6)
    assert len(targets) == 2 * (len(planted.METRICS) + 3) and facts["runs of each rate"] == 6


@pytest.mark.skipif(find_spec("torchxrayvision") is None, reason="OpenI comes with torchxrayvision")
def test_the_texts_of_the_speed_benchmark_support_omit_and_invent() -> None:
    references, generated = speed.paired(40)
    assert len(references) == len(generated) == 40 and all(references)
    apart = speed.numbered(references)
    sentences = [part for text in apart for part in text.split(". ")]
    assert len(set(sentences)) == len(sentences)
    merged = speed._judged([speed._score((references, generated))])
    rows = {row.metric: row.value for row in merged.measurements if not row.attribute}
    assert rows["support"] == 40 and rows["omission"] > 0 and rows["entity_f1"] > 0.3
