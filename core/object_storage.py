"""The content-addressed store with an S3-compatible object store behind it, for an installation on several machines.

Everything is written to the bucket before it has its place in the local folder; what the local folder lacks is fetched
from the bucket, checked against its digest, and stays. So the local folder is a cache that may be emptied while no
process runs, and whatever lies in it lies in the bucket as well.

In the bucket, under the prefix: ``objects/ab/abcd…`` for bytes, ``folders/ab/abcd…/PATH`` for the files of a folder and
``folders/ab/abcd….json`` for its manifest, which is written last: a folder without one is not there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from core.digests import canonical_json, folder_manifest, manifest_digest, sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError
from core.store import Store

NAMED = "AUSCULT_S3_URL"
MISSING = {"404", "NoSuchKey", "NotFound"}
AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A place in an object store.

    Attributes:
        endpoint: Address of the service; empty for Amazon's own.
        prefix: What every name begins with, with a slash at its end; empty for none.
    """

    endpoint: str
    name: str
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Bucket:
        """``https://minio.example:9000/bucket/prefix``, or ``s3://bucket/prefix`` for Amazon's own.

        Raises:
            EnvironmentProblemError: it names no bucket, or holds a password.
        """
        parts = urlsplit(url)
        path = PurePosixPath(parts.netloc + parts.path if parts.scheme == "s3" else parts.path.lstrip("/"))
        if parts.scheme not in {"s3", "http", "https"} or not path.parts or parts.query:
            raise EnvironmentProblemError(
                f"{NAMED} is no address of a bucket.", remedy="Give it as https://HOST:PORT/BUCKET or s3://BUCKET."
            )
        if parts.username or parts.password:
            raise EnvironmentProblemError(
                f"{NAMED} holds a password.", remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
            )
        endpoint = "" if parts.scheme == "s3" else f"{parts.scheme}://{parts.netloc}"
        return cls(endpoint=endpoint, name=path.parts[0], prefix="".join(f"{part}/" for part in path.parts[1:]))


@cache
def _client(endpoint: str) -> Any:
    """One for all threads of a process. Keys, region and trust come from the environment, as boto3 reads it."""
    import boto3
    from botocore.config import Config

    tried = Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 4, "mode": "standard"})
    return boto3.client("s3", endpoint_url=endpoint or None, config=tried)


