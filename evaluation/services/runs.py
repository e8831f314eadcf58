"""Requesting, cancelling and resuming audits."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from core import ledger
from core.digests import sha256_json
from core.errors import AdapterError, ConflictError
from core.models import User
from core.reach import service
from evaluation.access import check_may_request_audit, check_may_steer_run
from evaluation.engine import Protocol as Rules
from evaluation.engine.columns import check_columns
from evaluation.engine.sketch import measured_suites
from evaluation.execution.computed import check_predicts, computer_of
from evaluation.models import AuditRun, Protocol, RunStatus, Shard, ShardStatus
from evaluation.selectors import check_not_of_neighbours
from models_registry.adapters.base import InferenceSettings
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.models import CohortVersion, ModelVersion, VersionStatus
from models_registry.services.cohorts import check_usable
from models_registry.services.versions import model_store, transition_version

ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.JUDGING)
TRANSITIONS: dict[str, frozenset[str]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.JUDGING, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.JUDGING: frozenset({RunStatus.DONE, RunStatus.FAILED}),
    RunStatus.CANCELLED: frozenset({RunStatus.QUEUED}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED}),
    RunStatus.DONE: frozenset(),
}
BEFORE_REVIEW = (VersionStatus.SUBMITTED, VersionStatus.IN_AUDIT, VersionStatus.VOID)
"""States in which an audit comes before a decision: it moves the version to ``in_audit``."""
UNDER_SURVEILLANCE = (
    VersionStatus.APPROVED,
    VersionStatus.CONDITIONAL,
    VersionStatus.DEPLOYED,
    VersionStatus.SUSPENDED,
)
"""States in which an audit renews evidence and leaves the version where it is."""
AUDITABLE = BEFORE_REVIEW + UNDER_SURVEILLANCE


NOT_AUDITED = {
    VersionStatus.DRAFT: "Have it submitted first, by whoever registered it.",
    VersionStatus.IN_REVIEW: "Wait for the review to end, or have it withdrawn: audits come before the review.",
}


class UnderWayError(ConflictError):
    """The very audit that is asked for waits or runs."""


def move_run(run_id: int, *, to: RunStatus, **changes: Any) -> bool:
    """Move a run by a conditional UPDATE from a state that allows it; says whether it moved."""
    old = [status for status, following in TRANSITIONS.items() if to in following]
    return bool(AuditRun.objects.filter(pk=run_id, status__in=old).update(status=to, **changes))


@service
def request_audit(
    *,
    version: ModelVersion,
    cohort: CohortVersion,
    protocol: Protocol,
    by: User,
    settings: dict[str, Any] | None = None,
    frame: str = "",
    reference: str = "",
) -> AuditRun:
    """Order an audit: one row for the run, one for each share of the patients, one task for each share.

    Args:
        settings: Fields of ``InferenceSettings`` that differ from the defaults; of a run whose figures are computed of
            whole sets, what its computer knows (see ``evaluation.execution.computed``).
        frame, reference: Digests of a monitor's frame, and of the drift sketch to compare with; given by monitors.

    Raises:
        DeniedError: the requester is no auditor, submitted the version, or approved the protocol.
        AdapterError: there is no such setting, or it cannot have this value.
        ProtocolError: the cohort or the model lacks what the protocol judges by.
        NotFoundError: the requester's roles are limited to systems, and only others used the cohort.
        ConflictError: the same audit is under way; the version is a draft, under review, rejected or retired; or the
            cohort is in quarantine, and this is no audit of synthetic patients.
    """
    check_may_request_audit(by, version=version, protocol=protocol)
    check_not_of_neighbours(by, cohort, *_controls(settings or {}))
    _check_auditable(version)
    inference, shares = _settled(version, cohort, protocol, settings or {}, frame=frame, reference=reference)
    watched = {"frame": frame, "reference": reference} if frame else {}
    facts = {"version": version.digest, "cohort": cohort.digest, "protocol": protocol.digest} | watched
    spec = sha256_json({"system": version.system.slug, "settings": inference} | facts)
    run = _create_run(
        version=version,
        cohort=cohort,
        protocol=protocol,
        spec_digest=spec,
        settings=inference,
        frame_digest=frame,
        reference_digest=reference,
        by=by,
    )
    for share in shares:
        share.run = run
    Shard.objects.bulk_create(shares)
    if version.status in {VersionStatus.SUBMITTED, VersionStatus.VOID}:
        transition_version(version=version, to=VersionStatus.IN_AUDIT, by=by, reason=f"audit {run.pk} requested")
    ledger.record(
        actor=by.username,
        act="run.requested",
        subject=("AuditRun", run.pk),
        payload={"spec": spec, "attempt": run.attempt} | facts,
    )
    _enqueue(run)
    return run


def _controls(settings: dict[str, Any]) -> list[CohortVersion]:
    """The cohort that a generator's audit compares with, where its settings name one."""
    return list(CohortVersion.objects.filter(digest=settings["control"])) if settings.get("control") else []


