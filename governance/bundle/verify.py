"""Verifies a bundle offline: ``python verify.py BUNDLE.zip [--trust KEY.pem|FINGERPRINT] [--json]``.

With the files of this folder beside it (all but ``build.py``) this stands alone: it needs Python 3.11 and the package
``cryptography``, nothing of Auscult, no network and no database, so that whoever receives a bundle can read
every line of what checks it. Exit status: 0 when every check passed, 1 when one failed (the file is named), 3
when there is nothing that could be checked.

What the checks prove, and what they cannot, is told in ``docs/bundles.md``.
"""

from __future__ import annotations

import argparse
import io
import json
import mmap
import os
import re
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

if not __package__:  # Run as a file: the folder it lies in is the package, wherever that was copied to.
    __package__ = "auscult_bundle"
    sys.modules[__package__] = ModuleType(__package__)
    sys.modules[__package__].__path__ = [str(Path(__file__).resolve().parent)]

from .checks import (
    check_container,
    check_evidence,
    check_head_signature,
    check_inclusion,
    check_manifest,
    check_names,
    check_protocol,
    check_statement,
    check_statement_signature,
    check_trust,
)
from .container import Forget
from .contents import Bundle, Findings
from .documents import (
    check_bom,
    check_dossier,
    check_reports,
    check_status,
    check_timestamp,
    has,
    has_timestamp,
    stamp_of,
)
from .layout import (
    DOSSIER,
    EVIDENCE,
    MAX_BYTES,
    MODEL_BOM,
    REVIEW,
    STATUS,
    TIMESTAMP,
    Mismatch,
    Problem,
    key_id,
    load_key,
)
from .stamps import Stamp
from .votes import check_review, in_words

T = TypeVar("T")
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error)
"""What reading something that is laid out in another way ends in."""
FINGERPRINT = re.compile("[0-9a-fA-F]{64}")


def always(bundle: Bundle) -> bool:
    return True


CHECKS: tuple[tuple[str, Callable[[Bundle], Findings], Callable[[Bundle], bool]], ...] = (
    ("The zip is in its one canonical form, byte for byte", check_container, always),
    ("File names are safe, single and complete", check_names, always),
    ("Every file has the size and SHA-256 of the manifest, and none was added", check_manifest, always),
    ("The statement is signed by the key in key.pem", check_statement_signature, always),
    ("The statement names this manifest, model, cohort and result", check_statement, always),
    ("The head of the ledger is signed by the same key", check_head_signature, always),
    ("Every ledger entry is in the ledger with that head", check_inclusion, always),
    ("The evidence is whole and is what was judged", check_evidence, always),
    ("The protocol was locked and approved, and is the one that judged", check_protocol, always),
    ("The votes give the decision, by people who had no part in the audit", check_review, always),
    ("The dossier is about this version, audit and decision, and stands in the ledger", check_dossier, has(DOSSIER)),
    ("The requirement status was judged from this dossier and evidence", check_status, has(STATUS)),
    ("The ML-BOM names this model and each of its files", check_bom, has(MODEL_BOM)),
    ("The reports were issued from this evidence, or from none about this version", check_reports, always),
    ("The time-stamp is over this statement, signed by the certificate inside it", check_timestamp, has_timestamp),
    ("The key is one that you trust", check_trust, lambda bundle: bool(bundle.trust)),
)
"""Title, check, and whether a bundle has what is checked."""


