"""What audits, monitors and alerts are in the database."""

from evaluation.models.alerts import Alert, AlertEvent, Webhook, WebhookDelivery
from evaluation.models.monitors import Delivery, Monitor, MonitorWindow, StreamPoint
from evaluation.models.runs import (
    AuditRun,
    CachedPredictions,
    Measurement,
    Outcome,
    Protocol,
    RunStatus,
    Shard,
    ShardStatus,
    Verdict,
    Worker,
)

__all__ = [
    "Alert",
    "AlertEvent",
    "AuditRun",
    "CachedPredictions",
    "Delivery",
    "Measurement",
    "Monitor",
    "MonitorWindow",
    "Outcome",
    "Protocol",
    "RunStatus",
    "Shard",
    "ShardStatus",
    "StreamPoint",
    "Verdict",
    "Webhook",
    "WebhookDelivery",
    "Worker",
]
