"""Verifying the ledger together with the heads that were signed, at once or by a worker while a page waits.

A worker tells how far it is, and what it found, in one small file of the installation: several processes read it, and
it is worth nothing after the next verification.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from core import ledger
from core.errors import EnvironmentProblemError
from core.keys import public_key_pem
from core.ledger_checks import HeadToCheck, LedgerCheck
from core.models import SignedHead
from core.proof_files import Head, ProofFileError, head_of, load_key, read_proof, signature_holds

AT_ONCE = 50_000
LOST_AFTER = timedelta(minutes=2)
MOST_TOLD = 20


def verify_all(*, folder: Path | None = None, progress: Callable[[int, int], None] | None = None) -> LedgerCheck:
    """Verify the ledger, every signed head in the database, and those in the files of a folder.

    Args:
        folder: Exported heads, such as the copy that a witness kept.
        progress: Called with the entries that are done and the entries in all.

    Raises:
        EnvironmentProblemError: the folder is not there.
    """
    heads, problems = _stored_heads()
    if folder is not None:
        given, found = _given_heads(folder)
        seen = {(head.size, head.root) for head in heads}
        heads += [head for head in given if (head.size, head.root) not in seen]
        problems += found
    check = ledger.verify(heads=heads, progress=progress)
    told = (*check.problems, *problems)[:MOST_TOLD]
    return replace(check, problems=told, faults=check.faults + len(problems))


def _stored_heads() -> tuple[list[HeadToCheck], list[str]]:
    """The heads of the database, and what is wrong with them by themselves."""
    heads, problems, before = list[HeadToCheck](), list[str](), None
    for row in SignedHead.objects.order_by("size").iterator():
        moment = row.signed_at.isoformat(timespec="seconds")
        heads.append(HeadToCheck(size=row.size, root=row.root, signed_at=moment, source="the database"))
        if problem := head_problem(row, before):
            problems.append(problem)
        before = row
    return heads, problems


def head_problem(row: SignedHead, before: SignedHead | None) -> str | None:
    """What is wrong with a signed head, by its signature and by the head before it; None where nothing is."""
    what = f"The signed head of {row.size} entries in the database"
    try:
        head = head_of(row.document.encode(), base64.b64decode(row.signature, validate=True))
        body = json.loads(row.document)
    except (ValueError, KeyError, TypeError):
        return f"{what} is no signed head any more: its document or signature was changed."
    pem = public_key_pem(head.key_id)
    if pem is None:
        return f"{what} is signed by a key that this installation does not know: {head.key_id}."
    if not signature_holds(head, load_key(pem)):
        return f"{what} was changed: its signature does not match."
    columns = (row.size, row.root, row.key_id, row.signed_at.isoformat())
    if columns != (head.size, head.root.hex(), head.key_id, head.signed_at):
        return f"{what} was changed: its columns do not say what was signed."
    previous = {"size": before.size, "root": before.root} if before else None
    if body.get("previous") != previous:
        return f"{what} names another head before it than the one that is there: one was removed, put in or changed."
    return None


def _given_heads(folder: Path) -> tuple[list[HeadToCheck], list[str]]:
    """The heads in the files of a folder, and what is wrong with the files."""
    if not folder.is_dir():
        raise EnvironmentProblemError("The folder with signed heads is not there.", file=str(folder))
    heads, problems = dict[tuple[int, bytes], HeadToCheck](), list[str]()
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise EnvironmentProblemError("The folder holds no file of a signed head.", file=str(folder))
    for path in paths:
        try:
            proof = read_proof(path)
        except ProofFileError as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        for head in proof.heads:
            if problem := _given_problem(head):
                problems.append(f"{path.name}: {problem}")
            else:
                kept = HeadToCheck(size=head.size, root=head.root.hex(), signed_at=head.signed_at, source=path.name)
                heads.setdefault((head.size, head.root), kept)
    return list(heads.values()), problems


def _given_problem(head: Head) -> str | None:
    """A head is believed only by a key that this installation knows; the one inside a file could be anybody's."""
    pem = public_key_pem(head.key_id)
    if pem is None:
        return (
            f"the head of {head.size} entries is signed by a key that this installation does not know: {head.key_id}."
        )
    if not signature_holds(head, load_key(pem)):
        return f"the head of {head.size} entries was changed: its signature does not match."
    return None


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a verification by a worker is. ``told_at`` is when it last said something."""

    asked_by: str
    asked_at: datetime
    told_at: datetime
    done: int = 0
    total: int = 0
    finished: bool = False
    entries: int = 0
    root: str = ""
    faults: int = 0
    heads: int = 0
    problems: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """No worker has said anything for a while."""
        return not self.finished and timezone.now() - self.told_at > LOST_AFTER

    @property
    def running(self) -> bool:
        return not self.finished and not self.lost

    @property
    def intact(self) -> bool:
        return self.finished and self.faults == 0


def ask_for_verification(*, by: str) -> bool:
    """Have a worker verify the ledger, unless one does already: whether it was asked."""
    from core import tasks

    state = latest()
    if state is not None and state.running:
        return False
    now = timezone.now()
    _keep(State(asked_by=by, asked_at=now, told_at=now))
    tasks.verify_ledger.delay()
    return True


def run_verification() -> None:
    """What the worker does: verify, and tell how far it is. Delivered twice, it is done once."""
    state = latest()
    if state is None or state.finished:
        return

    def tell(done: int, total: int) -> None:
        now = timezone.now()
        if now - tell_at[0] >= timedelta(seconds=1):
            tell_at[0] = now
            _keep(replace(state, done=done, total=total, told_at=now))

    tell_at = [state.asked_at]
    check = verify_all(progress=tell)
    _keep(
        replace(
            state, told_at=timezone.now(), finished=True, done=check.head.size, total=check.head.size,
            entries=check.entries, root=check.head.root, faults=check.faults, heads=check.heads,
            problems=check.problems, marks=check.marks,
        )
    )  # fmt: skip


def latest() -> State | None:
    """The verification that was asked for last; None where there is none, or its file cannot be read."""
    try:
        body: dict[str, Any] = json.loads(_path().read_bytes())
        body |= {name: datetime.fromisoformat(body[name]) for name in ("asked_at", "told_at")}
        body |= {name: tuple(body[name]) for name in ("problems", "marks")}
        return State(**body)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(state: State) -> None:
    path = _path()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    with os.fdopen(handle, "w") as stream:
        json.dump(asdict(state), stream, default=str)
    Path(name).replace(path)


def _path() -> Path:
    return Path(settings.AUSCULT_HOME) / "ledger-verification.json"
