"""Entries of the ledger about one version and what belongs to it. Nothing here writes."""

from __future__ import annotations

from django.db.models import Model, Q, QuerySet

from core.models import LedgerEntry
from evaluation.models import AuditRun
from governance.models import Report, Review
from models_registry.models import Deployment, ModelVersion

PARTS: dict[str, tuple[type[Model], str]] = {
    "AuditRun": (AuditRun, "version"),
    "Review": (Review, "version"),
    "Report": (Report, "version"),
    "Deployment": (Deployment, "version"),
}
"""Kinds of subjects that belong to a version, with the field that names it."""
KINDS = ("ModelVersion", *PARTS)


def entries_about(version: ModelVersion) -> QuerySet[LedgerEntry]:
    """Entries on a version, its audits, reviews, reports and deployments. Asks one question a kind beforehand."""
    about = Q(subject_kind="ModelVersion", subject_id=str(version.pk))
    for kind, (model, field) in PARTS.items():
        keys = model._default_manager.filter(**{field: version}).values_list("pk", flat=True)
        about |= Q(subject_kind=kind, subject_id__in=[str(key) for key in keys])
    return LedgerEntry.objects.filter(about).defer("leaf_hash")
