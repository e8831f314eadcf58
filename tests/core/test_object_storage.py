"""The store with a bucket behind it: two machines see the same content, and what the bucket changed is found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.digests import folder_manifest, manifest_digest, sha256_bytes
from core.errors import DigestMismatchError, EnvironmentProblemError, NotFoundError
from core.object_storage import Bucket, SharedStore, _client

PLACE = Bucket(endpoint="", name="auscult-content", prefix="house/")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An object store in this process: another library's account of what S3 does."""
    from moto import mock_aws

    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    _client.cache_clear()
    with mock_aws():
        client = _client("")
        client.create_bucket(Bucket=PLACE.name)
        yield client
    _client.cache_clear()


@pytest.fixture
def machines(s3: Any, tmp_path: Path) -> tuple[SharedStore, SharedStore]:
    return SharedStore(tmp_path / "one", PLACE), SharedStore(tmp_path / "other", PLACE)


def names(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=PLACE.name).get("Contents", [])]


def a_folder(place: Path) -> Path:
    (place / "deep").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "deep" / "weights.bin").write_bytes(os.urandom(300_000))
    (place / "empty").write_bytes(b"")
    return place


def test_what_one_machine_keeps_the_other_reads(machines: tuple[SharedStore, SharedStore], s3: Any) -> None:
    one, other = machines
    digest = one.put_json({"a": [1, None]})
    assert names(s3) == [f"house/objects/{digest[:2]}/{digest}"]
    assert other.has(digest) and other.get_json(digest) == {"a": [1, None]}
    s3.delete_object(Bucket=PLACE.name, Key=names(s3)[0])
    assert other.get_json(digest) == {"a": [1, None]}, "it stays where it was fetched"


def test_a_file_is_copied_in_and_the_same_content_is_sent_once(
    machines: tuple[SharedStore, SharedStore], s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    digest = machines[0].put_file(tmp_path / "file")
    sent: list[str] = []
    send = s3.upload_file
    monkeypatch.setattr(s3, "upload_file", lambda *given: (sent.append(given[2]), send(*given)))
    assert machines[1].put_file(tmp_path / "file") == machines[1].put_bytes(b"x" * 100_000) == digest
    assert sent == [] and machines[1].path(digest).read_bytes() == b"x" * 100_000


def test_a_folder_comes_whole_and_its_manifest_last(
    machines: tuple[SharedStore, SharedStore], s3: Any, tmp_path: Path
) -> None:
    one, other = machines
    source = a_folder(tmp_path / "model")
    digest, manifest = one.put_folder(source)
    assert len(names(s3)) == len(manifest) + 1
    found = other.verified_folder(digest, manifest)
    assert folder_manifest(found) == manifest == folder_manifest(source)
    assert found.stat().st_mode & 0o077 == 0, "nobody else of that machine may read it"
    shutil.rmtree(one.root)
    assert folder_manifest(one.folder_path(digest)) == manifest, "the local folder is a cache"


def test_half_a_folder_is_none(machines: tuple[SharedStore, SharedStore], s3: Any, tmp_path: Path) -> None:
    """A machine that stopped while it sent leaves no manifest, so nobody takes the part for the whole."""
    one, other = machines
    digest, manifest = one.put_folder(a_folder(tmp_path / "model"))
    s3.delete_object(Bucket=PLACE.name, Key=f"house/folders/{digest[:2]}/{digest}.json")
    assert not other.folder_path(digest).is_dir()
    with pytest.raises(NotFoundError):
        other.verified_folder(digest, manifest)
    assert one.push_folder(one.root / "folders" / digest[:2] / digest, digest) is True
    assert one.push_folder(one.root / "folders" / digest[:2] / digest, digest) is False
    assert other.verified_folder(digest, manifest).is_dir()


def test_what_was_changed_in_the_bucket_is_found_and_not_kept(
    machines: tuple[SharedStore, SharedStore], s3: Any, tmp_path: Path
) -> None:
    one, other = machines
    digest = one.put_bytes(b"evidence")
    s3.put_object(Bucket=PLACE.name, Key=names(s3)[0], Body=b"evidence!")
    with pytest.raises(DigestMismatchError, match="other content"):
        other.get_bytes(digest)
    assert not [path for path in other.root.rglob("*") if path.is_file()]
    folder, _ = one.put_folder(a_folder(tmp_path / "model"))
    key = f"house/folders/{folder[:2]}/{folder}"
    s3.put_object(Bucket=PLACE.name, Key=f"{key}/config.json", Body=b"{ }")
    with pytest.raises(DigestMismatchError):
        other.folder_path(folder)
    s3.delete_object(Bucket=PLACE.name, Key=f"{key}/config.json")
    with pytest.raises(DigestMismatchError, match="lacks a file"):
        other.folder_path(folder)
    s3.put_object(Bucket=PLACE.name, Key=f"{key}.json", Body=b'{"../../escaped": "00"}')
    with pytest.raises(DigestMismatchError, match="manifest"):
        other.folder_path(folder)
    assert not [path for path in other.root.rglob("*") if path.is_file()]


def test_a_manifest_that_leads_out_of_the_folder_is_refused(machines: tuple[SharedStore, SharedStore], s3: Any) -> None:
    import json

    manifest = {"../escaped": sha256_bytes(b"x")}
    digest = manifest_digest(manifest)
    key = f"house/folders/{digest[:2]}/{digest}"
    s3.put_object(Bucket=PLACE.name, Key=f"{key}.json", Body=json.dumps(manifest).encode())
    s3.put_object(Bucket=PLACE.name, Key=f"{key}/../escaped", Body=b"x")
    with pytest.raises(DigestMismatchError, match="manifest"):
        machines[0].folder_path(digest)


def test_what_cannot_be_sent_is_not_kept_here_either(s3: Any, tmp_path: Path) -> None:
    away = SharedStore(tmp_path / "one", Bucket(endpoint="", name="there-is-no-such-bucket"))
    with pytest.raises(EnvironmentProblemError, match="there-is-no-such-bucket") as refused:
        away.put_bytes(b"evidence")
    assert "AWS_ACCESS_KEY_ID" in refused.value.remedy
    assert not [path for path in (tmp_path / "one").rglob("*") if path.is_file() and "objects" in path.parts]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://minio.example:9000/content", Bucket(endpoint="https://minio.example:9000", name="content")),
        ("http://minio:9000/content/north/1/", Bucket(endpoint="http://minio:9000", name="content", prefix="north/1/")),
        ("s3://content/north", Bucket(endpoint="", name="content", prefix="north/")),
    ],
)  # fmt: skip
def test_the_address_of_a_bucket(url: str, expected: Bucket) -> None:
    assert Bucket.parse(url) == expected


@pytest.mark.parametrize("url", ["https://minio.example", "content", "ftp://h/b", "https://key:secret@h/b", "s3://"])
def test_a_wrong_address_stops_the_server(url: str) -> None:
    with pytest.raises(EnvironmentProblemError, match="AUSCULT_S3_URL") as refused:
        Bucket.parse(url)
    assert "secret" not in str(refused.value)
