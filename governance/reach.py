"""What of the decisions and documents belongs to which system, and which addresses name it."""

from __future__ import annotations

from core.pages.reach import Names, addresses
from core.scope import belongs
from evaluation.models import AuditRun
from governance.models import (
    Acceptance,
    Answer,
    Bundle,
    Comment,
    Condition,
    Control,
    DownloadLink,
    Grant,
    Incident,
    IncidentClock,
    IncidentEvent,
    OutputCount,
    Override,
    OversightMeasure,
    Policy,
    Recusal,
    ReleaseExport,
    ReleaseVote,
    Report,
    Review,
    Risk,
    RiskAcceptance,
    RiskFinding,
    RiskRating,
    Statement,
    SyntheticRelease,
    Vote,
)
from models_registry.models import AISystem, Deployment, ModelVersion

OF_VERSION, OF_REVIEW, OF_INCIDENT, OF_RISK = (
    "version__system_id", "review__version__system_id", "incident__system_id", "risk__system_id",
)  # fmt: skip
RELEASED = "run__version__system_id"

belongs({
    Review: OF_VERSION, Vote: OF_REVIEW, Recusal: OF_REVIEW, Comment: OF_REVIEW, Condition: OF_REVIEW,
    Report: OF_VERSION, Bundle: OF_REVIEW, Statement: OF_VERSION, Acceptance: OF_VERSION, Answer: "system_id",
    Incident: "system_id", IncidentClock: OF_INCIDENT, IncidentEvent: OF_INCIDENT,
    OversightMeasure: "system_id", Override: f"deployment__{OF_VERSION}", OutputCount: f"deployment__{OF_VERSION}",
    Risk: "system_id", RiskRating: OF_RISK, RiskFinding: OF_RISK, Control: OF_RISK, RiskAcceptance: OF_RISK,
    SyntheticRelease: RELEASED, ReleaseVote: f"release__{RELEASED}", ReleaseExport: f"release__{RELEASED}",
    # Policies are of the house; what a regulator was granted is theirs.
    Policy: "", Grant: "", DownloadLink: "",
})  # fmt: skip
addresses(
    Names(route="governance/reviews/<int:pk>/", model=Review),
    Names(route="governance/reviews/open/<int:run_pk>/", model=AuditRun, by="run_pk"),
    Names(route="governance/conditions/<int:pk>/", model=Condition),
    Names(route="governance/releases/<int:pk>/", model=SyntheticRelease),
    Names(route="governance/risks/<int:pk>/", model=Risk),
    Names(route="governance/risks/new/", model=AISystem, by="system", asked=True),
    Names(route="governance/deployments/<int:pk>/", model=Deployment),
    Names(route="governance/deployments/new/", model=ModelVersion, by="version", asked=True),
    Names(route="governance/oversight/measures/<int:pk>/", model=OversightMeasure),
    Names(route="governance/oversight/<slug:slug>/", model=AISystem, by="slug", field="slug"),
    Names(route="governance/acceptances/<int:pk>/", model=Acceptance),
    Names(route="governance/incidents/<int:pk>/", model=Incident),
    Names(route="governance/incidents/new/", model=AISystem, by="system", asked=True),
    Names(route="reports/<int:pk>/", model=Report),
    Names(route="reports/request/<int:run_pk>/", model=AuditRun, by="run_pk"),
    Names(route="reports/bundles/<int:pk>/", model=Bundle),
)
