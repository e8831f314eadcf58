"""Puts a PAdES signature into a PDF: one that certifies the file and allows no change after it.

The signature is an incremental update: what was laid out stays byte for byte, tags, metadata and attachments with it.
Nothing depends on the clock or on chance but the key: with an RSA key and without a time stamp, equal input gives
equal bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import AuscultError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

FIELD = "Signature"
DIGEST = "sha256"
SELF_MADE = "self-made for trying out"
"""Stands in the subject of a certificate that an installation made for itself."""
ROOM = 16 * 1024
"""Bytes kept free for a time stamp, whose size only the authority knows."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a signature is made with.

    Attributes:
        chain: Other certificates at hand. Those that vouch for ``certificate`` travel in the signature.
    """

    key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()


def seal_pdf(
    pdf: bytes,
    material: Material,
    *,
    at: datetime,
    reason: str,
    time_stamp: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """The PDF with a signature in an invisible field of its first page.

    Args:
        at: The time that the signature claims for itself.
        reason: Why it was signed, in a sentence; viewers show it.
        time_stamp: Gets a time stamp for a SHA-256: a ``TimeStampResp`` of RFC 3161 in DER, checked already.
            With it the signature is PAdES-B-T, without it PAdES-B-B.

    Raises:
        AuscultError: the file is no PDF, or carries a signature already.
    """
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
    from pyhanko.sign.general import SigningError
    from pyhanko.sign.signers import PdfSignatureMetadata

    metadata = PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm=DIGEST,
        reason=reason,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
        subfilter=SigSeedSubFilter.PADES,
    )
    place = SigFieldSpec(FIELD, on_page=0, box=None, readable_field_name="Signature of the issuer")
    stamper = _stamper(time_stamp) if time_stamp else None
    try:
        writer = _writer(pdf, material, at=at, reason=reason)
        if writer.prev.embedded_signatures:
            raise AuscultError("The PDF carries a signature already.", remedy="Sign the file as it was laid out.")
        signer = _pdf_signer(metadata, _signer(material), stamper, place, at)
        room = 2 * (ROOM + sum(len(_der(item)) for item in (material.certificate, *material.chain)))
        signed: io.BytesIO = signer.sign_pdf(writer, bytes_reserved=room if stamper else None)
    except (PdfError, SigningError) as error:
        raise AuscultError(f"The PDF cannot be signed: {error}", remedy="Lay the report out again.") from error
    return signed.getvalue()


def path_of(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The issuer of the certificate, the issuer's issuer, and so on, as far as ``others`` go."""
    path: list[x509.Certificate] = []
    left, last = [item for item in others if item != certificate], certificate
    while last.issuer != last.subject:
        issuer = next((item for item in left if vouches(item, last)), None)
        if issuer is None:
            break
        path.append(issuer)
        left.remove(issuer)
        last = issuer
    return path


def vouches(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether the issuer signed the certificate."""
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signer(material: Material) -> Any:
    from asn1crypto import keys, x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from pyhanko.sign.signers import SimpleSigner
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    registry = SimpleCertificateStore()
    path = path_of(material.certificate, material.chain)
    registry.register_multiple([x509.Certificate.load(_der(item)) for item in path])
    der = material.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SimpleSigner(
        signing_cert=x509.Certificate.load(_der(material.certificate)),
        signing_key=keys.PrivateKeyInfo.load(der),
        cert_registry=registry,
    )


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _pdf_signer(metadata: Any, signer: Any, stamper: Any, place: Any, at: datetime) -> Any:
    from pyhanko.sign.signers import PdfSigner

    class TimedSigner(PdfSigner):  # type: ignore[misc]
        """Takes the time it is given instead of the clock's."""

        def init_signing_session(self, *arguments: Any, **named: Any) -> Any:
            session = super().init_signing_session(*arguments, **named)
            session.system_time = at
            return session

    return TimedSigner(metadata, signer, timestamper=stamper, new_field_spec=place)


def _writer(pdf: bytes, material: Material, *, at: datetime, reason: str) -> Any:
    from pyhanko.pdf_utils.generic import ByteStringObject
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    class SteadyWriter(IncrementalPdfFileWriter):  # type: ignore[misc]
        """Leaves the metadata as they were laid out: PDF/A wants both places of them to agree."""

        def _update_meta(self) -> None:
            return

    writer = SteadyWriter(io.BytesIO(pdf))
    content = (hashlib.sha256(pdf).digest(), _der(material.certificate), reason.encode())
    mark = hashlib.sha256(b"\0".join((*content, at.isoformat().encode()))).digest()[:16]
    writer._document_id[1] = ByteStringObject(mark)  # Random otherwise.
    return writer


def _stamper(time_stamp: Callable[[bytes], bytes]) -> Any:
    from asn1crypto import tsp
    from pyhanko.sign.timestamps import TimeStamper

    class AskingStamper(TimeStamper):  # type: ignore[misc]
        async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> Any:
            return tsp.TimeStampResp.load(time_stamp(message_digest))["time_stamp_token"]

    return AskingStamper()