class SharedStore(Store):
    """A :class:`~core.store.Store` whose content lies in a bucket, with a local folder as its cache."""

    def __init__(self, root: Path, bucket: Bucket) -> None:
        super().__init__(root)
        self.bucket = bucket

    def path(self, digest: str) -> Path:
        """As in a local store; fetched from the bucket if it is not here.

        Raises:
            DigestMismatchError: the bucket holds other content under this name.
            EnvironmentProblemError: the bucket cannot be read.
        """
        place = self.place(digest)
        if not place.is_file():
            self._fetch(self._object(digest), digest, place)
        return place

    def folder_path(self, digest: str) -> Path:
        """As in a local store; every file is fetched from the bucket if the folder is not here."""
        place = self.folder_place(digest)
        if not place.is_dir() and (manifest := self._manifest(digest)) is not None:
            staging = self.staging_folder()
            try:
                self._fetch_all(digest, manifest, staging / "content")
                super().settle_folder(staging / "content", digest)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return place

    def settle_folder(self, content: Path, digest: str) -> Path:
        """As in a local store, once every file and then the manifest are in the bucket."""
        if self._manifest(digest) is None:
            self.push_folder(content, digest)
        return super().settle_folder(content, digest)

    def push_object(self, digest: str) -> bool:
        """Bring what lies here into the bucket; False if it was there."""
        return self._push(self.place(digest), self._object(digest))

    def push_folder(self, content: Path, digest: str) -> bool:
        """Bring a folder into the bucket, its manifest last; False if it was there.

        Raises:
            DigestMismatchError: it is not the folder with this digest.
        """
        if self._manifest(digest) is not None:
            return False
        manifest = folder_manifest(content)
        if manifest_digest(manifest) != digest:
            raise DigestMismatchError(
                f"The folder {digest[:16]}… is not what its digest says.", remedy="Restore it from the backup."
            )
        jobs = [(content / name, f"{self._folder(digest)}/{name}") for name in manifest]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="push") as pool:
            list(pool.map(lambda job: self._push(*job), jobs))
        with _reached(self.bucket):
            self._s3.put_object(
                Bucket=self.bucket.name, Key=f"{self._folder(digest)}.json", Body=canonical_json(manifest)
            )
        return True

    def _settle(self, temporary: Path, target: Path) -> None:  # type: ignore[override]
        """The bucket has it first: what lies here lies there."""
        self._push(temporary, self._object(target.name))
        super()._settle(temporary, target)

    @property
    def _s3(self) -> Any:
        return _client(self.bucket.endpoint)

    def _object(self, digest: str) -> str:
        return f"{self.bucket.prefix}objects/{digest[:2]}/{digest}"

    def _folder(self, digest: str) -> str:
        return f"{self.bucket.prefix}folders/{digest[:2]}/{digest}"

    def _push(self, source: Path, key: str) -> bool:
        with _reached(self.bucket):
            if self._there(key):
                return False
            self._s3.upload_file(str(source), self.bucket.name, key)
        return True

    def _there(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._s3.head_object(Bucket=self.bucket.name, Key=key)
        except ClientError as error:
            if _code(error) in MISSING:
                return False
            raise
        return True

    def _fetch(self, key: str, digest: str, place: Path) -> bool:
        """Bring one file here; False if the bucket has none of this name."""
        from botocore.exceptions import ClientError

        temporary = self._temporary()
        try:
            with _reached(self.bucket):
                try:
                    self._s3.download_file(self.bucket.name, key, str(temporary))
                except ClientError as error:
                    if _code(error) in MISSING:
                        return False
                    raise
            if sha256_file(temporary) != digest:
                raise DigestMismatchError(
                    f"The object store holds other content under {digest[:16]}….",
                    remedy="Restore the bucket from its backup; do not use what depends on it until then.",
                    file=key,
                )
            Store._settle(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _fetch_all(self, digest: str, manifest: Mapping[str, str], target: Path) -> None:
        def bring(item: tuple[str, str]) -> None:
            name, wanted = item
            if not self._fetch(f"{self._folder(digest)}/{name}", wanted, target / name):
                raise DigestMismatchError(
                    f"The object store lacks a file of the folder {digest[:16]}….",
                    remedy="Restore the bucket from its backup.",
                    file=name,
                )

        target.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            list(pool.map(bring, manifest.items()))

    def _manifest(self, digest: str) -> dict[str, str] | None:
        """The manifest of a folder in the bucket, checked; None where there is none."""
        from botocore.exceptions import ClientError

        with _reached(self.bucket):
            try:
                answer = self._s3.get_object(Bucket=self.bucket.name, Key=f"{self._folder(digest)}.json")
                found: dict[str, str] = json.loads(answer["Body"].read())
            except ClientError as error:
                if _code(error) in MISSING:
                    return None
                raise
        plain = all(".." not in PurePosixPath(name).parts and not name.startswith("/") for name in found)
        if manifest_digest(found) != digest or not plain:
            raise DigestMismatchError(
                f"The manifest of the folder {digest[:16]}… was changed in the object store.",
                remedy="Restore the bucket from its backup.",
            )
        return found


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _reached(bucket: Bucket) -> Iterator[None]:
    """Says which object store did not answer, or refused, and what to look at."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise EnvironmentProblemError(
            f"The object store {bucket.endpoint or 's3'}/{bucket.name} cannot be used: {error}.",
            remedy=f"Check {NAMED}, the keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and that the bucket exists.",
        ) from error
