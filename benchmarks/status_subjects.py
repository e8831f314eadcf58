"""A database to work out the statuses of a version in: years of audits of one system, answers, statements."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from core.digests import sha256_bytes, sha256_json
from core.models import User
from evaluation.models import AuditRun, Measurement, Protocol, RunStatus, Verdict
from governance.dossier import gather_dossier
from governance.models import Answer, Statement
from governance.questions import load_questions
from governance.requirements import load_requirements
from governance.standing.bindings import binding_of
from models_registry.models import AISystem, Cohort, CohortVersion, ModelVersion, VersionStatus

START = datetime(2024, 1, 1, tzinfo=UTC)
VERDICTS = 40
"""Verdicts of each run: some 10 criteria on 4 labels."""
BATCH = 50_000
ANSWERS: dict[str, object] = {
    "research_only": False,
    "in_house": False,
    "role": "both",
    "data_role": "both",
    "device_law": "mdr",
    "mdr_class": "IIa",
    "annex_i_section": "A",
    "art_25_changes": ["none"],
    **{f"art5_{limb}": False for limb in ("a", "b", "c", "d", "e", "f", "g", "h", "ba", "bb")},
}
"""Answers that keep the duties from falling away; every other question is answered with yes."""


def fill_status_database(
    *, measurements: int = 1_000_000, per_run: int = 2_000, versions: int = 10, statements: bool = True
) -> ModelVersion:
    """Put a system with its audits into an empty, migrated database; the newest version is returned.

    Args:
        measurements: Rows of measurements in all.
        per_run: Rows of each run; the runs are shared out among the versions, each on a cohort of its own.
        statements: Whether each requirement has an accepted statement about the newest version.
    """
    with transaction.atomic():
        people = [User.objects.create(username=name) for name in ("elena", "amir", "clara")]
        rows = _versions(people[0], versions)
        runs = _runs(rows, people, count=max(1, measurements // per_run))
        _add_measurements(runs, measurements)
        _add_verdicts(runs)
        _answer_all(rows[-1].system, people[0])
        if statements:
            _state_all(rows[-1], people)
    return rows[-1]


def _versions(by: User, count: int) -> list[ModelVersion]:
    system = AISystem.objects.create(
        name="Chest model", slug="chest-model", intended_purpose="Finds effusion.", provider="ACME", created_by=by
    )
    rows = []
    for number in range(count):
        manifest = {"model.safetensors": sha256_bytes(str(number).encode())}
        version = ModelVersion.objects.create(
            system=system,
            label=f"1.{number}",
            adapter="fusion",
            digest=sha256_json(manifest),
            manifest=manifest,
            config={"runs_weights": True, "modalities": ["image"], "details": {"architecture": "late fusion"}},
            status=VersionStatus.IN_AUDIT,
            submitted_by=by,
        )
        moment = START + timedelta(days=30 * number)
        ModelVersion.objects.filter(pk=version.pk).update(submitted_at=moment)
        rows.append(version)
    return rows


def _runs(versions: list[ModelVersion], people: list[User], *, count: int) -> list[AuditRun]:
    """Runs by one protocol, in turn about each version, a new cohort every round."""
    elena, amir, clara = people
    criteria = [{"id": f"c{number}", "metric": "equal_opportunity_difference", "primary": True} for number in range(10)]
    protocol = Protocol.objects.create(
        name="imaging-classifier-v1",
        title="Imaging classifier",
        digest=sha256_json(criteria),
        source="",
        body={"suites": ["fairness"], "criteria": criteria},
        status=Protocol.Status.APPROVED,
        locked_by=amir,
        approved_by=clara,
        approved_at=START,
    )
    family = Cohort.objects.create(name="Held out", slug="held-out", created_by=amir)
    cohorts = [_cohort(family, amir, number) for number in range(-(-count // len(versions)))]
    runs = [
        AuditRun(
            version=versions[number % len(versions)],
            cohort=cohorts[number // len(versions)],
            protocol=protocol,
            spec_digest=sha256_bytes(f"spec {number}".encode()),
            settings={"batch_size": 64},
            status=RunStatus.DONE,
            outcome="pass",
            n_studies=5_000,
            version_submitted_by=elena,
            protocol_approved_by=clara,
            requested_by=amir,
            finished_at=START + timedelta(hours=number),
            evidence_digest=sha256_bytes(f"evidence {number}".encode()),
        )
        for number in range(count)
    ]
    return AuditRun.objects.bulk_create(runs)


def _cohort(family: Cohort, by: User, number: int) -> CohortVersion:
    return CohortVersion.objects.create(
        cohort=family,
        digest=sha256_bytes(f"cohort {number}".encode()),
        n_studies=5_000,
        n_patients=2_000,
        summary={},
        registered_by=by,
    )


def _add_measurements(runs: list[AuditRun], count: int) -> None:
    """Rows by ``executemany``: an object for each would take longer than everything else."""
    numbers = ("value", "low", "high", "n", "patients")
    columns = ("run_id", "position", "suite", "metric", "label", "attribute", "group", *numbers, "reason", "detail")
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {Measurement._meta.db_table} ({names}) VALUES ({places})"  # noqa: S608 no input in it
    detail = json.dumps({"judged": True, "effective_n": 803.1})
    with connection.cursor() as cursor:
        for start in range(0, count, BATCH):
            rows = [
                (
                    runs[number % len(runs)].pk,
                    number // len(runs),
                    "fairness",
                    "tpr",
                    f"label {number % 14}",
                    "sex",
                    "F",
                    0.8,
                    0.7,
                    0.9,
                    500,
                    300,
                    "",
                    detail,
                )
                for number in range(start, min(start + BATCH, count))
            ]
            cursor.executemany(statement, rows)


def _add_verdicts(runs: list[AuditRun]) -> None:
    rows = (
        Verdict(
            run=run,
            position=position,
            criterion=f"c{position % 10}",
            label=f"label {position // 10}",
            attribute="sex",
            outcome="pass",
            statement="Passes.",
            detail=_verdict(position),
        )
        for run in runs
        for position in range(VERDICTS)
    )
    Verdict.objects.bulk_create(rows, batch_size=5_000)


def _verdict(position: int) -> dict[str, Any]:
    return {
        "criterion": f"c{position % 10}",
        "metric": "equal_opportunity_difference",
        "attribute": "sex",
        "groups": ["F", "M"],
        "outcome": "pass",
        "value": 0.03,
        "low": 0.01,
        "high": 0.06,
        "n": 500,
    }


def _answer_all(system: AISystem, by: User) -> None:
    """An answer to every question, by which most requirements apply."""
    rows = []
    for question in load_questions():
        options = [option.key for option in question.options if option.key != "none"]
        value = {"yes_no": True, "choice": options[-1:] and options[-1], "several": options or ["Site A"]}
        told = ANSWERS.get(question.key, value.get(question.kind, "2025-01-10"))
        rows.append(Answer(system=system, question=question.key, value=told, author=by, reason="Known."))
    Answer.objects.bulk_create(rows)


def _state_all(version: ModelVersion, people: list[User]) -> None:
    elena, _amir, clara = people
    dossier = gather_dossier(version)
    rows = [
        Statement(
            version=version,
            requirement=item.id,
            revision=1,
            fields={one.name: f"{one.name} in words" for one in item.required_fields},
            text="As described in the technical file. " * 20,
            status=Statement.Status.ACCEPTED,
            binding=binding_of(dossier, item),
            author=elena,
            decided_by=clara,
            decided_at=START,
        )
        for item in load_requirements().requirements
    ]
    Statement.objects.bulk_create(rows)
