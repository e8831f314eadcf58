"""What a model's README says, read as data: front matter and text. Nothing in it is run."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

from core.digests import walk_files
from core.errors import AdapterError
from models_registry.intake.plain_yaml import read_plain_yaml

LONGEST_README = 1 << 20
LONGEST_MATTER = 64 << 10
LONGEST_TEXT = 60_000
LONGEST_ITEM = 300
MOST_ITEMS = 100
MOST_HEADINGS = 500
FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)(?:^---[ \t]*\r?$)\n?", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#{1,6})[ \t]+(.+)$", re.MULTILINE)
INTENDED = re.compile(r"\b(intended (use|purpose)|uses|direct use)\b", re.IGNORECASE)
COMPUTE = re.compile(r"\b(compute|hardware|training (procedure|details))\b", re.IGNORECASE)
EXPECTED = {"licence": "the licence", "intended_use": "the intended use", "text": "a description"}


def read_card(folder: Path) -> dict[str, Any]:
    """What the folder's README.md says, as data. Nothing in it is run, and pages show it escaped.

    The front matter is read as plain text values: YAML without types, anchors or tags.

    Returns:
        ``file`` (empty without a README), ``licence`` (the SPDX identifier where it is one), ``licence_known``,
        ``licence_link``, ``base_model``, ``datasets``, ``language``, ``tags`` (lists), ``training_cohort`` (digest of
        a cohort), ``compute``, ``intended_use``, ``text`` (Markdown without the front matter), ``results`` (the rows
        of ``model-index``), ``missing`` (what is not said, in words).

    Raises:
        AdapterError: the README is no UTF-8 text, is too long, or its front matter is no YAML mapping.
    """
    path = next((found for found in walk_files(folder) if _is_readme(found, folder)), None)
    matter, text = _parts(path) if path else ({}, "")
    return _card(path.name if path else "", matter, text)


def unread_card(error: AdapterError) -> dict[str, Any]:
    """What stands for a card that cannot be read: nothing but the reason, as ``problem``."""
    return _card(error.file or "", {}, "") | {"problem": f"{error.message} {error.remedy}"}


def _card(file: str, matter: dict[str, Any], text: str) -> dict[str, Any]:
    licence, known = _licence(matter)
    sections = _sections(text)
    datasets, cohort = _words(matter.get("datasets")), _word(matter.get("training_cohort"))
    card = {
        "file": file,
        "licence": licence,
        "licence_known": known,
        "licence_link": _word(matter.get("license_link")),
        "base_model": _words(matter.get("base_model")),
        "datasets": datasets if not cohort or any(cohort in name for name in datasets) else [*datasets, cohort],
        "language": _words(matter.get("language")),
        "tags": _words(matter.get("tags")),
        "training_cohort": cohort,
        "compute": _word(matter.get("compute")) or _first(sections, COMPUTE),
        "intended_use": _word(matter.get("intended_use")) or _first(sections, INTENDED),
        "results": _results(matter.get("model-index")),
        "text": text[:LONGEST_TEXT],
    }
    return card | {"missing": [words for key, words in EXPECTED.items() if not card[key]]}


def _is_readme(path: Path, folder: Path) -> bool:
    return path.parent == folder and path.name.lower() == "readme.md"


def _parts(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text of a README."""
    if path.stat().st_size > LONGEST_README:
        raise _bad(path, f"It has more than {LONGEST_README:,} bytes.", "Shorten it; link to what is longer.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _bad(path, f"Line {line} is not UTF-8.", "Save it as UTF-8.") from error
    found = FRONT_MATTER.match(text)
    if found is None:
        return {}, text.strip()
    return _front_matter(path, found.group(1)), text[found.end() :].strip()


def _front_matter(path: Path, source: str) -> dict[str, Any]:
    try:
        body = read_plain_yaml(source, longest=LONGEST_MATTER)
    except ValueError as error:
        raise _bad(path, f"Its front matter cannot be read: {error}.", "Write it as lines of key: value.") from error
    if body and not isinstance(body, dict):
        raise _bad(path, "Its front matter is no YAML mapping.", "Write it as lines of key: value.")
    return body or {}


def _licence(matter: dict[str, Any]) -> tuple[str, bool]:
    """The licence and whether it is an SPDX identifier; ``other`` gives way to the name beside it."""
    from cyclonedx.spdx import fixup_id

    said = _word(matter.get("license"))
    if said.lower() in {"", "other", "unknown"}:
        said = _word(matter.get("license_name")) or said
    spdx = fixup_id(said) if said else None
    return (spdx, True) if spdx else (said, False)


def _sections(text: str) -> list[tuple[str, str]]:
    """Headings with what stands under each, deeper headings included."""
    found = list(islice(HEADING.finditer(text), MOST_HEADINGS))
    sections = []
    for place, heading in enumerate(found):
        level = len(heading.group(1))
        end = next((later.start() for later in found[place + 1 :] if len(later.group(1)) <= level), len(text))
        sections.append((heading.group(2).rstrip(" \t#\r"), text[heading.end() : end].strip()))
    return sections


def _first(sections: list[tuple[str, str]], wanted: re.Pattern[str]) -> str:
    return next((body[:LONGEST_TEXT] for title, body in sections if body and wanted.search(title)), "")


def _word(value: Any) -> str:
    return value.strip()[:LONGEST_ITEM] if isinstance(value, str) else ""


def _words(value: Any) -> list[str]:
    """A list of words, from a list or from one word."""
    items = value if isinstance(value, list) else [value]
    return [word for word in map(_word, items[:MOST_ITEMS]) if word]


def _results(index: Any) -> list[dict[str, str]]:
    """The figures of ``model-index``, as its provider states them: task, dataset, metric, value."""
    rows: list[dict[str, str]] = []
    for model in index if isinstance(index, list) else []:
        for result in _dicts(_get(model, "results")):
            for metric in _dicts(result.get("metrics")):
                rows.append(
                    {
                        "task": _word(_get(result.get("task"), "type")),
                        "dataset": _word(_get(result.get("dataset"), "name")),
                        "metric": _word(metric.get("name")) or _word(metric.get("type")),
                        "value": _word(metric.get("value")),
                    }
                )
    return rows[:MOST_ITEMS]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _bad(path: Path, message: str, remedy: str) -> AdapterError:
    return AdapterError(f"The model card cannot be read. {message}", remedy=remedy, file=path.name)
