"""For mkdocs: fills in the navigation where it names pages by a pattern, so that a new page is never forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Replace each ``folder/*.md`` of the navigation by the pages that fit it and are named nowhere else, sorted.

    A page that fits several patterns goes to the longest.
    """
    docs = Path(config["docs_dir"])
    names = _names(config["nav"])
    taken = {name for name in names if "*" not in name}
    filled: dict[str, list[str]] = {}
    for pattern in sorted({name for name in names if "*" in name}, key=lambda name: (-len(name), name)):
        fitting = sorted(path.relative_to(docs).as_posix() for path in docs.glob(pattern))
        filled[pattern] = [page for page in fitting if page not in taken]
        taken.update(filled[pattern])
    config["nav"] = _filled(config["nav"], filled)
    return config


def _names(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    return [name for child in children for name in _names(child)]


def _filled(entry: Any, pages: dict[str, list[str]]) -> Any:
    """An entry of the navigation with its patterns replaced."""
    if isinstance(entry, dict):
        return {title: _filled(child, pages) for title, child in entry.items()}
    if isinstance(entry, list):
        return [page for child in entry for page in pages.get(str(child), [_filled(child, pages)])]
    return entry
