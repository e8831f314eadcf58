"""The main job, points a to e, against a running installation with real workers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import pytest

from config.embedded.stack import ROOT
from tests.stack.conftest import Installation

pytestmark = [pytest.mark.stack]

NIH = "NIH text-mined chest X-ray labels 2017"
BIASED = "Reference multimodal chest model 1.0-biased"
TWIN = "Reference multimodal chest model 1.1"
DETERIORATION = "Reference deterioration alert 1.0"
RARE = "Reference rare-disease ranking 1.0"


def measured(evidence: dict, metric: str, label: str, attribute: str, group: str) -> dict:
    found = [
        item
        for item in evidence["result"]["measurements"]
        if (item["metric"], item["label"], item["attribute"], item["group"]) == (metric, label, attribute, group)
    ]
    assert len(found) == 1, f"{len(found)} measurements of {metric} {label} {attribute} {group}"
    return found[0]


def test_a_real_system_on_real_data(installation: Installation) -> None:
    """The audit of the NIH labeller reproduces the figures that the source file itself gives."""
    evidence = installation.evidence("2017")
    assert evidence["cohort"]["n_studies"] == 4376
    assert evidence["cohort"]["n_patients"] == 1695
    assert not evidence["cohort"]["simulated"]
    expected = {
        ("tpr", "pneumothorax", "", "All"): 0.458,
        ("tpr", "pneumothorax", "view", "PA"): 0.581,
        ("tpr", "pneumothorax", "view", "AP"): 0.361,
        ("tpr", "pneumothorax", "sex", "F"): 0.436,
        ("tpr", "pneumothorax", "sex", "M"): 0.477,
        ("tpr", "airspace_opacity", "view", "AP"): 0.542,
        ("tpr", "airspace_opacity", "view", "PA"): 0.346,
    }
    for key, value in expected.items():
        found = measured(evidence, *key)
        assert round(found["value"], 3) == value, key
        assert found["low"] < found["value"] < found["high"]
    assert evidence["version"]["config"]["runs_weights"] is False
    assert installation.result["verdicts"][NIH]["outcome"] == "fail"


def test_b_planted_underdiagnosis_is_found_and_the_twin_passes(installation: Installation) -> None:
    verdicts = installation.result["verdicts"]
    assert verdicts[BIASED]["outcome"] == "fail"
    assert verdicts[TWIN]["outcome"] == "pass"
    assert all(item["outcome"] == "pass" for item in verdicts[TWIN]["criteria"])
    failed = {(item["attribute"]) for item in verdicts[BIASED]["criteria"] if item["outcome"] == "fail"}
    assert failed == {"sex"}
    evidence = installation.evidence("1.0-biased")
    assert evidence["cohort"]["simulated"] is True
    assert evidence["cohort"]["n_patients"] >= 2000
    assert evidence["cohort"]["n_studies"] > 1.5 * evidence["cohort"]["n_patients"]
    women = measured(evidence, "tpr", "effusion", "sex", "F")
    men = measured(evidence, "tpr", "effusion", "sex", "M")
    assert women["value"] < men["value"] - 0.10
    parameters = evidence["version"]["config"]["details"]["parameters"]
    assert 500_000 < parameters < 2_000_000
    assert all(name.endswith(".safetensors") or "." in name for name in evidence["version"]["manifest"])
    assert any(name.endswith(".safetensors") for name in evidence["version"]["manifest"])


def test_b_one_backbone_carries_three_systems_and_its_change_voids_their_approvals(installation: Installation) -> None:
    told = installation.python("""
        import shutil, tempfile
        from pathlib import Path
        from django.conf import settings
        from django.db import transaction
        from safetensors.numpy import load_file, save_file
        from models_registry.models import ModelVersion, Origin
        from models_registry.services.versions import model_store, register_version
        backbone = ModelVersion.objects.get(system__kind="backbone")
        edges = Origin.objects.filter(relation="backbone", source_version=backbone).select_related("version__system")
        answer = {
            "heads": sorted(str(edge.version) for edge in edges),
            "held": sorted({edge.version.manifest["backbone.safetensors"] == edge.digest for edge in edges}),
            "approved": sorted(
                str(edge.version) for edge in edges if edge.version.status in ("approved", "conditional", "deployed")
            ),
        }
        folder = Path(tempfile.mkdtemp(dir=settings.AUSCULT_HOME / "scratch")) / "changed"
        shutil.copytree(model_store().folder_path(backbone.digest), folder)
        tensors = load_file(folder / "backbone.safetensors")
        tensors["class_token"] = tensors["class_token"] + 0.001
        save_file(tensors, folder / "backbone.safetensors")
        with transaction.atomic():  # rolled back: other tests need the approvals
            new = register_version(
                system=backbone.system, label="1.1", adapter="fusion", folder=folder, by=backbone.submitted_by)
            void = ModelVersion.objects.filter(status="void", void_cause=new)
            answer["void"] = sorted(str(version) for version in void)
            weights = (backbone.backbone_digest, new.backbone_digest)
            answer["reasons"] = all(digest in item.void_reason for item in void for digest in weights)
            transaction.set_rollback(True)
        shutil.rmtree(folder.parent)
    """)
    # Other tests of this installation put versions of their own on the backbone.
    assert {BIASED, TWIN, DETERIORATION, RARE} <= set(told["heads"]) and told["held"] == [True]
    assert {TWIN, DETERIORATION, RARE} <= set(told["approved"]) and told["void"] == told["approved"]
    assert told["reasons"] is True


def test_c_protocol_first_and_separated_duties(installation: Installation) -> None:
    story = installation.python("""
        from governance.models import Review
        answer = []
        for review in Review.objects.exclude(status="open").select_related("run__protocol", "version"):
            run, protocol = review.run, review.run.protocol
            answer.append({
                "before": protocol.approved_at < run.requested_at,
                "people": [run.version.submitted_by.username, run.requested_by.username, protocol.approved_by.username],
                "voters": [vote.voter.username for vote in review.votes.all()],
            })
    """)
    assert len(story) >= 2
    for item in story:
        assert item["before"]
        assert len(set(item["people"])) == 3
        assert len(item["voters"]) == 2
        assert not set(item["voters"]) & set(item["people"])


def test_c_the_database_refuses_what_the_services_refuse(installation: Installation) -> None:
    refused = installation.python("""
        from django.db import IntegrityError, transaction
        from core.errors import AuscultError
        from core.models import User
        from evaluation.models import AuditRun
        from evaluation.services.runs import request_audit
        from governance.models import Review, Vote
        run, review = AuditRun.objects.first(), Review.objects.first()
        answer = {}
        try:
            request_audit(version=run.version, cohort=run.cohort, protocol=run.protocol, by=run.version.submitted_by)
        except AuscultError as error:
            answer["service"] = type(error).__name__
        for name, change in {
            "submitter": {"requested_by": run.version_submitted_by},
            "approver": {"requested_by": run.protocol_approved_by},
        }.items():
            try:
                with transaction.atomic():
                    AuditRun.objects.filter(pk=run.pk).update(**change)
            except IntegrityError as error:
                answer[name] = type(error).__name__
        try:
            with transaction.atomic():
                Vote.objects.create(review=review, voter=review.runner, choice="approve", rationale="x",
                    submitter=review.submitter, runner=review.runner, protocol_approver=review.protocol_approver)
        except IntegrityError as error:
            answer["vote"] = type(error).__name__
        try:
            with transaction.atomic():
                stranger = User.objects.get(username="dora")
                Vote.objects.create(review=review, voter=review.runner, choice="approve", rationale="x",
                    submitter=stranger, runner=stranger, protocol_approver=stranger)
        except IntegrityError as error:
            answer["forged"] = type(error).__name__
    """)
    assert refused == {
        "service": "DeniedError",
        "submitter": "IntegrityError",
        "approver": "IntegrityError",
        "vote": "IntegrityError",
        "forged": "IntegrityError",
    }


def test_d_verdicts_carry_their_grounds_and_the_committee_decides(installation: Installation) -> None:
    assert installation.result["verdicts"][BIASED]["decision"] == "rejected"
    assert installation.result["verdicts"][TWIN]["decision"] == "approved"
    assert installation.result["verdicts"][DETERIORATION]["decision"] == "approved with conditions"
    for label in ("2017", "1.0-biased", "1.1"):
        for verdict in installation.evidence(label)["result"]["verdicts"]:
            assert verdict["outcome"] in {"pass", "fail", "insufficient"}
            if verdict["outcome"] != "insufficient":
                assert verdict["n"] > 0 and verdict["patients"] > 0
                assert verdict["low"] <= verdict["value"] <= verdict["high"]
            assert verdict["statement"]


def test_e_reports_are_pdf_a_with_their_data_inside(installation: Installation, tmp_path) -> None:
    import pikepdf

    with zipfile.ZipFile(installation.bundle) as bundle:
        names = bundle.namelist()
        pdfs = [name for name in names if name.endswith(".pdf")]
        bundle.extractall(tmp_path)
    assert "reports/annex_iv.pdf" in pdfs and len(pdfs) == 6
    for name in pdfs:
        with pikepdf.open(tmp_path / name) as pdf, pdf.open_metadata() as meta:
            assert meta["pdfaid:part"] == "3"
            (attachment,) = pdf.attachments.values()
            inside = json.loads(attachment.get_file().read_bytes())
        assert inside == json.loads((tmp_path / name.replace(".pdf", ".json")).read_text())


def verify(path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "governance/bundle/verify.py"), str(path)], capture_output=True, text=True
    )


def test_e_bundle_verifies_offline_and_a_changed_byte_is_named(installation: Installation, tmp_path) -> None:
    assert installation.result["verified"] is True
    assert verify(installation.bundle).returncode == 0
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(installation.bundle) as bundle:
        evidence = bundle.getinfo("evidence.json")
        raw = bytearray(installation.bundle.read_bytes())
        start = raw.index(bundle.read("evidence.json")[:200], evidence.header_offset)
    raw[start + 100] ^= 1
    changed.write_bytes(raw)
    found = verify(changed)
    assert found.returncode == 1
    assert "evidence.json" in found.stdout + found.stderr


def test_the_ledger_is_intact_and_holds_every_act(installation: Installation) -> None:
    checked = installation.python("""
        from core.ledger import verify
        from core.models import LedgerEntry
        found = verify()
        answer = {"problem": found.problem, "acts": sorted(set(LedgerEntry.objects.values_list("act", flat=True)))}
    """)
    assert checked["problem"] is None
    assert {
        "version.registered",
        "protocol.approved",
        "run.requested",
        "run.judged",
        "vote.cast",
        "bundle.issued",
    } <= set(checked["acts"])


def test_a_second_demo_in_a_used_home_or_port_is_refused(installation: Installation, tmp_path) -> None:
    command = [sys.executable, "-m", "config.cli", "demo", "--once", "--port", str(installation.port)]
    for home in (installation.home, tmp_path):
        done = subprocess.run([*command, "--home", str(home)], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 3
        assert "What to do:" in done.stderr
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_f_what_was_approved_is_used_and_watched(installation: Installation) -> None:
    """Under a policy, at one place, with a risk that the failed audit opened and an incident whose clock runs."""
    told = installation.python("""
        from governance.models import Incident, Review, Risk
        from models_registry.models import Deployment
        from governance.selectors.policies import gate, policies_for
        row = Deployment.objects.select_related("version__system").get()
        open_items = {item.item for policy in policies_for(row.version.system)
                      for item in gate(row.version, policy).open_items}
        answer = {
            "runs": [row.version.label, row.version.status, row.status],
            "policies": sorted(str(review.policy) for review in Review.objects.exclude(policy=None).distinct()),
            "risks": sorted({risk.origin for risk in Risk.objects.filter(system=row.version.system)}),
            "clocks": sorted(Incident.objects.get().clocks.values_list("regime", flat=True)),
            "open": sorted(open_items),
        }
    """)
    assert told["runs"] == ["1.1", "deployed", "running"]
    assert len(told["policies"]) == 4 and all(name.startswith("reference-systems-v1") for name in told["policies"])
    assert told["risks"] == ["finding"]
    assert told["clocks"] == ["MDR"]
    assert told["open"] == ["incidents"]  # an open incident with a report that is owed closes the gate
