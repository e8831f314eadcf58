"""Loads what an audit needs before the first one is asked for."""

from __future__ import annotations

import numpy as np

from evaluation.engine.assessment import assess
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import sketch_shard

PATIENTS = 600


def warm_up() -> None:
    """Judge a small made-up audit whose criterion fails, so that every library it takes is loaded: about 2 s once.

    The first audit of a process would else wait for them. Safe to call from any thread; leaves nothing behind.
    """
    rules = Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "warm-up",
            "title": "Warm-up",
            "labels": [{"name": "x", "threshold": {"value": 0.5, "source": "made up"}}],
            "attributes": [{"name": "group"}],
            "criteria": [
                {
                    "id": "gap",
                    "metric": "equal_opportunity_difference",
                    "attribute": "group",
                    "direction": "at_most",
                    "margin": 0.05,
                }
            ],
            "bootstrap": {"replicates": 200},
        }
    )
    sketch = sketch_shard(rules, _table())
    assess(rules, type(sketch).from_bytes(sketch.to_bytes()))


def _table() -> ShardTable:
    """Two studies a patient; the findings of one group are missed twice as often."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(PATIENTS), 2)
    group, finding = patient % 2, rng.integers(0, 2, len(patient))
    score = np.clip(0.2 + 0.5 * finding * (1 - 0.6 * group) + 0.3 * rng.random(len(patient)), 0, 1)
    return ShardTable(
        patient_ids=np.array([f"p{number:04d}" for number in patient], dtype=object),
        study_ids=np.array([f"s{number:04d}" for number in range(len(patient))], dtype=object),
        attributes={"group": np.array(["a", "b"], dtype=object)[group]},
        labels={"x": finding.astype(np.int8)},
        scores={"x": score},
    )
