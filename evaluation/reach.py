"""What of the audits and monitors belongs to which system, and which addresses name it."""

from __future__ import annotations

from core.pages.reach import Names, addresses
from core.scope import belongs
from evaluation.models import (
    Alert,
    AlertEvent,
    AuditRun,
    CachedPredictions,
    Delivery,
    Measurement,
    Monitor,
    MonitorWindow,
    Protocol,
    Shard,
    StreamPoint,
    Verdict,
    Webhook,
    WebhookDelivery,
    Worker,
)
from models_registry.models import Deployment, ModelVersion

WATCHED = "deployment__version__system_id"

belongs({
    AuditRun: "version__system_id", Shard: "run__version__system_id", Measurement: "run__version__system_id",
    Verdict: "run__version__system_id", Monitor: WATCHED, MonitorWindow: f"monitor__{WATCHED}",
    StreamPoint: f"window__monitor__{WATCHED}", Delivery: f"monitor__{WATCHED}", Alert: f"monitor__{WATCHED}",
    AlertEvent: f"alert__monitor__{WATCHED}", Webhook: f"monitor__{WATCHED}",
    WebhookDelivery: f"webhook__monitor__{WATCHED}",
    # Protocols are of the house: systems are judged by the same. Workers and what they keep serve all.
    Protocol: "", Worker: "", CachedPredictions: "",
})  # fmt: skip
addresses(
    Names(route="audits/<int:pk>/", model=AuditRun),
    Names(route="audits/new/", model=ModelVersion, by="version", asked=True),
    Names(route="monitors/<int:pk>/", model=Monitor),
    Names(route="monitors/new/", model=Deployment, by="deployment", asked=True),
    Names(route="monitors/alerts/<int:pk>/", model=Alert),
    Names(route="monitors/webhooks/<int:pk>/", model=Webhook),
)
