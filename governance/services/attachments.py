"""Files that belong to a statement. They are kept by digest and given out again; nobody here opens them.

What the sender says about the kind of a file is not believed and not kept. Only what came in as an attachment is given
out as one, so that a digest in a statement opens no other content of the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db import transaction

from core import ledger
from core.errors import AuscultError, NotFoundError
from core.models import LedgerEntry, User
from core.reach import limited
from governance.access import check_may_state
from governance.models import Statement
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

LARGEST = 20 * 1000 * 1000
LONGEST_NAME = 150
KIND = "Attachment"
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\\/:*?\"<>|]+")


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file that is kept: its name as it was sent, and the SHA-256 of its bytes."""

    name: str
    digest: str

    def as_value(self) -> dict[str, str]:
        """As a field of type ``file`` holds it."""
        return {"name": self.name, "digest": self.digest}


@limited
def keep_attachment(*, version: ModelVersion, requirement: str, name: str, body: bytes, by: User) -> Attachment:
    """Keep a file for a statement about a requirement of a version.

    Raises:
        DeniedError: ``by`` may not state.
        AuscultError: the file is empty or larger than 20 MB.
    """
    check_may_state(by)
    if not body or len(body) > LARGEST:
        found = "is empty" if not body else "is larger than 20 MB"
        raise AuscultError(f"The file “{plain_name(name)}” {found}.", remedy="Attach a file of 1 byte to 20 MB.")
    digest = model_store().put_bytes(body)
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="attachment.kept",
            subject=(KIND, digest),
            payload={"version": version.digest, "requirement": requirement, "size": len(body)},
        )
    return Attachment(name=plain_name(name), digest=digest)


@limited
def open_attachment(*, statement: Statement, digest: str, by: User) -> tuple[str, bytes]:
    """Name and bytes of a file of a statement. That it was opened is entered in the ledger.

    Raises:
        NotFoundError: the statement has no such file, or it never came in as one.
        DigestMismatchError: it was changed on disk.
    """
    found = next((file for file in files_of(statement) if file.digest == digest), None)
    kept = LedgerEntry.objects.filter(subject_kind=KIND, subject_id=digest, act="attachment.kept")
    if found is None or not kept.exists():
        raise NotFoundError("The statement has no such file.", remedy="Begin at the page of the requirement.")
    body = model_store().get_bytes(digest)
    with transaction.atomic():
        payload = {"statement": statement.pk, "requirement": statement.requirement}
        ledger.record(actor=by.username, act="attachment.downloaded", subject=(KIND, digest), payload=payload)
    return found.name, body


def files_of(statement: Statement) -> list[Attachment]:
    """Every file that a statement names."""
    found = []
    for value in statement.fields.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and set(item) == {"name", "digest"}:
                found.append(Attachment(name=str(item["name"]), digest=str(item["digest"])))
    return found


def plain_name(name: str) -> str:
    """A file name without folders, control characters, or what turns the direction of a line."""
    last = re.split(r"[\\/]", name)[-1]
    return " ".join(UNSAFE.sub(" ", last).split()).strip(" .")[-LONGEST_NAME:] or "file"


def seal(file: Attachment, *, version: ModelVersion, requirement: str) -> str:
    """A file as a form carries it from page to page: nobody can name another one than they were given."""
    return signing.dumps([file.name, file.digest], salt=_salt(version, requirement))


def unseal(token: str, *, version: ModelVersion, requirement: str) -> Attachment | None:
    """The file that a form carried; None for a token that was made elsewhere."""
    try:
        name, digest = signing.loads(token, salt=_salt(version, requirement))
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return Attachment(name=name, digest=digest)


def _salt(version: ModelVersion, requirement: str) -> str:
    return f"attachment of system {version.system_id}, {requirement}"


def value_of(files: list[Attachment]) -> Any:
    """Files as a field of type ``file`` holds them: one by itself, several as a list, none as None."""
    values = [file.as_value() for file in files]
    return values[0] if len(values) == 1 else values or None
