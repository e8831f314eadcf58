"""What is checked of a model's folder before it is registered, in words that a page shows while it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digests import walk_files
from core.errors import AdapterError, AuscultError
from core.store import check_plain
from models_registry.adapters.base import ADAPTERS, AdapterInfo
from models_registry.adapters.checkpoint import check_safe, tensor_shapes
from models_registry.intake.card import read_card, unread_card

TITLES = {
    "files": "Files are received",
    "safe": "No links, no pickles, no code",
    "weights": "Weights files are whole",
    "declaration": "The adapter reads the model: labels, modalities, shapes",
    "card": "Model card",
    "licence": "Licence",
    "content": "Digest of the content",
    "lineage": "Backbone",
    "duplicates": "Weights that are registered already",
    "identity": "Label and content are new",
}
"""Every check by its code, in the order in which they are done."""

ARCHIVED_PROGRAMS = frozenset({".pt2"})
MOST_FILES = 10_000
LARGEST_JSON = 256 << 20
NOT_DONE = "Not checked, because an earlier check failed."


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a check found. ``state`` is ``ok``, ``warning`` or ``error``."""

    message: str
    state: str = "ok"
    remedy: str = ""
    file: str = ""


class Checks:
    """The checks of one intake, as a page shows them; ``tell`` is called after each change.

    With ``strict`` the first error is raised instead of noted, for whoever registers at once.
    """

    def __init__(self, *, tell: Callable[[list[dict[str, str]]], None] | None = None, strict: bool = False) -> None:
        self._tell, self._strict = tell, strict
        self.rows: dict[str, dict[str, str]] = {code: _row(code, "waiting") for code in TITLES}

    @property
    def failed(self) -> bool:
        return any(row["state"] == "error" for row in self.rows.values())

    def to_list(self) -> list[dict[str, str]]:
        return [dict(row) for row in self.rows.values()]

    def note(self, code: str, outcome: Outcome) -> None:
        """Write down what a check found."""
        self._set(code, outcome.state, outcome.message, outcome.remedy, outcome.file)

    @contextmanager
    def doing(self, code: str) -> Iterator[None]:
        """While a check is done. An error of the house becomes its result, and the caller goes on."""
        self._set(code, "running")
        try:
            yield
        except AuscultError as error:
            if self._strict:
                raise
            self._set(code, "error", error.message, error.remedy, error.place)

    def skip_the_rest(self) -> None:
        """Say of every check that was not reached why it was not."""
        for code, row in self.rows.items():
            if row["state"] in {"waiting", "running"}:
                self.rows[code] = _row(code, "waiting", NOT_DONE)
        if self._tell:
            self._tell(self.to_list())

    def _set(self, code: str, state: str, message: str = "", remedy: str = "", file: str = "") -> None:
        self.rows[code] = _row(code, state, message, remedy, file)
        if self._tell:
            self._tell(self.to_list())


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in a folder without running anything of it. ``sizes``: path -> bytes."""

    sizes: dict[str, int]
    info: AdapterInfo
    card: dict[str, Any]
    weights: dict[str, Any]


def look_at(folder: Path, *, adapter: str, checks: Checks) -> Findings | None:
    """Do every check that reads little: names, heads of files, the adapter's own inspection, the card.

    Returns:
        What was found, or None when one of them failed.

    Raises:
        AuscultError: with checks that are strict, the first error.
    """
    sizes: dict[str, int] = {}
    weights: dict[str, Any] = {}
    info: AdapterInfo | None = None
    with checks.doing("files"):
        sizes = check_files(folder)
        checks.note("files", Outcome(message=f"{counted(len(sizes), 'file')}, {size_in_words(sum(sizes.values()))}."))
    if not checks.failed:
        with checks.doing("safe"):
            check_safe(folder, as_data=ARCHIVED_PROGRAMS)
            checks.note("safe", Outcome(message="Nothing in the folder can run by itself."))
    if not checks.failed:
        with checks.doing("weights"):
            weights = read_weights(folder)
            checks.note("weights", Outcome(message=_weights_in_words(weights)))
    if not checks.failed:
        with checks.doing("declaration"):
            info = ADAPTERS.get(adapter).inspect(folder)
            checks.note("declaration", Outcome(message=declared(info)))
    if checks.failed or info is None:
        return None
    try:
        card = read_card(folder)
        checks.note("card", _card_outcome(card))
    except AdapterError as error:  # a provider's slip in a README keeps nobody from checking the model
        card = unread_card(error)
        checks.note("card", Outcome(message=error.message, state="warning", remedy=error.remedy, file=error.place))
    checks.note("licence", _licence_outcome(card))
    return Findings(sizes=sizes, info=info, card=card, weights=weights)


def check_files(folder: Path) -> dict[str, int]:
    """Sizes of all files, after it was made sure that they are plain files.

    Raises:
        AdapterError: there is none, there are too many, or one is a link, a device or a pipe.
    """
    try:
        check_plain(folder)
    except AuscultError as error:
        raise AdapterError(error.message, remedy=error.remedy, file=error.file) from error
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in walk_files(folder)}
    for name, size in sizes.items():
        if name.endswith(".json") and size > LARGEST_JSON:
            raise AdapterError(
                f"The file has {size_in_words(size)}; no configuration or vocabulary is so large.",
                remedy="Keep weights in safetensors files, and data outside the model's folder.",
                file=name,
            )
    if len(sizes) > MOST_FILES:
        raise AdapterError(
            f"The folder holds {counted(len(sizes), 'file')}; a model has at most {MOST_FILES:,}.",
            remedy="Give the folder that holds the files of one model.",
        )
    return sizes


def read_weights(folder: Path) -> dict[str, Any]:
    """Tensors and numbers in all safetensors files, from their headers; each must be whole.

    Raises:
        AdapterError: a file is truncated or no safetensors file.
    """
    files = tensors = numbers = 0
    for path in walk_files(folder):
        if path.suffix.lower() == ".safetensors":
            shapes = tensor_shapes(path)
            files, tensors = files + 1, tensors + len(shapes)
            numbers += sum(_product(shape) for shape in shapes.values())
    return {"files": files, "tensors": tensors, "numbers": numbers}


def declared(info: AdapterInfo) -> str:
    """What an adapter found, in a sentence or two."""
    parts = [f"It can {', '.join(sorted(item.value for item in info.capabilities))}."]
    if info.labels:
        parts.append(f"Labels: {', '.join(info.labels)}.")
    if info.modalities:
        parts.append(f"It reads {', '.join(info.modalities)}.")
    if not info.runs_weights:
        parts.append("No weights are run.")
    return " ".join(parts)


def size_in_words(count: int) -> str:
    """Bytes as people say them: ``1.4 GB``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return counted(count, "byte")


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _weights_in_words(weights: dict[str, Any]) -> str:
    if not weights["files"]:
        return "There is no safetensors file; the adapter checks what there is."
    return (
        f"{counted(weights['files'], 'safetensors file')} with {counted(weights['tensors'], 'tensor')}, "
        f"{weights['numbers']:,} numbers."
    )


def _card_outcome(card: dict[str, Any]) -> Outcome:
    if card["missing"]:
        return Outcome(
            message=f"Missing: {', '.join(card['missing'])}.",
            state="warning",
            remedy="Write it into the folder's README.md; a later reader has nothing else.",
            file=card["file"] or "README.md",
        )
    return Outcome(message=f"Read from {card['file']}.")


def _licence_outcome(card: dict[str, Any]) -> Outcome:
    if not card["licence"]:
        return Outcome(
            message="No licence is named.",
            state="warning",
            remedy="Write license: with an SPDX identifier into the front matter of README.md, such as apache-2.0.",
        )
    if not card["licence_known"]:
        return Outcome(
            message=f"{card['licence']} is no SPDX identifier: its terms must be read.",
            state="warning",
            remedy="Make sure that the terms allow this use; name the licence by its SPDX identifier if it has one.",
        )
    return Outcome(message=card["licence"])


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _row(code: str, state: str, message: str = "", remedy: str = "", file: str = "") -> dict[str, str]:
    return {"code": code, "title": TITLES[code], "state": state, "message": message, "remedy": remedy, "file": file}
