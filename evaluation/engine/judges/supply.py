"""Which judges an operator has supplied, and what they say of a share's reports. Registers no judge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from core.digests import folder_manifest, manifest_digest, walk_files
from core.errors import AuscultError, EnvironmentProblemError
from evaluation.engine.judges.base import JUDGES, Floats, Judge

VARIABLE = "AUSCULT_JUDGES"
ABSENT = "absent: "
AT_ONCE = 16

Stamp = tuple[tuple[str, int, int], ...]


def judges_status(keys: Iterable[str] | None = None) -> dict[str, str]:
    """Every judge, or those named -> the SHA-256 of its folder, or ``absent: `` and why.

    The digest is that of ``core.digests.manifest_digest``: it binds weights, vocabulary, configuration and prompt.

    Raises:
        AuscultError: there is no judge of such a name.
    """
    return {key: _status(key) for key in (JUDGES.keys() if keys is None else keys)}


def is_present(status: str) -> bool:
    """Whether what :func:`judges_status` says of a judge is a digest."""
    return not status.startswith(ABSENT)


def judge_share(
    keys: Sequence[str],
    references: Sequence[str | None],
    generated: Sequence[str | None],
    *,
    device: str = "cpu",
    told: Callable[[int], None] | None = None,
) -> dict[str, Floats]:
    """What the judges say of n pairs of reports: judge -> float64 [n] in [0, 1].

    Judges that are absent are left out. NaN where a text is missing or blank, and where a judge has nothing to say.
    Each judge is loaded once in a process.

    Args:
        told: Called with the number of pairs that are judged so far, after each batch.

    Raises:
        AuscultError: there is no judge of such a name.
        EnvironmentProblemError: a judge gave a score outside of 0 to 1.
        AdapterError: a judge was supplied and cannot be loaded.
    """
    rows = [row for row, pair in enumerate(zip(references, generated, strict=True)) if all(map(_says, pair))]
    found: dict[str, Floats] = {}
    done = 0
    for key in keys:
        if (folder := _folder(key)) is None:
            continue
        judge, scores = _loaded_judge(key, folder, device), np.full(len(references), np.nan)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            scores[part] = judge.score([str(references[row]) for row in part], [str(generated[row]) for row in part])
            done += len(part)
            if told is not None:
                told(done)
        _check_scores(key, scores)
        found[key] = scores
    return found


def _says(text: str | None) -> bool:
    return text is not None and bool(text.strip())


def _check_scores(key: str, scores: Floats) -> None:
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise EnvironmentProblemError(
            f"The judge '{key}' gave the score {scores[outside][0]:g}, which is not from 0 to 1.",
            remedy=f"Replace its weights in the folder that {VARIABLE} names, or take it out of the protocol.",
        )


def _folder(key: str) -> Path | None:
    """The folder of a judge's weights; None where the operator has supplied none."""
    JUDGES.get(key)
    home = os.environ.get(VARIABLE, "").strip()
    folder = Path(home) / key
    return folder if home and folder.is_dir() else None


def _status(key: str) -> str:
    folder = _folder(key)
    if folder is None:
        if not os.environ.get(VARIABLE, "").strip():
            return f"{ABSENT}no weights were supplied ({VARIABLE} names no folder)"
        return f"{ABSENT}no weights were supplied (there is no folder '{key}' where {VARIABLE} points)"
    try:
        JUDGES.get(key).inspect(folder)
    except AuscultError as error:
        return f"{ABSENT}the weights that were supplied cannot be used: {error}"
    return _digest(folder)


def _digest(folder: Path) -> str:
    """The folder's digest, read again when a file of it changed."""
    stamp = _stamp(folder)
    known = _digests.get(folder)
    if known is None or known[0] != stamp:
        _digests[folder] = known = stamp, manifest_digest(folder_manifest(folder))
    return known[1]


def _stamp(folder: Path) -> Stamp:
    files = ((path, path.stat()) for path in walk_files(folder))
    return tuple((path.relative_to(folder).as_posix(), facts.st_size, facts.st_mtime_ns) for path, facts in files)


def _loaded_judge(key: str, folder: Path, device: str) -> Judge:
    place = key, _digest(folder), device
    if place not in _loaded:
        _loaded[place] = JUDGES.get(key).load(folder, device=device)
    return _loaded[place]


_digests: dict[Path, tuple[Stamp, str]] = {}
_loaded: dict[tuple[str, str, str], Judge] = {}
