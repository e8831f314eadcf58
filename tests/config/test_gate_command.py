"""``auscult gate``, ``policy`` and ``cohort role``: what a pipeline sees, and how bad input ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.db import connection
from django.utils import timezone

import config.cli as cli
from config.cli.gate import find_version
from core.errors import ConflictError, NotFoundError
from core.models import LedgerEntry, Role, RoleGrant, User
from evaluation.models import AuditRun, Protocol
from governance.models import Policy
from governance.policies.form import bundled_names, bundled_source
from governance.services.policies import accept_insufficiency, approve_policy, propose_policy
from models_registry.models import AISystem, Cohort, CohortVersion, ModelVersion
from tests.config.test_cli import Ended, auscult
from tests.governance.policy_scene import WAIVER, audit_body, policy_body, written
from tests.governance.signed import signed

__all__ = ["auscult"]

ROOT = Path(__file__).parents[2]
PASSWORD = "a-long-password-for-tests"
Auscult = Callable[..., Ended]


@pytest.fixture
def world(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A version with one passed audit on patients of another hospital, and a policy in force that asks for it."""
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.setattr("config.cli.policy.prepare", lambda: None)
    monkeypatch.delenv("AUSCULT_USER", raising=False)
    run = audited_version()
    policy = in_force(audit_body(insufficient=WAIVER))
    return SimpleNamespace(run=run, version=run.version, policy=policy)


def person(name: str, role: Role) -> User:
    user, made = User.objects.get_or_create(username=name)
    if made:
        user.set_password(PASSWORD)
        user.save()
    RoleGrant.objects.get_or_create(user=user, role=role)
    return user


def audited_version() -> AuditRun:
    submitter, runner = person("sub", Role.ML_ENGINEER), person("run", Role.AUDITOR)
    approver = person("chair", Role.COMMITTEE_CHAIR)
    system = AISystem.objects.create(
        name="Chest reader", slug="chest-reader", intended_purpose="x", created_by=submitter
    )
    version = ModelVersion.objects.create(
        system=system, label="1.0", adapter="recorded", digest="ab" * 32, manifest={}, submitted_by=submitter
    )
    cohort = Cohort.objects.create(name="Elsewhere", slug="elsewhere", role="external_test", created_by=runner)
    content = CohortVersion.objects.create(
        cohort=cohort, digest="cd" * 32, n_studies=500, n_patients=400, summary={}, registered_by=runner
    )
    protocol = Protocol.objects.create(
        name="imaging-classifier-v1", title="x", digest="ef" * 32, source="x", body={}, status="approved",
        locked_by=runner, approved_by=approver, approved_at=timezone.now(),
    )  # fmt: skip
    return AuditRun.objects.create(
        version=version, cohort=content, protocol=protocol, spec_digest="12" * 32, status="done", outcome="pass",
        n_studies=500, version_submitted_by=submitter, protocol_approved_by=approver, requested_by=runner,
        finished_at=timezone.now(), evidence_digest="34" * 32,
    )  # fmt: skip


def in_force(*audits: dict[str, Any], **given: Any) -> Policy:
    chair = person("chair", Role.COMMITTEE_CHAIR)
    policy = propose_policy(source=written(*audits, **given), by=person("run", Role.AUDITOR))
    return approve_policy(policy=policy, by=chair, signed=signed(chair))


