"""A small hospital for tests: people, a cohort on disk, a prediction log, rules, and what the database holds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from django.apps import apps
from django.conf import settings
from django.utils import timezone

from core.models import LedgerEntry, Role, RoleGrant, User
from evaluation.engine import Protocol as Rules
from evaluation.models import Protocol
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.models import AISystem, Cohort, CohortVersion, ModelVersion
from models_registry.services.versions import model_store

ROLES = {
    "elena": Role.ML_ENGINEER,
    "amir": Role.AUDITOR,
    "boris": Role.AUDITOR,
    "clara": Role.COMMITTEE_CHAIR,
    "mina": Role.COMMITTEE_MEMBER,
    "lea": Role.CLINICIAN_LEAD,
    "dora": Role.DPO,
    "rita": Role.REGULATOR,
    "ada": Role.ADMINISTRATOR,
    "nobody": None,
}
PATIENTS, SHARDS = 240, 4
RULES = """
auscult_protocol: 1
name: sex-gap
title: Findings are missed equally often in women and men
labels: [{name: effusion}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: sex-tpr, title: Equal sensitivity, metric: equal_opportunity_difference, attribute: sex,
     direction: at_most, margin: 0.10}
minimum: {cell: 5, rate_denominator: 20}
bootstrap: {replicates: 200}
"""


def make_people() -> SimpleNamespace:
    """One person for each role, two auditors, and one without any role."""
    people = {}
    for name, role in ROLES.items():
        people[name] = User.objects.create(username=name, first_name=name.capitalize(), last_name="Example")
        if role:
            RoleGrant.objects.create(user=people[name], role=role)
    return SimpleNamespace(**people)


def without(role_holders: str) -> list[str]:
    """Everybody but these."""
    return sorted(set(ROLES) - set(role_holders.split()))


@dataclass(frozen=True, kw_only=True)
class Files:
    """A cohort file, the same as a registered folder of several shards, and a model's recorded answers on it."""

    cohort: Path
    shards: Path
    predictions: Path
    frame: pd.DataFrame


def write_files(folder: Path, monkeypatch: Any) -> Files:
    """Two studies of each patient; the recorded model misses a finding more often in women."""
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(PATIENTS), 2)
    sex = np.where(patients % 2 == 0, "F", "M")
    truth = (rng.random(len(patients)) < 0.5).astype(int)
    hit = np.where(sex == "F", 0.45, 0.95)
    answer = (rng.random(len(patients)) < np.where(truth == 1, hit, 0.1)).astype(int)
    frame = pd.DataFrame(
        {
            "patient_id": [f"p{number:03}" for number in patients],
            "study_id": [f"s{number:04}" for number in range(len(patients))],
            "sex": sex,
            "age": rng.integers(20, 90, len(patients)),
            "label.effusion": truth,
            "pred.effusion": answer,
        }
    )
    log = folder / "log"
    log.mkdir()
    # The log is in another order than the cohort, as logs are.
    frame[["study_id", "pred.effusion"]].iloc[::-1].to_parquet(log / "predictions.parquet", index=False)
    cohort = folder / "cohort.parquet"
    frame.drop(columns="pred.effusion").to_parquet(cohort, index=False)
    monkeypatch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD", len(frame) // SHARDS)
    convert_cohort(cohort, mapping=None, destination=folder / "shards")
    return Files(cohort=cohort, shards=folder / "shards", predictions=log, frame=frame)


def make_system(people: SimpleNamespace, name: str = "Chest model") -> AISystem:
    return AISystem.objects.create(
        name=name, slug=name.lower().replace(" ", "-"), intended_purpose="Finds effusion.", created_by=people.elena
    )


def make_version(people: SimpleNamespace, folder: Path, label: str = "1.0", **changes: Any) -> ModelVersion:
    """A recorded model in the store and in the registry, without asking the services."""
    system = changes.pop("system", None) or AISystem.objects.first() or make_system(people)
    digest, manifest = model_store().put_folder(folder)
    return ModelVersion.objects.create(
        system=system,
        label=label,
        adapter="recorded",
        digest=digest,
        manifest=manifest,
        config=ADAPTERS.get("recorded").inspect(folder).to_dict(),
        **{"submitted_by": people.elena} | changes,
    )


def make_cohort(people: SimpleNamespace, shards: Path, name: str = "Held out") -> CohortVersion:
    digest, _ = model_store().put_folder(shards)
    manifest = open_cohort(shards).manifest
    cohort = Cohort.objects.create(name=name, slug=name.lower().replace(" ", "-"), created_by=people.elena)
    return CohortVersion.objects.create(
        cohort=cohort,
        digest=digest,
        n_studies=manifest.n_studies,
        n_patients=manifest.n_patients,
        summary=manifest.summary,
        registered_by=people.elena,
    )


def make_protocol(people: SimpleNamespace, source: str = RULES, **changes: Any) -> Protocol:
    """Rules that the chair approved, unless told otherwise."""
    rules = Rules.from_yaml(source)
    facts: dict[str, Any] = {
        "status": Protocol.Status.APPROVED,
        "locked_by": people.clara,
        "approved_by": people.clara,
        "approved_at": timezone.now(),
    }
    return Protocol.objects.create(
        name=rules.name, title=rules.title, digest=rules.digest, source=source, body=rules.to_dict(), **facts | changes
    )


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the house."""
    ours = {"core", "models_registry", "evaluation", "synthetic", "governance"}
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models()
        if model._meta.app_label in ours
    }


def acts() -> list[str]:
    """The acts in the ledger, oldest first."""
    return list(LedgerEntry.objects.order_by("index").values_list("act", flat=True))


def copy_into_home(folder: Path, name: str) -> Path:
    """A copy that a test may spoil, where services may read it."""
    return Path(shutil.copytree(folder, settings.AUSCULT_HOME / "sources" / name))
