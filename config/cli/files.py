"""What the commands on files share: bad input ends with 3, protocols and mappings are read, results written whole."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from config.cli.exits import BAD_INPUT
from core.errors import AuscultError, ProtocolError

if TYPE_CHECKING:
    from evaluation.engine import Protocol
    from models_registry.cohorts import Mapping


class BadUsage(click.UsageError):
    """Wrong options."""

    exit_code = BAD_INPUT


class BadInputCommand(click.Command):
    """Ends with 3 for bad input, wrong options included: click's own 2 would read as "insufficient evidence"."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise BadUsage(error.format_message(), ctx=error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AuscultError as error:
            click.echo(f"Error: {error.place}: {error.message}" if error.place else f"Error: {error.message}", err=True)
            if error.remedy:
                click.echo(f"What to do: {error.remedy}", err=True)
            ctx.exit(BAD_INPUT)


class BadInputGroup(BadInputCommand, click.Group):
    """A command that has others below it, with the same exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadUsage:
            raise
        except click.UsageError as error:
            raise BadUsage(error.format_message(), ctx=error.ctx) from error


def read_protocol(given: str) -> Protocol:
    """The protocol in a file, or the bundled one of that name.

    Raises:
        ProtocolError: when there is neither, or it is not valid.
    """
    from evaluation.engine import Protocol

    return Protocol.from_yaml(protocol_text(given), source=Path(given).name)


def protocol_text(given: str) -> str:
    """The YAML of a protocol file, or of the bundled protocol of that name.

    Raises:
        ProtocolError: when there is neither, or it may not be read, or is no text in UTF-8, with the line.
    """
    from evaluation.engine import bundled_names
    from evaluation.engine.protocol import bundled_source

    path = Path(given)
    if not path.exists():
        if given in bundled_names():
            return bundled_source(given)
        raise ProtocolError(
            f"There is no protocol file '{given}', and no bundled protocol of that name.",
            remedy=f"Give a YAML file, or one of: {', '.join(bundled_names())}.",
        )
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ProtocolError(
            f"The protocol cannot be read ({error.strerror}).",
            remedy="Give a YAML file that you may read.",
            file=path.name,
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProtocolError(
            f"Line {line}: the protocol is not UTF-8 (byte 0x{data[error.start]:02x}).",
            remedy="Save it as UTF-8; most editors offer it under 'encoding'.",
            file=path.name,
        ) from error


def read_mapping(path: Path | None) -> Mapping | None:
    """The mapping in a file; None without a file.

    Raises:
        CohortError: when it is not valid.
    """
    from models_registry.cohorts import Mapping

    return None if path is None else Mapping.read(path)


def check_target(path: Path, *, not_one_of: Sequence[Path]) -> None:
    """Before any work is done: whether a result can be written there, and overwrites nothing it is made from.

    Raises:
        AuscultError: when the folder is missing, or the file is one of the inputs.
    """
    if not path.parent.is_dir():
        raise AuscultError(f"There is no folder {path.parent}.", remedy="Choose a folder that exists and is yours.")
    if any(path.exists() and other.exists() and path.samefile(other) for other in not_one_of):
        raise AuscultError(f"The result would replace {path}, which is read.", remedy="Choose another name for --out.")


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write a text file whole or not at all; an existing one only with ``force``.

    Raises:
        AuscultError: when it exists, or cannot be written.
    """
    if path.exists() and not force:
        raise AuscultError(
            f"The file {path} exists.", remedy="Choose another name, or add --force to replace it.", file=path.name
        )
    try:
        if path.exists() and not path.is_file():  # a device or a pipe: nothing that could be half-written
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        with TemporaryDirectory(prefix=".auscult-", dir=target.parent) as folder:
            made = Path(folder) / target.name
            made.write_text(text, encoding="utf-8")
            if target.exists():
                made.chmod(stat.S_IMODE(target.stat().st_mode))
            made.replace(target)
    except OSError as error:
        raise AuscultError(
            f"{path} cannot be written: {error.strerror}.", remedy="Choose a folder that exists and is yours."
        ) from error
