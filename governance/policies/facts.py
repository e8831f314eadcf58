"""What the gate knows about a version: plain values, gathered by ``governance.selectors.policies``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from governance.policies.findings import State
from governance.policies.monitoring import WatchFact


@dataclass(frozen=True, kw_only=True)
class RunFact:
    """One finished audit of the version.

    Attributes:
        protocol: Name of the protocol; ``approved`` whether it may be used now.
        protocol_digest: Of its rules. Several protocols may have one name.
        cohort: Key of the named cohort, of which the audited content is one version.
        patients: Patients that were judged.
        about: Digest of the weights that were audited, as the ledger has it.
        contradicted: What of the row is not what the ledger says about the audit; empty where they agree.
    """

    pk: int
    protocol: str
    approved: bool
    cohort: int
    cohort_name: str
    role: str
    site: str
    simulated: bool
    patients: int
    outcome: str
    about: str
    requested_at: datetime
    finished_at: datetime
    evidence_digest: str
    runner: int
    contradicted: str = ""
    protocol_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class AcceptanceFact:
    """That somebody accepted a lack of evidence. ``person`` is the person behind the account."""

    pk: int
    policy_digest: str
    item: str
    version_digest: str
    evidence_digest: str
    person: int
    name: str
    accepted_at: datetime
    expires_at: datetime
    revoked: bool


@dataclass(frozen=True, kw_only=True)
class ReportFact:
    kind: str
    ready: bool
    as_of: datetime
    issued_at: datetime
    pk: int


@dataclass(frozen=True, kw_only=True)
class ApprovalFact:
    """How the approval of the version stands. ``state`` is ``MET`` where it stands."""

    state: State
    reason: str
    decided_at: datetime | None = None
    conditions: tuple[str, ...] = ()
    first_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RiskFacts:
    """The register of the system: how many risks there are, and which of them stop its use."""

    recorded: int
    rated_too_high: tuple[str, ...]
    not_rated: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IncidentFacts:
    """Open incidents with a report that is owed and not sent, and those of which it is not known whether one is."""

    owed: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """Everything a policy may ask about, of one version.

    Attributes:
        void_at: When the approval was last voided; what was requested before counts no more.
        seen: Key of each cohort that the version or what it was made from was trained on -> how.
        submitter: The person who submitted the version.
        sites: Where a version of the system is deployed.
        first_used: When this version was first deployed.
        measures: For each limb of oversight: ``verified`` or ``recorded``.
        watched: Its running deployments, and how each is watched.
    """

    system: str
    version: str
    digest: str
    void_at: datetime | None
    submitter: int
    runs: tuple[RunFact, ...] = ()
    seen: tuple[tuple[int, str], ...] = ()
    acceptances: tuple[AcceptanceFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    approval: ApprovalFact | None = None
    risks: RiskFacts | None = None
    measures: tuple[tuple[str, str], ...] = ()
    incidents: IncidentFacts | None = None
    sites: tuple[str, ...] = ()
    first_used: datetime | None = None
    watched: tuple[WatchFact, ...] = ()
