"""A few synthetic patients with every modality, the facts of their release, and a key to sign it with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from governance.bundle.build import sign as bundle_sign
from governance.bundle.layout import STATEMENT_TYPE
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies
from synthetic.release import (
    AttackFact,
    CohortFact,
    DecisionFact,
    GateFact,
    GeneratorFact,
    ReleaseFacts,
    SourceFact,
    Suppressed,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DIGEST = {name: f"{number:x}" * 64 for number, name in enumerate(("generator", "source", "cohort", "evidence"), 10)}
REPORT = '=HYPERLINK("https://x") Small left pleural effusion,\nno pneumothorax. Übersicht "gut".'
"""A report that a spreadsheet would run, of two lines, with a quotation mark and letters beyond ASCII."""
UNITS = {"crp": "mg/L"}


def signer(payload: bytes) -> Mapping[str, Any]:
    """Signs as bundles are signed."""
    envelope: Mapping[str, Any] = json.loads(bundle_sign(STATEMENT_TYPE, payload, KEY))
    return envelope


@cache
def studies_of(patients: int = 3) -> LinkedStudies:
    """Patients with two studies each, 400 days apart; the last study has neither image nor report nor series."""
    n = 2 * patients
    rng = np.random.default_rng(5)
    keys = [f"SYN-abcdef12-7-P{row // 2 + 1:06d}" for row in range(n)]
    present = np.array([[1, 0], [0, 0], [1, 1]] * n, dtype=np.int8)[:n]
    present[1, 1] = -1
    plans = Plans.empty(("effusion", "odd label"), n)
    plans.present[:] = present
    plans.side[:, 0] = np.where(present[:, 0] == 1, 0, -1)
    readings = [np.array([[-30.5, 8.25], [-2.0, 12.0 + row]]) for row in range(n)]
    times = np.datetime64("2024-02-29T10:00:00", "s") + np.arange(n) % 2 * np.timedelta64(400, "D")
    has = np.arange(n) < n - 1
    return LinkedStudies(
        patient_ids=np.array(keys, dtype=object),
        study_ids=np.array([f"{key}-{row % 2 + 1}" for row, key in enumerate(keys)], dtype=object),
        times=times,
        attributes={
            "sex": np.array(["F", "F", "M", "M", None, None] * n, dtype=object)[:n],
            "age": np.array([60, 61, 70, 71, 0, 1] * n, dtype=object)[:n],
            "race": np.array(["B", "B"] * n, dtype=object)[:n],
            "@site": np.array(["-1+1", "hill"] * n, dtype=object)[:n],
        },
        labels={"effusion": present[:, 0], "odd label": present[:, 1]},
        plans=plans,
        series={"crp": [item if there else None for item, there in zip(readings, has, strict=True)]},
        texts={
            "reference": np.array([REPORT if there else None for there in has], dtype=object),
            "indication": np.array(["Cough." if there else None for there in has], dtype=object),
        },
        images=(rng.integers(0, 256, (n, 9, 9)) * has[:, None, None]).astype(np.uint8),
        has_image=has,
        units={},
    )


def bare(studies: LinkedStudies) -> LinkedStudies:
    """Without image, series, text and time."""
    n = len(studies)
    return replace(
        studies, images=None, has_image=np.zeros(n, dtype=np.bool_), series={}, texts={},
        times=np.full(n, np.datetime64("NaT", "s")),
    )  # fmt: skip


def facts(**changes: Any) -> ReleaseFacts:
    gate = GateFact(
        criterion="c2st", outcome="pass", says="Real and synthetic can hardly be told apart.", value=0.58, low=0.55,
        high=0.61, margin="at most 0.65", n=600, counted="patients", null=0.5,
    )  # fmt: skip
    attack = replace(
        gate, criterion="membership", value=0.52, low=0.49, high=0.55, margin="at most 0.60", counted="attacks"
    )
    made: dict[str, Any] = {
        "name": "Harbour chest | 1", "date": "2026-11-23", "publisher": "Harbour hospital",
        "contact": "data@harbour.example", "licence": "CC-BY-4.0", "purpose": "Teaching & trying software.",
        "generator": GeneratorFact(name="linked", digest=DIGEST["generator"], settings={"seed": 7, "epochs": 3},
                                   parts={"tables": "copula"}, left_out={"series": "too few readings"}),
        "source": SourceFact(name="Harbour 2020", digest=DIGEST["source"], patients=4127, studies=9056,
                             shares={"learning": 3127, "held out": 1000}),
        "cohort": CohortFact(name="Harbour synthetic", digest=DIGEST["cohort"]),
        "evidence": DIGEST["evidence"], "protocol": "e" * 64,
        "decision": DecisionFact(outcome="released", by="dora", office="data protection officer",
                                 at="2026-11-23T09:00:00Z", reason="All gates hold.", conditions=("No resale.",)),
        "gates": (gate,),
        "attacks": (AttackFact(name="DOMIAS", asks="Was this person among those learnt from?", gate=attack,
                               criterion="singling out"),),
        "suppressed": (Suppressed(column="site", reason="values held by too few patients"),),
        "flags": {"image_unresolved": 0.043}, "limits": ("Small nodules are rarely visible.",),
        "intended": ("Teaching.",), "units": UNITS,
    }  # fmt: skip
    return ReleaseFacts(**(made | changes))
