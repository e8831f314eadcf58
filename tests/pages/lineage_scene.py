"""A backbone, three systems on it, a version that changed it, and workers: what lineage and workers pages show."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from evaluation.models import Shard, Worker
from models_registry.models import AISystem, CohortVersion, ModelVersion, SystemKind, UploadedFile, VersionIntake
from models_registry.services.lineage import record_origins
from tests.pages import scene

HEADS = ("Chest findings", "Deterioration within 24 h", "Rare disease ranking")
CARD = {
    "file": "README.md",
    "licence": "Apache-2.0",
    "licence_known": True,
    "base_model": ["example/chest-backbone"],
    "datasets": ["MIMIC-CXR"],
    "language": ["en"],
    "run": {
        "run_id": "f" * 32,
        "run_name": "bold-owl",
        "experiment": "chest",
        "params": {"lr": "0.001", "epochs": "12"},
        "metrics": {"val_auroc": "0.913"},
    },
    "compute": "Two hours on one GPU",
    "results": [{"task": "classification", "dataset": "MIMIC-CXR", "metric": "AUROC", "value": "0.91"}],
    "tags": ["radiology", "multimodal"],
    "intended_use": "Flags findings for the radiologist <script>alert(1)</script> who reads the study.",
    "text": "# A head\n\nIt was trained for tests. <b>Not bold.</b>",
    "missing": ["the compute"],
}
TELEMETRY = {
    "device": {"name": "cpu", "title": "Example CPU", "memory_total": 8_000_000_000, "threads": 2},
    "precision": "float32",
    "batch_size": 64,
    "batch_size_wanted": 64,
    "seconds": {"load": 1.0, "decode": 2.0, "wait": 0.1, "inference": 20.0, "sketch": 0.4, "total": 23.5},
    "peak_memory": {"process": 812_000_000, "device": None},
    "energy": {"joules": None, "source": "", "reason": "the counters of this machine may not be read"},
}


def version_of(system: AISystem, label: str, files: dict[str, str], **changes: Any) -> ModelVersion:
    manifest = {name: scene.digest_of(content) for name, content in files.items()}
    facts: dict[str, Any] = {
        "system": system,
        "label": label,
        "adapter": "fusion",
        "digest": scene.digest_of(f"{system.slug} {label} {sorted(manifest.items())}"),
        "manifest": manifest,
        "sizes": {name: 1000 * len(name) for name in files},
        "config": {"capabilities": ["classify"], "labels": ["effusion"], "modalities": ["image"], "details": {}},
        "backbone_digest": manifest.get("backbone.safetensors", ""),
        "submitted_by": scene.person("elena"),
    }
    return ModelVersion.objects.create(**facts | changes)


def furnish(cohort: CohortVersion, protocol: Any) -> SimpleNamespace:
    """One backbone of two versions. The second one voided two approvals, and barred the review of a third head."""
    elena = scene.person("elena")
    backbone_system = scene.system("Chest backbone")
    backbone_system.kind = SystemKind.BACKBONE
    backbone_system.save()
    first = version_of(backbone_system, "1.0", {"backbone.safetensors": "one", "config.json": "{}"}, status="approved")
    record_origins(version=first, trained_on=cohort, by=elena)
    heads = []
    for place, name in enumerate(HEADS):
        files = {"backbone.safetensors": "one", "head.safetensors": name, "config.json": name, "README.md": name}
        head = version_of(scene.system(name), "1.0", files, card=CARD)
        record_origins(version=head, trained_on=cohort, by=elena)
        made = scene.run(head, cohort, protocol, outcome="pass", shards=2)
        now = timezone.now()
        Shard.objects.filter(run=made).update(
            telemetry=TELEMETRY, started_at=now - timedelta(seconds=30), finished_at=now
        )
        head.status = "approved" if place < 2 else "in_review"
        head.save()
        if place == 2:
            barred = scene.review(made)
        heads.append(head)
    second = version_of(backbone_system, "1.1", {"backbone.safetensors": "two", "config.json": "{}"})
    record_origins(version=second, trained_on=cohort, by=elena)
    for head in heads:
        head.refresh_from_db()
    return SimpleNamespace(first=first, second=second, heads=heads, barred=barred)


def intakes(system: AISystem) -> list[VersionIntake]:
    """Versions on their way in: ready, stopped by an error, and half uploaded."""
    names = (
        "files",
        "safe",
        "weights",
        "declaration",
        "card",
        "licence",
        "content",
        "lineage",
        "duplicates",
        "identity",
    )
    good = [
        {"code": name, "title": f"Check of {name}", "state": "ok", "message": "Found.", "remedy": "", "file": ""}
        for name in names
    ]
    bad = good[0] | {
        "state": "error",
        "message": "The file ends after 1,204 of 90,112,000 bytes.",
        "remedy": "Copy it again.",
        "file": "a_folder_with_a_long_name/pytorch_model-00001-of-00002.safetensors",
    }
    found = {
        "digest": "ab" * 32,
        "manifest": {"model.safetensors": "cd" * 32},
        "sizes": {"a_folder_with_a_long_name/model-00001-of-00002.safetensors": 4_200_000_000, "config.json": 800},
        "config": {
            "capabilities": ["classify"],
            "labels": ["effusion"],
            "modalities": ["image"],
            "required": ["image"],
        },
        "card": CARD,
        "backbone_digest": "",
        "change": {"against": "1.2", "added": ["config.json"], "removed": [], "changed": ["model.safetensors"]},
    }
    states: tuple[tuple[str, str, list[dict[str, str]], dict[str, Any]], ...] = (
        ("ready", "folder", good, found),
        ("blocked", "archive", [good[0], bad], {}),
        ("receiving", "upload", [], {}),
    )
    rows = [
        VersionIntake.objects.create(
            system=system,
            label=f"4.{place}",
            adapter="fusion",
            kind=kind,
            source_path="" if kind == "upload" else "/data/models/a_long_folder_name_of_a_model/checkpoint-120000",
            status=status,
            checks=checks,
            findings=findings,
            created_by=scene.person("elena"),
        )
        for place, (status, kind, checks, findings) in enumerate(states)
    ]
    for name, received in (("model/weights.safetensors", 1_000_000), ("model/config.json", 800)):
        UploadedFile.objects.create(intake=rows[2], path=name, size=max(received, 4_000_000), received=received)
    return rows


def workers() -> list[Worker]:
    """One that works, one that waits, one that is silent."""
    now = timezone.now()
    loaded = [{"system": "Chest model", "label": "1.1", "digest": "ab" * 32, "bytes": 4_200_000}]
    facts = (
        ("gpu1@node-1", "Audit 4, share 3 of 6", 212.4, loaded, now),
        ("cpu@node-1", "", None, [], now),
        ("gpu2@node-2", "", 80.0, loaded, now - timedelta(hours=3)),
    )
    return [
        Worker.objects.create(
            name=name,
            host=name.partition("@")[2],
            pid=100 + place,
            queues=[name[:3]],
            device="cpu" if name.startswith("gpu") else "",
            device_name="Example CPU @ 2.10GHz" if name.startswith("gpu") else "",
            memory_total=8_000_000_000 if name.startswith("gpu") else None,
            threads=2 if name.startswith("gpu") else None,
            loaded=held,
            doing=doing,
            speed=speed,
            started_at=now - timedelta(hours=5),
            seen_at=seen,
        )
        for place, (name, doing, speed, held, seen) in enumerate(facts)
    ]
