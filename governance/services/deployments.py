"""Deploying versions, stopping them at once, and letting them run again.

Only what stands approved runs, and only where the gate of every policy that applies to the system passes. Stopping is
one act of one person; running again is the signed decision of another. What is
checked before a start is in :mod:`governance.services.starting`, what a place can go back to in
:mod:`governance.services.rollbacks`.
"""

from __future__ import annotations

from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.digests import sha256_text
from core.errors import RELOAD, ConflictError
from core.models import Role, Topic, User
from core.notifications import notify, resolve
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from governance.access_deployments import (
    check_may_acknowledge,
    check_may_deploy,
    check_may_lift,
    check_may_resume,
    check_may_suspend,
)
from governance.models import Review
from governance.selectors.approvals import USABLE, standing_approval
from governance.services.rollbacks import choose
from governance.services.starting import check_cleared, start
from models_registry.models import AISystem, Deployment, ModelVersion, VersionStatus
from models_registry.services.suspensions import check_reason, suspend_rows
from models_registry.services.versions import transition_version

TRANSITIONS: dict[str, frozenset[str]] = {
    Deployment.Status.RUNNING: frozenset({Deployment.Status.SUSPENDED, Deployment.Status.ENDED}),
    Deployment.Status.SUSPENDED: frozenset({Deployment.Status.RUNNING, Deployment.Status.ENDED}),
    Deployment.Status.ENDED: frozenset(),
}
"""What may follow on what."""
MOST_NAME = 200


@service
def deploy(
    *,
    version: ModelVersion,
    site: str,
    unit: str,
    share: int,
    contact_name: str,
    contact_email: str,
    by: User,
    signed: StepUp | None,
    replaces: Deployment | None = None,
) -> Deployment:
    """Begin to use a version at a place, for a share of the studies there.

    Args:
        unit: Department or device; empty for the whole site.
        share: In per cent. All versions of a system at one place sum to 100 at most, suspended ones counted.
        contact_name, contact_email: Whom to call there when it must stop.
        replaces: The deployment that this one follows on, for the record.

    Raises:
        DeniedError: ``by`` is neither chair nor clinician lead, or did not prove anew who they are.
        ConflictError: the approval does not stand, a gate does not pass, the share is taken, the version runs there
            already, or a field is empty or wrong.
    """
    check_may_deploy(by)
    proof = check_stepped_up(signed, by)
    return start(
        version=version,
        site=site,
        unit=unit,
        share=share,
        contact=(contact_name, contact_email),
        by=by,
        proof=proof,
        replaces=replaces,
    )


@service
def suspend_deployment(*, deployment: Deployment, reason: str, by: User | None) -> Deployment:
    """Stop one deployment at once. No second person and no password: what may harm is stopped first.

    A version that runs nowhere any more becomes suspended.

    Args:
        by: None where the platform does it.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: it does not run, or the reason is shorter than 20 characters.
    """
    if by is not None:
        check_may_suspend(by)
    reason = check_reason(reason, what="a suspension")
    version, row = locked(deployment)
    _check_step(row, Deployment.Status.SUSPENDED)
    if not suspend_rows(version=version, rows=[row], reason=reason, by=by, one=True):
        raise ConflictError(f"Deployment {row.pk} changed meanwhile.", remedy=RELOAD)
    settle(version, by=by)
    deployment.refresh_from_db()
    return row


@service
def suspend_version(*, version: ModelVersion, reason: str, by: User | None) -> list[Deployment]:
    """Stop a version at once, wherever it runs, as one act. Where nothing is left to stop, nothing happens.

    Args:
        by: None where the platform does it: a condition that lapsed, a sweep.

    Returns:
        The deployments that ran until now.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: the reason is shorter than 20 characters.
    """
    if by is not None:
        check_may_suspend(by)
    reason = check_reason(reason, what="a suspension")
    locked = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system", "submitted_by")
    row = locked.get(pk=version.pk)
    running = row.deployments.select_for_update(of=("self",), no_key=True).filter(status=Deployment.Status.RUNNING)
    rows = list(running.select_related("version__system").order_by("pk"))
    if not rows and row.status not in USABLE:
        return []
    stopped = suspend_rows(version=row, rows=rows, reason=reason, by=by)
    if row.status in USABLE:
        transition_version(version=row, to=VersionStatus.SUSPENDED, by=by, reason=_short(reason))
    version.refresh_from_db(fields=["status"])
    return stopped


