"""The evidence document: everything that a reader needs to trust, repeat or contest a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from core.digests import sha256_json
from evaluation.engine.registry import SUITES
from evaluation.execution.loading import device
from evaluation.models import AuditRun, Shard
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts.disclosure import hide_in_summary

PACKAGES = (
    "auscult",
    "numpy",
    "scipy",
    "pyarrow",
    "torch",
    "transformers",
    "safetensors",
    "fairlearn",
    "Django",
    "celery",
)


def build_evidence(run: AuditRun, result: dict[str, Any]) -> dict[str, Any]:
    """The evidence of a judged run. ``result`` is the engine's assessment as a dictionary."""
    version, system, cohort, protocol = run.version, run.version.system, run.cohort, run.protocol
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
        "execution": _execution(run),
        "result": result,
        "result_digest": result_digest(run, result),
    }


def result_digest(run: AuditRun, result: dict[str, Any]) -> str:
    """Digest of what was found by which rules on what: equal for equal work, whoever did it and however often."""
    return sha256_json(
        {
            "version": run.version.digest,
            "cohort": run.cohort.digest,
            "protocol": run.protocol.digest,
            "settings": run.settings,
            "result": result,
        }
    )


def _execution(run: AuditRun) -> dict[str, Any]:
    shards = list(Shard.objects.filter(run=run))
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    return {
        "settings": run.settings,
        "shards": len(shards),
        "shards_from_cache": sum(shard.from_cache for shard in shards),
        "workers": sorted({shard.worker for shard in shards}),
        "device": _device(run.version.config),
        "seconds": seconds,
        "studies_per_second": round(run.n_studies / seconds, 1) if seconds else None,
        "environment": environment(),
        "plugins": {"adapters": ADAPTERS.resolved(), "suites": SUITES.resolved()},
    }


def _device(config: dict[str, Any]) -> str:
    """Where the weights ran, as far as this platform can tell."""
    if config.get("runs_weights"):
        return device()
    return (
        "unknown: answered by an endpoint" if config.get("details", {}).get("weights") else "none: recorded predictions"
    )


def environment() -> dict[str, Any]:
    """Versions of what computed the numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": found,
        "code": code_state(settings.BASE_DIR),
    }


def code_state(folder: Path) -> dict[str, Any]:
    """Commit of the code and whether it was changed since; unknown where it does not run from a checkout."""
    if not (folder / ".git").exists():
        return {"commit": None, "changed": None}
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None}
    return {"commit": commit, "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
