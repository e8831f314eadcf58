"""What ``auscult verify`` does with a PDF: reads it, has it checked, and says in words what was found."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from governance.signing.verify_pdf import PdfVerification, Signature, UnreadableError, verify_pdf

MAX_BYTES = 1 << 28


def is_pdf(path: Path) -> bool:
    """Whether to check it as a PDF: it begins like one, or is called one."""
    try:
        with path.open("rb") as stream:
            return stream.read(5) == b"%PDF-" or path.suffix.lower() == ".pdf"
    except OSError:
        return path.suffix.lower() == ".pdf"


def trusted_fingerprint(text: str) -> str:
    """The fingerprint that ``--trust`` means: itself, colons or not, or that of the certificate in the file it names.

    Raises:
        UnreadableError: neither 64 hexadecimal digits nor a file with a certificate in PEM form.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    plain = text.replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{64}", plain):
        return plain
    try:
        return x509.load_pem_x509_certificate(Path(text).read_bytes()).fingerprint(SHA256()).hex()
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{text} is neither a fingerprint nor a file with a certificate (PEM).") from error


def run(path: Path, *, trust: Sequence[str], as_json: bool) -> tuple[str, int]:
    """What to print and the exit status: 0 verified, 1 a check failed, 3 there is nothing to check."""
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)  # What a damaged file is like is told by the checks.
    try:
        wanted = [trusted_fingerprint(item) for item in trust]
        result = verify_pdf(_read(path), trust=wanted)
    except UnreadableError as error:
        return json.dumps({"ok": False, "error": str(error)}) if as_json else f"CANNOT READ  {error}", 3
    text = json.dumps({"pdf": str(path), **result.to_dict()}, indent=2) if as_json else render(result)
    return text, 0 if result.ok else 1


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"{path} is larger than {MAX_BYTES >> 20} MiB; no report is.")
    return raw


def render(result: PdfVerification) -> str:
    """The result in words."""
    lines = [f"{'ok    ' if check.ok else 'FAILED'}  {check.title}" for check in result.checks]
    lines = [
        f"{line}: {check.problem}" if check.problem else line for line, check in zip(lines, result.checks, strict=True)
    ]
    return "\n".join([*lines, "", *_verdict(result), *_told(result)])


def _verdict(result: PdfVerification) -> list[str]:
    if not result.ok:
        return ["NOT VERIFIED"]
    if result.trusted:
        return ["VERIFIED"]
    return [
        "VERIFIED, BUT THE CERTIFICATE WAS NOT COMPARED",
        "Nothing changed since it was signed; anybody could have signed it.",
        "Compare the fingerprint with one that the issuer gave you another way, or give it to --trust.",
    ]


def _told(result: PdfVerification) -> list[str]:
    signature = result.signature
    if signature is None:
        return []
    lines = [
        "",
        f"Signed by    {signature.subject}",
        f"             {_vouched(signature)}",
        f"Fingerprint  {signature.fingerprint}",
        f"Signed at    {signature.claimed_at.isoformat()} (the signer's own clock)",
        f"Reason       {signature.reason}",
    ]
    if stamp := signature.time_stamp:
        lines += [
            f"Time stamp   {stamp.at.isoformat()} by {stamp.authority}",
            f"             its certificate: {stamp.fingerprint}; whether to believe it is for you to decide",
        ]
    return lines + [f"Embedded     {item.name}, {item.size} bytes, SHA-256 {item.sha256}" for item in result.embedded]


def _vouched(signature: Signature) -> str:
    if signature.self_made:
        return "Self-made by the installation for trying out: it names nobody."
    if signature.self_signed:
        return "Self-signed: nobody else vouches for the name."
    return "Issued by somebody else; whether to believe them is for you to decide."
