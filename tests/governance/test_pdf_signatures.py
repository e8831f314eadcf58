"""Signed PDF files: what the signature leaves untouched, and that the check finds every change."""

from __future__ import annotations

import hashlib
import io
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from asn1crypto import cms
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from config.cli.verify import verify
from core.digests import canonical_json
from core.errors import AuscultError
from governance.signing.pades import Material, seal_pdf
from governance.signing.verify_pdf import PdfVerification, UnreadableError, verify_pdf
from tests.governance.signers import AT, DATA, certificate, elliptic_chain, make_pdf, make_stamper, rsa_key
from tests.reports.pdf import read_pdf

REASON = "Issued by clara on behalf of the committee."
FLIPS = 300


@pytest.fixture(scope="module")
def plain() -> bytes:
    return make_pdf()


@pytest.fixture(scope="module")
def material() -> Material:
    key = rsa_key()
    return Material(key=key, certificate=certificate(key))


@pytest.fixture(scope="module")
def signed(plain: bytes, material: Material) -> bytes:
    return seal_pdf(plain, material, at=AT, reason=REASON)


def stamped(plain: bytes, material: Material) -> bytes:
    from asn1crypto import algos, tsp

    stamper = make_stamper()

    def stamp(digest: bytes) -> bytes:
        imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": digest}
        request = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "nonce": 5, "cert_req": True})
        return bytes(stamper.request_tsa_response(request).dump())

    return seal_pdf(plain, material, at=AT, reason=REASON, time_stamp=stamp)


def finds(raw: bytes) -> bool:
    """Whether the check finds fault with this file."""
    try:
        return not verify_pdf(raw).ok
    except UnreadableError:
        return True


def failed(found: PdfVerification) -> list[str]:
    return [check.title for check in found.checks if not check.ok]


def region(raw: bytes) -> tuple[int, int]:
    """Where the signature itself stands, and where its zeros begin."""
    start = raw.rindex(b"/Contents <") + len(b"/Contents <")
    return start, start + 2 * (4 + int(raw[start + 4 : start + 8], 16))


def test_what_was_laid_out_stays_byte_for_byte(plain: bytes, signed: bytes) -> None:
    assert signed.startswith(plain)
    before, after = read_pdf(plain), read_pdf(signed)
    assert after == before
    assert (after.part, after.conformance, after.tagged, after.output_intents) == ("3", "A", True, 1)
    assert after.attachments == {"annex_iv.json": DATA}
    with pikepdf.open(io.BytesIO(plain)) as old, pikepdf.open(io.BytesIO(signed)) as new:
        assert new.Root.Metadata.read_bytes() == old.Root.Metadata.read_bytes()
        assert dict(new.docinfo) == dict(old.docinfo)


def test_the_signature_certifies_and_is_not_seen(signed: bytes) -> None:
    """PDF/A-3 allows no other key in Perms and wants even a field of no size to be printed (ISO 19005-3, 6)."""
    with pikepdf.open(io.BytesIO(signed)) as pdf:
        signature = pdf.Root.Perms.DocMDP
        assert list(pdf.Root.Perms.keys()) == ["/DocMDP"]
        assert signature.SubFilter == "/ETSI.CAdES.detached"
        assert int(signature.Reference[0].TransformParams.P) == 1
        assert str(signature.Reason) == REASON
        assert str(signature.M) == "D:20261122140500Z"
        assert int(signature.ByteRange[0]) == 0
        (widget,) = pdf.Root.AcroForm.Fields
        assert [int(side) for side in widget.Rect] == [0, 0, 0, 0]
        assert int(widget.F) & 0b100 and not int(widget.F) & 0b10
        assert "/NeedAppearances" not in pdf.Root.AcroForm


def test_the_signature_is_right_by_hand(signed: bytes, material: Material) -> None:
    """RFC 5652, 5.4, with nothing of the library that signed: digest of the ranges, attributes as a SET, PKCS #1."""
    with pikepdf.open(io.BytesIO(signed)) as pdf:
        signature = pdf.Root.Perms.DocMDP
        first, length, second, rest = (int(item) for item in signature.ByteRange)
        message = cms.ContentInfo.load(bytes(signature.Contents))["content"]
    (signer,) = message["signer_infos"]
    attributes = {item["type"].native: item["values"][0] for item in signer["signed_attrs"]}
    covered = signed[first : first + length] + signed[second : second + rest]
    assert second + rest == len(signed)
    assert attributes["message_digest"].native == hashlib.sha256(covered).digest()
    bound = attributes["signing_certificate_v2"]["certs"][0]["cert_hash"].native
    assert bound == material.certificate.fingerprint(SHA256())
    der = b"\x31" + signer["signed_attrs"].dump()[1:]
    material.certificate.public_key().verify(signer["signature"].native, der, PKCS1v15(), SHA256())
    assert "signing_time" not in attributes  # EN 319 142-1, 6.3: PAdES states the time in the entry M.


