"""Asking whether a version meets a policy, as ``auscult gate`` does."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Line, Long
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import ConflictError, NotFoundError
from governance.policies.findings import EXIT
from governance.selectors.policies import gate, policy_called, rules_of
from models_registry.api.rows import versions_seen
from models_registry.models import ModelVersion

router = HouseRouter("Gate")


class GateIn(Schema):
    """What is held against what."""

    version: Annotated[Long, Field(description="SYSTEM/LABEL, or the whole digest of the version.")]
    policy: Annotated[Line, Field(description="Name of a policy in force.")]
    site: Annotated[Line, Field(description="Where it is to be deployed.")] = ""


GATE = {
    "type": "object",
    "properties": {"outcome": {"type": "string"}, "exit": {"type": "integer", "enum": [0, 1, 2]}},
    "required": ["outcome", "exit"],
}


@router.operation(
    "GET", "/gate", scope=Scope.GATE, gives=dict[str, Any], name="gate", refuses=("not-found", "conflict"),
    content={"application/json": {"schema": GATE}},
)  # fmt: skip
def get_gate(request: TokenRequest, asked: Query[GateIn]) -> dict[str, Any]:
    """Whether a version meets a policy. ``exit`` is 0 for pass, 1 for fail, 2 for not enough evidence."""
    version, policy, site = asked.version, asked.policy, asked.site
    row, rules = _version(request, version), policy_called(policy)
    if not rules_of(rules).applies(row.system.slug):
        raise ConflictError(
            f"{rules} does not apply to {row.system.name}.", remedy="Ask for a policy that applies to it."
        )
    found = gate(row, rules, site=" ".join(site.split()))
    return found.to_dict() | {"exit": EXIT[found.outcome]}


def _version(request: TokenRequest, given: str) -> ModelVersion:
    system, slash, label = given.partition("/")
    rows = versions_seen(request)
    found = rows.filter(system__slug=system, label=label) if slash else rows.filter(digest=given)
    version = found.first() if found.count() == 1 else None
    if version is None:
        raise NotFoundError("There is no such version.", remedy="Name it as SYSTEM/LABEL, or by its whole digest.")
    return version
