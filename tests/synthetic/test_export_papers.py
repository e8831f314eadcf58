"""What a release says of itself, and what shows that nobody changed it: datasheet, statement, signature, verifier."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from core.errors import AuscultError
from governance.bundle.layout import canonical, key_id
from synthetic.release import (
    GateFact,
    PrivacyFact,
    ReleaseFacts,
    SourceFact,
    export_release,
    sign_release,
    verify,
    verify_release,
)
from synthetic.release.datasheet import datasheet_markdown
from tests.synthetic.export_scene import KEY, PUBLIC, facts, signer, studies_of

SECTIONS = ("Motivation", "Composition", "Collection and preprocessing", "Audit", "Uses", "Distribution", "Maintenance")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "out"
    assert export_release(studies_of(), folder, facts=facts(), formats=["parquet", "csv", "fhir"], sign=signer).signed
    return folder


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def sheets(given: ReleaseFacts, tmp_path: Path) -> tuple[dict[str, Any], str]:
    made = export_release(studies_of(), tmp_path / "out", facts=given, formats=["csv"])
    return json.loads((made.folder / "datasheet.json").read_text()), (made.folder / "datasheet.md").read_text()


def test_the_datasheet_tells_what_the_facts_hold(tmp_path: Path) -> None:
    body, text = sheets(facts(), tmp_path)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert text.startswith("# SYNTHETIC: datasheet of Harbour chest \\| 1") and body["synthetic"] == "SYNTHETIC"
    told = (
        "2026-11-23", "CC-BY-4.0", "Teaching &amp; trying software.", "a" * 64, "b" * 64, "patients: 4127",
        "learning: 3127", "site: values held by too few patients", "image_unresolved: 4.3 % of studies",
        "0.580 (95 % interval 0.550 to 0.610)", "at most 0.65", "Was this person among those learnt from?",
        "singling out", "nothing bounds what the generator may have kept", "Diagnosis, treatment", "Small nodules",
        "data@harbour.example", "dora", "No resale.", "series: too few readings", "tables: copula",
    )  # fmt: skip
    assert [words for words in told if words not in text] == []
    assert body["collection"]["generator"]["settings"] == {"seed": 7, "epochs": 3}
    assert body["composition"]["labels"]["odd label"] == {"present": 2, "absent": 3, "unknown": 1}
    private = PrivacyFact(epsilon=3, delta=1e-5, unit="one patient", stages=("tables",))
    generator = replace(facts().generator, privacy=private)
    dp = datasheet_markdown(body | {"collection": sheets(facts(generator=generator), tmp_path / "dp")[0]["collection"]})
    assert "epsilon 3, delta 1e-05, per one patient. Covered: tables" in dp


def test_the_datasheet_of_a_private_generator_tells_no_count_without_noise(tmp_path: Path) -> None:
    privacy = PrivacyFact(epsilon=3, delta=1e-5, unit="one patient", stages=("tables",))
    beside = "2 generators with differential privacy: their epsilons add up to 7, with a delta of 2e-05."
    generator = replace(facts().generator, privacy=privacy, beside=beside)
    body, text = sheets(facts(generator=generator), tmp_path)
    learnt = body["collection"]["learnt_from"]
    assert {learnt[name] for name in ("patients", "studies", "shares")} == {"not told: it would be without noise"}
    for words in (text, json.dumps(body)):
        assert "4127" not in words and "3127" not in words and "add up to 7" in words
    assert "figures of the audit below" in text


def test_counts_of_few_real_patients_are_never_told(tmp_path: Path) -> None:
    small = GateFact(criterion="rare F1", outcome="insufficient", says="7 of 9 patients.", value=7 / 9, low=0.4,
                     high=0.9, n=9, counted="patients", null=0.8)  # fmt: skip
    source = SourceFact(name="x", digest="b" * 64, patients=397, studies=8, shares={"learning": 388, "held out": 9})
    body, text = sheets(facts(gates=(small,), source=source), tmp_path)
    learnt, gate = body["collection"]["learnt_from"], body["audit"]["gates"][0]
    assert learnt == {"name": "x", "digest": "b" * 64, "patients": 397, "studies": "fewer than 11",
                      "shares": "not told: one of them, or what they leave, has fewer than 11 patients"}  # fmt: skip
    assert [gate[name] for name in ("value", "low", "high", "null", "says")] == [None, None, None, None, ""]
    for words in (text, json.dumps(body)):
        assert "388" not in words and "0.77" not in words and "7 of 9" not in words and "fewer than 11" in words
    for n, told in ((11, 11), (10, "fewer than 11"), (1, "fewer than 11"), (0, "fewer than 11")):
        made = sheets(facts(source=replace(source, patients=n)), tmp_path / str(n))[0]
        assert made["collection"]["learnt_from"]["patients"] == told


@pytest.mark.parametrize(("patients", "told"), [(320, True), (321, False), (330, False), (331, True)])
def test_what_the_shares_leave_of_the_whole_is_no_count_of_few(tmp_path: Path, patients: int, told: bool) -> None:
    shares = {"learning": 300, "held out": 20}
    source = SourceFact(name="x", digest="b" * 64, patients=patients, studies=900, shares=shares)
    body, _ = sheets(facts(source=source), tmp_path)
    assert (body["collection"]["learnt_from"]["shares"] == shares) is told


def test_the_statement_binds_every_file_and_says_what_the_audit_found(signed: Path) -> None:
    body = json.loads((signed / "statement.json").read_text())
    subjects = {item["name"]: item["digest"]["sha256"] for item in body["subject"]}
    files = [path for path in signed.rglob("*") if path.is_file() and not path.name.startswith("statement")]
    for path in files:
        assert subjects.pop(path.relative_to(signed).as_posix()) == hashlib.sha256(path.read_bytes()).hexdigest()
    studies = subjects.pop("SYNTHETIC studies")
    assert re.fullmatch("[0-9a-f]{64}", studies) and subjects == {
        "SYNTHETIC cohort Harbour synthetic": "c" * 64, "generator linked": "a" * 64, "audit evidence": "d" * 64,
    }  # fmt: skip
    predicate = body["predicate"]
    assert (predicate["result"], predicate["passedTests"]) == ("PASSED", ["c2st", "membership"])
    decision = predicate["configuration"][1]
    assert decision["annotations"]["by"] == "dora"
    assert decision["digest"]["sha256"] == hashlib.sha256(canonical(decision["annotations"])).hexdigest()


@pytest.mark.parametrize(
    ("outcome", "primary", "result", "where"),
    [
        ("fail", True, "FAILED", "failedTests"),
        ("fail", False, "PASSED", "warnedTests"),
        ("insufficient", True, "WARNED", "warnedTests"),
        ("pass", True, "PASSED", "passedTests"),
    ],
)
def test_lack_of_evidence_never_passes(tmp_path: Path, outcome: str, primary: bool, result: str, where: str) -> None:
    attack = facts().attacks[0]
    given = facts(attacks=(replace(attack, gate=replace(attack.gate, outcome=outcome, primary=primary)),))
    made = export_release(studies_of(), tmp_path / "out", facts=given, formats=["csv"])
    predicate = json.loads((made.folder / "statement.json").read_text())["predicate"]
    assert predicate["result"] == result and "membership" in predicate[where]
    assert facts(gates=(), attacks=()).outcome() == "insufficient"


def test_the_signature_is_one_that_others_verify(signed: Path) -> None:
    assert verify_release(signed, PUBLIC) == [] == verify_release(signed, PUBLIC.decode())
    envelope = Envelope.from_dict(json.loads((signed / "statement.dsse.json").read_text()))
    fingerprint = key_id(KEY.public_key())
    key = SSlibKey.from_crypto(KEY.public_key(), keyid=fingerprint)
    assert set(envelope.verify([key], threshold=1)) == {fingerprint} == {verify.key_id(KEY.public_key())}
    assert envelope.payload == (signed / "statement.json").read_bytes()


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return act


def resigned(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """The statement is changed and signed again by the same key: what the verifier reads is then wrong in itself."""

    def act(folder: Path) -> None:
        body = json.loads((folder / "statement.json").read_text())
        change(body)
        (folder / "statement.json").write_bytes(canonical(body))
        (folder / "statement.dsse.json").write_bytes(canonical(signer(canonical(body))))

    return act


def piped(folder: Path) -> None:
    (folder / "statement.json").unlink()
    os.mkfifo(folder / "statement.json")


TAMPERED: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "a byte": (edit("csv/SYNTHETIC_series.csv", lambda data: data[:-3] + b"9\r\n"), "SYNTHETIC_series.csv was changed"),
    "a file less": (lambda folder: (folder / "cohort.parquet").unlink(), "cohort.parquet is missing"),
    "a file more": (lambda folder: (folder / "csv" / "real.csv").write_text("x"), "csv/real.csv was added"),
    "a hidden file": (lambda folder: (folder / ".x").write_text("x"), ".x was added"),
    "a link": (lambda folder: (folder / "l").symlink_to(folder / "README.txt"), "l is no plain file"),
    "a linked folder": (lambda folder: (folder / "l").symlink_to(folder / "csv"), "l is no plain file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "p"), "p is no plain file"),
    "renamed": (lambda folder: (folder / "datasheet.md").rename(folder / "d.md"), "d.md was added"),
    "unsigned": (lambda folder: (folder / "statement.dsse.json").unlink(), "is not signed"),
    "another statement": (
        edit("statement.json", lambda data: data.replace(b"PASSED", b"WARNED")), "is not what was signed"),
    "no statement": (lambda folder: (folder / "statement.json").unlink(), "statement.json cannot be read"),
    "a pipe for a statement": (piped, "statement.json cannot be read"),
    "no envelope": (edit("statement.dsse.json", lambda data: b"[]"), "is no DSSE envelope"),
    "another spelling": (edit("statement.dsse.json", lambda data: data + b"\n"), "not in its canonical form"),
    "another signature": (
        edit("statement.dsse.json", lambda data: re.sub(rb'"sig":"..', b'"sig":"AA', data)), "the signature is not by"),
    "a way out": (
        resigned(lambda body: body["subject"][0].update(name="../../etc/passwd")), "is not laid out as the statement"),
    "another type": (resigned(lambda body: body.update(predicateType="x")), "is not laid out as the statement"),
    "twice": (resigned(lambda body: body["subject"].append(body["subject"][0])), "is not laid out as the statement"),
    "no subjects": (resigned(lambda body: body.update(subject=7)), "is not laid out as the statement"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERED)
def test_whatever_is_changed_is_found_and_named(copy: Path, kind: str) -> None:
    act, words = TAMPERED[kind]
    assert verify_release(copy, PUBLIC) == []
    act(copy)
    problems = verify_release(copy, PUBLIC)
    assert any(words in line for line in problems), problems
    assert len(problems) <= 2


def test_another_key_and_no_key_are_told(signed: Path, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"x" * 32).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert verify_release(signed, pem) == [
        "statement.dsse.json: the signature is not by this key, or what was signed was changed."
    ]
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert verify_release(signed, curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)) == [
        "The key is not an Ed25519 key."
    ]
    assert verify_release(signed, b"no key") == ["The key is no public key in PEM form."]
    assert "statement.json cannot be read" in verify_release(tmp_path / "nowhere", PUBLIC)[0]


def test_only_this_statement_is_signed_and_only_once(signed: Path, tmp_path: Path) -> None:
    unsigned = export_release(studies_of(), tmp_path / "out", facts=facts(), formats=["csv"])
    assert not unsigned.signed and verify_release(unsigned.folder, PUBLIC) == [
        "statement.dsse.json is missing: the release is not signed."
    ]
    wrong: list[Callable[[bytes], Mapping[str, Any]]] = [
        lambda payload: signer(payload + b" "),
        lambda payload: {},
        lambda payload: dict(signer(payload)) | {"payloadType": "text/plain"},
        lambda payload: dict(signer(payload)) | {"note": "more"},
    ]
    for sign in wrong:
        with pytest.raises(AuscultError, match="not the statement of this release"):
            sign_release(unsigned.folder, sign)
    assert not list(unsigned.folder.glob("statement.dsse*"))
    assert sign_release(unsigned.folder, signer).name == "statement.dsse.json"
    assert verify_release(unsigned.folder, PUBLIC) == []
    for folder, words in ((unsigned.folder, "signed already"), (tmp_path / "nowhere", "no release")):
        with pytest.raises(AuscultError, match=words):
            sign_release(folder, signer)


def test_the_verifier_stands_alone(copy: Path, tmp_path: Path) -> None:
    tool, key = tmp_path / "verify.py", tmp_path / "key.pem"
    shutil.copy(verify.__file__, tool)
    key.write_bytes(PUBLIC)

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(tool), str(folder), "--key", str(key)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    good = run(copy)
    assert good.returncode == 0 and good.stdout.startswith("VERIFIED") and not good.stderr
    (copy / "README.txt").write_text("\x1b[2J")
    (copy / "a\x1b[2Jb").write_text("")
    bad = run(copy)
    assert bad.returncode == 1 and "README.txt was changed" in bad.stdout and "\x1b" not in bad.stdout
    nothing = run(tmp_path / "nowhere")
    assert nothing.returncode == 3 and nothing.stdout.startswith("CANNOT CHECK")


def test_nothing_of_django_is_loaded() -> None:
    command = "import sys, synthetic.release; sys.exit('django' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_words_from_elsewhere_stay_words(tmp_path: Path) -> None:
    body, text = sheets(facts(purpose="<script>x</script>\n# Heading | cell `code`"), tmp_path)
    assert "<script" not in text and "\n# Heading" not in text and body["motivation"]["purpose"].startswith("<script>")
