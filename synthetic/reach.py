"""What of the synthetic patients belongs to which system, and which addresses name it."""

from __future__ import annotations

from core.pages.reach import Names, addresses
from core.scope import belongs
from evaluation.models import AuditRun
from models_registry.models import ModelVersion
from synthetic.models import Generation, GeneratorTraining, Repair

belongs({
    Generation: "version__system_id", GeneratorTraining: "system_id", Repair: "run__version__system_id",
})  # fmt: skip
addresses(
    Names(route="synthetic/trainings/<int:pk>/", model=GeneratorTraining),
    Names(route="synthetic/orders/<int:pk>/", model=Generation),
    Names(route="synthetic/patients/new/", model=ModelVersion, by="version", asked=True),
    Names(route="synthetic/repairs/<int:pk>/", model=Repair),
    Names(route="synthetic/repairs/new/<int:run_pk>/", model=AuditRun, by="run_pk"),
)
