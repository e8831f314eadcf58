"""``auscult.json``: what a checkpoint does not say of itself, written by whoever registers it. Registers no adapter.

The file lies in the model's folder, so that the model's digest covers it: another prompt, label or threshold is
another version. Each adapter says which keys it knows; any other key is refused, because a misspelt wish that is
passed over in silence changes every number after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import AdapterError

FILE = "auscult.json"
MAX_BYTES = 1 << 20
MAX_TEXT = 20_000
MAX_ITEMS = 10_000
MAX_DEPTH = 8
LARGEST = 1e12
"""No size, scale or threshold of a model is larger."""

Kind = type | tuple[type, ...]
NUMBER: Kind = (int, float)
_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", list: "a list",
          dict: "an object", type(None): "null"}  # fmt: skip


def read_wishes(
    folder: Path, allowed: Mapping[str, Kind], *, required: Collection[str] = (), file_required: bool = False
) -> dict[str, Any]:
    """The wishes of a model's folder, checked.

    Args:
        allowed: Each known key with the type of its value, or several types: ``{"labels": dict, "image": bool}``.
            ``float`` takes whole numbers too; ``int`` takes neither 1.0 nor true.
        required: The keys without which the adapter cannot run the model.
        file_required: Refuse a folder without the file even where no key is required.

    Returns:
        The keys that the file gives; empty where there is no file and none is needed.

    Raises:
        AdapterError: with the file, the key and the remedy: no file, no UTF-8 JSON object, a key that is unknown,
            given twice or missing, a value of another type, a number that is not finite, or something too large.
    """
    path = folder / FILE
    if not path.is_file():
        if not required and not file_required:
            return {}
        wanted = ", ".join(sorted(required or allowed))
        raise AdapterError(
            f"{FILE} is missing: this adapter needs to be told {wanted}.",
            remedy=f"Write {FILE} into the model's folder; docs/adapters.md has an example for each adapter.",
            file=FILE,
        )
    body = _parse(path)
    _check_sizes(body, "", 1)
    check_keys(body, allowed, required=required)
    return body


def check_keys(
    body: Mapping[str, Any], allowed: Mapping[str, Kind], *, required: Collection[str] = (), inside: str = ""
) -> None:
    """Hold an object of ``auscult.json`` against its known keys; ``inside`` names it where it is not the whole file.

    Raises:
        AdapterError: as :func:`read_wishes`.
    """
    known = ", ".join(sorted(allowed))
    for key in body:
        if key not in allowed:
            raise refusal(
                _place(inside, key), "The key is not known.", f"Remove it, or use one of the known keys: {known}."
            )
    for key in required:
        if key not in body:
            raise refusal(_place(inside, key), "The key is missing.", f"Add it; the known keys are: {known}.")
    for key, value in body.items():
        if not _is_a(value, allowed[key]):
            raise refusal(
                _place(inside, key), f"The value is {_word(value)}.", f"Write {_expected(allowed[key])} there."
            )


def read_thresholds(wishes: Mapping[str, Any], labels: Collection[str]) -> dict[str, float]:
    """The key ``thresholds``: label -> operating point in [0, 1]. Labels without one are scored and not decided.

    Raises:
        AdapterError: for a label that the model does not score, or a value that is not from 0 to 1.
    """
    found: dict[str, float] = {}
    for label, value in wishes.get("thresholds", {}).items():
        place = _place("thresholds", label)
        if label not in labels:
            raise refusal(place, "The model does not score this label.", f"Use its labels: {', '.join(labels)}.")
        if not _is_a(value, NUMBER) or not 0 <= value <= 1:
            raise refusal(place, f"The threshold is {value!r}.", "Write a number from 0 to 1.")
        found[label] = float(value)
    return found


def refusal(key: str, message: str, remedy: str) -> AdapterError:
    """The error that names a key of ``auscult.json``: ``labels.effusion.positive``."""
    return AdapterError(message, remedy=remedy, file=FILE, column=key or None)


def _parse(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise refusal("", f"The file has more than {MAX_BYTES:,} bytes.", "Keep prompts and settings in it only.")
    try:
        body = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise refusal("", f"The file is not JSON in UTF-8: {error}.", "Mend it at this place.") from error
    if not isinstance(body, dict):
        raise refusal("", f"The file holds {_word(body)}.", "Write a JSON object: { ... }.")
    return body


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise refusal(twice[:80], "The key is given twice.", "Keep one of them.")
    return body


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _check_sizes(value: Any, place: str, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise refusal(place, f"More than {MAX_DEPTH} levels lie in each other.", "Write it flatter.")
        if len(value) > MAX_ITEMS:
            raise refusal(place, f"There are more than {MAX_ITEMS:,} entries.", "Shorten it.")
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _check_sizes(item, _place(place, str(key)[:80]), depth + 1)
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        raise refusal(place, f"The text has more than {MAX_TEXT:,} characters.", "Shorten it.")
    elif isinstance(value, int | float) and not _is_finite(value):
        raise refusal(place, "The number is not finite, or larger than any setting.", "Write an ordinary number.")


def _is_finite(value: float) -> bool:
    if isinstance(value, int):
        return abs(value) <= LARGEST  # no conversion: a whole number may be too large for a float
    return math.isfinite(value) and abs(value) <= LARGEST


def _is_a(value: Any, kind: Kind) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, bool):  # a bool is an int in Python, and no number in JSON
        return bool in kinds
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)


def _place(inside: str, key: str) -> str:
    return f"{inside}.{key}" if inside else key


def _word(value: Any) -> str:
    return _WORDS.get(type(value), type(value).__name__)


def _expected(kind: Kind) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(_WORDS.get(item, item.__name__) for item in kinds)
