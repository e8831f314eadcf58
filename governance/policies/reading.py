"""Reads the plain data of a policy strictly: what is not understood is refused, and all problems are told at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from core.errors import AuscultError, ProtocolError
from evaluation.engine.protocol_reading import read_yaml

Path = tuple[str | int, ...]
MOST_CHARACTERS = 64_000
REMEDY = "Correct the policy; every key is described in docs/governance/policies.md."
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class PolicyError(AuscultError):
    """A policy that is not valid. Every problem is a line of the message."""


def read_text(text: str, *, source: str) -> tuple[Any, dict[Path, int]]:
    """Plain data of a policy's YAML, and the line (from 1) of every key and item.

    Raises:
        PolicyError: it is no YAML, too long, nested too deeply, repeats a key, or uses anchors.
    """
    if len(text) > MOST_CHARACTERS:
        raise PolicyError(
            f"The policy has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read.",
            remedy="Give a policy, not a data file.",
            file=source,
        )
    try:
        return read_yaml(text, source=source)
    except ProtocolError as error:  # the reader of protocols: its words fit any YAML
        raise PolicyError(error.message, remedy=error.remedy, file=error.file) from error


class Reader:
    """Takes values out of plain data and collects what is wrong with them; ``finish`` raises if anything was.

    Each method returns something of its type even where the value is wrong, so that reading goes on to the next.
    """

    def __init__(self, *, source: str, lines: Mapping[Path, int]) -> None:
        self.source, self.lines = source, lines
        self.problems: list[tuple[Path, str]] = []

    def wrong(self, path: Path, message: str) -> None:
        self.problems.append((path, message))

    def finish(self) -> None:
        """Raise :class:`PolicyError` with every problem on a line of its own, in the order of the text."""
        if not self.problems:
            return
        order = sorted(range(len(self.problems)), key=lambda index: (self._line(self.problems[index][0]) or 0, index))
        told = [f"{self._where(self.problems[index][0])}{self.problems[index][1]}" for index in order]
        raise PolicyError("\n".join(told), remedy=REMEDY, file=self.source)

    def _line(self, path: Path) -> int | None:
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)

    def _where(self, path: Path) -> str:
        shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        line = self._line(path)
        return (f"Line {line}, " if line else "") + (f"{shown}: " if shown else "")

    def mapping(
        self, value: Any, path: Path, *, required: Collection[str], optional: Collection[str] = ()
    ) -> dict[str, Any]:
        """The keys that are known; unknown and missing ones are problems."""
        known = [*required, *optional]
        if not isinstance(value, Mapping):
            self.wrong(path, f"this is a mapping of keys. Known here: {', '.join(known)}.")
            return {}
        for key in sorted(set(value) - set(known), key=str):
            self.wrong((*path, str(key)), f"unknown key '{key}'. Known here: {', '.join(known)}.")
        missing = [key for key in required if key not in value]
        if missing:
            self.wrong(path, f"missing: {', '.join(missing)}.")
        return {key: value[key] for key in known if key in value}

    def text(self, value: Any, path: Path, *, most: int) -> str:
        if not isinstance(value, str) or not value.strip():
            self.wrong(path, f"this is a text; {_shown(value)} is none.")
            return ""
        told = " ".join(value.split())
        if len(told) > most:
            self.wrong(path, f"the text has {len(told)} characters; {most} are the most.")
        if not told.isprintable():  # what turns the direction of writing, or has no width, too
            self.wrong(path, "the text holds control characters: type it instead of pasting it.")
        return told

    def slug(self, value: Any, path: Path, *, most: int = 60) -> str:
        told = self.text(value, path, most=most)
        if told and not SLUG.fullmatch(told):
            self.wrong(path, f"'{told}' is no short name: use small letters, digits and single hyphens.")
        return told

    def number(self, value: Any, path: Path, *, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            self.wrong(path, f"this is a whole number from {least} to {most:,}; {_shown(value)} is none.")
            return least
        return value

    def choice(self, value: Any, path: Path, options: Iterable[str]) -> str:
        known = list(options)
        if not isinstance(value, str) or value not in known:
            self.wrong(path, f"{_shown(value)} is not known here. Use {' or '.join(known)}.")
            return known[0]
        return value

    def truth(self, value: Any, path: Path) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, f"this is true or false; {_shown(value)} is neither.")
            return True
        return value

    def items(self, value: Any, path: Path, *, what: str, least: int = 1, most: int = 50) -> list[Any]:
        """A list; one item alone is none, so that a forgotten dash is seen."""
        if not isinstance(value, list) or not least <= len(value) <= most:
            self.wrong(path, f"this is a list of {least} to {most} {what}.")
            return []
        return value

    def chosen(self, value: Any, path: Path, options: Iterable[str], *, what: str, least: int = 1) -> tuple[str, ...]:
        """Several of some words, each once; one word alone is a list of one."""
        known = list(options)
        listed = [value] if isinstance(value, str) else self.items(value, path, what=what, least=least)
        found = []
        for index, item in enumerate(listed):
            if not isinstance(item, str) or item not in known:
                where = (*path, index) if isinstance(value, list) else path
                self.wrong(where, f"{_shown(item)} is not known here. Use some of: {', '.join(known)}.")
            else:
                found.append(item)
        self.once(found, path, what=what)
        return tuple(str(name) for name in known if name in found)

    def once(self, values: Iterable[str], path: Path, *, what: str) -> None:
        for name, times in Counter(values).items():
            if times > 1:
                self.wrong(path, f"'{name}' is given {times} times; each of the {what} is given once.")


def _shown(value: Any) -> str:
    """A wrong value, so that it is found again and fills no page."""
    told = "nothing" if value is None else "true" if value is True else "false" if value is False else repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
