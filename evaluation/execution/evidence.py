"""The evidence document: everything that a reader needs to trust, repeat or contest a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from core.digests import sha256_json
from evaluation.engine.registry import SUITES
from evaluation.execution.devices import device
from evaluation.execution.environment import environment, full_environment
from evaluation.execution.evidence_asking import asking_of
from evaluation.execution.hardware import hardware
from evaluation.models import AuditRun, Shard
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts.disclosure import hide_in_summary
from models_registry.lineage_selectors import list_origins
from models_registry.services.versions import model_store

CARD = ("licence", "licence_known", "base_model", "datasets", "compute", "intended_use", "missing")
"""What of a model's card goes into the evidence; its text stays with the version."""


def build_evidence(run: AuditRun, result: dict[str, Any]) -> dict[str, Any]:
    """The evidence of a judged run. ``result`` is the engine's assessment as a dictionary."""
    version, system, cohort, protocol = run.version, run.version.system, run.cohort, run.protocol
    shards = list(Shard.objects.filter(run=run).order_by("index"))
    return {
        "schema": "auscult/evidence/1",
        "run": {
            "id": run.pk,
            "attempt": run.attempt,
            "spec_digest": run.spec_digest,
            "requested_by": run.requested_by.username,
            "requested_at": _iso(run.requested_at),
            "started_at": _iso(run.started_at),
            "finished_at": _iso(run.finished_at),
        },
        "system": {
            "name": system.name,
            "slug": system.slug,
            "provider": system.provider,
            "intended_purpose": system.intended_purpose,
            "risk_class": system.risk_class,
        },
        "version": {
            "label": version.label,
            "adapter": version.adapter,
            "digest": version.digest,
            "manifest": version.manifest,
            "config": version.config,
            "notes": version.notes,
            "source": version.source,
            "card": {name: version.card.get(name) for name in CARD if version.card.get(name)},
            "origins": list_origins(version),
            "submitted_by": version.submitted_by.username,
            "submitted_at": _iso(version.submitted_at),
        },
        "cohort": {
            "name": cohort.cohort.name,
            "digest": cohort.digest,
            "n_studies": cohort.n_studies,
            "n_patients": cohort.n_patients,
            "simulated": cohort.cohort.simulated,
            "source": cohort.cohort.source,
            "licence": cohort.cohort.licence,
            "summary": hide_in_summary(cohort.summary),
        },
        "protocol": {
            "name": protocol.name,
            "title": protocol.title,
            "digest": protocol.digest,
            "body": protocol.body,
            "locked_by": protocol.locked_by.username,
            "locked_at": _iso(protocol.locked_at),
            "approved_by": protocol.approved_by.username if protocol.approved_by else None,
            "approved_at": _iso(protocol.approved_at),
        },
        "execution": _execution(run, shards),
        "software": _software(shards),
        "result": result,
        "result_digest": result_digest(run, result),
    }


def result_digest(run: AuditRun, result: dict[str, Any]) -> str:
    """Digest of what was found by which rules on what: equal for equal work, whoever did it and however often."""
    return work_digest(
        version=run.version.digest,
        cohort=run.cohort.digest,
        protocol=run.protocol.digest,
        settings=run.settings,
        result=result,
    )


def work_digest(*, version: str, cohort: str, protocol: str, settings: dict[str, Any], result: dict[str, Any]) -> str:
    """:func:`result_digest` of work that is known by its digests alone."""
    work = {"version": version, "cohort": cohort, "protocol": protocol, "settings": settings, "result": result}
    return sha256_json(work)


def _execution(run: AuditRun, shards: list[Shard]) -> dict[str, Any]:
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    return {
        "settings": run.settings,
        "shards": len(shards),
        "shards_from_cache": sum(shard.from_cache for shard in shards),
        "workers": sorted({shard.worker for shard in shards}),
        "device": _device(run.version.config, shards),
        "seconds": seconds,
        "studies_per_second": round(run.n_studies / seconds, 1) if seconds else None,
        "hardware": hardware(shard.telemetry for shard in shards),
        "environment": environment(),
        "plugins": {"adapters": ADAPTERS.resolved(), "suites": SUITES.resolved()},
        **asking_of(run.protocol.body, [shard.telemetry for shard in shards]),
        **_drift(run, shards),
    }


def _drift(run: AuditRun, shards: list[Shard]) -> dict[str, Any]:
    """The part ``drift``: through what streams were read, and against what; nothing for a run without a frame."""
    if not run.frame_digest:
        return {}
    told = [item for shard in shards if (item := shard.telemetry.get("watched"))]
    why = {name: reason for item in told for name, reason in item["why_not"].items()}
    return {
        "drift": {
            "frame": run.frame_digest,
            "reference": run.reference_digest or None,
            "streams": max((item["streams"] for item in told), default=0),
            "why_not": dict(sorted(why.items())),
            "seconds": round(sum(shard.telemetry.get("seconds", {}).get("streams", 0.0) for shard in shards), 3),
        }
    }


def _device(config: dict[str, Any], shards: list[Shard]) -> str:
    """Where the weights ran, as far as this platform can tell."""
    if config.get("runs_weights"):
        told = [item for shard in shards if (item := (shard.telemetry.get("made") or shard.telemetry).get("device"))]
        return ", ".join(sorted({item["name"] for item in told})) or device()
    return (
        "unknown: answered by an endpoint" if config.get("details", {}).get("weights") else "none: recorded predictions"
    )


def _software(shards: list[Shard]) -> dict[str, Any]:
    """Everything that was installed and set where the run was judged, and where its predictions were made.

    ``judged`` is the process that judged; ``predicted`` are the processes that ran the model, one entry for each that
    differs: the same machine gives one.
    """
    store = model_store()
    digests = {(shard.telemetry.get("made") or shard.telemetry).get("environment") for shard in shards}
    return {
        "judged": full_environment(),
        "predicted": [store.get_json(digest) for digest in sorted(filter(None, digests)) if store.has(digest)],
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
