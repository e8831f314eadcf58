"""What of the registry belongs to which system, and which addresses name it."""

from __future__ import annotations

from core.pages.reach import Names, addresses
from core.scope import belongs
from models_registry.models import (
    AISystem,
    Cohort,
    CohortImport,
    CohortVersion,
    Deployment,
    ModelVersion,
    Origin,
    TrainingJob,
    UploadedFile,
    VersionIntake,
)

belongs({
    AISystem: "id", ModelVersion: "system_id", Origin: "version__system_id", Deployment: "version__system_id",
    VersionIntake: "system_id", UploadedFile: "intake__system_id", TrainingJob: "system_id",
    # Cohorts are of the house: several systems learn from one and are judged on it.
    Cohort: "", CohortVersion: "", CohortImport: "",
})  # fmt: skip
addresses(
    Names(route="systems/<slug:slug>/", model=AISystem, by="slug", field="slug"),
    Names(route="systems/<slug:slug>/versions/<int:pk>/", model=ModelVersion),
    Names(route="systems/<slug:slug>/intakes/<int:pk>/", model=VersionIntake),
)