@service
def resume_deployment(*, deployment: Deployment, reason: str, by: User, signed: StepUp | None) -> Deployment:
    """Let a suspended deployment run again: the signed decision of somebody who did not suspend it.

    If the version itself is suspended, its suspension is lifted by this act too, since the same is asked of both. Its
    other deployments stay suspended.

    Raises:
        DeniedError: ``by`` may not, suspended it, or did not prove anew who they are.
        ConflictError: it is not suspended, the approval does not stand, a gate does not pass, the reason is too short.
    """
    version, row = locked(deployment)
    check_may_resume(by, row)
    proof = check_stepped_up(signed, by)
    reason = check_reason(reason, what="resuming")
    _check_step(row, Deployment.Status.RUNNING)
    if version.status == VersionStatus.SUSPENDED:
        _lift(version, by=by, reason=reason)
    gate = check_cleared(version, row.site)
    suspended = Deployment.objects.filter(pk=row.pk, status=Deployment.Status.SUSPENDED)
    if not suspended.update(status=Deployment.Status.RUNNING):
        raise ConflictError(f"Deployment {row.pk} changed meanwhile.", remedy=RELOAD)
    ledger.record(
        actor=by.username,
        act="deployment.resumed",
        subject=("Deployment", row.pk),
        payload={"version": version.digest, "gate": gate, "reason_sha256": sha256_text(reason), **proof.in_ledger()},
    )
    if version.status != VersionStatus.DEPLOYED:
        transition_version(version=version, to=VersionStatus.DEPLOYED, by=by, reason=f"deployment {row.pk} resumed")
    _nothing_waits(row)
    _tell(row, title=f"{version} runs again at {row.site}", text=f"{by}: {reason}", key="resumed")
    deployment.refresh_from_db()
    return row


@service
def lift_suspension(*, version: ModelVersion, reason: str, by: User, signed: StepUp | None) -> ModelVersion:
    """Let a suspended version be used again. No deployment starts by it: each is resumed on its own.

    Raises:
        DeniedError: ``by`` may not, suspended it, or did not prove anew who they are.
        ConflictError: it is not suspended, the approval does not stand, a gate does not pass, the reason is too short.
    """
    row = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system").get(pk=version.pk)
    check_may_lift(by, row)
    proof = check_stepped_up(signed, by)
    reason = check_reason(reason, what="lifting a suspension")
    if row.status != VersionStatus.SUSPENDED:
        raise ConflictError(f"{row} is {row.get_status_display().lower()}, not suspended.", remedy=RELOAD)
    _lift(row, by=by, reason=reason)
    ledger.record(
        actor=by.username,
        act="deployment.suspension_lifted",
        subject=("ModelVersion", row.pk),
        payload={
            "version": row.digest,
            "gate": check_cleared(row),
            "reason_sha256": sha256_text(reason),
            **proof.in_ledger(),
        },
    )
    version.refresh_from_db(fields=["status"])
    return row


@service
def end_deployment(*, deployment: Deployment, reason: str, by: User) -> Deployment:
    """Take a version out of use at a place for good. A version that runs nowhere any more is approved again, or
    suspended where one of its deployments is.

    Raises:
        DeniedError: ``by`` is neither chair nor clinician lead.
        ConflictError: it is ended already, or the reason is too short.
    """
    check_may_deploy(by)
    reason = check_reason(reason, what="ending a deployment")
    version, row = locked(deployment)
    end_row(row, reason=reason, by=by)
    ledger.record(
        actor=by.username,
        act="deployment.ended",
        subject=("Deployment", row.pk),
        payload={"version": version.digest, "reason_sha256": sha256_text(reason)},
    )
    settle(version, by=by)
    _tell(row, title=f"{version} is not used at {row.site} any more", text=f"{by}: {reason}", key="ended")
    deployment.refresh_from_db()
    return row


