"""The states of a condition of an approval, and of the version while they count."""

from __future__ import annotations

from governance.models import Condition
from models_registry.models import VersionStatus

_S = Condition.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    _S.PROPOSED: frozenset({_S.REMOVED, _S.OPEN, _S.ENDED}),
    _S.REMOVED: frozenset(),
    _S.OPEN: frozenset({_S.CLAIMED, _S.LAPSED, _S.ENDED}),
    _S.CLAIMED: frozenset({_S.MET, _S.OPEN, _S.LAPSED, _S.ENDED}),
    _S.MET: frozenset(),
    _S.LAPSED: frozenset(),
    _S.ENDED: frozenset(),
}
"""What may follow on what. Proposed becomes open by the deciding vote alone."""

UNMET = (_S.OPEN, _S.CLAIMED)
ALIVE = (VersionStatus.CONDITIONAL, VersionStatus.DEPLOYED, VersionStatus.SUSPENDED, VersionStatus.IN_REVIEW)
"""States of a version in which the conditions of its last approval count: a suspended one may come back."""
