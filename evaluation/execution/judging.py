"""The last step of a run: merge the sketches, measure, judge, and keep the evidence."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, TransientError
from evaluation.engine import Assessment, AuditSketch, assess
from evaluation.engine import Protocol as Rules
from evaluation.engine.runner import check_contents, merge_all
from evaluation.execution.evidence import build_evidence
from evaluation.models import AuditRun, Measurement, RunStatus, Verdict
from evaluation.services.runs import move_run
from models_registry import leases
from models_registry.services.versions import model_store


def judge(run_id: int) -> None:
    """Judge a run whose shares are all done. Delivered twice, it judges once."""
    token = uuid.uuid4().hex
    free = Q(judge_token="") | Q(judge_expires__lt=timezone.now())
    expires = timezone.now() + timedelta(seconds=settings.AUSCULT_LEASE_SECONDS * 5)
    if not AuditRun.objects.filter(free, pk=run_id, status=RunStatus.JUDGING).update(
        judge_token=token, judge_expires=expires
    ):
        return
    run = AuditRun.objects.select_related(
        "version__system",
        "version__submitted_by",
        "cohort__cohort",
        "protocol__locked_by",
        "protocol__approved_by",
        "requested_by",
    ).get(pk=run_id)
    try:
        _settle(run, token, _assess(run))
    except TransientError:
        AuditRun.objects.filter(pk=run_id, judge_token=token).update(judge_token="", judge_expires=None)
        raise
    except AuscultError as error:
        _fail(run, token, str(error))
        return
    except Exception as error:
        _fail(run, token, leases.unexpected(error))
        raise


def _assess(run: AuditRun) -> Assessment:
    store = model_store()
    digests = run.shards.order_by("index").values_list("sketch_digest", flat=True)
    rules = Rules.from_dict(run.protocol.body)
    merged = merge_all(AuditSketch.from_bytes(store.get_bytes(digest)) for digest in digests)
    check_contents(rules, merged, file=run.cohort.cohort.name)
    return assess(rules, merged)


def _fail(run: AuditRun, token: str, error: str) -> None:
    if AuditRun.objects.filter(pk=run.pk, judge_token=token).exists():
        move_run(
            run.pk,
            to=RunStatus.FAILED,
            error=error,
            finished_at=timezone.now(),
            judge_token="",
            judge_expires=None,
        )


def _settle(run: AuditRun, token: str, assessment: Assessment) -> None:
    """Keep the evidence in the store, then make the run done. What the store holds without a run does no harm."""
    run.finished_at = timezone.now()
    evidence = build_evidence(run, assessment.to_dict())
    _write(run, token, evidence, digest=model_store().put_json(evidence))


@transaction.atomic
def _write(run: AuditRun, token: str, evidence: dict[str, Any], *, digest: str) -> None:
    """Everything that makes a run done, in one transaction."""
    result = evidence["result"]
    moved = AuditRun.objects.filter(pk=run.pk, status=RunStatus.JUDGING, judge_token=token).update(
        status=RunStatus.DONE,
        outcome=result["outcome"],
        finished_at=run.finished_at,
        result_digest=evidence["result_digest"],
        evidence_digest=digest,
        judge_token="",
        judge_expires=None,
    )
    if not moved:
        return
    Measurement.objects.bulk_create(_measurements(run, result["measurements"]), batch_size=500)
    Verdict.objects.bulk_create(_verdicts(run, result["verdicts"]), batch_size=500)
    ledger.record(
        actor="system",
        act="run.judged",
        subject=("AuditRun", run.pk),
        payload={"outcome": result["outcome"], "evidence": digest, "result": evidence["result_digest"]},
    )


MEASURED = (
    "suite",
    "metric",
    "label",
    "attribute",
    "group",
    "value",
    "low",
    "high",
    "n",
    "patients",
    "reason",
)
JUDGED = ("criterion", "label", "attribute", "outcome", "primary", "statement")


def _measurements(run: AuditRun, items: list[dict[str, Any]]) -> list[Measurement]:
    return [
        Measurement(run=run, position=position, detail=item, **{name: item[name] for name in MEASURED})
        for position, item in enumerate(items)
    ]


def _verdicts(run: AuditRun, items: list[dict[str, Any]]) -> list[Verdict]:
    return [
        Verdict(run=run, position=position, detail=item, **{name: item[name] for name in JUDGED})
        for position, item in enumerate(items)
    ]