@service
def roll_back(*, deployment: Deployment, reason: str, by: User, signed: StepUp | None) -> Deployment:
    """End this deployment and start an approved version in its place, with the same share and contact.

    The last version that ran there comes first, then the newest other one; each has to stand approved and pass every
    gate that applies.

    Returns:
        The new deployment.

    Raises:
        DeniedError: ``by`` is neither chair nor clinician lead, or did not prove anew who they are.
        ConflictError: it is ended already, no version may take its place, or the reason is too short.
    """
    check_may_deploy(by)
    proof = check_stepped_up(signed, by)
    reason = check_reason(reason, what="a rollback")
    # As in a start: the system first, then the versions, so that no two acts wait for each other. All of them now: what
    # is chosen below would else be locked after the first entry in the ledger.
    system = AISystem.objects.select_for_update(no_key=True).get(pk=deployment.version.system_id)
    list(system.versions.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    version, row = locked(deployment)
    end_row(row, reason=reason, by=by)
    target = choose(row)
    ledger.record(
        actor=by.username,
        act="deployment.rolled_back",
        subject=("Deployment", row.pk),
        payload={
            "version": version.digest,
            "to": target.digest,
            "reason_sha256": sha256_text(reason),
            **proof.in_ledger(),
        },
    )
    started = start(
        version=target,
        site=row.site,
        unit=row.unit,
        share=row.share,
        contact=(row.contact_name, row.contact_email),
        by=by,
        proof=proof,
        replaces=row,
    )
    settle(version, by=by)
    deployment.refresh_from_db()
    return started


@service
def acknowledge_suspension(*, deployment: Deployment, name: str, by: User) -> Deployment:
    """Record that the site confirmed that it stopped.

    Args:
        name: Who confirmed it there.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: it is not suspended, it was confirmed already, or the name is empty.
    """
    check_may_acknowledge(by)
    name = " ".join(name.split())
    if not name or "\0" in name or len(name) > MOST_NAME:
        raise ConflictError("Say who at the site confirmed it.", remedy=f"Give a name of up to {MOST_NAME} characters.")
    waiting = Deployment.objects.filter(
        pk=deployment.pk, status=Deployment.Status.SUSPENDED, acknowledged_at__isnull=True
    )
    if not waiting.update(acknowledged_at=timezone.now(), acknowledged_by=name):
        raise ConflictError("Nothing waits for a confirmation of this site.", remedy=RELOAD)
    ledger.record(
        actor=by.username,
        act="deployment.acknowledged",
        subject=("Deployment", deployment.pk),
        payload={"version": deployment.version.digest, "name_sha256": sha256_text(name)},
    )
    resolve(f"unconfirmed:{deployment.pk}")
    deployment.refresh_from_db()
    return deployment


def end_row(row: Deployment, *, reason: str, by: User) -> None:
    """End a locked deployment that runs or is suspended; the caller enters it in the ledger.

    Raises:
        ConflictError: it is ended already.
    """
    _check_step(row, Deployment.Status.ENDED)
    facts = {"ended_at": timezone.now(), "ended_by": by, "ending": reason}
    if not Deployment.objects.filter(pk=row.pk, status=row.status).update(status=Deployment.Status.ENDED, **facts):
        raise ConflictError(f"Deployment {row.pk} changed meanwhile.", remedy=RELOAD)
    row.refresh_from_db(fields=["status", *facts])
    _nothing_waits(row)
    resolve(f"override-mark:{row.pk}")


def _nothing_waits(row: Deployment) -> None:
    """It is not suspended any more: neither its suspension nor the site's word on it waits for anybody."""
    resolve(f"deployment:{row.pk}")
    resolve(f"unconfirmed:{row.pk}")


def locked(deployment: Deployment) -> tuple[ModelVersion, Deployment]:
    """The version and the deployment as they are now, locked in this order, as every act on them does."""
    versions = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related(
        "system", "submitted_by"
    )
    version = versions.get(pk=deployment.version_id)
    rows = Deployment.objects.select_for_update(of=("self",), no_key=True).select_related("suspended_by")
    row = rows.get(pk=deployment.pk)
    row.version = version
    return version, row


def _check_step(row: Deployment, to: Deployment.Status) -> None:
    if to not in TRANSITIONS[row.status]:
        raise ConflictError(
            f"Deployment {row.pk} is {row.get_status_display().lower()} and cannot become {to.label.lower()}.",
            remedy=RELOAD,
        )


def settle(version: ModelVersion, *, by: User | None) -> None:
    """Move a version that was deployed and runs nowhere any more."""
    held = set(version.deployments.values_list("status", flat=True))
    if version.status != VersionStatus.DEPLOYED or Deployment.Status.RUNNING in held:
        return
    to = VersionStatus.SUSPENDED if Deployment.Status.SUSPENDED in held else rests_in(version)
    transition_version(version=version, to=to, by=by, reason="it runs nowhere any more")


def _lift(version: ModelVersion, *, by: User, reason: str) -> None:
    """Move a suspended version back to what its approval is; whether that stands is checked when it has moved."""
    transition_version(version=version, to=rests_in(version), by=by, reason=_short(reason))


def rests_in(version: ModelVersion) -> VersionStatus:
    """The state of a version that is approved and runs nowhere: with conditions while some of them are open."""
    approval = standing_approval(version)
    given = approval.review.status if approval.review else ""
    with_conditions = given == Review.Status.CONDITIONAL and approval.open_conditions
    return VersionStatus.CONDITIONAL if with_conditions else VersionStatus.APPROVED


def _tell(row: Deployment, *, title: str, text: str, key: str) -> None:
    notify(
        to=people_with(Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO, Role.AUDITOR, on=row),
        topic=Topic.DEPLOYMENTS,
        title=title,
        text=text,
        href=reverse("deployment", args=[row.pk]),
        key=f"deployment:{row.pk}:{key}:{timezone.now():%Y%m%d%H%M%S%f}",
    )


def _short(reason: str) -> str:
    """The reason as the ledger's entry of the version's move tells it; all of it is with the deployments."""
    return f"suspension: {sha256_text(reason)}"
