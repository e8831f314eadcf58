"""Reports as they were when somebody last looked: their JSON, kept beside the tests.

``AUSCULT_WRITE_GOLDEN=1`` writes the files anew; read the difference before it is committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("golden")


def check_golden(kind: str, language: str, data: dict[str, Any]) -> None:
    """Hold a report's JSON against the kept one; name the first place where they differ."""
    path = FOLDER / f"{kind}.{language}.json"
    if os.environ.get("AUSCULT_WRITE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = first_difference(kept, data)
    assert found is None, f"{path.name}: {found}"


def first_difference(kept: Any, now: Any, path: str = "") -> str | None:
    """Where two JSON values differ, in words; None where they are equal."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for key in sorted(kept.keys() | now.keys()):
            if key not in kept or key not in now:
                return f"{path}/{key} is {'new' if key in now else 'gone'}"
            if found := first_difference(kept[key], now[key], f"{path}/{key}"):
                return found
        return None
    if isinstance(kept, list) and isinstance(now, list):
        if len(kept) != len(now):
            return f"{path} has {len(now)} entries, not {len(kept)}"
        pairs = enumerate(zip(kept, now, strict=True))
        return next((found for n, (a, b) in pairs if (found := first_difference(a, b, f"{path}/{n}"))), None)
    return None if kept == now else f"{path} is {now!r}, not {kept!r}"