def _settled(
    version: ModelVersion,
    cohort: CohortVersion,
    protocol: Protocol,
    settings: dict[str, Any],
    *,
    frame: str,
    reference: str,
) -> tuple[dict[str, Any], list[Shard]]:
    """The settings of a run, complete, and its shares, once everything fits."""
    rules = Rules.from_dict(protocol.body)
    computer = computer_of(rules)
    if computer is not None:
        complete = computer.settle(version=version, cohort=cohort, rules=rules, settings=settings)
        return complete, [Shard(index=0, cohort_shard_digest=cohort.digest, n_studies=cohort.n_studies)]
    check_usable(cohort)
    reader = open_cohort(model_store().folder_path(cohort.digest))
    _check_fit(version, reader, rules, cohort, frame=frame, reference=reference)
    shares = [
        Shard(index=item.index, cohort_shard_digest=item.digest, n_studies=item.n_studies) for item in reader.shards
    ]
    return _inference(settings), shares


def _check_auditable(version: ModelVersion) -> None:
    version.refresh_from_db(fields=["status"])
    if version.status not in AUDITABLE:
        raise ConflictError(
            f"{version} is {version.get_status_display().lower()}, so it is not audited.",
            remedy=NOT_AUDITED.get(VersionStatus(version.status), "Register a new version."),
        )


def _inference(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, complete. The worker chooses the precision unless it is asked for: what its device computes in."""
    known = InferenceSettings(precision="auto").to_dict()
    if unknown := sorted(set(settings) - set(known)):
        raise AdapterError(
            f"There is no inference setting called {', '.join(unknown)}.", remedy=f"Use some of: {', '.join(known)}."
        )
    complete = known | settings
    for name, least in (("batch_size", 1), ("seed", 0)):
        if type(complete[name]) is not int or complete[name] < least:
            raise AdapterError(
                f"The inference setting {name} is {complete[name]!r}.", remedy=f"Give a whole number from {least}."
            )
    return complete


def _create_run(
    *, version: ModelVersion, cohort: CohortVersion, protocol: Protocol, spec_digest: str, by: User, **facts: Any
) -> AuditRun:
    assert protocol.approved_by is not None  # a constraint of the database: approved protocols have an approver
    last = AuditRun.objects.filter(spec_digest=spec_digest).aggregate(last=Max("attempt"))["last"] or 0
    try:
        with transaction.atomic():
            run = AuditRun.objects.create(
                version=version,
                cohort=cohort,
                protocol=protocol,
                spec_digest=spec_digest,
                attempt=last + 1,
                n_studies=cohort.n_studies,
                version_submitted_by=version.submitted_by,
                protocol_approved_by=protocol.approved_by,
                requested_by=by,
                **facts,
            )
    except IntegrityError as error:
        raise UnderWayError(
            "This very audit is under way already.",
            remedy="Open it in the list of audits and watch it there.",
        ) from error
    return run


def _check_fit(
    version: ModelVersion,
    reader: CohortReader,
    rules: Rules,
    cohort: CohortVersion,
    *,
    frame: str,
    reference: str,
) -> None:
    """Whether the cohort has the columns, and the model the labels and capabilities, that the protocol judges by.

    Raises:
        ProtocolError: naming everything that is missing at once.
    """
    check_predicts(version, rules)
    given = [column for column in reader.manifest.columns if not column.startswith(("pred.", "score."))]
    answers = version.config.get("outputs", [])
    measured_suites(rules, watched=bool(frame))
    check_columns(
        rules,
        [*given, *answers],
        file=f"{version} on {cohort.cohort.name}",
        able=version.config.get("capabilities", []),
        compared=bool(reference),
    )


@service
def cancel_run(*, run: AuditRun, by: User) -> AuditRun:
    """Stop a run between two batches. What is done stays done, and the run can be resumed."""
    check_may_steer_run(by, run)
    if not move_run(run.pk, to=RunStatus.CANCELLED):
        raise ConflictError("This audit is not waiting or running.", remedy="Reload the page to see its state.")
    run.shards.filter(status__in=[ShardStatus.QUEUED, ShardStatus.RUNNING]).update(
        status=ShardStatus.CANCELLED, lease_token="", lease_expires=None
    )
    ledger.record(actor=by.username, act="run.cancelled", subject=("AuditRun", run.pk))
    _tell_monitor(run)
    run.refresh_from_db()
    return run


@service
def resume_run(*, run: AuditRun, by: User) -> AuditRun:
    """Go on with a cancelled or failed run: only the shares that are not done are run again."""
    check_may_steer_run(by, run)
    _check_auditable(run.version)
    try:
        with transaction.atomic():
            moved = move_run(run.pk, to=RunStatus.QUEUED, error="", finished_at=None)
    except IntegrityError as error:
        raise ConflictError(
            "The same audit was requested again meanwhile.", remedy="Watch that one instead."
        ) from error
    if not moved:
        raise ConflictError(
            "Only a cancelled or failed audit can be resumed.", remedy="Reload the page to see its state."
        )
    run.shards.exclude(status=ShardStatus.DONE).update(
        status=ShardStatus.QUEUED, lease_token="", lease_expires=None, error="", attempts=0
    )
    ledger.record(actor=by.username, act="run.resumed", subject=("AuditRun", run.pk))
    run.refresh_from_db()
    _enqueue(run)
    return run


def _tell_monitor(run: AuditRun) -> None:
    """A monitor whose window or reference this audit is does not wait for it any more."""
    from evaluation.execution.monitored import tell_monitor

    tell_monitor(run.pk)


def _enqueue(run: AuditRun) -> None:
    from evaluation import tasks

    waiting = run.shards.filter(status=ShardStatus.QUEUED).values_list("pk", flat=True)
    for pk in waiting:
        tasks.run_shard.delay_on_commit(pk)
    if not waiting:
        tasks.finish_run.delay_on_commit(run.pk)
