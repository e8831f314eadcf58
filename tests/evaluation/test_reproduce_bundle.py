"""``auscult reproduce BUNDLE.zip``: the audit that a bundle tells of is run again where its model and cohort are."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config import cli
from core.digests import sha256_json
from core.errors import NotFoundError
from evaluation.execution import devices
from evaluation.execution.reproduction import reproduce_evidence
from evaluation.models import AuditRun
from governance.bundle.build import build_bundle
from governance.bundle.layout import key_id
from governance.bundle.verify import verify_bytes
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish
from tests.governance.sealing import made_content

pytestmark = pytest.mark.django_db
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def evidence(run: AuditRun) -> dict[str, Any]:
    """Of an audit that was judged here."""
    found: dict[str, Any] = model_store().get_json(finish(run).evidence_digest)
    return found


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """A bundle that verifies about this evidence, changed in whatever way: the issuer's key is at hand."""

    def make(evidence: dict[str, Any]) -> Path:
        parts = {name: evidence[name]["digest"] for name in ("version", "cohort", "protocol")}
        work = {**parts, "settings": evidence["execution"]["settings"], "result": evidence["result"]}
        raw = build_bundle(made_content(evidence=evidence | {"result_digest": sha256_json(work)}), KEY)
        assert verify_bytes(raw).ok
        path = tmp_path / "bundle.zip"
        path.write_bytes(raw)
        return path

    return make


@pytest.fixture(autouse=True)
def as_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "open_installation", lambda: None)
    monkeypatch.setattr(devices, "repeatable", nullcontext)  # It changes settings of the process, which here goes on.


def reproduce(*arguments: object) -> Result:
    return CliRunner().invoke(cli.auscult, ["reproduce", *map(str, arguments)])


def test_the_audit_of_a_bundle_comes_out_equal(evidence: dict[str, Any], sealed: Any) -> None:
    done = reproduce(sealed(evidence), "--tolerance", 0, "--trust", key_id(KEY.public_key()))
    assert done.exit_code == 0, done.output
    assert f"{len(evidence['result']['measurements'])} equal" in done.output
    assert "The result is the same to the last digit." in done.output and "Reproduced." in done.output
    assert key_id(KEY.public_key()) in done.output and "not compared" not in done.output


def test_each_measurement_is_told_as_equal_within_tolerance_or_different(evidence: dict[str, Any], sealed: Any) -> None:
    rows = [row for row in evidence["result"]["measurements"] if row["value"] is not None and row["low"] is not None]
    rows[0]["value"] += 1e-8
    rows[1]["value"] += 0.01
    done = reproduce(sealed(evidence), "--json")
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert (told["reproduced"], told["identical"]) == (False, False)
    assert (told["counts"]["within tolerance"], told["counts"]["different"]) == (1, 1)
    assert told["counts"]["equal"] == len(evidence["result"]["measurements"]) - 2
    assert told["tolerance"] == 1e-6


def test_the_tolerance_is_the_one_that_the_protocol_declares(evidence: dict[str, Any], sealed: Any) -> None:
    body = evidence["protocol"]["body"] | {"reproduction": {"tolerance": 0.05, "metrics": {}}}
    evidence["protocol"] |= {"body": body, "digest": sha256_json(body)}
    row = next(row for row in evidence["result"]["measurements"] if row["low"] is not None)
    row["value"] += 0.01
    done = reproduce(sealed(evidence))
    assert done.exit_code == 0, done.output
    assert "1 within tolerance" in done.output and "up to 0.05" in done.output


def test_a_bundle_that_does_not_verify_is_not_run(evidence: dict[str, Any], sealed: Any, tmp_path: Path) -> None:
    raw = sealed(evidence).read_bytes()
    changed = tmp_path / "changed.zip"
    changed.write_bytes(raw.replace(b'"Read by mina."', b'"Read by nina."'))
    damaged = reproduce(changed)
    assert damaged.exit_code == 1
    assert "NOT VERIFIED" in damaged.output and "review.json" in damaged.output
    assert "equal" not in damaged.output
    stranger = reproduce(sealed(evidence), "--trust", "0" * 64, "--json")
    assert stranger.exit_code == 1 and json.loads(stranger.output)["files"] == ["key.pem"]


@pytest.mark.parametrize("name", ["no-such.zip", "12x"])
def test_what_is_neither_number_nor_bundle_is_bad_input(name: str) -> None:
    done = reproduce(name)
    assert done.exit_code == 3
    assert "cannot be read" in done.output and "Give the number of an audit, or a bundle." in done.output


def test_a_model_that_is_not_here_is_named(evidence: dict[str, Any], sealed: Any) -> None:
    manifest = {"model.safetensors": "0" * 64}
    evidence["version"] |= {"manifest": manifest, "digest": sha256_json(manifest)}
    done = reproduce(sealed(evidence))
    assert done.exit_code == 3
    assert f"no version has the digest {sha256_json(manifest)}" in done.output
    assert "Get its files from the issuer" in done.output


def test_a_model_that_is_here_for_another_adapter_is_named(evidence: dict[str, Any]) -> None:
    ModelVersion.objects.filter(digest=evidence["version"]["digest"]).update(adapter="onnx")
    with pytest.raises(NotFoundError, match="not for the adapter"):
        reproduce_evidence(evidence)


@pytest.mark.parametrize("gone", ["from the registry", "from the disk"])
def test_a_cohort_that_is_not_here_is_named(gone: str, evidence: dict[str, Any], sealed: Any) -> None:
    if gone == "from the registry":
        evidence["cohort"]["digest"] = "0" * 64
    else:
        folder = model_store().folder_path(evidence["cohort"]["digest"])
        folder.rename(folder.with_name("elsewhere"))
    done = reproduce(sealed(evidence))
    assert done.exit_code == 3
    assert f"none has the digest {evidence['cohort']['digest']}" in done.output
    assert evidence["cohort"]["name"] in done.output


def test_a_model_registered_under_another_name_is_the_same_model(evidence: dict[str, Any], sealed: Any) -> None:
    ModelVersion.objects.filter(digest=evidence["version"]["digest"]).update(label="renamed")
    assert reproduce(sealed(evidence)).exit_code == 0
