"""``auscult ledger``: check the record of every act, sign its head, and prove what is in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from core.ledger_checks import LedgerCheck

EACH = 100_000
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def ledger() -> None:
    """The record of every act."""


@ledger.command()
@click.option(
    "--heads", type=FOLDER, help="Folder with exported heads, such as the copy of a witness: compare them too."
)
@json_option
def verify(heads: Path | None, as_json: bool) -> None:
    """Recompute the ledger from its entries, and compare it with every head that was signed.

    Exit code 0: intact; 1: changed, and what was changed is named; 3: it could not be checked.
    """
    from config.cli import open_installation

    open_installation()
    from core.verification import verify_all

    check = verify_all(folder=heads, progress=_progress if sys.stderr.isatty() else None)
    click.echo(json.dumps(_as_json(check)) if as_json else "\n".join(_lines(check)))
    sys.exit(0 if check.intact else 1)


def _progress(done: int, total: int) -> None:
    """A line for every hundred thousand entries."""
    from core.ledger_checks import CHUNK

    if done // EACH > (done - CHUNK) // EACH:
        click.echo(f"{done:,} of {total:,} entries", err=True)


def _as_json(check: LedgerCheck) -> dict[str, object]:
    return {
        "entries": check.entries,
        "root": check.head.root,
        "problem": check.problem,
        "problems": list(check.problems),
        "faults": check.faults,
        "marks": list(check.marks),
        "heads": check.heads,
    }


def _lines(check: LedgerCheck) -> list[str]:
    lines = [f"{check.entries} entries, root {check.head.root}", f"{check.heads} signed heads compared"]
    lines += check.problems
    if check.faults > len(check.problems):
        lines.append(f"{check.faults - len(check.problems)} more like these.")
    lines += [f"Mark: {mark}" for mark in check.marks]
    return [*lines, "The ledger is intact." if check.intact else "The ledger was tampered with."]


@ledger.command()
@click.option("--sign", is_flag=True, help="Sign the ledger as it is now, if it has grown since the last head.")
@click.option("--export", "folder", type=FOLDER, help="Write the files of all heads that this folder lacks.")
@json_option
def heads(sign: bool, folder: Path | None, as_json: bool) -> None:
    """List the signed heads, newest last; sign a new one; write their files."""
    from config.cli import open_installation

    open_installation()
    from core.heads import export_heads, sign_head
    from core.models import SignedHead

    if sign and sign_head() is None:
        click.echo("Nothing was added since the last head was signed.", err=True)
    rows = list(SignedHead.objects.order_by("size"))
    tell(
        [{"size": h.size, "root": h.root, "signed_at": h.signed_at.isoformat(), "key": h.key_id} for h in rows],
        *(f"{h.size}  {h.root}  {h.signed_at:%Y-%m-%d %H:%M:%S} UTC  key {h.key_id[:16]}" for h in rows),
        as_json=as_json,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        click.echo(f"{export_heads(folder)} files written to {folder}", err=True)


@ledger.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", type=FILE, required=True, help="The file to write.")
@json_option
def prove(index: int, output: Path, as_json: bool) -> None:
    """Write the proof that entry INDEX is in the ledger with the newest signed head."""
    from config.cli import open_installation

    open_installation()
    from core.proofs import inclusion_file

    _write(output, inclusion_file(index), as_json=as_json)


@ledger.command()
@click.option("--from", "old", type=click.IntRange(min=1), required=True, help="Size of the older signed head.")
@click.option("--to", "new", type=click.IntRange(min=1), required=True, help="Size of the newer signed head.")
@click.option("-o", "--output", type=FILE, required=True, help="The file to write.")
@json_option
def consistency(old: int, new: int, output: Path, as_json: bool) -> None:
    """Write the proof that the ledger of one signed head begins with that of an older one."""
    from config.cli import open_installation

    open_installation()
    from core.proofs import consistency_file

    _write(output, consistency_file(old, new), as_json=as_json)


def _write(path: Path, data: bytes, *, as_json: bool) -> None:
    from core.errors import EnvironmentProblemError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise EnvironmentProblemError(f"It cannot be written: {error.strerror}.", file=str(path)) from error
    line = f"Written. Check it anywhere with: auscult ledger check {path.name} --trust FINGERPRINT"
    tell({"file": str(path), "bytes": len(data)}, line, as_json=as_json)


@ledger.command()
@click.argument("file", type=FILE)
@click.option(
    "--trust", multiple=True, metavar="KEY.pem|FINGERPRINT", help="A public key that you trust, or its fingerprint."
)
@json_option
def check(file: Path, trust: tuple[str, ...], as_json: bool) -> None:
    """Check a head or a proof that somebody gave you. Needs no server, no database and no network.

    Exit code 0: it shows what it says; 1: something does not match; 3: the file cannot be read.
    """
    from core.proof_files import check_proof, read_proof, trusted_fingerprint

    found = check_proof(read_proof(file), trust=[trusted_fingerprint(item) for item in trust])
    if as_json:
        told = {"ok": found.ok, "shown": found.shown, "problems": found.problems, "keys": found.keys}
        click.echo(json.dumps(told | {"trusted": found.trusted}))
    else:
        click.echo("\n".join(found.problems) if found.problems else found.shown)
        for key in found.keys:
            click.echo(f"Key fingerprint (SHA-256): {key}")
        if found.ok and found.trusted is None:
            click.echo("No key was given with --trust: compare the fingerprint with the one the institution told you.")
        click.echo(_verdict(found.ok, found.trusted))
    sys.exit(0 if found.ok else 1)


def _verdict(ok: bool, trusted: bool | None) -> str:
    if not ok:
        return "NOT VERIFIED"
    return "VERIFIED" if trusted else "VERIFIED, BUT THE KEY WAS NOT COMPARED"
