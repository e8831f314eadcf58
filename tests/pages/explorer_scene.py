"""A finished audit of a model that writes reports, made by the services and a worker's own code, to be explored.

The model invents a pneumothorax in women, leaves effusions out, swaps sides, and writes a script into one report.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from django.conf import settings
from django.utils import timezone

from core.models import Role, RoleGrant, User
from evaluation import execution
from evaluation.engine import Protocol as Rules
from evaluation.engine.questions import write_questions
from evaluation.models import AuditRun, Protocol
from evaluation.services.runs import request_audit
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.models import Cohort, CohortVersion, ModelVersion
from tests.pages import scene

RULES = """
auscult_protocol: 1
name: reports-explored
title: Reports say what is there
suites: [hallucination]
labels: []
reports:
  findings: ["*"]
  numbers: [{analyte: crp, series: crp, unit: mg/L, low: 0, high: 5}]
probing: {findings: [effusion, cardiomegaly, pneumothorax], kinds: [random, false_premise], studies: 80, per_study: 1}
perturbation: {of: answers, kinds: [blank, paraphrase], studies: 80}
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: chair, metric: chair_i, direction: at_most, margin: 0.05}
  - {id: chair-sex, metric: chair_i_difference, attribute: sex, direction: at_most, margin: 0.10}
  - {id: omission, metric: omission, direction: at_most, margin: 0.10}
  - {id: yes-bias, metric: pope_f1_random, direction: at_least, margin: 0.90}
minimum: {cell: 5, rate_denominator: 20}
"""
SCRIPT = "<script>alert('report')</script>"
STUDIES = 80


def reader(username: str = "lea") -> User:
    """Somebody of the house who may read patient-level content, too."""
    person = scene.person(username)
    RoleGrant.objects.get_or_create(user=person, role=Role.PATIENT_READER)
    return person


def frame(folder: Path) -> pd.DataFrame:
    """One study of each patient, with image, values, the expert's report and the model's."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(number, folder) for number in range(STUDIES)]
    return pd.DataFrame(rows)


def planted() -> dict[str, set[str]]:
    """Identifiers of the studies in which something was planted, by what :func:`_row` does."""

    def those(chosen: Callable[[int], bool]) -> set[str]:
        return {f"s{number:03}" for number in range(STUDIES) if chosen(number)}

    return {
        "all": those(lambda number: True),
        "men": those(lambda number: number % 2 == 1),
        "denied": those(lambda number: number % 3 == 0 and number % 2 == 1),
        "other side": those(lambda number: number % 6 == 0),
        "wrong crp": those(lambda number: number % 6 == 0),
        "invented": those(lambda number: number % 4 == 0),
    }


def _row(number: int, folder: Path) -> dict[str, Any]:
    sex = "FM"[number % 2]
    effusion, enlarged = number % 3 == 0, number % 5 == 0
    crp = float(20 + number)
    (folder / f"s{number:03}.png").write_bytes(_picture(number))
    reference = " ".join([
        "Small right pleural effusion." if effusion else "No pleural effusion.",
        "The heart is enlarged." if enlarged else "The heart is of normal size.",
        "No pneumothorax.",
        "Possible consolidation at the left base." if number % 7 == 0 else "No consolidation.",
    ])  # fmt: skip
    said = ["No pleural effusion." if effusion and number % 2 else "Small right pleural effusion." if effusion else ""]
    said.append("The heart is enlarged." if enlarged else "The heart is of normal size.")
    said.append("Large pneumothorax on the left." if sex == "F" and number % 4 == 0 else "No pneumothorax.")
    if number % 6 == 0:
        said[0] = said[0].replace("right", "left")
        said.append(f"CRP {crp * 3:.0f} mg/L.")
    elif number % 6 == 1:
        said.append(f"CRP {crp:.0f} mg/L.")
    if number == 4:
        said.append(f"{SCRIPT} Pulmonary oedema.")
    return {
        "patient_id": f"p{number:03}",
        "study_id": f"s{number:03}",
        "sex": sex,
        "age": 40 + number % 40,
        "image": f"s{number:03}.png",
        "series.crp": json.dumps([[0, crp / 2], [6, crp], [12, crp * 1.2]]),
        "text.indication": "Cough and fever.",
        "text.reference": reference,
        "text.generated": " ".join(part for part in said if part),
    }


def _picture(number: int) -> bytes:
    from PIL import Image

    across, down = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 96))
    lungs = np.exp(-((np.abs(across) - 0.45) ** 2 / 0.05 + down**2 / 0.35))
    pixels = np.clip(210 - 150 * lungs + 3 * (number % 9), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def explored(folder: Path, *, source: str = RULES) -> AuditRun:
    """The audit, done. No message reaches a broker: the shares are worked on here."""
    made = frame(folder / "files")
    log = folder / "log"
    log.mkdir()
    made[["study_id", "text.generated"]].to_parquet(log / "predictions.parquet", index=False)
    made.drop(columns="text.generated").to_csv(folder / "files" / "cohort.csv", index=False)
    answered(Rules.from_yaml(source), folder / "files" / "cohort.csv", log / "answers.parquet")
    convert_cohort(folder / "files" / "cohort.csv", mapping=None, destination=folder / "shards")
    run = request_audit(version=_version(log), cohort=_cohort(folder / "shards"), protocol=_rules(source),
                        by=scene.person("amir"))  # fmt: skip
    for shard in run.shards.all():
        execution.execute_shard(shard.pk)
    execution.judge(run.pk)
    return AuditRun.objects.get(pk=run.pk)


def answered(rules: Rules, cohort: Path, file: Path) -> None:
    """The questions of the audit with the answers of a model that affirms every pneumothorax, shown or not."""
    if rules.probing is None:
        return
    write_questions(rules, cohort, file)
    asked = pd.read_parquet(file)
    asked["text"] = np.where(asked["question"].str.contains("pneumothorax"), "Yes.", "No.")
    asked.loc[asked["question"].str.contains("size|large", regex=True), "text"] = "I cannot tell."
    asked["truncated"] = False
    asked.to_parquet(file, index=False)


def _version(log: Path) -> ModelVersion:
    digest, manifest = scene.store().put_folder(log)
    return ModelVersion.objects.create(
        system=scene.system("Report writer"),
        label="0.1",
        adapter="recorded",
        digest=digest,
        manifest=manifest,
        config=ADAPTERS.get("recorded").inspect(log).to_dict(),
        status="submitted",
        submitted_by=scene.person("elena"),
    )


def _cohort(shards: Path) -> CohortVersion:
    manifest = open_cohort(shards).manifest
    parent, _ = Cohort.objects.get_or_create(
        slug="written-reports",
        defaults={"name": "Written reports", "simulated": True, "created_by": scene.person("elena")},
    )
    return CohortVersion.objects.create(
        cohort=parent,
        digest=scene.store().put_folder(shards)[0],
        n_studies=manifest.n_studies,
        n_patients=manifest.n_patients,
        summary=manifest.summary,
        registered_by=scene.person("elena"),
    )


def _rules(source: str) -> Protocol:
    rules = Rules.from_yaml(source)
    return Protocol.objects.create(
        name=rules.name,
        title=rules.title,
        digest=rules.digest,
        source=source,
        body=rules.to_dict(),
        status="approved",
        locked_by=scene.person("clara"),
        approved_by=scene.person("clara"),
        approved_at=timezone.now(),
    )


def fill() -> None:
    """For a web server of its own: the people, the audit, and Léa, who may read patient-level content."""
    for username in scene.PEOPLE:
        scene.person(username)
    reader()
    explored(settings.AUSCULT_HOME / "made")
