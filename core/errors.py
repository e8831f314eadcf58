"""The errors of the house. Each one tells its reader what is wrong, where, and what to do about it.

A message names the file, column and row where they are known. ``remedy`` is the next step for the person who
reads it: pages show it under the message, the command line prints it after ``What to do:``.
"""

from __future__ import annotations

RELOAD = "Reload the page to see its present state."
"""What to do where somebody else was faster."""


class AuscultError(Exception):
    """Base of every error a user may see.

    Args:
        message: What is wrong, in one sentence.
        remedy: What the reader can do about it.
        file, column, row: Where it is wrong. ``row`` counts data rows from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        file: str | None = None,
        column: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.file = file
        self.column = column
        self.row = row

    @property
    def place(self) -> str:
        """Where it happened, for example ``cohort.csv, column age, row 17``; empty when unknown."""
        parts = [
            self.file or "",
            f"column {self.column}" if self.column else "",
            f"row {self.row}" if self.row else "",
        ]
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text} What to do: {self.remedy}" if self.remedy else text


class CohortError(AuscultError):
    """A cohort or prediction file that cannot be used as it is."""


class ProtocolError(AuscultError):
    """A protocol that is not valid, or that does not fit the data it is to judge."""


class AdapterError(AuscultError):
    """A model that cannot be registered, loaded or run."""


class DigestMismatchError(AuscultError):
    """Content that is not what its digest says it is."""


class DeniedError(AuscultError):
    """An act that a rule forbids to this person. The message is also the tooltip of the disabled button."""


class ConflictError(AuscultError):
    """An act that came too late or twice: the thing it acts on is not in the state it needs."""


class NotFoundError(AuscultError):
    """Something named that does not exist, or that the reader may not know of."""


class EnvironmentProblemError(AuscultError):
    """The machine lacks what the command needs: a port, disk space, a system library, a running service."""


class TransientError(AuscultError):
    """A fault that may pass by itself. The only error that a task retries."""