def gate(auscult: Auscult, *more: object, version: str = "chest-reader/1.0", policy: str = "chest-use") -> Ended:
    return auscult("gate", "--version", version, "--policy", policy, *more)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, 0, "Pass, as of"),
        ({"outcome": "fail"}, 1, "Fail, as of"),
        ({"outcome": "insufficient"}, 2, "Not enough evidence, as of"),
        ({"finished_at": timezone.now() - timedelta(days=366)}, 2, "Not enough evidence, as of"),
        ({"status": "failed"}, 2, "Not enough evidence, as of"),
    ],
)
def test_exit_codes_tell_the_verdict(
    world: SimpleNamespace, auscult: Auscult, changes: dict[str, Any], code: int, words: str
) -> None:
    AuditRun.objects.filter(pk=world.run.pk).update(**changes)
    ended = gate(auscult)
    assert (ended.code, ended.errors) == (code, "") and words in ended.output
    assert "chest-reader/1.0 by chest-use no. 1" in ended.output and "fairness" in ended.output
    assert ("The first item that is met stops being so on" in ended.output) == (code == 0)
    assert not LedgerEntry.objects.filter(act="gate.checked").exists()


def test_who_can_mend_it_is_told(world: SimpleNamespace, auscult: Auscult) -> None:
    AuditRun.objects.filter(pk=world.run.pk).update(outcome="insufficient")
    assert "Auditor, Committee chair" in gate(auscult).output.replace("\n", " ")


def test_a_pass_with_an_accepted_gap_says_so(world: SimpleNamespace, auscult: Auscult) -> None:
    AuditRun.objects.filter(pk=world.run.pk).update(outcome="insufficient")
    chair = person("another-chair", Role.COMMITTEE_CHAIR)
    accept_insufficiency(
        version=world.version, policy=world.policy, item="fairness", reason="More studies are on their way.",
        expires_at=timezone.now() + timedelta(days=9), by=chair, signed=signed(chair),
    )  # fmt: skip
    ended = gate(auscult)
    assert ended.code == 0 and "accepted" in ended.output
    assert "1 gap in the evidence, which a named person accepts.\nPass, as of" in ended.output


def test_json_is_one_object_and_nothing_else(world: SimpleNamespace, auscult: Auscult) -> None:
    ended = gate(auscult, "--json")
    found = json.loads(ended.output)
    assert (found["schema"], found["outcome"], found["version"]["digest"]) == ("auscult/gate/1", "pass", "ab" * 32)
    assert found["policy"] == {"name": "chest-use", "number": 1, "digest": world.policy.digest}
    (item,) = found["items"]
    assert (item["state"], item["run"], item["evidence_digest"]) == ("met", world.run.pk, "34" * 32)
    assert item["expires_at"] == found["expires_at"]


def test_a_version_is_named_by_its_digest_too(world: SimpleNamespace, auscult: Auscult) -> None:
    for name in ("ab" * 6, "AB" * 8, "ab" * 32):
        assert gate(auscult, version=name).code == 0
    other = AISystem.objects.create(
        name="Other", slug="other", intended_purpose="x", created_by=world.version.submitted_by
    )
    ModelVersion.objects.create(
        system=other, label="9", adapter="recorded", digest="ab" * 32, manifest={}, submitted_by=other.created_by
    )
    with pytest.raises(ConflictError, match=r"The digest (ab){32} is of"):
        find_version("ab" * 32)


def test_a_result_is_recorded_for_a_person(world: SimpleNamespace, auscult: Auscult) -> None:
    assert gate(auscult, "--record").code == 3
    assert gate(auscult, "--record", "--by", "nobody").code == 3
    assert not LedgerEntry.objects.filter(act="gate.checked").exists()
    assert gate(auscult, "--record", "--by", "sub").code == 0
    entry = LedgerEntry.objects.get(act="gate.checked")
    assert (entry.actor, entry.subject_kind, entry.subject_id) == ("sub", "ModelVersion", str(world.version.pk))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": "chest-reader/2.0"}, "There is no version '2.0' of a system 'chest-reader'."),
        ({"version": "nobody/1.0"}, "The page of the system shows its short name."),
        ({"version": "abab"}, "neither SYSTEM/LABEL nor at least 12 characters"),
        ({"version": "chest-reader"}, "neither SYSTEM/LABEL nor"),
        ({"version": "0123456789ab"}, "no version whose digest begins with"),
        ({"version": ""}, "neither SYSTEM/LABEL nor"),
        ({"policy": "nothing"}, "There is no policy called 'nothing'."),
        ({"policy": "waiting"}, "No number of waiting is in force: number 1 is awaiting approval."),
        ({"policy": "elsewhere"}, "elsewhere no. 1 does not apply to Chest reader."),
    ],
)
def test_bad_input_ends_with_three(world: SimpleNamespace, auscult: Auscult, given: dict[str, str], words: str) -> None:
    propose_policy(source=written(name="waiting"), by=person("run", Role.AUDITOR))
    in_force(name="elsewhere", applies_to=["another"])
    ended = gate(auscult, **given)
    assert ended.code == 3 and words in ended.errors and "What to do:" in ended.errors and ended.output == ""


