"""Evidence documents as an audit leaves them: one that passes, one that fails, one that cannot tell."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from core.digests import sha256_bytes
from governance.reports.base import ReportContext
from tests.reports.dossiers import make_dossier

AS_OF = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
MARGIN = 0.1
LABELS = ("effusion", "pneumothorax")
GROUPS = {"sex": ("F", "M"), "age_band": ("under 40", "40 to 60", "over 60")}
TRUE_POSITIVE_RATES = {"F": 0.61, "M": 0.83, "under 40": 0.79, "40 to 60": 0.8, "over 60": 0.78}


def digest(name: str) -> str:
    return sha256_bytes(name.encode())


def measurement(**given: Any) -> dict[str, Any]:
    return {
        "suite": "fairness",
        "metric": "tpr",
        "metric_version": "1",
        "label": "effusion",
        "attribute": "sex",
        "group": "F",
        "value": 0.8,
        "reason": "",
        "low": 0.74,
        "high": 0.86,
        "level": 0.95,
        "n": 1204,
        "patients": 611,
        "method": "patient-cluster bootstrap",
        "seed": 7,
        "detail": {"judged": True, "effective_n": 803.1},
    } | given


def verdict(**given: Any) -> dict[str, Any]:
    return {
        "criterion": "equal-sensitivity",
        "metric": "equal_opportunity_difference",
        "label": "effusion",
        "attribute": "sex",
        "groups": ["F", "M"],
        "outcome": "pass",
        "primary": True,
        "direction": "at_most",
        "margin": MARGIN,
        "value": 0.03,
        "low": 0.01,
        "high": 0.06,
        "n": 604,
        "patients": 302,
        "p_value": 0.001,
        "p_adjusted": 0.004,
        "statement": "Passes: the sensitivity of effusion differs most between female patients and male patients: "
        ".78 vs .81, difference .03 (95% interval .01 to .06), 604 studies with the finding of 302 patients, "
        "margin .10.",
        "needed": "",
    } | given


def _measurements(outcome: str) -> list[dict[str, Any]]:
    rows = []
    for label in LABELS:
        rows.append(measurement(label=label, attribute="", group="All", value=0.79, low=0.77, high=0.81))
        for attribute, groups in GROUPS.items():
            for group in groups:
                value = TRUE_POSITIVE_RATES[group] if outcome == "fail" else 0.8
                rows.append(
                    measurement(
                        label=label,
                        attribute=attribute,
                        group=group,
                        value=value,
                        low=round(value - 0.04, 3),
                        high=round(value + 0.04, 3),
                    )
                )
            rows.append(_gap(label, attribute, groups, outcome))
            rows.append(
                measurement(
                    label=label,
                    attribute=attribute,
                    group="Unknown",
                    value=None,
                    low=None,
                    high=None,
                    n=None,
                    patients=None,
                    reason="suppressed: fewer than 11 patients",
                )
            )
    return rows


def _gap(label: str, attribute: str, groups: tuple[str, ...], outcome: str) -> dict[str, Any]:
    wide = outcome == "fail" and attribute == "sex"
    pair = {
        "groups": list(groups[:2]),
        "rate": "tpr",
        "value": -0.22 if wide else 0.03,
        "low": -0.28 if wide else 0.01,
        "high": -0.16 if wide else 0.06,
        "n": 1204,
        "patients": 611,
        "method": "patient-cluster bootstrap, max-|t|",
    }
    return measurement(
        metric="equal_opportunity_difference",
        label=label,
        attribute=attribute,
        group=" vs ".join(groups[1::-1] if wide else groups[:2]),
        value=abs(pair["value"]),
        low=0.16 if wide else 0.01,
        high=0.28 if wide else 0.06,
        detail={"rate": "tpr", "pairs": [pair], "pairs_compared": 1, "left_out": []},
    )


def _verdicts(outcome: str) -> list[dict[str, Any]]:
    rows = [
        verdict(label=label, attribute=attribute, groups=list(groups))
        for label in LABELS
        for attribute, groups in GROUPS.items()
    ]
    if outcome == "fail":
        rows[0] |= {
            "outcome": "fail",
            "value": -0.22,
            "low": -0.28,
            "high": -0.16,
            "p_value": 0.99,
            "p_adjusted": 1.0,
            "statement": "Fails: effusion is missed more often in female patients than in male patients: sensitivity "
            ".61 vs .83, difference -.22 (95% interval -.28 to -.16), 1,204 studies with the finding of 611 patients, "
            "margin .10.",
        }
    if outcome == "insufficient":
        rows[1] |= {
            "outcome": "insufficient",
            "value": None,
            "low": None,
            "high": None,
            "n": 14,
            "p_value": None,
            "p_adjusted": None,
            "groups": ["over 60"],
            "statement": "Insufficient evidence: the equal opportunity difference (sensitivity) of effusion across age "
            "band cannot be judged: too few patients over 60 with the finding.",
            "needed": "about 140 more studies with the finding in group over 60",
        }
    rows.append(verdict(criterion="explore-view", attribute="view", groups=["AP", "PA"], primary=False))
    return rows


RUN = {
    "id": 4,
    "attempt": 1,
    "spec_digest": digest("spec"),
    "requested_by": "amir",
    "requested_at": "2026-11-22T10:00:00+00:00",
    "started_at": "2026-11-22T10:00:04+00:00",
    "finished_at": "2026-11-22T10:02:31+00:00",
}
SYSTEM = {
    "name": "Reference multimodal chest model",
    "slug": "reference-chest",
    "provider": "Auscult reference implementation",
    "intended_purpose": "Helps radiologists to find pleural effusion and pneumothorax on chest X-rays of "
    "adults. It does not replace their reading.",
    "risk_class": "MDR class IIa; high-risk by Art. 6(1) (declared)",
}
DETAILS = {
    "architecture": "FusionModel: convolutional image encoder, text and series transformers, late fusion",
    "parameters": 1_043_204,
    "training": {"cohort_digest": digest("training"), "epochs": 6, "seconds": 71.2, "seed": 11},
    "preprocessing": {"image": "64 x 64 grey", "text": "hashed words, 128 at most"},
    "licence": "Apache-2.0",
}
PROTOCOL = {
    "name": "imaging-classifier-v1",
    "title": "Imaging classifier: equal sensitivity",
    "digest": digest("protocol"),
    "body": {
        "name": "imaging-classifier-v1",
        "labels": list(LABELS),
        "threshold": 0.5,
        "criteria": [
            {
                "id": "equal-sensitivity",
                "metric": "equal_opportunity_difference",
                "direction": "at_most",
                "margin": MARGIN,
            }
        ],
    },
    "locked_by": "amir",
    "locked_at": "2026-11-21T09:00:00+00:00",
    "approved_by": "clara",
    "approved_at": "2026-11-21T15:30:00+00:00",
}
EXECUTION = {
    "settings": {"batch_size": 64, "precision": "float32", "seed": 0},
    "shards": 8,
    "shards_from_cache": 0,
    "workers": ["gpu@ward"],
    "device": "cpu",
    "seconds": 147.0,
    "studies_per_second": 35.4,
    "environment": {
        "python": "3.11.2",
        "platform": "Linux-6.1-x86_64",
        "cpus": 2,
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
        "code": {"commit": "0" * 40, "changed": False},
    },
    "plugins": {
        "adapters": {"fusion": "models_registry.adapters.fusion.FusionFactory"},
        "suites": {},
    },
}


def make_evidence(
    outcome: str = "pass", *, simulated: bool = True, runs_weights: bool = True, **replaced: dict[str, Any]
) -> dict[str, Any]:
    """An evidence document. ``replaced`` updates its parts: ``system={"name": "X"}``."""
    evidence: dict[str, Any] = {
        "schema": "auscult/evidence/1",
        "run": deepcopy(RUN),
        "system": deepcopy(SYSTEM),
        "version": _version(outcome, runs_weights=runs_weights),
        "cohort": _cohort(simulated=simulated),
        "protocol": deepcopy(PROTOCOL),
        "execution": deepcopy(EXECUTION),
        "result": {
            "outcome": outcome,
            "measurements": _measurements(outcome),
            "verdicts": _verdicts(outcome),
            "notes": ["31 studies of 12 patients have no recorded sex and are shown as Unknown."],
            "cross_checks": [{"name": "fairlearn", "version": "0.15.0", "cells": 10, "largest_difference": 0.0}],
        },
        "result_digest": digest(f"result {outcome}"),
    }
    for part, body in replaced.items():
        evidence[part] |= body
    return evidence


def _version(outcome: str, *, runs_weights: bool) -> dict[str, Any]:
    return {
        "label": "1.0-biased" if outcome == "fail" else "1.1",
        "adapter": "fusion" if runs_weights else "recorded",
        "digest": digest(f"version {outcome}"),
        "manifest": {"config.json": digest("config"), "model.safetensors": digest(f"weights {outcome}")},
        "config": {
            "capabilities": ["classify"],
            "labels": list(LABELS),
            "modalities": ["image", "text.report", "series.crp", "age"] if runs_weights else [],
            "required": ["image"] if runs_weights else [],
            "runs_weights": runs_weights,
            "details": deepcopy(DETAILS) if runs_weights else {},
        },
        "submitted_by": "elena",
        "submitted_at": "2026-11-20T08:12:00+00:00",
        "notes": "",
    }


def _cohort(*, simulated: bool) -> dict[str, Any]:
    return {
        "name": "Held-out simulated chest cohort",
        "digest": digest("cohort"),
        "n_studies": 5210,
        "n_patients": 2000,
        "simulated": simulated,
        "source": "Patient simulator, seed 3" if simulated else "Expert-labelled chest X-rays",
        "licence": "Apache-2.0",
        "summary": SUMMARY,
    }


SUMMARY: dict[str, Any] = {
    "n_studies": 5210,
    "n_patients": 2000,
    "studies_per_patient": {"min": 1, "median": 3.0, "max": 4},
    "labels": {
        "effusion": {"n": 5210, "positive": 1204, "negative": 4006, "missing": 0},
        "pneumothorax": {"n": 5210, "positive": 402, "negative": 4808, "missing": 0},
    },
    "decisions": {},
    "scores": {},
    "attributes": {
        "sex": {"type": "text", "missing": 31, "distinct": 2, "values": {"F": 2590, "M": 2589}},
        "scanner": {
            "type": "text",
            "missing": 0,
            "distinct": 3,
            "values": {"A": 4000, "B": 1203, "C": "<11"},
        },
        "age": {"type": "integer", "missing": 0, "min": 18, "median": 58.0, "max": 93},
    },
    "modalities": {"image": 1.0, "text.report": 0.9113},
    "splits": {},
    "columns": {"sex": "Patient Sex"},
}


def make_context(
    decision: str | None = "rejected",
    *,
    evidence: dict[str, Any] | None = None,
    language: str = "en",
    documents: dict[str, dict[str, Any]] | None = None,
    **replaced: Any,
) -> ReportContext:
    """A context for a report about some evidence; ``decision`` is the status of the review, None for no review."""
    told = make_evidence("fail") if evidence is None else evidence
    reviews = [make_review(decision)] if decision else []
    return ReportContext(
        as_of=AS_OF,
        issued_by="clara",
        dossier=make_dossier(told, reviews=reviews, **replaced),
        language=language,
        documents=documents or {},
    )


def make_review(
    status: str, rationale: str = "Women are underdiagnosed; the difference is twice the limit."
) -> dict[str, Any]:
    """A review of run 4 as it stands in a dossier."""
    choice = "approve" if status == "approved" else "reject"
    votes = [
        {"voter": voter, "choice": choice, "rationale": rationale, "cast_at": f"2026-11-22T12:{minute:02}:00+00:00"}
        for voter, minute in (("mina", 4), ("tom", 31))
    ]
    return {
        "id": 2,
        "run": 4,
        "status": status,
        "quorum": 2,
        "opened_by": "clara",
        "opened_at": "2026-11-22T11:00:00+00:00",
        "closed_at": None if status == "open" else "2026-11-22T12:31:00+00:00",
        "excluded": ["elena", "amir", "clara"],
        "votes": [] if status == "open" else votes,
    }


@pytest.fixture
def evidence() -> dict[str, Any]:
    return make_evidence("fail")


@pytest.fixture
def context() -> ReportContext:
    return make_context()
