"""The ML-BOM of a version, held against CycloneDX's own schema."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from models_registry.cards import ml_bom, ml_bom_bytes
from models_registry.models import AISystem, ModelVersion, SystemKind
from models_registry.services import versions
from tests.registry.scene import copy_into_home, make_cohort

README = """---
license: {licence}
base_model: acme/cxr-base
datasets: [mimic-cxr]
model-index:
- results:
  - metrics: [{{type: roc_auc, value: 0.93}}]
---
Text with "quotes", <tags> and ümlauts.

## Intended use
Second reader.
"""


def a_version(world: SimpleNamespace, *, licence: str = "mit", **changes: Any) -> ModelVersion:
    folder = copy_into_home(world.files.predictions, f"model-{AISystem.objects.count()}-{licence}")
    (folder / "README.md").write_text(README.format(licence=licence))
    facts = {"system": world.system, "label": "1.0", "adapter": "recorded", "folder": folder}
    return versions.register_version(**facts | changes, by=world.people.elena)


def valid(version: ModelVersion) -> dict[str, Any]:
    body = ml_bom_bytes(version)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(body.decode()) is None
    return dict(json.loads(body))


def test_the_document_is_valid_and_says_what_is_registered(world: SimpleNamespace) -> None:
    cohort = make_cohort(world.people, world.files.shards)
    version = a_version(world, trained_on=cohort)
    bom = valid(version)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    model = bom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "Chest model", "1.0")
    assert model["hashes"] == [{"alg": "SHA-256", "content": version.digest}]
    assert model["licenses"] == [{"license": {"id": "MIT"}}]
    files = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert files == version.manifest
    assert {part["properties"][0]["value"] for part in model["components"]} == set(map(str, version.sizes.values()))
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "roc_auc", "value": "0.93"}]
    assert card["considerations"]["useCases"] == ["Finds effusion.", "Second reader."]
    assert card["modelParameters"]["outputs"] == [{"format": "pred.effusion"}]
    named = {part["name"] for part in model["pedigree"]["ancestors"]}
    assert named == {"acme/cxr-base"}
    data = {part["bom-ref"]: part for part in bom["components"] if part["type"] == "data"}
    assert set(data) == {ref["ref"] for ref in card["modelParameters"]["datasets"]}
    assert {part["name"] for part in data.values()} == {"Held out", "mimic-cxr"}
    assert data[f"data:{cohort.digest}"]["hashes"] == [{"alg": "SHA-256", "content": cohort.digest}]


def test_equal_facts_give_equal_bytes_and_another_content_another_serial_number(world: SimpleNamespace) -> None:
    version = a_version(world)
    again = ModelVersion.objects.get(pk=version.pk)
    assert ml_bom_bytes(version) == ml_bom_bytes(again)
    other = a_version(world, licence="apache-2.0", label="1.1")
    assert ml_bom(version)["serialNumber"] != ml_bom(other)["serialNumber"]


@pytest.mark.parametrize("licence", ["llama3.1", "", "other"])
def test_a_licence_without_identifier_and_a_missing_one_are_valid(world: SimpleNamespace, licence: str) -> None:
    model = valid(a_version(world, licence=licence))["metadata"]["component"]
    assert model.get("licenses", []) == ([{"license": {"name": licence}}] if licence else [])


def test_a_backbone_is_an_ancestor_by_its_digest(world: SimpleNamespace) -> None:
    system = AISystem.objects.create(
        name="Backbone", slug="b", kind=SystemKind.BACKBONE, intended_purpose="-", created_by=world.people.elena
    )
    backbone = a_version(world, system=system)
    head = a_version(world, licence="apache-2.0", backbone=backbone)
    bom = valid(head)
    ancestors = bom["metadata"]["component"]["pedigree"]["ancestors"]
    assert [backbone.digest] in [[item["content"] for item in part.get("hashes", [])] for part in ancestors]
    assert any(ref.startswith(f"model:{backbone.digest}") for ref in bom["dependencies"][0]["dependsOn"])


def test_a_version_of_an_earlier_release_has_a_document_too(world: SimpleNamespace, home: Path) -> None:
    version = a_version(world)
    ModelVersion.objects.update(card={}, sizes={}, config={})
    valid(ModelVersion.objects.get(pk=version.pk))
