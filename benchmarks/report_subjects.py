"""Evidence for a long technical documentation: a real audit by the engine of made-up predictions, many labels wide."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models_registry.models import ModelVersion

LABELS = 15
PATIENTS = 4000
SITES = ("north", "south", "east")
PROTOCOL = """\
auscult_protocol: 1
name: long-report
title: Many labels by four attributes
intended_use: To time the writing of a long report.
suites: [fairness]
labels: [{labels}]
attributes:
  - {{name: sex, values: [F, M]}}
  - {{name: age_band, column: age, bands: [0, 50, 70], plausible: [0, 120]}}
  - {{name: view, values: [PA, AP]}}
  - {{name: site, values: [{sites}]}}
intersections: [[sex, age_band]]
criteria:
  - {{id: sex, metric: equal_opportunity_difference, attribute: sex, direction: at_most, margin: 0.10}}
  - {{id: age, metric: equal_opportunity_difference, attribute: age_band, direction: at_most, margin: 0.10}}
  - {{id: view, metric: equal_opportunity_difference, attribute: view, direction: at_most, margin: 0.10}}
  - {{id: site, metric: equal_opportunity_difference, attribute: site, direction: at_most, margin: 0.10}}
bootstrap: {{replicates: 500}}
seed: 1
"""
MOMENT = datetime(2026, 11, 22, 12, tzinfo=UTC).isoformat()


def write_predictions(path: Path, *, seed: int = 5) -> None:
    """Scores of 15 labels for 4,000 patients with one or two studies each."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(PATIENTS), rng.integers(1, 3, PATIENTS))
    n = len(patients)
    columns: dict[str, Any] = {
        "patient_id": patients.astype(str),
        "study_id": np.arange(n).astype(str),
        "sex": rng.choice(["F", "M"], PATIENTS)[patients],
        "age": rng.integers(18, 95, PATIENTS)[patients],
        "view": rng.choice(["PA", "AP"], n),
        "site": rng.choice(SITES, PATIENTS)[patients],
    }
    for number in range(LABELS):
        truth = rng.random(n) < 0.3
        score = 1 / (1 + np.exp(-(rng.normal(0, 1, n) + 2.2 * truth - 1.1)))
        columns[f"label.finding {number + 1}"] = truth.astype(int)
        columns[f"score.finding {number + 1}"] = score
    pd.DataFrame(columns).to_parquet(path)


def long_evidence(version: ModelVersion, cohort: Any, folder: Path) -> dict[str, Any]:
    """The evidence of an audit of this version, in the shape that an audit leaves; its numbers come from the engine."""
    from core.digests import sha256_json
    from evaluation.engine import Protocol, run_audit

    path = folder / "predictions.parquet"
    write_predictions(path)
    threshold = "{value: 0.5, source: fixed for this benchmark}"
    labels = ", ".join(f"{{name: finding {number + 1}, threshold: {threshold}}}" for number in range(LABELS))
    protocol = Protocol.from_yaml(PROTOCOL.format(labels=labels, sites=", ".join(SITES)))
    audit = run_audit(protocol=protocol, predictions=path)
    result = audit.assessment.to_dict()
    return {
        "schema": "auscult/evidence/1",
        "run": {
            "id": 1, "attempt": 1, "spec_digest": "0" * 64, "requested_by": "amir", "requested_at": MOMENT,
            "started_at": MOMENT, "finished_at": MOMENT,
        },
        "system": {
            "name": version.system.name, "slug": version.system.slug, "provider": version.system.provider,
            "intended_purpose": version.system.intended_purpose, "risk_class": version.system.risk_class,
        },
        "version": {
            "label": version.label, "adapter": version.adapter, "digest": version.digest, "manifest": version.manifest,
            "config": version.config, "notes": "", "source": "", "card": {}, "origins": [],
            "submitted_by": version.submitted_by.username, "submitted_at": MOMENT,
        },
        "cohort": {
            "name": cohort.cohort.name, "digest": cohort.digest, "n_studies": audit.cohort["n_studies"],
            "n_patients": audit.cohort["n_patients"], "simulated": False, "source": "", "licence": "", "summary": {},
        },
        "protocol": {
            "name": protocol.name, "title": protocol.title, "digest": protocol.digest, "body": protocol.to_dict(),
            "locked_by": "clara", "locked_at": MOMENT, "approved_by": "clara", "approved_at": MOMENT,
        },
        "execution": {"settings": {}, "environment": {}},
        "result": result,
        "result_digest": sha256_json(result),
    }  # fmt: skip
