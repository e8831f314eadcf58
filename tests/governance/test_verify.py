"""Whatever is changed in a bundle is found, and the file is named."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.bundle import verify
from governance.bundle.build import BundleContent, ReportFiles, build_bundle
from governance.bundle.container import canonical_zip
from governance.bundle.layout import canonical, root_from_path, statement_body
from governance.bundle.verify import UnreadableError, verify_bundle, verify_bytes
from tests.governance.forging import KEY, findings, resealed, unpack


def test_building_twice_gives_the_same_bytes(content: BundleContent) -> None:
    assert build_bundle(content, KEY) == build_bundle(content, KEY)


@pytest.mark.parametrize("name", ["statement.dsse.json", "ledger/head.json"])
def test_another_spelling_of_an_envelope_is_refused(name: str, raw: bytes) -> None:
    files = unpack(raw)
    body = json.loads(files[name])
    spellings = [
        files[name] + b"\n",
        json.dumps(body, indent=1).encode(),
        canonical(body | {"note": "unsigned"}),
        canonical(body | {"signatures": body["signatures"] * 2}),
        canonical(body | {"signatures": [body["signatures"][0] | {"keyid": "0" * 64}]}),
        files[name].replace(b'{"payload":', b'{"payload":"","payload":'),
    ]
    for spelling in spellings:
        changed = dict(files) | {name: spelling}
        if name != "statement.dsse.json":  # Its hash is put right, so that only the envelope is wrong.
            listed = json.loads(changed["manifest.json"])
            listed["files"][name] = {"sha256": hashlib.sha256(spelling).hexdigest(), "size": len(spelling)}
            changed["manifest.json"] = canonical(listed)
        result = verify_bytes(canonical_zip(sorted(changed.items())))
        assert name in result.files


def test_cut_and_lengthened_bundles_are_found(raw: bytes) -> None:
    for length in (*range(4, 200, 7), len(raw) // 2, len(raw) - 22, len(raw) - 1):
        assert not verify_bytes(raw[:length]).ok
    for tail in (b"\0", b"PK", raw):
        assert not verify_bytes(raw + tail).ok
        assert not verify_bytes(tail + raw).ok


def test_files_added_taken_away_or_renamed_are_named(raw: bytes) -> None:
    files = unpack(raw)

    def found(changed: dict[str, bytes]) -> list[str]:
        return verify_bytes(canonical_zip(sorted(changed.items()))).files

    assert found(files | {"reports/extra.pdf": b"%PDF"}) == ["reports/extra.json", "reports/extra.pdf"]
    assert found(files | {"notes.txt": b"x"}) == ["notes.txt"]
    for name in files:
        rest = {key: value for key, value in files.items() if key != name}
        assert name in found(rest)
        renamed = found(rest | {"renamed.bin": files[name]})
        assert name in renamed
        assert "renamed.bin" in renamed or name == "manifest.json"  # What is extra, only the manifest can tell.


def test_names_that_only_a_forger_gives_are_refused_though_signed(raw: bytes) -> None:
    """Since layout 2, the names of files are those that a bundle has: nothing else travels with it."""
    for name in ("setup.exe", "reports/annex.exe", "reports/deep/x.pdf", "ledger/more.json", "attachments"):
        forged = resealed(unpack(raw) | {name: b"x"})
        assert f"{name}: is none of the files that a bundle has" in findings(forged)
    assert findings(resealed(unpack(raw) | {"attachments/a/b.bin": b"x"})) == []


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "a/../../evil", "a\\b", "C:evil", "", ".hidden", "a//b", "a/", "é.txt"]
)
def test_names_that_lead_elsewhere_are_refused(name: str, raw: bytes) -> None:
    result = verify_bytes(canonical_zip(sorted([*unpack(raw).items(), (name, b"x")])))
    assert not result.ok
    assert any(not check.ok and "File names" in check.title for check in result.checks)


def test_a_name_that_is_there_twice_is_refused(raw: bytes) -> None:
    entries = sorted(unpack(raw).items())
    twice = [("evidence.json", b"{}"), *entries]
    assert "'evidence.json'" in verify_bytes(canonical_zip(sorted(twice, key=lambda item: item[0]))).files


def test_another_order_is_refused(raw: bytes) -> None:
    assert not verify_bytes(canonical_zip(sorted(unpack(raw).items(), reverse=True))).ok


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_same_files_zipped_by_another_tool_are_refused(method: int, raw: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in sorted(unpack(raw).items()):
            archive.writestr(name, data)
    assert not verify_bytes(buffer.getvalue()).ok


def test_a_zip_bomb_is_never_unpacked(raw: bytes) -> None:
    buffer = io.BytesIO(raw)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bin", bytes(200_000_000))
    result = verify_bytes(buffer.getvalue())
    assert not result.ok
    assert "bomb.bin" in result.files


def test_ten_thousand_entries_and_more_are_refused() -> None:
    many = canonical_zip((f"f{number:05}", b"") for number in range(12_000))
    assert "the zip file" in verify_bytes(many).files


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", b"PK"])
def test_what_is_no_zip_cannot_be_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="not a zip file"):
        verify_bundle(path)


def test_a_file_that_is_too_large_is_not_read(raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(raw)
    monkeypatch.setattr(verify, "MAX_BYTES", len(raw) - 1)
    with pytest.raises(UnreadableError, match="larger than"):
        verify_bundle(path)


@given(st.binary(max_size=300))
def test_no_input_ends_in_an_exception(data: bytes) -> None:
    assert not verify_bytes(b"PK\3\4" + data).ok


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 50_000, b'{"files": 3}', b'"text"'])
def test_json_that_is_laid_out_otherwise_is_a_finding(value: bytes, raw: bytes) -> None:
    files = unpack(raw)
    for name in (name for name in files if name.endswith(".json")):
        assert not verify_bytes(canonical_zip(sorted((files | {name: value}).items()))).ok


def _brute_force(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash as RFC 9162, section 2.1.1, defines it."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + _brute_force(leaves[:half]) + _brute_force(leaves[half:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D_n) of RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    if index < half:
        return [*_path(index, leaves[:half]), _brute_force(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _brute_force(leaves[:half])]


def test_the_verifiers_tree_is_that_of_the_rfc() -> None:
    for size in range(1, 40):
        leaves = [f"entry {number}".encode() for number in range(size)]
        root = _brute_force(leaves)
        for index in range(size):
            path = _path(index, leaves)
            assert root_from_path(index=index, size=size, entry=leaves[index], path=path) == root
            with pytest.raises(ValueError, match="too long"):
                root_from_path(index=index, size=size, entry=leaves[index], path=[*path, root])
            if path:
                with pytest.raises(ValueError, match="too short"):
                    root_from_path(index=index, size=size, entry=leaves[index], path=path[:-1])
        with pytest.raises(ValueError, match="outside"):
            root_from_path(index=size, size=size, entry=b"", path=[])


def test_lack_of_evidence_is_never_passed() -> None:
    def outcome_of(name: str, *verdicts: tuple[str, str, bool]) -> dict[str, Any]:
        rows = [
            {"criterion": key, "label": "", "attribute": "", "outcome": outcome, "primary": primary}
            for key, outcome, primary in verdicts
        ]
        evidence = {
            "result": {"outcome": name, "verdicts": rows},
            "version": {"label": "1", "digest": "a"},
            "system": {"slug": "s"},
            "cohort": {"name": "c", "digest": "b"},
        }
        return statement_body(evidence, manifest="m", protocol_file=b"{}")["predicate"]

    found = outcome_of(
        "insufficient",
        ("a", "pass", True),
        ("b", "insufficient", True),
        ("c", "fail", False),
        ("d", "insufficient", False),
    )
    assert found["result"] == "WARNED"
    assert (found["passedTests"], found["warnedTests"], found["failedTests"]) == (["a"], ["b", "c", "d"], [])
    assert outcome_of("fail", ("a", "fail", True))["failedTests"] == ["a"]


def test_a_report_needs_both_of_its_files(content: BundleContent) -> None:
    from dataclasses import replace

    only = replace(content, reports=[ReportFiles(name="lonely", pdf=b"%PDF", json=b"{}")])
    assert "reports/lonely.json" in verify_bytes(build_bundle(only, KEY)).files
