"""What a training leaves behind: parts that are finished, curves, and digests that say what belongs to what."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.digests import canonical_json, sha256_json
from core.errors import AuscultError
from synthetic.generators.studies import LinkedStudies

CURVES, KEYS = "curves.jsonl", "keys.json"


def studies_digest(studies: LinkedStudies) -> str:
    """SHA-256 of everything that studies hold; equal for equal studies."""
    found = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else canonical_json(value))

    add("patients", studies.patient_ids.tolist())
    add("studies", studies.study_ids.tolist())
    add("times", studies.times.astype("datetime64[s]").astype(np.int64))
    for name, values in sorted(studies.attributes.items()):
        add(f"attribute {name}", [_plain(value) for value in values])
    for name, labels in sorted(studies.labels.items()):
        add(f"label {name}", labels)
    for name, words in sorted(studies.plans.words().items()):
        add(f"plan {name}", words.tolist())
    for name, readings in sorted(studies.series.items()):
        for row, item in enumerate(readings):
            add(f"series {name} {row}", [] if item is None else item.astype(np.float64))
    for name, texts in sorted(studies.texts.items()):
        add(f"text {name}", texts.tolist())
    add("has image", studies.has_image)
    if studies.images is not None:
        add("images", studies.images)
    return found.hexdigest()


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python; NaN as text, which JSON has none of."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class Finished:
    """Which parts of a training are finished: a folder for each, and the key of what it was made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / KEYS
        self._keys: dict[str, str] = json.loads(self._file.read_text()) if self._file.is_file() else {}

    def has(self, role: str, key: str) -> bool:
        """Whether a part was finished with exactly this key."""
        return self._keys.get(role) == key and self.path(role).is_dir()

    def path(self, role: str) -> Path:
        return self.folder / "parts" / role

    def keep(self, role: str, key: str) -> None:
        """Write down that a part is finished. The file appears whole or not at all."""
        self._keys[role] = key
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._keys, sort_keys=True))
        partial.replace(self._file)


def key_of(**facts: Any) -> str:
    """What names a part that was learnt: recipe, settings, data, and the parts that it builds on."""
    return sha256_json(facts)


def curve_writer(file: Path, told: Callable[[str, int, float], None]) -> Callable[[str, int, float], None]:
    """Writes each point of a curve as a line of JSON, and passes it on.

    Raises:
        AuscultError: from the writer, where a value is no number: the training has run away.
    """
    file.parent.mkdir(parents=True, exist_ok=True)

    def write(curve: str, step: int, value: float) -> None:
        if not math.isfinite(value):
            raise AuscultError(
                f"The training of '{curve}' ran away: at step {step} its loss is no number.",
                remedy="See whether a column holds values far beyond the others; train again, or with another seed.",
                column=curve,
            )
        with file.open("a") as lines:
            lines.write(json.dumps({"curve": curve, "step": step, "value": round(value, 6)}) + "\n")
        told(curve, step, value)

    return write
