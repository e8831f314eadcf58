"""The card of a model: what its README says, and the CycloneDX ML-BOM of a registered version."""

from __future__ import annotations

import json
import uuid
from datetime import UTC
from importlib import metadata
from typing import TYPE_CHECKING, Any

from models_registry.intake.card import read_card

if TYPE_CHECKING:
    from models_registry.models import ModelVersion, Origin

__all__ = ["ml_bom", "ml_bom_bytes", "read_card"]


def ml_bom(version: ModelVersion) -> dict[str, Any]:
    """The version as a CycloneDX 1.6 ML-BOM: the model, each of its files, what it was made from, and its model card.

    Everything comes from what was registered, and equal facts give an equal document: the serial number is derived from
    the digest, the time is when the version was registered. Figures are those that its provider states.

    Source: CycloneDX 1.6, component type ``machine-learning-model`` (ECMA-424).
    """
    origins = list(version.origins.select_related("source_version__system", "source_cohort__cohort"))
    ancestors = [_ancestor(origin) for origin in origins if origin.relation != "trained_on"]
    data = [_data(origin) for origin in origins if origin.relation == "trained_on"]
    subject = _subject(version, ancestors=ancestors, data=data)
    parts = list({part["bom-ref"]: part for part in (*ancestors, *data)}.values())
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, version.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": version.submitted_at.astimezone(UTC).isoformat(timespec="seconds"),
            "tools": {
                "components": [{"type": "application", "name": "Auscult", "version": metadata.version("auscult")}]
            },
            "component": subject,
        },
        "components": parts,
        "dependencies": [
            {"ref": subject["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in parts)},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def ml_bom_bytes(version: ModelVersion) -> bytes:
    """:func:`ml_bom` as a JSON file, the same bytes each time."""
    return (json.dumps(ml_bom(version), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _subject(version: ModelVersion, *, ancestors: list[dict[str, Any]], data: list[dict[str, Any]]) -> dict[str, Any]:
    """The model itself. Its hash is that of its manifest, which binds every file."""
    system = version.system
    facts = {
        "adapter": version.adapter,
        "status": str(version.status),
        "source": version.source,
        "backbone-sha256": version.backbone_digest,
        "runs-weights": "yes" if version.config.get("runs_weights") else "no",
        "hash-of": "SHA-256 of the canonical JSON that maps each file to its SHA-256",
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{version.digest}",
        "name": system.name,
        "version": version.label,
        "description": system.intended_purpose,
        **({"supplier": {"name": system.provider}} if system.provider else {}),
        "hashes": _hashes(version.digest),
        **_licences(version.card),
        **({"pedigree": {"ancestors": [_plain(item) for item in ancestors]}} if ancestors else {}),
        "components": [_file(version, path) for path in sorted(version.manifest)],
        "modelCard": _model_card(version, data),
        "properties": _properties(facts),
    }


def _model_card(version: ModelVersion, data: list[dict[str, Any]]) -> dict[str, Any]:
    config, card = version.config, version.card
    details = config.get("details") or {}
    run = card.get("run") or {}
    parameters: dict[str, Any] = {
        "task": ", ".join(config.get("capabilities") or ["unknown"]),
        "modelArchitecture": str(details.get("architecture") or version.adapter),
        "inputs": [{"format": item} for item in config.get("modalities") or []],
        "outputs": [{"format": item} for item in config.get("outputs") or []],
        "datasets": [{"ref": item["bom-ref"]} for item in data],
    }
    metrics = [
        {
            "type": row["metric"] or "unknown",
            "value": row["value"],
            **({"slice": row["dataset"]} if row["dataset"] else {}),
        }
        for row in card.get("results") or []
    ]
    metrics += [
        {"type": name, "value": value, "slice": "MLflow run"} for name, value in (run.get("metrics") or {}).items()
    ]
    facts = {
        "labels": ", ".join(config.get("labels") or []),
        "parameters": str(details.get("parameters") or ""),
        "preprocessing": str(details.get("preprocessing") or ""),
        "languages": ", ".join(card.get("language") or []),
        "tags": ", ".join(card.get("tags") or []),
        "compute": str(card.get("compute") or ""),
        "mlflow-run": str(run.get("run_id") or ""),
        **{f"mlflow-param-{name}": value for name, value in (run.get("params") or {}).items()},
    }
    uses = [text for text in (version.system.intended_purpose, card.get("intended_use")) if text]
    return {
        "modelParameters": parameters,
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        "considerations": {"useCases": list(dict.fromkeys(uses))},
        "properties": _properties(facts),
    }


def _ancestor(origin: Origin) -> dict[str, Any]:
    """What a version was made from: one that is registered here, or a name."""
    source = origin.source_version
    facts = {"relation": str(origin.relation), "told-by": origin.told_by, "shared-sha256": origin.digest}
    if source is None:
        return {
            "type": "machine-learning-model",
            "bom-ref": f"named:{origin.source_name}",
            "name": origin.source_name,
            "properties": _properties(facts),
        }
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{source.digest}:{origin.relation}",
        "name": source.system.name,
        "version": source.label,
        "hashes": _hashes(source.digest),
        **_licences(source.card),
        "properties": _properties(facts),
    }


def _data(origin: Origin) -> dict[str, Any]:
    """A cohort or data set that a version was trained on. Counts only, no rows."""
    cohort = origin.source_cohort
    name = cohort.cohort.name if cohort else origin.source_name
    component: dict[str, Any] = {"type": "data", "bom-ref": f"data:{cohort.digest if cohort else name}", "name": name}
    content: dict[str, Any] = {"type": "dataset", "name": name}
    if cohort:
        component |= {"version": cohort.digest[:12], "hashes": _hashes(cohort.digest)}
        content["description"] = f"{cohort.n_studies:,} studies of {cohort.n_patients:,} patients"
        content["sensitiveData"] = [] if cohort.cohort.simulated else ["Health data of patients"]
    facts = {"relation": str(origin.relation), "told-by": origin.told_by}
    return component | {"data": [content], "properties": _properties(facts)}


def _file(version: ModelVersion, path: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{version.digest}:{path}",
        "name": path,
        "hashes": _hashes(version.manifest[path]),
        "properties": _properties({"bytes": str(version.sizes.get(path, ""))}),
    }


def _plain(component: dict[str, Any]) -> dict[str, Any]:
    """A component that is named a second time: a reference must be unique in a document."""
    return component | {"bom-ref": f"ancestor:{component['bom-ref']}"}


def _licences(card: dict[str, Any]) -> dict[str, Any]:
    if not card.get("licence"):
        return {}
    licence = {"id" if card.get("licence_known") else "name": card["licence"]}
    link = str(card.get("licence_link") or "")
    return {"licenses": [{"license": licence | ({"url": link} if link.startswith("https://") else {})}]}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(facts: dict[str, str]) -> list[dict[str, str]]:
    """Name-value pairs in the house's own taxonomy; what is empty is left out."""
    return [{"name": f"auscult:{name}", "value": str(value)} for name, value in sorted(facts.items()) if value]
