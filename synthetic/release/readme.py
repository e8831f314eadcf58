"""``README.txt`` of a release: what it is, and how to check it with and without Auscult."""

from __future__ import annotations

from collections.abc import Mapping

from synthetic.release.facts import ReleaseFacts
from synthetic.release.naming import MARK


def readme(facts: ReleaseFacts, files: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    """The text.

    Args:
        files: Path -> what it holds.
        left_out: Path or format -> why it is not there.
    """
    there = {
        **files,
        "datasheet.md, .json": "how it was made, what the audit found, what it is for and not for",
        "statement.json": "SHA-256 of every file, of cohort, generator and evidence; gates and decision (in-toto)",
        "statement.dsse.json": "that statement, signed (DSSE, Ed25519)",
    }
    missing = "\n".join(f"{name:32}  {why}" for name, why in left_out.items()) or "nothing"
    return f"""{MARK} PATIENTS: NO REAL PERSON IS IN THESE FILES

Release    {_line(facts.name)}
Date       {facts.date}
Publisher  {_line(facts.publisher)}
Licence    {_line(facts.licence)}
Audit      {facts.outcome()}
Decision   {facts.decision.outcome}

Every patient, image, value and report here was computed by a generator. They must not be used to decide anything
about a person, nor to find out anything about those whom the generator learnt from. Keep the mark {MARK} when
you copy, cut or convert a file.

WHAT IS HERE
{chr(10).join(f"{name:32}  {what}" for name, what in there.items())}

WHAT IS NOT HERE
{missing}

HOW EACH FILE SAYS {MARK}
Parquet  metadata key auscult.synthetic            CSV    column 'synthetic' in each row, and the file's name
DICOM    Synthetic Data (0008,001C) YES, patient's name, image comments, Conversion Type SYN
FHIR     meta.security HTEST and meta.tag {MARK} in each resource
Keys of patients and studies begin with SYN-.

HOW TO CHECK IT, OFFLINE
With synthetic/release/verify.py of Auscult, from a source that you trust (not from whoever sent you these files);
it needs Python 3.11 and the package 'cryptography':
    python verify.py THIS_FOLDER --key KEY.pem
KEY.pem is the publisher's public key. Get it, or its fingerprint, by another way than these files.

By hand: sha256sum of each file against statement.json; statement.json is the payload of statement.dsse.json, and the
signature covers the DSSE encoding of it.
"""


def _line(text: str) -> str:
    return " ".join(text.split())
