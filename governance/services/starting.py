"""What is checked before a version starts to run somewhere, and the start itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.stepup import StepUp
from governance.policies.findings import GateFindings, GateOutcome
from governance.selectors.approvals import standing_approval
from governance.selectors.deployments import HELD, share_taken, sites_of
from governance.selectors.policies import gates, policies_for
from models_registry.models import AISystem, Deployment, ModelVersion, VersionStatus
from models_registry.services.versions import model_store, transition_version

SCHEMA = "auscult/gate-at-start/1"
MOST_PLACE = 200
WORDS = {GateOutcome.FAIL: "fails", GateOutcome.INSUFFICIENT: "lacks evidence"}


def findings_of(version: ModelVersion, site: str = "") -> list[GateFindings]:
    """How a version stands against every policy in force that applies to its system.

    Args:
        site: Where it is to run: a policy may ask for evidence of that site.
    """
    return list(gates([version], policies_for(version.system), site=site).values())


def check_cleared(version: ModelVersion, site: str = "") -> str:
    """Raise unless the approval stands and every gate passes; the digest of what the gates found, kept in the store.

    Raises:
        ConflictError: saying what is missing, and what would mend it.
    """
    approval = standing_approval(version)
    if not approval.stands:
        raise ConflictError(
            f"{version} may not be used: {approval.reason}", remedy="The committee has to approve it first."
        )
    found = findings_of(version, site)
    for findings in found:
        if findings.outcome != GateOutcome.PASS:
            raise ConflictError(_why_not(findings), remedy=_remedy(findings))
    document = {
        "schema": SCHEMA,
        "version": version.digest,
        "review": approval.review.pk if approval.review else None,
        "as_of": timezone.now().isoformat(),
        "policies": [findings_json(findings) for findings in found],
    }
    return model_store().put_json(document)


def findings_json(findings: GateFindings) -> dict[str, Any]:
    """Findings as JSON, with their outcome."""
    plain: dict[str, Any] = _plain(asdict(findings))
    return plain | {"outcome": str(findings.outcome)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, str) else value


def _why_not(findings: GateFindings) -> str:
    items = "; ".join(f"{item.title}: {item.statement}" for item in findings.open_items[:3])
    more = len(findings.open_items) - 3
    return (
        f"The gate of the policy {findings.policy} {WORDS.get(findings.outcome, 'does not pass')} for "
        f"{findings.system} {findings.version}. {items}" + (f" And {more} more." if more > 0 else "")
    )


def _remedy(findings: GateFindings) -> str:
    return next((item.remedy for item in findings.open_items if item.remedy), "Open the policy's page of the version.")


def start(
    *,
    version: ModelVersion,
    site: str,
    unit: str,
    share: int,
    contact: tuple[str, str],
    by: User,
    proof: StepUp,
    replaces: Deployment | None,
) -> Deployment:
    """Create the deployment and move the version. The caller has checked the person and holds a transaction.

    Raises:
        ConflictError: as :func:`governance.services.deployments.deploy`.
    """
    site, unit, contact = _checked(site, unit, share, contact)
    # The system's row is what two people who deploy at once queue up for: the shares are counted under it.
    system = AISystem.objects.select_for_update(no_key=True).get(pk=version.system_id)
    version = (
        ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system").get(pk=version.pk)
    )
    digest = check_cleared(version, site)
    _check_share(system, version=version, site=site, unit=unit, share=share)
    known = {name.casefold() for name in sites_of(system)}
    try:
        with transaction.atomic():
            row = Deployment.objects.create(
                version=version,
                site=site,
                unit=unit,
                share=share,
                contact_name=contact[0],
                contact_email=contact[1],
                gate_digest=digest,
                started_at=timezone.now(),
                started_by=by,
                replaces=replaces,
            )
    except IntegrityError as error:
        raise _already(version, site=site, unit=unit) from error
    payload = {
        "version": version.digest,
        "system": system.slug,
        "site": site,
        "unit": unit,
        "share": share,
        "gate": digest,
        "site_answered": site.casefold() in known if known else None,
        "replaces": replaces.pk if replaces else None,
    }
    ledger.record(
        actor=by.username,
        act="deployment.started",
        subject=("Deployment", row.pk),
        payload=payload | proof.in_ledger(),
    )
    if version.status != VersionStatus.DEPLOYED:
        transition_version(version=version, to=VersionStatus.DEPLOYED, by=by, reason=f"deployment {row.pk} started")
    return row


def _checked(site: str, unit: str, share: int, contact: tuple[str, str]) -> tuple[str, str, tuple[str, str]]:
    """The fields without stray blanks, or a refusal that names the one that is wrong."""
    site, unit, name, email = (" ".join(text.split()) for text in (site, unit, *contact))
    if any("\0" in text or len(text) > MOST_PLACE for text in (site, unit, name, email)):
        raise ConflictError(
            "A site, a unit or a contact is longer than 200 characters or holds a character that no text holds.",
            remedy="Shorten it.",
        )
    if not site:
        raise ConflictError("A deployment needs a site.", remedy="Name the hospital or practice where it runs.")
    if not name:
        raise ConflictError("A deployment needs a contact.", remedy="Name who can stop it there.")
    try:
        validate_email(email)
    except ValidationError as error:
        raise ConflictError(
            "A deployment needs the e-mail address of its contact.",
            remedy="Give one that is read every day: notices of suspension go there.",
        ) from error
    if isinstance(share, bool) or not 1 <= share <= 100:
        raise ConflictError(f"A share of {share} per cent is none.", remedy="Give a whole number from 1 to 100.")
    return site, unit, (name, email)


def _check_share(system: AISystem, *, version: ModelVersion, site: str, unit: str, share: int) -> None:
    held = list(Deployment.objects.filter(version__system=system, status__in=HELD))
    place = (site.casefold(), unit.casefold())
    if any(row.version_id == version.pk and (row.site.casefold(), row.unit.casefold()) == place for row in held):
        raise _already(version, site=site, unit=unit)
    taken = share_taken(held, site=site, unit=unit)
    if taken + share > 100:
        raise ConflictError(
            f"{taken} per cent of the studies at {site}{', ' + unit if unit else ''} go to versions of {system.name} "
            f"already, so {share} per cent more cannot. Suspended deployments keep their share.",
            remedy=f"Choose at most {100 - taken} per cent, or end a deployment there first."
            if taken < 100
            else "End a deployment there first, or roll it back.",
        )


def _already(version: ModelVersion, *, site: str, unit: str) -> ConflictError:
    return ConflictError(
        f"{version} is deployed at {site}{', ' + unit if unit else ''} already.", remedy="Open that deployment."
    )
