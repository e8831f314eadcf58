"""What a place can be rolled back to."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import ConflictError
from governance.services.starting import check_cleared
from models_registry.models import Deployment, ModelVersion


def candidates(deployment: Deployment) -> Iterator[ModelVersion]:
    """What a place could go back to: what ran there before, the last first; then other versions, the newest first."""
    system = deployment.version.system
    earlier = Deployment.objects.filter(
        version__system=system, site__iexact=deployment.site, unit__iexact=deployment.unit, pk__lt=deployment.pk
    )
    ran = earlier.exclude(version=deployment.version).order_by("-started_at", "-pk")
    seen = {deployment.version_id}
    for row in ran.select_related("version__system"):
        if row.version_id not in seen:
            seen.add(row.version_id)
            yield row.version
    yield from system.versions.exclude(pk__in=seen).select_related("system").order_by("-pk")


def choose(deployment: Deployment) -> ModelVersion:
    """The first candidate that may run.

    Raises:
        ConflictError: none may; the message says why of each.
    """
    refused = []
    for version in candidates(deployment):
        try:
            check_cleared(version, deployment.site)
        except ConflictError as error:
            refused.append(f"{version.label}: {error.message}")
            continue
        return version
    why = " ".join(refused) if refused else "There is no other version."
    raise ConflictError(
        f"No version can take the place of {deployment.version} at {deployment.site}. {why}",
        remedy="Suspend the deployment if it must not go on; the studies are then read without the system.",
    )
