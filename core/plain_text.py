"""Texts that people write into records: stripped, neither empty nor endless, and nothing that cannot be printed."""

from __future__ import annotations

import re

from core.errors import AuscultError

MOST_TEXT = 10_000
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""Characters that databases, PDF and XML do not keep, or show as something else. A line end and a tab are none."""


def tidied(text: str) -> str:
    """The text with plain line ends, and without blanks around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def written(
    text: str,
    *,
    name: str,
    least: int = 1,
    most: int = MOST_TEXT,
    missing: str = "",
    remedy: str = "Write it in a sentence or two.",
    column: str | None = None,
) -> str:
    """A person's text as it is kept. A script in it is text like any other; templates escape it.

    Args:
        name: What it is, with its article, at the beginning of a sentence: ``The reason``.
        least, most: Characters; with ``least=0`` it may be empty.
        missing: What is said of an empty text, where ``The reason is empty.`` does not tell enough.
        remedy: What to write instead of nothing, or of too little.
        column: Field of the form that the text comes from.

    Raises:
        AuscultError: it is empty, too short or too long, or holds a character that cannot be printed.
    """
    plain = tidied(text)
    if not plain and least == 1:
        raise AuscultError(missing or f"{name} is empty.", remedy=remedy, column=column)
    if CONTROLS.search(plain):
        raise AuscultError(
            f"{name} holds a character that cannot be printed.",
            remedy="Remove it: type the text instead of pasting it.",
            column=column,
        )
    if least <= len(plain) <= most:
        return plain
    if least > 1:
        words = f"{name} needs {least} to {most:,} characters; this has {len(plain):,}."
        raise AuscultError(words, remedy=remedy, column=column)
    words = f"{name} has {len(plain):,} characters; {most:,} are the most."
    raise AuscultError(words, remedy="Shorten it.", column=column)