class UnreadableError(Exception):
    """There is nothing that could be checked: no such file, too large, not a zip at all."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check in words, and what it found."""

    title: str
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result.

    Attributes:
        checks: Those that were made: none about what this bundle does not have and need not have.
        trusted: None when no key was given to compare the bundle's key with.
        layout: Number of the bundle's layout; None where its manifest cannot be read.
        stamp: The time-stamp, if there is one and it holds.
        tsa_trusted: None when no authority was given to compare that of the time-stamp with.
    """

    checks: tuple[Check, ...]
    key_id: str
    trusted: bool | None
    summary: str
    layout: int | None = None
    stamp: Stamp | None = None
    tsa_trusted: bool | None = None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def files(self) -> list[str]:
        """The files that a failed check names."""
        return sorted({problem.file for check in self.checks for problem in check.problems})

    def to_dict(self) -> dict[str, Any]:
        checks = [
            {"title": check.title, "ok": check.ok, "problems": [vars(problem) for problem in check.problems]}
            for check in self.checks
        ]
        return {
            "ok": self.ok,
            "layout": self.layout,
            "key_id": self.key_id,
            "trusted": self.trusted,
            "timestamp": vars(self.stamp) | {"time": self.stamp.time.isoformat()} if self.stamp else None,
            "tsa_trusted": self.tsa_trusted,
            "summary": self.summary,
            "files": self.files,
            "checks": checks,
        }


def verify_bytes(raw: bytes | memoryview, *, trust: Sequence[str] = (), trust_tsa: Sequence[str] = ()) -> Verification:
    """Check a bundle held in memory.

    Args:
        trust: Fingerprints of keys (64 hexadecimal digits). When given, the bundle's key must be one of them.
        trust_tsa: Fingerprints of certificates of time-stamping authorities. When given, there must be a time-stamp,
            and by one of them.
    """
    return _verify(Bundle(memoryview(raw), trust=trust, trust_tsa=trust_tsa, forget=lambda begin, end: None))


def _verify(bundle: Bundle) -> Verification:
    ran = (_run(title, check, there, bundle) for title, check, there in CHECKS)
    checks = tuple(check for check in ran if check is not None)
    fingerprint, stamp = _told(lambda: key_id(bundle.key())) or "", None
    if bundle.has(TIMESTAMP):
        stamp = _told(lambda: stamp_of(bundle))
    return Verification(
        checks=checks,
        key_id=fingerprint,
        trusted=fingerprint in bundle.trust if bundle.trust else None,
        summary=_summary(bundle) if all(check.ok for check in checks) else "",
        layout=_told(bundle.layout),
        stamp=stamp,
        tsa_trusted=stamp is not None and stamp.certificate in bundle.trust_tsa if bundle.trust_tsa else None,
    )


def _run(
    title: str, check: Callable[[Bundle], Findings], there: Callable[[Bundle], bool], bundle: Bundle
) -> Check | None:
    """The check, made; None where the bundle has not what it is about."""
    problems: list[Problem] = []
    try:
        if not there(bundle):
            return None
        for problem in check(bundle):
            problems.append(problem)  # One by one: what was found before an exception counts.
    except Mismatch as found:
        problems.append(found.problem)
    except MALFORMED as error:
        problems.append(
            Problem(file=bundle.reading, message=f"is not laid out as it should be ({type(error).__name__})")
        )
    return Check(title=title, problems=tuple(problems))


def _told(ask: Callable[[], T]) -> T | None:
    """What a damaged bundle tells, None where that cannot be read: a check has said so."""
    try:
        return ask()
    except (Mismatch, *MALFORMED):
        return None


def _summary(bundle: Bundle) -> str:
    evidence, review = bundle.json(EVIDENCE), bundle.json(REVIEW)
    what = f"{evidence['system']['name']}, version {evidence['version']['label']}"
    return f"{what}: {in_words(review, evidence['result']['outcome'], bundle.digest(EVIDENCE))}."


def verify_bundle(path: Path, *, trust: Sequence[str] = (), trust_tsa: Sequence[str] = ()) -> Verification:
    """Check a bundle on disk. It is read where it lies: what it takes of memory does not grow with its attachments.

    Raises:
        UnreadableError: there is no such file, it cannot be read, is larger than 4 GiB, or is no zip file.
    """
    return _verify(_opened(path, trust, trust_tsa))


def verified_evidence(path: Path, *, trust: Sequence[str] = ()) -> tuple[Verification, dict[str, Any] | None]:
    """Check a bundle on disk, and give its evidence if every check passed: the very bytes that were checked.

    Raises:
        UnreadableError: as for :func:`verify_bundle`.
    """
    bundle = _opened(path, trust, ())
    result = _verify(bundle)
    return result, bundle.json(EVIDENCE) if result.ok else None


def _opened(path: Path, trust: Sequence[str], trust_tsa: Sequence[str]) -> Bundle:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > MAX_BYTES:
                raise UnreadableError(f"{path} is larger than {(MAX_BYTES + 1) >> 20} MiB; no bundle is.")
            if size == 0:
                raise UnreadableError(f"{path} is not a zip file.")
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if mapped[:4] != b"PK\3\4" and mapped.rfind(b"PK\5\6", max(0, size - 65_557)) < 0:
        raise UnreadableError(f"{path} is not a zip file.")
    return Bundle(memoryview(mapped), trust=trust, trust_tsa=trust_tsa, forget=_forgetting(mapped))


def _forgetting(mapped: mmap.mmap) -> Forget:
    """Lets go of the whole pages of a range; those that are needed again are read again."""

    def forget(begin: int, end: int) -> None:
        first, last = -(-begin // mmap.PAGESIZE), end // mmap.PAGESIZE
        if last > first and hasattr(mapped, "madvise"):  # Not on every system.
            mapped.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)

    return forget


def trusted_fingerprint(text: str) -> str:
    """The fingerprint that ``--trust`` means: itself, or that of the key in the file it names.

    Raises:
        UnreadableError: neither 64 hexadecimal digits nor a file with an Ed25519 public key.
    """
    if FINGERPRINT.fullmatch(text):
        return text.lower()
    try:
        return key_id(load_key(Path(text).read_bytes(), text))
    except OSError as error:
        raise UnreadableError(
            f"--trust {text} is no fingerprint of 64 digits, and no file: {error.strerror}."
        ) from error
    except Mismatch as error:
        raise UnreadableError(f"--trust {text} {error}.") from error


def authority_fingerprint(text: str) -> str:
    """The fingerprint that ``--trust-tsa`` means, with or without colons.

    Raises:
        UnreadableError: not 64 hexadecimal digits.
    """
    plain = text.replace(":", "").lower()
    if not FINGERPRINT.fullmatch(plain):
        raise UnreadableError(f"--trust-tsa {text} is no fingerprint of 64 digits.")
    return plain


def render(result: Verification) -> str:
    """The result as lines for a person."""
    lines = [("ok      " if check.ok else "FAILED  ") + check.title for check in result.checks]
    lines += [f"        {item.file}: {item.message}" for check in result.checks for item in check.problems]
    verdict = "VERIFIED" if result.trusted else "VERIFIED, BUT THE KEY WAS NOT COMPARED"
    lines.append(f"{verdict}  {result.summary}" if result.ok else f"NOT VERIFIED  {', '.join(result.files)}")
    if result.key_id:
        lines.append(f"Key fingerprint (SHA-256): {result.key_id}")
    if result.trusted is None:
        lines.append("No key was given with --trust: this shows only that nothing changed since its holder")
        lines.append("signed it, not who that is. Compare the fingerprint with the one the issuer has told you.")
    lines += _about_the_time(result)
    return "\n".join(printable(line) for line in lines)


def _about_the_time(result: Verification) -> list[str]:
    if result.stamp is None:
        return []
    lines = [f"Time-stamp: {result.stamp.time.isoformat()} by {result.stamp.authority}"]
    lines.append(f"Its certificate (SHA-256): {result.stamp.certificate}")
    if result.tsa_trusted is None:
        lines.append("No authority was given with --trust-tsa: whether this one is to be trusted is yours to find out.")
    return lines


def printable(line: str) -> str:
    """The line with every control character written out: names in a bundle may be anybody's, and this is a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def run(path: Path, *, trust: Sequence[str], trust_tsa: Sequence[str] = (), as_json: bool) -> tuple[str, int]:
    """What to print and the exit status: the body of both command lines."""
    try:
        keys = [trusted_fingerprint(item) for item in trust]
        result = verify_bundle(path, trust=keys, trust_tsa=[authority_fingerprint(item) for item in trust_tsa])
    except UnreadableError as error:
        text = json.dumps({"ok": False, "error": str(error)}) if as_json else f"CANNOT READ  {error}"
        return text, 3
    body = {"bundle": str(path), **result.to_dict()}
    return json.dumps(body, indent=2) if as_json else render(result), 0 if result.ok else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a signed bundle offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", action="append", default=[], metavar="KEY.pem|FINGERPRINT")
    parser.add_argument("--trust-tsa", action="append", default=[], metavar="FINGERPRINT")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(arguments)
    text, status = run(given.bundle, trust=given.trust, trust_tsa=given.trust_tsa, as_json=given.as_json)
    if isinstance(sys.stdout, io.TextIOWrapper):  # A terminal may lack the letters of a name.
        sys.stdout.reconfigure(errors="backslashreplace")
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
