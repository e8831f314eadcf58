"""Runs whose figures are computed of whole sets of patients, and not reduced from predictions share by share.

Who can compute them stands on a higher floor and makes itself known here. Such a run has one share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from core.errors import ProtocolError
from evaluation.engine import AuditSketch
from evaluation.engine import Protocol as Rules
from evaluation.models import AuditRun
from models_registry.models import CohortVersion, ModelVersion


class Computer(Protocol):
    """Whoever can compute the figures of a run."""

    def settle(
        self, *, version: ModelVersion, cohort: CohortVersion, rules: Rules, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """The settings of a run, complete.

        Raises:
            AuscultError: version, cohort, protocol and settings do not fit each other; everything is said that is
                missing.
        """

    def compute(self, run: AuditRun, rules: Rules, *, tell: Callable[[float, str], None]) -> AuditSketch:
        """The figures. ``tell`` raises where the run was cancelled."""


_computers: list[Computer] = []


def announce(computer: Computer) -> None:
    """Make known who computes figures of synthetic patients."""
    _computers[:] = [computer]


def computer_of(rules: Rules) -> Computer | None:
    """Who computes the figures of a protocol; None where a model's predictions are reduced to sketches.

    Raises:
        ProtocolError: nobody can.
    """
    if rules.linked is None:
        return None
    if not _computers:
        raise ProtocolError(
            "Nothing installed here can hold synthetic patients against real ones.",
            remedy="Start Auscult with its app 'synthetic'.",
        )
    return _computers[0]


def check_predicts(version: ModelVersion, rules: Rules) -> None:
    """Raise where a protocol judges predictions, and the version is a generator of patients, which has none.

    Raises:
        ProtocolError: it is.
    """
    if version.adapter == "generator" and rules.linked is None:
        raise ProtocolError(
            f"{version} makes patients and predicts nothing that '{rules.name}' could judge.",
            remedy="Choose a protocol for synthetic patients: one with the section 'linked'.",
        )
