"""What a system, a model version, a cohort and a deployment are."""

from models_registry.models.cohorts import Cohort, CohortRole, CohortVersion
from models_registry.models.deployments import Deployment
from models_registry.models.systems import AISystem, ModelVersion, Origin, Relation, SystemKind, VersionStatus
from models_registry.models.work import CohortImport, JobStatus, TrainingJob, UploadedFile, VersionIntake

__all__ = [
    "AISystem",
    "Cohort",
    "CohortImport",
    "CohortRole",
    "CohortVersion",
    "Deployment",
    "JobStatus",
    "ModelVersion",
    "Origin",
    "Relation",
    "SystemKind",
    "TrainingJob",
    "UploadedFile",
    "VersionIntake",
    "VersionStatus",
]
