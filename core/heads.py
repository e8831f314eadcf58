"""Signed heads of the ledger: its size and root at one moment, signed, and exported to where a witness keeps them.

Whoever can write to the database can also make every hash in it fit. A head that was signed before and lies elsewhere
cannot be made to fit: so heads are signed on a schedule, and copied to a folder outside of the installation. Signing
writes no entry: the ledger would grow for ever by itself, and the signed head is its own record.
"""

from __future__ import annotations

import base64
import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.digests import canonical_json
from core.errors import AuscultError, DigestMismatchError, EnvironmentProblemError
from core.keys import keep_public_key, signing_key
from core.models import LedgerHead, Notification, Role, SignedHead, Topic
from core.notifications import notify
from core.proof_files import HEAD_SCHEMA, signed_bytes
from core.proofs import head_file

log = logging.getLogger(__name__)


def sign_head(*, now: datetime | None = None) -> SignedHead | None:
    """Sign the ledger as it is, if anything was added since the last time.

    Returns:
        The new head; None when there is nothing new to sign.

    Raises:
        DigestMismatchError: the ledger does not fit the last signed head any more: it is not signed over.
        EnvironmentProblemError: there is no key to sign with.
    """
    with transaction.atomic():
        current = LedgerHead.objects.select_for_update().filter(pk=1).first()
        last = SignedHead.objects.order_by("-size").first()
        size = current.size if current else 0
        if size == (last.size if last else 0):
            return None
        if last and (size < last.size or ledger.tree_head(last.size).root != last.root):
            raise DigestMismatchError(
                f"The ledger does not fit its head of {last.size} entries that was signed "
                f"{last.signed_at:%d %b %Y %H:%M} UTC, so no new head is signed.",
                remedy="Run 'auscult ledger verify', and compare with the heads that the witness keeps.",
            )
        return _signed(ledger.tree_head(size), last, now or timezone.now())


def _signed(head: ledger.TreeHead, last: SignedHead | None, moment: datetime) -> SignedHead:
    key = signing_key()
    name = keep_public_key(key)
    document = canonical_json(
        {
            "schema": HEAD_SCHEMA,
            "key": name,
            "size": head.size,
            "root": head.root,
            "signed_at": moment.isoformat(),
            "previous": {"size": last.size, "root": last.root} if last else None,
        }
    )
    return SignedHead.objects.create(
        size=head.size,
        root=head.root,
        signed_at=moment,
        key_id=name,
        document=document.decode(),
        signature=base64.b64encode(key.sign(signed_bytes(document))).decode(),
    )


def home_folder() -> Path:
    """Where this installation keeps the files of its heads."""
    return Path(settings.AUSCULT_HOME) / "ledger-heads"


def export_head(head: SignedHead, folder: Path) -> Path:
    """Write the file of a head, at once or not at all; one that is there already stays as it is.

    Raises:
        EnvironmentProblemError: the folder is not there, or cannot be written to.
    """
    path = folder / f"{head.size}.json"
    if path.exists():
        return path
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(head_file(head))
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentProblemError(
            f"Signed heads cannot be written to the folder: {error.strerror}.",
            remedy="Mount the folder that AUSCULT_LEDGER_EXPORT names, and let the service write to it.",
            file=str(folder),
        ) from error
    return path


def export_heads(folder: Path) -> int:
    """Write the files of all heads that the folder does not have yet: how many.

    Raises:
        EnvironmentProblemError: the folder is not there, or cannot be written to.
    """
    if not folder.is_dir():
        raise EnvironmentProblemError(
            "The folder for signed heads is not there.",
            remedy="Mount or make it; AUSCULT_LEDGER_EXPORT names it.",
            file=str(folder),
        )
    there = {path.name for path in folder.glob("*.json")}
    sizes = [
        size
        for size in SignedHead.objects.order_by("size").values_list("size", flat=True)
        if f"{size}.json" not in there
    ]
    for size in sizes:
        export_head(SignedHead.objects.get(size=size), folder)
    return len(sizes)


def sign_and_export() -> int:
    """Sign what is new and write every folder that lacks a head. What fails is told to the administrators, once a day.

    Returns:
        How many heads were signed: 1 or 0.
    """
    signed, failures = None, list[AuscultError]()
    try:
        signed = sign_head()
    except AuscultError as error:
        failures.append(error)
    home_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    witness = settings.AUSCULT_LEDGER_EXPORT
    for folder in [home_folder(), *([Path(witness)] if witness else [])]:
        try:
            export_heads(folder)
        except AuscultError as error:
            failures.append(error)
    if failures:
        _tell(failures)
    return 1 if signed else 0


def _tell(failures: Sequence[AuscultError]) -> None:
    """An urgent word to the administrators; the same failure is told once a day."""
    for failure in failures:
        log.error("%s", failure)
        named = sha256(str(failure.message).encode()).hexdigest()[:12]
        with transaction.atomic():
            notify(
                to=people_with(Role.ADMINISTRATOR),
                topic=Topic.LEDGER,
                title="The ledger's head was not signed or not exported",
                text=f"{failure.message} {failure.remedy}".strip(),
                href=reverse("ledger-heads"),
                key=f"ledger-heads:{named}:{timezone.now():%Y-%m-%d}",
                urgency=Notification.Urgency.URGENT,
            )
