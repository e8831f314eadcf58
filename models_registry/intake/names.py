"""Names of files from outside: what may become a path below a folder of ours."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import AdapterError

LONGEST_PATH = 400
LONGEST_PART = 200
MOST_PARTS = 16
AGAIN = "Rename it, or make the archive or folder again with plain relative names."


def plain_name(name: str) -> str:
    """The name as a relative POSIX path, unchanged but for a trailing slash and leading ``./``.

    Raises:
        AdapterError: it is empty, absolute, leads upwards, holds a backslash, a drive letter or a control character,
            or is too long or too deep.
    """
    path = name.rstrip("/")
    while path.startswith("./"):
        path = path[2:]
    parts = path.split("/")
    if path.startswith("/"):
        raise _refused(name, "begins with / and so means a place of its own on the server")
    if ".." in parts:
        raise _refused(name, "leads out of the folder (..)")
    if "\\" in path:
        raise _refused(name, "holds a backslash, which is a separator elsewhere")
    if len(parts[0]) >= 2 and parts[0][1] == ":":
        raise _refused(name, "begins with a drive letter")
    if not path or any(part in {"", "."} for part in parts):
        raise _refused(name, "has an empty part")
    if any(not character.isprintable() for character in path):
        raise _refused(name, "holds a control character")
    if len(path) > LONGEST_PATH or len(parts) > MOST_PARTS or max(map(len, parts)) > LONGEST_PART:
        raise _refused(name, f"is longer than {LONGEST_PATH} characters or deeper than {MOST_PARTS} folders")
    return path


class Names:
    """Paths of one model: each once, also where a file system does not tell capitals apart, and none both a file and a
    folder."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        """Take one more path of a file.

        Raises:
            AdapterError: it is there already, or is or lies in what is something else.
        """
        folded = name.casefold()
        parts = folded.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if folded in self._files:
            other = self._files[folded]
            raise _refused(name, "is there twice" if other == name else f"is there twice (as {other})")
        if folded in self._folders:
            raise _refused(name, "is both a file and a folder")
        if inside := sorted(above & self._files.keys()):
            raise _refused(name, f"lies in {self._files[inside[0]]}, which is a file")
        self._files[folded] = name
        self._folders |= above


def check_distinct(names: Sequence[str]) -> None:
    """Raise unless all paths can stand beside each other (see :class:`Names`).

    Raises:
        AdapterError: naming the first that cannot.
    """
    taken = Names()
    for name in names:
        taken.add(name)


def common_top(names: Sequence[str]) -> str:
    """The one folder that all paths lie in, with a slash; empty where there is none."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any("/" not in name for name in names):
        return ""
    return f"{tops.pop()}/"


def is_litter(name: str) -> bool:
    """Whether a file is what desktop systems add to archives and folders by themselves."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last in {".DS_Store", "Thumbs.db", "desktop.ini"} or last.startswith("._")


def _refused(name: str, why: str) -> AdapterError:
    shown = "".join(c if c.isprintable() else "?" for c in name)[:120]
    return AdapterError(f"The name {shown!r} {why}.", remedy=AGAIN, file=shown)
