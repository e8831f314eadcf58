"""Content-addressed store: bytes and files named by their own SHA-256.

A thing that is in the store never changes, so whoever holds its digest can check that they got what was meant.
Writing is atomic (temporary file, then rename) and idempotent.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from core.copying import copy_file, copy_folder
from core.digests import (
    Progress,
    Tally,
    canonical_json,
    compare_manifests,
    folder_manifest,
    manifest_digest,
    sha256_bytes,
)
from core.errors import AuscultError, DigestMismatchError, EnvironmentProblemError, NotFoundError


class Store:
    """A folder of content named by digest: ``objects/ab/abcd…`` for files, ``folders/ab/abcd…`` for folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the object with this digest lies (it may not be there)."""
        return self.place(digest)

    def folder_path(self, digest: str) -> Path:
        """Where the folder with this manifest digest lies (it may not be there)."""
        return self.folder_place(digest)

    def place(self, digest: str) -> Path:
        """The place of an object in the store's folder, whether or not it is filled."""
        return self.root / "objects" / digest[:2] / digest

    def folder_place(self, digest: str) -> Path:
        """The place of a folder in the store's folder, whether or not it is filled."""
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
                self._settle(temporary, self.place(digest))
        return digest

    def put_json(self, value: Any) -> str:
        """Keep a JSON value in canonical form and return its digest."""
        return self.put_bytes(canonical_json(value))

    def put_file(self, source: Path) -> str:
        """Copy a file into the store and return its digest. It is read once."""
        with _no_space_left(self.root):
            temporary = self._temporary()
            digest = copy_file(source, temporary, Tally(total=source.stat().st_size))
            self._settle(temporary, self.place(digest))
        return digest

    def put_folder(
        self, source: Path, *, move: bool = False, progress: Progress | None = None
    ) -> tuple[str, dict[str, str]]:
        """Bring a folder into the store; returns its manifest digest and its manifest.

        Each file is read once: it is hashed while it is copied, several files at once, and holes of sparse files stay
        holes. With ``move`` the folder itself becomes the stored one where it lies on the same disk, and is gone
        afterwards.

        Raises:
            AuscultError: the folder holds a link, a device or a pipe, or changed while it was read.
            EnvironmentProblemError: the disk has no room for it.
        """
        check_plain(source)
        with _no_space_left(self.root):
            if move and source.stat().st_dev == self._staging().stat().st_dev:
                manifest = folder_manifest(source, progress=progress)
                digest = manifest_digest(manifest)
                self.settle_folder(source, digest)
                return digest, manifest
            staging = self.staging_folder()
            try:
                manifest = self.copy_in(source, staging / "content", progress=progress)
                digest = manifest_digest(manifest)
                self.settle_folder(staging / "content", digest)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        if move:
            shutil.rmtree(source, ignore_errors=True)
        return digest, manifest

    def copy_in(self, source: Path, target: Path, *, progress: Progress | None = None) -> dict[str, str]:
        """Copy a folder to ``target`` on the store's disk, and return the manifest of what was written there.

        Raises:
            AuscultError: the folder holds a link, a device or a pipe, or changed while it was read.
            EnvironmentProblemError: the disk has no room for it.
        """
        check_plain(source)
        needed = sum(entry.stat().st_blocks * 512 for entry in source.rglob("*"))
        check_room(self._staging(), needed)
        with _no_space_left(self.root):
            return copy_folder(source, target, progress=progress)

    def staging_folder(self, name: str | None = None) -> Path:
        """A private folder on the store's disk for what is on its way in: a new one, or the one of that name."""
        if name is None:
            return Path(tempfile.mkdtemp(dir=self._staging()))
        folder = self._staging() / name
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def settle_folder(self, content: Path, digest: str) -> Path:
        """Give a folder on the store's disk its place, by a rename. The same content twice is kept once."""
        target = self.folder_place(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_private(content)
        try:
            content.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            shutil.rmtree(content)
        return target

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
    change = compare_manifests(manifest, folder_manifest(folder))
    words = [(name, "was added") for name in change.added]
    words += [(name, "is missing") for name in change.removed] + [(name, "was changed") for name in change.changed]
    if words:
        name, what = min(words)
        raise DigestMismatchError(
            f"{name} {what} since this content was registered.",
            remedy="Restore the registered file, or register the changed content as a new version.",
            file=str(folder / name),
        )


def check_plain(folder: Path) -> None:
    """Raise unless everything under ``folder`` is a plain file or a folder.

    A link would bring in a file that lies elsewhere and that no check has seen; a pipe or a device never ends.

    Raises:
        AuscultError: naming the first entry that is something else.
    """
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            continue
        what = "a link to another place" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise AuscultError(
            f"The folder holds {what}.",
            remedy="Give a copy with the files themselves, for example made with: cp -rL FOLDER COPY.",
            file=path.relative_to(folder).as_posix(),
        )


def check_room(folder: Path, needed: int) -> None:
    """Raise unless the disk of ``folder`` has ``needed`` bytes free.

    Raises:
        EnvironmentProblemError: with both figures.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EnvironmentProblemError(
            f"This needs {needed / 1e9:,.1f} GB on the disk of the store, which has {free / 1e9:,.1f} GB free.",
            remedy="Free some space, or point AUSCULT_HOME to a larger disk, and try again.",
        )


def _make_private(folder: Path) -> None:
    """Nobody but the platform reads what is in the store."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


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
