"""Asking whether a version meets a policy, as ``auscult gate`` does."""

from __future__ import annotations

from typing import Any

from ninja import Router

from core.bearer import Bearer
from core.errors import ConflictError, NotFoundError
from core.models import ApiToken
from governance.policies.findings import EXIT
from governance.selectors.policies import gate, policy_called, rules_of
from models_registry.models import ModelVersion

router = Router(auth=Bearer(ApiToken.Scope.GATE))


@router.get("/gate", url_name="gate")
def get_gate(request: Any, version: str, policy: str, site: str = "") -> dict[str, Any]:
    """The findings as JSON, with ``outcome`` and ``exit``: 0 pass, 1 fail, 2 not enough evidence.

    Args:
        version: ``SYSTEM/LABEL``, or the whole digest of the version.
        policy: Name of a policy in force.
        site: Where it is to be deployed.
    """
    row, rules = _version(version), policy_called(policy)
    if not rules_of(rules).applies(row.system.slug):
        raise ConflictError(
            f"{rules} does not apply to {row.system.name}.", remedy="Ask for a policy that applies to it."
        )
    found = gate(row, rules, site=" ".join(site.split()))
    return found.to_dict() | {"exit": EXIT[found.outcome]}


def _version(given: str) -> ModelVersion:
    system, slash, label = given.partition("/")
    rows = ModelVersion.objects.select_related("system")
    found = rows.filter(system__slug=system, label=label) if slash else rows.filter(digest=given)
    version = found.first() if found.count() == 1 else None
    if version is None:
        raise NotFoundError("There is no such version.", remedy="Name it as SYSTEM/LABEL, or by its whole digest.")
    return version
