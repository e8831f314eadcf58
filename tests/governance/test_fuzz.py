"""Whatever is changed in the bytes of a bundle is found, wherever it is."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from governance.bundle.build import build_bundle
from governance.bundle.container import CENTRAL, END, LOCAL, canonical_zip
from governance.bundle.layout import TIMESTAMP
from governance.bundle.verify import render, verify_bundle, verify_bytes
from tests.governance.forging import KEY, data_ranges, unpack
from tests.governance.sealing import made_content
from tests.governance.stamping import Authority

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
"""A flipped bit can make a certificate of the time-stamp an odd one."""
SEED = 20261122
FLIPS = 10_000


@pytest.fixture(scope="module")
def raw() -> bytes:
    """A bundle with everything that may be in one: reports in four forms, an attachment, a time-stamp."""
    attachment = Path(__file__)
    content = made_content(attachments=[("sketches/whole.bin", attachment)])
    data = build_bundle(content, KEY, stamp=Authority().stamp)
    assert verify_bytes(data).ok
    assert "attachments/sketches/whole.bin" in unpack(data) and TIMESTAMP in unpack(data)
    return data


def test_ten_thousand_flipped_bits_are_all_found(raw: bytes) -> None:
    """Every byte of every header and of the directory at least once, the others at random over all files."""
    ranges = data_ranges(raw)
    owner = {position: name for name, data in ranges for position in data}
    headers = [position for position in range(len(raw)) if position not in owner]
    rng = random.Random(SEED)
    chosen = headers + [rng.choice(rng.choice(ranges)[1]) for _ in range(FLIPS - len(headers))]
    assert len(chosen) == FLIPS and len({owner[position] for position in chosen if position in owner}) == len(ranges)
    changed = bytearray(raw)
    for position in chosen:
        bit = 1 << rng.randrange(8)
        changed[position] ^= bit
        result = verify_bytes(bytes(changed))
        changed[position] ^= bit
        assert not result.ok, position
        if position in owner:
            assert owner[position] in result.files, (position, owner[position], result.files)
    assert verify_bytes(bytes(changed)).ok


def test_every_bit_of_the_signed_envelopes_counts(raw: bytes) -> None:
    """Base64 and JSON have more than one way to write the same: only one is accepted."""
    for name, data in data_ranges(raw):
        if name not in ("statement.dsse.json", "key.pem"):
            continue
        for position in data[-160:]:
            for bit in range(8):
                changed = bytearray(raw)
                changed[position] ^= 1 << bit
                assert name in verify_bytes(bytes(changed)).files


def test_bytes_put_in_taken_out_or_swapped_are_found(raw: bytes) -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        at, other = rng.randrange(len(raw) - 8), rng.randrange(len(raw) - 8)
        assert not verify_bytes(raw[:at] + rng.randbytes(1) + raw[at:]).ok
        assert not verify_bytes(raw[:at] + raw[at + 1 :]).ok
        swapped = bytearray(raw)
        swapped[at : at + 8], swapped[other : other + 8] = raw[other : other + 8], raw[at : at + 8]
        assert bytes(swapped) == raw or not verify_bytes(bytes(swapped)).ok


def first_local(change: Callable[[list[int]], None]) -> Callable[[bytes], bytes]:
    """Changes the fields of the first local header."""

    def forge(raw: bytes) -> bytes:
        fields = list(LOCAL.unpack_from(raw))
        change(fields)
        return LOCAL.pack(*fields) + raw[LOCAL.size :]

    return forge


def both_flags(flag: int) -> Callable[[bytes], bytes]:
    """Sets a general purpose flag of the first file, in its header and in the directory."""

    def forge(raw: bytes) -> bytes:
        changed = bytearray(first_local(lambda fields: fields.__setitem__(2, fields[2] | flag))(raw))
        begin = raw.index(b"PK\1\2")
        fields = list(CENTRAL.unpack_from(raw, begin))
        fields[3] |= flag
        changed[begin : begin + CENTRAL.size] = CENTRAL.pack(*fields)
        return bytes(changed)

    return forge


def with_comment(raw: bytes) -> bytes:
    fields = list(END.unpack_from(raw, len(raw) - END.size))
    fields[-1] = 5
    return raw[: -END.size] + END.pack(*fields) + b"hello"


def with_zip64(raw: bytes) -> bytes:
    """Zip64 records before the end, which then points to them."""
    end = list(END.unpack_from(raw, len(raw) - END.size))
    count, size, offset = end[3], end[5], end[6]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(raw) - END.size, 1)
    end[3:7] = 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return raw[: -END.size] + record + locator + END.pack(*end)


def with_extra_field(raw: bytes) -> bytes:
    """A zip64 extra field in the first header."""
    fields = list(LOCAL.unpack_from(raw))
    fields[-1] = 4
    name = LOCAL.size + fields[-2]
    return LOCAL.pack(*fields) + raw[LOCAL.size : name] + struct.pack("<2H", 1, 0) + raw[name:]


def with_data_descriptor(raw: bytes) -> bytes:
    """Sizes and sum behind the data instead of before them."""
    fields = list(LOCAL.unpack_from(raw))
    end = LOCAL.size + fields[-2] + fields[8]
    return both_flags(8)(raw)[:end] + struct.pack("<4s3L", b"PK\7\x08", *fields[6:9]) + raw[end:]


def between_data_and_directory(raw: bytes) -> bytes:
    begin = raw.index(b"PK\1\2")
    return raw[:begin] + b"something" + raw[begin:]


def entry_only_in_the_directory(raw: bytes) -> bytes:
    begin = raw.index(b"PK\1\2")
    fields = CENTRAL.unpack_from(raw, begin)
    return raw[: -END.size] + raw[begin : begin + CENTRAL.size + fields[10]] + raw[-END.size :]


TRICKS = {
    "the flag of encryption": both_flags(1),
    "the flag of a data descriptor": both_flags(8),
    "a data descriptor": with_data_descriptor,
    "the flag of UTF-8 names": both_flags(1 << 11),
    "another method": first_local(lambda fields: fields.__setitem__(3, 8)),
    "another time": first_local(lambda fields: fields.__setitem__(4, 1)),
    "a size of 4 GiB": first_local(lambda fields: fields.__setitem__(8, 0xFFFFFFFF)),
    "a size of nothing": first_local(lambda fields: fields.__setitem__(8, 0)),
    "a name of 64 KiB": first_local(lambda fields: fields.__setitem__(9, 0xFFFF)),
    "an extra field": with_extra_field,
    "zip64": with_zip64,
    "a comment": with_comment,
    "bytes behind the end": lambda raw: raw + b"\0",
    "bytes before the beginning": lambda raw: b"#!/bin/sh\n" + raw,
    "bytes before the directory": between_data_and_directory,
    "an entry that only the directory has": entry_only_in_the_directory,
    "a second zip behind the first": lambda raw: raw + canonical_zip([("evidence.json", b"{}")]),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_with_the_zip_format_are_found(trick: str, raw: bytes, tmp_path: Path) -> None:
    forged = TRICKS[trick](raw)
    assert forged != raw
    path = tmp_path / "bundle.zip"
    path.write_bytes(forged)
    for result in (verify_bytes(forged), verify_bundle(path)):
        assert not result.ok and result.files
        assert "The zip is in its one canonical form, byte for byte" in [
            check.title for check in result.checks if not check.ok
        ]
        assert "NOT VERIFIED" in render(result)


def test_a_bomb_inside_is_neither_unpacked_nor_accepted(raw: bytes) -> None:
    """42 kB that would be 40 MB: the verifier holds the compressed bytes for the file."""
    buffer = BytesIO(raw)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("attachments/bomb.bin", bytes(40_000_000))
    forged = buffer.getvalue()
    assert len(forged) < 200_000
    assert "attachments/bomb.bin" in verify_bytes(forged).files


def test_from_disk_and_from_memory_the_same_is_found(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    large = tmp_path / "large.bin"
    large.write_bytes(random.Random(SEED).randbytes(9_000_001))  # More than two pieces, not a whole number of them.
    data = build_bundle(made_content(attachments=[("large.bin", large)]), KEY)
    ranges = dict(data_ranges(data))["attachments/large.bin"]
    for position in (None, ranges[0], ranges[4 << 20], ranges[-1]):
        changed = bytearray(data)
        if position is not None:
            changed[position] ^= 1
        path.write_bytes(changed)
        found = verify_bundle(path)
        assert found.to_dict() == verify_bytes(bytes(changed)).to_dict()
        assert found.ok is (position is None)
        assert found.files == ([] if position is None else ["attachments/large.bin"])
