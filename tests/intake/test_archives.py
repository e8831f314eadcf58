"""Archives from outside: what is taken out of them, and what is refused by name with nothing left."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import AdapterError, AuscultError, EnvironmentProblemError
from models_registry.intake import archives
from models_registry.intake.archives import Limits, is_archive, unpack

FILES = {"model/config.json": b"{}", "model/deep/vocab.txt": b"a\nb\n", "model/empty": b""}
WEIGHTS = os.urandom(3 << 20)


def zipped(path: Path, members: dict[str, bytes], *, edit: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if edit:
                edit(info)
            file.writestr(info, data)
    return path


def tarred(path: Path, members: dict[str, bytes], *, extra: list[tarfile.TarInfo] | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in {".gz", ".tgz"} else "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for info in extra or []:
            file.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_what_was_put_in_comes_out_and_the_one_top_folder_is_taken_off(
    make: Callable[..., Path], suffix: str, tmp_path: Path
) -> None:
    if (make is zipped) != (suffix == ".zip"):
        return
    files = FILES | {"model/model.safetensors": WEIGHTS}
    path = make(tmp_path / f"model{suffix}", files)
    told: list[tuple[int, int]] = []
    unpack(path, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert content(tmp_path / "out") == {name.removeprefix("model/"): data for name, data in files.items()}
    assert told and all(0 <= done <= total == path.stat().st_size for done, total in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([path.name, "out"])


def test_several_folders_at_the_top_stay_and_desktops_litter_goes(tmp_path: Path) -> None:
    files = {"a/x": b"1", "b/y": b"2", "__MACOSX/a/._x": b"junk", "a/.DS_Store": b"junk"}
    unpack(zipped(tmp_path / "m.zip", files), tmp_path / "out")
    assert content(tmp_path / "out") == {"a/x": b"1", "b/y": b"2"}


def test_an_archive_is_told_by_its_name() -> None:
    assert all(is_archive(name) for name in ("a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"))
    assert not any(is_archive(name) for name in ("a.pt2", "a.safetensors", "zip", "a.gz"))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o120777 << 16


def as_device(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o020666 << 16


def secret(folder: Path) -> Path:
    path = zipped(folder / "m.zip", {"a": b"b"})
    body = bytearray(path.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(magic) + place] |= 1
    path.write_bytes(bytes(body))
    return path


NAMES = {
    "../out.json": "leads out",
    "a/../../out.json": "leads out",
    "/etc/passwd": "begins with /",
    "C:/out.json": "drive letter",
    "..\\out.json": "backslash",
    "a//b": "empty part",
    "a\nb": "control character",
    "x" * 300: "longer than",
    "/".join("abcdefghijklmnopqrstu"): "deeper than",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_leads_elsewhere_is_refused(make: Callable[..., Path], name: str, tmp_path: Path) -> None:
    path = make(tmp_path / ("m.zip" if make is zipped else "m.tar"), {"model/a": b"1", name: b"evil"})
    with pytest.raises(AdapterError, match=NAMES[name]) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.remedy
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


def zip_with(edit: Callable[[zipfile.ZipInfo], None]) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder / "m.zip", {"a": b"b"}, edit=edit)


def tar_with(*extra: tarfile.TarInfo) -> Callable[[Path], Path]:
    return lambda folder: tarred(folder / "m.tar", {"a": b"b"}, extra=list(extra))


def twice(folder: Path) -> Path:
    return tarred(folder / "m.tar", {"a": b"1"}, extra=[member("a", size=3)])


def cut(folder: Path) -> Path:
    path = zipped(folder / "m.zip", {"a": WEIGHTS})
    path.write_bytes(path.read_bytes()[:-4000])
    return path


def cut_tar(folder: Path) -> Path:
    path = tarred(folder / "m.tar", {"a": WEIGHTS})
    path.write_bytes(path.read_bytes()[: len(WEIGHTS) // 2])
    return path


def cut_between_members(folder: Path) -> Path:
    path = tarred(folder / "m.tar", {"a": b"x" * 512, "b": b"y" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    return path


def cut_gzip(folder: Path) -> Path:
    path = tarred(folder / "m.tar.gz", {"a": WEIGHTS})
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def cut_behind_the_last_member(folder: Path) -> Path:
    path = tarred(folder / "m.tar.gz", FILES)
    path.write_bytes(path.read_bytes()[:-5])
    return path


def wrong_checksum(folder: Path) -> Path:
    path = zipped(folder / "m.zip", {"a": WEIGHTS})
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(bytes(body))
    return path


def seven_zip(folder: Path) -> Path:
    path = folder / "m.zip"
    path.write_bytes(b"7z\xbc\xaf\x27\x1c" + b"0" * 500)
    return path


def zstandard(folder: Path) -> Path:
    path = folder / "m.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 500)
    return path


def no_archive(folder: Path) -> Path:
    path = folder / "m.zip"
    path.write_bytes(b"<html>Please sign in</html>")
    return path


def without_files(folder: Path) -> Path:
    return tarred(folder / "m.tar", {}, extra=[member("model", tarfile.DIRTYPE)])


REFUSED = {
    zip_with(as_link): "holds a link",
    zip_with(as_device): "device or a pipe",
    secret: "encrypted",
    tar_with(member("l", tarfile.SYMTYPE, "/etc/passwd")): "holds a link",
    tar_with(member("l", tarfile.LNKTYPE, "a")): "holds a link",
    tar_with(member("d", tarfile.CHRTYPE)): "device or a pipe",
    tar_with(member("d", tarfile.FIFOTYPE)): "device or a pipe",
    tar_with(member("A", size=1)): r"is there twice \(as a\)",
    tar_with(member("a/b", size=1)): "lies in a, which is a file",
    twice: "is there twice",
    cut: "truncated or damaged",
    cut_tar: "truncated or damaged",
    cut_between_members: "truncated or damaged",
    cut_gzip: "truncated or damaged",
    cut_behind_the_last_member: "truncated or damaged",
    wrong_checksum: "truncated or damaged",
    seven_zip: "7z archive, which is not read",
    zstandard: "zstd archive, which is not read",
    no_archive: "neither a zip nor a tar",
    without_files: "holds no file",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: getattr(make, "__name__", ""))
def test_what_is_no_plain_whole_archive_is_refused_and_leaves_nothing(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(AdapterError, match=REFUSED[make]) as caught:
        unpack(path, tmp_path / "out")
    assert caught.value.remedy
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


# Bombs


def zeros(folder: Path) -> Path:
    return zipped(folder / "m.zip", {"model.safetensors": bytes(80 << 20)})


def gzipped_zeros(folder: Path) -> Path:
    return tarred(folder / "m.tgz", {"model.safetensors": bytes(80 << 20)})


def many(folder: Path) -> Path:
    return zipped(folder / "m.zip", {f"f{number}": b"" for number in range(101)})


def many_in_a_tar(folder: Path) -> Path:
    return tarred(folder / "m.tar", {f"f{number}": b"" for number in range(101)})


def endless(folder: Path) -> Path:
    path = folder / "m.tar.gz"
    tarred(folder / "m.tar", {"a": b"b"})
    with gzip.open(path, "wb") as file:
        file.write((folder / "m.tar").read_bytes() + bytes(3 << 20))
    (folder / "m.tar").unlink()
    return path


def long_header(folder: Path) -> Path:
    """An extended header of 64 MiB, which tarfile would read into memory."""
    path = folder / "m.tar.gz"
    info = tarfile.TarInfo("./PaxHeaders/x")
    info.type, info.size = tarfile.XHDTYPE, 64 << 20
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(64 << 20))
    return path


def overlapping(folder: Path) -> Path:
    """Two entries of the table that stand for the same bytes."""
    path = zipped(folder / "m.zip", {"a": b"1" * 100, "b": b"1" * 100})
    body = bytearray(path.read_bytes())
    second = body.rindex(b"PK\x01\x02")
    body[second + 42 : second + 46] = bytes(4)  # where the entry says that its bytes begin
    path.write_bytes(bytes(body))
    return path


BOMBS = {
    zeros: "become more than",
    gzipped_zeros: "become more than",
    many: "more than 100",
    many_in_a_tar: "more than 100",
    endless: "goes on behind its end",
    long_header: "A header of it has",
    overlapping: "share the same bytes",
}


@pytest.mark.parametrize("make", BOMBS, ids=lambda make: make.__name__)
def test_a_bomb_is_refused_before_it_is_written(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(AdapterError, match=BOMBS[make]):
        unpack(path, tmp_path / "out", limits=Limits(entries=100, ratio=50, free_bytes=1 << 20))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


def test_a_bomb_on_the_real_limits(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="become more than 67,108,864 bytes"):
        unpack(zeros(tmp_path), tmp_path / "out")


def test_a_full_disk_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, needed: int) -> None:
        raise EnvironmentProblemError(f"This needs {needed}.", remedy="Free some space.")

    monkeypatch.setattr(archives, "check_room", full)
    with pytest.raises(AuscultError, match="This needs"):
        unpack(tarred(tmp_path / "m.tar", FILES), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whatever_is_wrong_with_an_archive_is_told_in_words(tmp_path: Path) -> None:
    """Bytes changed, cut out and put in at random: an archive is taken or refused, and nothing else happens."""
    rng = random.Random(7)
    files = FILES | {"model/w": rng.randbytes(3000), "model/z": bytes(9000)}
    wholes = [zipped(tmp_path / "m.zip", files), tarred(tmp_path / "m.tar", files), tarred(tmp_path / "m.tgz", files)]
    refused = 0
    for number in range(300):
        data = bytearray(wholes[number % 3].read_bytes())
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((1, 1, 1, 20))] = rng.randbytes(rng.choice((1, 1, 1, 0, 15)))
        spoilt = tmp_path / "spoilt"
        spoilt.write_bytes(data)
        out = tmp_path / f"out{number}"
        try:
            unpack(spoilt, out)
        except AdapterError as error:
            refused += 1
            assert error.remedy and not out.exists()
        else:
            shutil.rmtree(out)
    assert refused > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tar", "m.tgz", "m.zip", "spoilt"]
