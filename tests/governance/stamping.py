"""A time-stamping authority of the tests' own. Its tokens are made by ``asn1crypto``, not by what the verifier uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.governance.sealing import NOW


class Authority:
    """A key with its certificate, for signatures of the kind ``ec``, ``rsa`` or ``pss``."""

    def __init__(
        self, kind: str = "ec", *, usage: Any = ExtendedKeyUsageOID.TIME_STAMPING, critical: bool = True
    ) -> None:
        self.kind = kind
        self.key: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "ec"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test time")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(4242)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=critical)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    def stamp(self, data: bytes, *, at: datetime = NOW, by_key: bool = False, **wrong: Any) -> bytes:
        """A TimeStampResp about ``data``.

        Args:
            wrong: What a test wants to be wrong: ``named`` (the certificate that is signed for), ``content_type``,
                ``digest`` (of the time-stamp), ``certificates`` (those in the token), ``signature``, ``status``.
        """
        from asn1crypto import algos, cms, core, tsp
        from asn1crypto import x509 as asn

        sha = algos.DigestAlgorithm({"algorithm": "sha256"})
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4.1",
                "message_imprint": {"hash_algorithm": sha, "hashed_message": hashlib.sha256(data).digest()},
                "serial_number": 9,
                "gen_time": at,
                "nonce": 123456789,
            }
        ).dump()
        own = asn.Certificate.load(self.der)
        certificate_id = {"cert_hash": hashlib.sha256(wrong.get("named", self.der)).digest()}
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": [wrong.get("content_type", "tst_info")]},
                {"type": "message_digest", "values": [wrong.get("digest", hashlib.sha256(info).digest())]},
                {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [certificate_id]})]},
            ]
        )
        serial = {"issuer": own.issuer, "serial_number": own.serial_number}
        sid: Any = cms.IssuerAndSerialNumber(serial)
        signer = cms.SignerInfo(
            {
                "version": "v3" if by_key else "v1",
                "sid": cms.SignerIdentifier("subject_key_identifier", own.key_identifier)
                if by_key
                else cms.SignerIdentifier("issuer_and_serial_number", sid),
                "digest_algorithm": sha,
                "signed_attrs": attributes,
                "signature_algorithm": self._algorithm(),
                "signature": wrong.get("signature", self.key_signature(attributes.dump())),
            }
        )
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(info),
                },
                "certificates": wrong.get("certificates", [own]),
                "signer_infos": [signer],
            }
        )
        token = cms.ContentInfo({"content_type": "signed_data", "content": signed})
        return bytes(
            tsp.TimeStampResp({"status": {"status": wrong.get("status", "granted")}, "time_stamp_token": token}).dump()
        )

    def _algorithm(self) -> Any:
        from asn1crypto import algos

        if self.kind == "pss":
            digest = {"algorithm": "sha256"}
            given = {
                "hash_algorithm": digest,
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": digest},
                "salt_length": 32,
            }
            return algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(given)})
        return algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa" if self.kind == "ec" else "rsassa_pkcs1v15"})

    def key_signature(self, data: bytes) -> bytes:
        sign: Callable[..., bytes] = self.key.sign
        if self.kind == "ec":
            return sign(data, ec.ECDSA(hashes.SHA256()))
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        return sign(data, pss if self.kind == "pss" else padding.PKCS1v15(), hashes.SHA256())
