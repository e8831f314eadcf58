"""What a finished audit judged, read again from the predictions that were kept of it."""

from __future__ import annotations

from dataclasses import replace

from core.errors import ConflictError
from evaluation.engine.records import ShardTable
from evaluation.execution import predictions as codec
from evaluation.execution.shards import cache_key, rules_of
from evaluation.execution.tables import share_table
from evaluation.models import AuditRun, CachedPredictions
from models_registry.cohorts import open_cohort
from models_registry.services.versions import model_store

PRECISIONS = ("float32", "bfloat16")


def table_of(run: AuditRun) -> ShardTable:
    """What a finished audit judged, study by study, from the predictions that it kept.

    Raises:
        ConflictError: a share's predictions are not in the store any more.
    """
    rules, reader = rules_of(run), open_cohort(model_store().folder_path(run.cohort.digest))
    without_reports = replace(rules, reports=None) if rules.reports else rules
    parts = []
    for part in reader.shards:
        keys = [cache_key(run, part.digest, precision=precision) for precision in PRECISIONS]
        kept = CachedPredictions.objects.filter(key__in=keys).first()
        if kept is None or not model_store().has(kept.digest):
            raise ConflictError(
                f"The predictions of audit {run.pk} are not kept any more, so its studies cannot be compared.",
                remedy="Request that audit again: it makes them anew; then try this again.",
            )
        found = codec.from_bytes(model_store().get_bytes(kept.digest))
        parts.append(share_table(without_reports, reader, part, found))
    return ShardTable.joined_decisions(parts)
