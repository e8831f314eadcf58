"""Files that appear when they are complete, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import EnvironmentProblemError


@contextmanager
def appearing(destination: Path, *, what: str) -> Iterator[Path]:
    """A file to write to, which takes the place of ``destination`` at the end; nothing is left where that fails.

    Args:
        what: For the message, such as "The simulated cohort".

    Raises:
        EnvironmentProblemError: when the folder cannot be written to.
    """
    partial = destination.with_name(destination.name + ".partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(destination)
    except OSError as error:
        raise EnvironmentProblemError(
            f"{what} cannot be written: {error.strerror or error}.",
            remedy="Check that the folder exists, may be written to and has space left.",
            file=str(destination),
        ) from error
    finally:
        # Where the folder itself is missing or no folder, there is nothing to remove.
        with suppress(FileNotFoundError, NotADirectoryError):
            partial.unlink()
