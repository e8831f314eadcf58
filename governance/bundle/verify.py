"""Verifies a bundle offline: ``python verify.py BUNDLE.zip [--trust KEY.pem|FINGERPRINT] [--json]``.

With ``layout.py`` and ``checks.py`` beside it this stands alone: it needs Python 3.11 and the package
``cryptography``, nothing of Auscult, no network and no database, so that whoever receives a bundle can read
every line of what checks it. Exit status: 0 when every check passed, 1 when one failed (the file is named), 3
when there is nothing that could be checked.

What the checks prove, and what they cannot, is told in ``docs/bundles.md``.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: make the folder it lies in the package, wherever that was copied to.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = Path(__file__).resolve().parent.name

from .checks import CHECKS, Bundle, Findings, check_trust
from .layout import EVIDENCE, MAX_BYTES, REVIEW, Mismatch, Problem, key_id, load_key


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
    """The result. ``trusted`` is None when no key was given to compare the bundle's key with."""

    checks: tuple[Check, ...]
    key_id: str
    trusted: bool | None
    summary: str

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
            "key_id": self.key_id,
            "trusted": self.trusted,
            "summary": self.summary,
            "files": self.files,
            "checks": checks,
        }


def verify_bytes(raw: bytes, *, trust: Sequence[str] = ()) -> Verification:
    """Check a bundle held in memory.

    Args:
        trust: Fingerprints of keys (64 hexadecimal digits). When given, the bundle's key must be one of them.
    """
    bundle = Bundle(raw, trust)
    wanted = [*CHECKS, ("The key is one that you trust", check_trust)] if trust else list(CHECKS)
    checks = tuple(_run(title, check, bundle) for title, check in wanted)
    try:
        fingerprint = key_id(bundle.key())
    except Mismatch:
        fingerprint = ""
    summary = _summary(bundle) if all(check.ok for check in checks) else ""
    return Verification(
        checks=checks,
        key_id=fingerprint,
        trusted=fingerprint in bundle.trust if trust else None,
        summary=summary,
    )


def _run(title: str, check: Callable[[Bundle], Findings], bundle: Bundle) -> Check:
    problems: list[Problem] = []
    try:
        for problem in check(bundle):
            problems.append(problem)  # One by one: what was found before an exception counts.
    except Mismatch as found:
        problems.append(found.problem)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        problems.append(
            Problem(file=bundle.reading, message=f"is not laid out as it should be ({type(error).__name__})")
        )
    return Check(title=title, problems=tuple(problems))


def _summary(bundle: Bundle) -> str:
    evidence, review = bundle.json(EVIDENCE), bundle.json(REVIEW)
    what = f"{evidence['system']['name']}, version {evidence['version']['label']}"
    votes = len(review["votes"])
    return f"{what}: evidence {evidence['result']['outcome']}, {review['decision']} with {votes} votes."


def verify_bundle(path: Path, *, trust: Sequence[str] = ()) -> Verification:
    """Check a bundle on disk.

    Raises:
        UnreadableError: there is no such file, it cannot be read, is larger than 1 GiB, or is no zip file.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"{path} is larger than {MAX_BYTES >> 20} MiB; no bundle is.")
    if raw[:4] != b"PK\3\4" and b"PK\5\6" not in raw[-65_557:]:
        raise UnreadableError(f"{path} is not a zip file.")
    return verify_bytes(raw, trust=trust)


def trusted_fingerprint(text: str) -> str:
    """The fingerprint that ``--trust`` means: itself, or that of the key in the file it names.

    Raises:
        UnreadableError: neither 64 hexadecimal digits nor a file with an Ed25519 public key.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    try:
        return key_id(load_key(Path(text).read_bytes(), text))
    except OSError as error:
        raise UnreadableError(
            f"--trust {text} is no fingerprint of 64 digits, and no file: {error.strerror}."
        ) from error
    except Mismatch as error:
        raise UnreadableError(f"--trust {text} {error}.") from error


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
    return "\n".join(printable(line) for line in lines)


def printable(line: str) -> str:
    """The line with every control character written out: names in a bundle may be anybody's, and this is a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def run(path: Path, *, trust: Sequence[str], as_json: bool) -> tuple[str, int]:
    """What to print and the exit status: the body of both command lines."""
    try:
        result = verify_bundle(path, trust=[trusted_fingerprint(item) for item in trust])
    except UnreadableError as error:
        text = json.dumps({"ok": False, "error": str(error)}) if as_json else f"CANNOT READ  {error}"
        return text, 3
    body = {"bundle": str(path), **result.to_dict()}
    return json.dumps(body, indent=2) if as_json else render(result), 0 if result.ok else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a signed bundle offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", action="append", default=[], metavar="KEY.pem|FINGERPRINT")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(arguments)
    text, status = run(given.bundle, trust=given.trust, as_json=given.as_json)
    if isinstance(sys.stdout, io.TextIOWrapper):  # A terminal may lack the letters of a name.
        sys.stdout.reconfigure(errors="backslashreplace")
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