def test_rules_that_were_changed_in_the_database_pass_nothing(world: SimpleNamespace, auscult: Auscult) -> None:
    body = world.policy.body | {"audits": []}
    Policy.objects.filter(pk=world.policy.pk).update(body=body)
    ended = gate(auscult)
    assert ended.code == 3 and "The rules of chest-use no. 1 were changed" in ended.errors


@pytest.mark.parametrize("arguments", [[], ["--version", "x"], ["--policy", "x"], ["--nonsense"]])
def test_wrong_options_are_no_verdict(world: SimpleNamespace, auscult: Auscult, arguments: list[str]) -> None:
    assert auscult("gate", *arguments).code == 3


# Policies from a shell


def test_a_policy_is_checked_proposed_approved_and_listed(
    world: SimpleNamespace, auscult: Auscult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(written(name="mine", applies_to=["nobody"]))
    ended = auscult("policy", "check", file)
    assert ended.code == 0 and ended.output.startswith("mine: valid, 1 audit, 0 documents, for nobody.\nDigest ")
    ended = auscult("policy", "propose", file, "--by", "run")
    assert ended.code == 0 and "Proposed mine no. 1." in ended.output
    assert "Note: There is no system with the short name nobody" in ended.errors
    monkeypatch.setenv("AUSCULT_PASSWORD", "wrong")
    ended = auscult("policy", "approve", "mine", "1", "--by", "chair")
    assert ended.code == 3 and "This is not your password" in ended.errors
    monkeypatch.setenv("AUSCULT_PASSWORD", PASSWORD)
    assert auscult("policy", "approve", "mine", "1", "--by", "run").code == 3
    ended = auscult("policy", "approve", "mine", "1", "--by", "chair")
    assert (ended.code, ended.output) == (0, "mine no. 1 is in force.\n")
    listed = auscult("policy", "list").output
    assert "mine no. 1  in force" in listed and all(f"{name}  bundled" in listed for name in bundled_names())
    for wrong in (("mine", "9"), ("nothing", "1"), ("mine", "0"), ("mine", "x")):
        assert auscult("policy", "approve", *wrong, "--by", "chair").code == 3
    assert auscult("policy", "propose", file, "--by", "run").code == 3
    assert auscult("policy", "propose", file, "--by", "sub").code == 3
    assert Policy.objects.filter(name="mine").count() == 1


def test_bundled_policies_are_shown_and_checked_by_name(world: SimpleNamespace, auscult: Auscult) -> None:
    for name in bundled_names():
        assert auscult("policy", "show", name).output == bundled_source(name)
        assert auscult("policy", "check", name).code == 0
    for command in ("show", "check"):
        ended = auscult("policy", command, "nothing")
        assert ended.code == 3 and "There is no bundled policy called 'nothing'." in ended.errors


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe", "Line 1: the policy is not UTF-8 (byte 0xff)."),
        (b"", "this is a mapping of keys"),
        (b"name: [", "this is not valid YAML"),
        (yaml.safe_dump(policy_body(title=7)).encode(), "title: this is a text; 7 is none."),
        (yaml.safe_dump(policy_body(audit_body(cohort_role="x"))).encode(), "'x' is not known here."),
        (b"\x00", "this is not valid YAML"),
    ],
)
def test_bad_files_end_with_three_and_their_line(
    world: SimpleNamespace, auscult: Auscult, tmp_path: Path, data: bytes, words: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(data)
    for command in (("check", file), ("propose", file, "--by", "run")):
        ended = auscult("policy", *command)
        assert ended.code == 3 and words in ended.errors and "Traceback" not in ended.errors
    for missing in (tmp_path, tmp_path / "none.yaml"):
        assert "cannot be read" in auscult("policy", "check", missing).errors


def test_a_cohort_is_given_a_role(world: SimpleNamespace, auscult: Auscult) -> None:
    fresh = Cohort.objects.create(name="Graz", slug="graz", created_by=world.version.submitted_by)
    ended = auscult("cohort", "role", "graz", "local", "--site", "LKH Graz", "--by", "run")
    assert (ended.code, ended.output) == (0, "Graz: local acceptance, at one site, patients of LKH Graz.\n")
    fresh.refresh_from_db()
    assert (fresh.role, fresh.site) == ("local", "LKH Graz")
    for wrong in (
        ("graz", "nonsense", "--by", "run"),
        ("nobody", "local", "--by", "run"),
        ("graz", "tuning", "--by", "sub"),
        ("graz", "local", "--site", "LKH Graz", "--by", "run"),
        ("graz", "tuning"),
    ):
        assert auscult("cohort", "role", *wrong).code == 3


# In a shell of its own


def shell(home: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """``auscult`` with these arguments, or some code of Python, in a process and an installation of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AUSCULT_", "DJANGO_"))}
    more = {"AUSCULT_HOME": str(home), "AUSCULT_DEBUG": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run(
        [sys.executable, *(("-c", code) if code else ("-m", "config.cli", *arguments))],
        cwd=ROOT,
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_pipeline_in_a_shell_of_its_own_sees_bad_input_as_three(tmp_path: Path) -> None:
    for arguments in (
        ("gate", "--version", "chest-model/1.0", "--policy", "nothing"),
        ("gate", "--version", "x"),
        ("policy", "check", str(tmp_path)),
    ):
        ended = shell(tmp_path, *arguments)
        assert ended.returncode == 3, ended
        assert ended.stdout == "" and "Traceback" not in ended.stderr
    ended = shell(tmp_path, "policy", "check", "use-on-patients-v1")
    assert (ended.returncode, ended.stderr) == (0, "") and "valid, 3 audits, 3 documents" in ended.stdout


FILL = """
import django; django.setup()
from tests.migrated import migrate
migrate()
from tests.config.test_gate_command import audited_version, in_force
from tests.governance.policy_scene import audit_body
audited_version()
in_force(audit_body(), name="meets")
"""
SETUP = "import django; django.setup(); from evaluation.models import AuditRun; "


def test_a_pipeline_in_a_shell_of_its_own_sees_each_verdict(tmp_path: Path) -> None:
    filled = shell(tmp_path, code=FILL)
    assert filled.returncode == 0, filled.stderr
    asked = ("gate", "--version", "chest-reader/1.0", "--policy", "meets", "--json")
    for outcome, code in (("pass", 0), ("fail", 1), ("insufficient", 2)):
        changed = shell(tmp_path, code=f"{SETUP}AuditRun.objects.update(outcome={outcome!r})")
        assert changed.returncode == 0, changed.stderr
        ended = shell(tmp_path, *asked)
        assert (ended.returncode, json.loads(ended.stdout)["outcome"], ended.stderr) == (code, outcome, "")


def test_the_error_for_a_version_names_those_that_there_are(world: SimpleNamespace) -> None:
    with pytest.raises(NotFoundError) as missing:
        find_version("chest-reader/2.0")
    assert missing.value.remedy == "Its versions: 1.0."
