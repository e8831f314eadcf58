"""Content-addressed store: bytes and files named by their own SHA-256.

A thing that is in the store never changes, so whoever holds its digest can check that they got what was meant.
Writing is atomic (temporary file, then rename) and idempotent.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from core.digests import canonical_json, folder_manifest, manifest_digest, sha256_bytes, sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError, NotFoundError


class Store:
    """A folder of content named by digest: ``objects/ab/abcd…`` for files, ``folders/ab/abcd…`` for folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the object with this digest lies (it may not be there)."""
        return self.root / "objects" / digest[:2] / digest

    def folder_path(self, digest: str) -> Path:
        """Where the folder with this manifest digest lies (it may not be there)."""
        return self.root / "folders" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def put_bytes(self, data: bytes) -> str:
        """Keep ``data`` and return its digest."""
        digest = sha256_bytes(data)
        if not self.has(digest):
            with _no_space_left(self.root):
                temporary = self._temporary()
                temporary.write_bytes(data)
                self._settle(temporary, self.path(digest))
        return digest

    def put_json(self, value: Any) -> str:
        """Keep a JSON value in canonical form and return its digest."""
        return self.put_bytes(canonical_json(value))

    def put_file(self, source: Path) -> str:
        """Copy a file into the store and return its digest."""
        with _no_space_left(self.root):
            temporary = self._temporary()
            shutil.copyfile(source, temporary)
            digest = sha256_file(temporary)
            self._settle(temporary, self.path(digest))
        return digest

    def put_folder(self, source: Path) -> tuple[str, dict[str, str]]:
        """Copy a folder into the store; returns its manifest digest and its manifest."""
        with _no_space_left(self.root):
            staging = Path(tempfile.mkdtemp(dir=self._staging()))
            try:
                shutil.copytree(source, staging / "content", symlinks=False)
                manifest = folder_manifest(staging / "content")
                digest = manifest_digest(manifest)
                target = self.folder_path(digest)
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    (staging / "content").rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return digest, manifest

    def get_bytes(self, digest: str) -> bytes:
        """The bytes with this digest, checked.

        Raises:
            NotFoundError: when the store does not hold them.
            DigestMismatchError: when the file was changed on disk.
        """
        path = self.path(digest)
        if not path.is_file():
            raise NotFoundError(
                f"The store holds nothing with the digest {digest[:16]}….",
                remedy="Restore the store from its backup, or run the audit again.",
            )
        data = path.read_bytes()
        if sha256_bytes(data) != digest:
            raise DigestMismatchError(
                f"The stored object {digest[:16]}… was changed on disk.",
                remedy="Restore it from the backup; do not use what depends on it until then.",
                file=str(path),
            )
        return data

    def get_json(self, digest: str) -> Any:
        """The JSON value with this digest, checked like :meth:`get_bytes`."""
        return json.loads(self.get_bytes(digest))

    def verified_folder(self, digest: str, manifest: dict[str, str]) -> Path:
        """The folder with this digest after every file in it was compared with the manifest.

        Raises:
            NotFoundError, DigestMismatchError: the latter names the first file that differs.
        """
        folder = self.folder_path(digest)
        if not folder.is_dir():
            raise NotFoundError(
                f"The store holds no folder with the digest {digest[:16]}….",
                remedy="Register it again; the same content gets the same digest.",
            )
        check_manifest(folder, manifest)
        return folder

    def _staging(self) -> Path:
        staging = self.root / "staging"
        staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        return staging

    def _temporary(self) -> Path:
        handle, name = tempfile.mkstemp(dir=self._staging())
        os.close(handle)
        return Path(name)

    @staticmethod
    def _settle(temporary: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o600)
        temporary.replace(target)


def check_manifest(folder: Path, manifest: dict[str, str]) -> None:
    """Compare a folder with its manifest.

    Raises:
        DigestMismatchError: naming the first file that was changed, added or taken away.
    """
    found = folder_manifest(folder)
    for name in sorted(set(found) | set(manifest)):
        if found.get(name) == manifest.get(name):
            continue
        what = "was added" if name not in manifest else "is missing" if name not in found else "was changed"
        raise DigestMismatchError(
            f"{name} {what} since this content was registered.",
            remedy="Restore the registered file, or register the changed content as a new version.",
            file=str(folder / name),
        )


class _no_space_left:
    """Turns 'no space left on device' into a message with a remedy."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno == 28:
            raise EnvironmentProblemError(
                f"The disk that holds {self.root} is full.",
                remedy="Free some space, or point AUSCULT_HOME to a larger disk, and try again.",
            ) from error
