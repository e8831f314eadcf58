"""The last steps of a run: merge the sketches, measure, judge, keep the evidence; then work out advice."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, TransientError
from evaluation.engine import Assessment, AuditSketch, advise
from evaluation.engine import Protocol as Rules
from evaluation.engine import Verdict as Judged
from evaluation.engine.runner import check_contents, merge_all
from evaluation.engine.sketch import measured_suites
from evaluation.execution.evidence import build_evidence
from evaluation.execution.monitored import tell_monitor
from evaluation.execution.watching import assess_run, is_watched
from evaluation.models import AuditRun, Measurement, Outcome, RunStatus, Verdict
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


def work_out_advice(run_id: int) -> None:
    """What could reduce the gaps that a judged run failed by. It comes after the verdicts, which do not rest on it.

    Advice is a function of protocol and sketches, so that a task delivered twice writes the same.
    """
    run = AuditRun.objects.select_related("protocol").filter(pk=run_id, status=RunStatus.DONE, advice_digest="").first()
    if run is None:
        return
    verdicts = [Judged.from_dict(item) for item in run.verdicts.order_by("position").values_list("detail", flat=True)]
    rules = Rules.from_dict(run.protocol.body)
    suites = measured_suites(rules, watched=is_watched(run, rules))
    found = advise(rules, merged_sketch(run), verdicts, suites=suites)
    body = {"schema": "auscult/advice/1", "result": run.result_digest, "advice": [item.to_dict() for item in found]}
    digest = model_store().put_json(body)
    with transaction.atomic():
        if AuditRun.objects.filter(pk=run.pk, advice_digest="").update(advice_digest=digest):
            payload = {"advice": digest, "result": run.result_digest}
            ledger.record(actor="system", act="run.advised", subject=("AuditRun", run.pk), payload=payload)


def runs_without_advice() -> QuerySet[AuditRun]:
    """Judged runs with a verdict that failed, whose advice is not worked out."""
    failed = Verdict.objects.filter(run=OuterRef("pk"), outcome=Outcome.FAIL)
    return AuditRun.objects.filter(Exists(failed), status=RunStatus.DONE, advice_digest="")


def _assess(run: AuditRun) -> Assessment:
    rules, merged = Rules.from_dict(run.protocol.body), merged_sketch(run)
    check_contents(rules, merged, file=run.cohort.cohort.name)
    return assess_run(rules, merged, frame=run.frame_digest, reference=run.reference_digest)


def merged_sketch(run: AuditRun) -> AuditSketch:
    """The sketches of a run whose shares are all done, merged."""
    store = model_store()
    digests = run.shards.order_by("index").values_list("sketch_digest", flat=True)
    return merge_all(AuditSketch.from_bytes(store.get_bytes(digest)) for digest in digests)


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
        tell_monitor(run.pk)


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
    store_rows(run, result)
    ledger.record(
        actor="system",
        act="run.judged",
        subject=("AuditRun", run.pk),
        payload={"outcome": result["outcome"], "evidence": digest, "result": evidence["result_digest"]},
    )
    tell_monitor(run.pk)
    if any(item["outcome"] == Outcome.FAIL for item in result["verdicts"]):
        from evaluation import tasks

        tasks.advise.delay_on_commit(run.pk)


def store_rows(run: AuditRun, result: dict[str, Any]) -> None:
    """Write the measurements and verdicts of a result as rows of the run, for pages to ask."""
    Measurement.objects.bulk_create(_measurements(run, result["measurements"]), batch_size=500)
    Verdict.objects.bulk_create(_verdicts(run, result["verdicts"]), batch_size=500)


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