def test_equal_input_gives_equal_bytes(plain: bytes, signed: bytes, material: Material) -> None:
    assert seal_pdf(plain, material, at=AT, reason=REASON) == signed
    assert seal_pdf(plain, material, at=AT + timedelta(seconds=1), reason=REASON) != signed


def test_a_signed_file_verifies_and_tells(signed: bytes, material: Material) -> None:
    found = verify_pdf(signed)
    assert found.ok and found.trusted is None
    signature = found.signature
    assert signature is not None
    assert (signature.subject, signature.reason, signature.claimed_at) == ("CN=St. Example Hospital", REASON, AT)
    assert signature.fingerprint == material.certificate.fingerprint(SHA256()).hex()
    assert (signature.self_made, signature.self_signed, signature.time_stamp) == (False, True, None)
    (embedded,) = found.embedded
    content = canonical_json(DATA)
    assert (embedded.name, embedded.size) == ("annex_iv.json", len(content))
    assert embedded.sha256 == hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def test_every_flipped_bit_is_found(signed: bytes) -> None:
    """Anywhere in the file, and as often in the signature itself, which no signature covers."""
    chance = random.Random(20261122)
    begin, end = region(signed)
    places = [chance.randrange(len(signed)) for _ in range(FLIPS)]
    places += [chance.randrange(begin - 1, end + 20) for _ in range(FLIPS)]
    missed = []
    for place in places:
        changed = bytearray(signed)
        changed[place] ^= 1 << chance.randrange(8)
        if not finds(bytes(changed)):
            missed.append(place)
    assert missed == []


@pytest.mark.parametrize("cut", [1, 7, 700])
def test_a_file_cut_short_or_grown_is_found(signed: bytes, cut: int) -> None:
    assert finds(signed[:-cut])
    assert failed(verify_pdf(signed + b"\n" * cut))[0].startswith("The signature covers the whole file")


def test_a_later_revision_is_found(signed: bytes) -> None:
    """What a viewer may call an allowed change is none here: nothing may come after the signature."""
    from pyhanko.pdf_utils.generic import NameObject, pdf_string
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    writer.root[NameObject("/Lang")] = pdf_string("fr")
    writer.update_root()
    later = io.BytesIO()
    writer.write(later)
    assert later.getvalue().startswith(signed)
    assert "The signature covers the whole file, and nothing came after it" in failed(verify_pdf(later.getvalue()))


def test_another_writers_copy_is_found(signed: bytes) -> None:
    copied = io.BytesIO()
    with pikepdf.open(io.BytesIO(signed)) as pdf:
        pdf.save(copied)
    assert finds(copied.getvalue())


def test_a_file_is_signed_once_and_an_unsigned_one_does_not_verify(
    plain: bytes, signed: bytes, material: Material
) -> None:
    with pytest.raises(AuscultError, match="a signature already"):
        seal_pdf(signed, material, at=AT, reason=REASON)
    with pytest.raises(AuscultError, match="cannot be signed"):
        seal_pdf(b"%PDF-1.7 and no more", material, at=AT, reason=REASON)
    assert [check.problem for check in verify_pdf(plain).checks] == ["it is not signed"]


def test_a_stranger_who_signs_is_found_by_the_fingerprint_alone(
    plain: bytes, signed: bytes, material: Material
) -> None:
    """Who writes a report of their own and signs it as 'St. Example Hospital' deceives those who compare nothing."""
    known = material.certificate.fingerprint(SHA256()).hex()
    key = rsa_key()
    forged = seal_pdf(plain, Material(key=key, certificate=certificate(key)), at=AT, reason=REASON)
    assert verify_pdf(forged).ok
    assert failed(verify_pdf(forged, trust=[known])) == ["The certificate is one that you trust"]
    assert verify_pdf(signed, trust=["0" * 64, known.upper()]).trusted is True


