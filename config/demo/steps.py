"""Steps that every story of the demo takes: a system, a cohort, a protocol, an audit. None is taken twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.demo.display import Display, JudgedRun


class Steps:
    """Services and workers as the people of the demo use them.

    Args:
        people: User name -> user, see ``config.demo.people``.
        wait: The demo's ``Waiter``.
    """

    def __init__(self, *, home: Path, people: dict[str, Any], wait: Any, display: Display) -> None:
        self.home, self.people, self.wait, self.display = home, people, wait, display

    def system(self, name: str, *, provider: str, purpose: str, risk: str, kind: str = "system") -> Any:
        from models_registry.models import AISystem
        from models_registry.services.systems import create_system

        return AISystem.objects.filter(name=name).first() or create_system(
            name=name, provider=provider, intended_purpose=purpose, risk_class=risk, kind=kind, by=self.people["elena"]
        )

    def cohort(self, name: str, files: Any) -> Any:
        from models_registry.models import CohortImport, CohortVersion
        from models_registry.services.cohorts import confirm_import, start_import

        if existing := CohortVersion.objects.filter(cohort__name=name).first():
            return existing
        row = start_import(
            name=name,
            description=files.description,
            simulated=False,
            source_path=files.cohort,
            source=files.source,
            licence=files.licence,
            by=self.people["elena"],
        )
        self.wait.until([row], done={CohortImport.Status.READY}, title=lambda _: "Reading the real cohort")
        for problem in row.inspection["problems"]:
            self.display.warn(f"{problem['message']} (row {problem['row']})" if problem["row"] else problem["message"])
        confirm_import(cohort_import=row, by=self.people["elena"])
        self.wait.until([row], done={CohortImport.Status.REGISTERED}, title=lambda _: "Registering the real cohort")
        return row.result

    def protocol(self, source: str) -> Any:
        """Locked and approved by the chair, before any run; the auditor requests the runs."""
        from evaluation.engine import Protocol as Rules
        from evaluation.models import Protocol
        from evaluation.services.protocols import approve_protocol, lock_protocol

        protocol = Protocol.objects.filter(digest=Rules.from_yaml(source).digest).first() or lock_protocol(
            source=source, by=self.people["clara"]
        )
        if protocol.status == Protocol.Status.LOCKED:
            protocol = approve_protocol(protocol=protocol, by=self.people["clara"])
        return protocol

    def run(self, version: Any, cohort: Any, protocol: Any) -> Any:
        from evaluation.models import RunStatus
        from evaluation.services.runs import request_audit, resume_run

        run = version.runs.filter(cohort=cohort, protocol=protocol).first()
        if run is None:
            return request_audit(version=version, cohort=cohort, protocol=protocol, by=self.people["amir"])
        if run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            return resume_run(run=run, by=self.people["amir"])
        return run

    def judged(self, run: Any) -> JudgedRun:
        return JudgedRun(
            name=self.name(run),
            outcome=run.outcome,
            verdicts=[verdict.detail for verdict in run.verdicts.all()],
        )

    @staticmethod
    def name(run: Any) -> str:
        return str(run.version)