def test_a_certificate_that_was_not_valid_is_found(plain: bytes, material: Material) -> None:
    late = seal_pdf(plain, material, at=AT + timedelta(days=31), reason=REASON)
    assert failed(verify_pdf(late)) == ["The certificate was valid when it signed"]


def test_a_chain_travels_along_and_every_link_is_checked(plain: bytes) -> None:
    key, leaf, chain = elliptic_chain()
    signed = seal_pdf(plain, Material(key=key, certificate=leaf, chain=chain), at=AT, reason=REASON)
    found = verify_pdf(signed)
    assert found.ok and found.signature is not None and not found.signature.self_signed
    begin, end = region(signed)
    message = cms.ContentInfo.load(bytes.fromhex(signed[begin:end].decode()))["content"]
    assert len(message["certificates"]) == 3
    chance = random.Random(3)
    for item in message["certificates"]:
        place = signed.index(item.chosen.dump().hex().upper().encode())
        for _ in range(20):
            changed = bytearray(signed)
            changed[place + chance.randrange(2 * len(item.chosen.dump()))] ^= 1 << chance.randrange(4)
            assert finds(bytes(changed))
    stranger = certificate(rsa_key(), "Nobody")
    more = Material(key=key, certificate=leaf, chain=(stranger, *reversed(chain)))
    begin, end = region(wider := seal_pdf(plain, more, at=AT, reason=REASON))
    assert len(cms.ContentInfo.load(bytes.fromhex(wider[begin:end].decode()))["content"]["certificates"]) == 3
    assert verify_pdf(wider).ok


def test_a_time_stamp_is_told_and_bound_to_this_signature(plain: bytes, material: Material) -> None:
    signed = stamped(plain, material)
    found = verify_pdf(signed)
    assert found.ok and found.signature is not None and found.signature.time_stamp is not None
    assert found.signature.time_stamp.at == AT + timedelta(minutes=1)
    assert found.signature.time_stamp.authority == "Common Name: Time Stamping Authority"
    begin, end = region(signed)
    message = cms.ContentInfo.load(bytes.fromhex(signed[begin:end].decode()))
    token = message["content"]["signer_infos"][0]["unsigned_attrs"][0]["values"][0]["content"]
    chance = random.Random(4)
    for told in (bytes(token["encap_content_info"]["content"]), token["signer_infos"][0]["signature"].native):
        place = signed.index(told.hex().upper().encode())
        for offset in chance.sample(range(2 * len(told)), 60):
            changed = bytearray(signed)
            changed[place + offset] ^= 1
            assert finds(bytes(changed))


def test_the_command_line(signed: bytes, plain: bytes, material: Material, tmp_path: Path) -> None:
    path, runner = tmp_path / "report.pdf", CliRunner()
    path.write_bytes(signed)
    known = material.certificate.fingerprint(SHA256()).hex()
    told = runner.invoke(verify, [str(path)])
    assert told.exit_code == 0
    digest = hashlib.sha256(json.dumps(DATA, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    for words in (
        "CERTIFICATE WAS NOT COMPARED",
        "CN=St. Example Hospital",
        "2026-11-22T14:05:00+00:00",
        known,
        digest,
    ):
        assert words in told.output
    with_colons = ":".join(known[place : place + 2] for place in range(0, 64, 2)).upper()
    pem = tmp_path / "issuer.pem"
    pem.write_bytes(_pem(material))
    for trusted in (known, with_colons, str(pem)):
        compared = runner.invoke(verify, [str(path), "--trust", trusted])
        assert compared.exit_code == 0 and "\nVERIFIED\n" in compared.output
    stranger = runner.invoke(verify, [str(path), "--trust", "0" * 64, "--json"])
    assert stranger.exit_code == 1 and json.loads(stranger.output)["trusted"] is False
    path.write_bytes(signed.replace(b"/Outlines", b"/Outlinez", 1))
    changed = runner.invoke(verify, [str(path)])
    assert changed.exit_code == 1 and "the file was changed after it was signed" in changed.output
    assert "CN=" not in changed.output  # Nothing is told from a file that does not verify.
    path.write_bytes(b"not a PDF")
    for unreadable in (["/no/such.pdf"], [str(path)], [str(path), "--trust", "nonsense"]):
        assert runner.invoke(verify, unreadable).exit_code == 3


def _pem(material: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(material.certificate.public_bytes(Encoding.PEM))
