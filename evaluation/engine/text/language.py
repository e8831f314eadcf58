"""Whether a text is English, as far as can be told: rules and vocabulary know no other language.

A text counts as foreign where function words of another language outnumber English ones, or where most of its letters
are of another script. A text of few words counts as English: "Cardiomegaly." is the same in many languages. The lists
are spaCy's.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from core.errors import AuscultError

FEW = 6
"""Words below which no text is called foreign."""

ENOUGH = 3000
"""Characters that are judged."""

LANGUAGES = ("es", "fr", "de", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "tr", "ro", "hu", "cs", "id")
_WORD = re.compile(r"[^\W\d_]{2,}")
_REPORTS = frozenset(
    {
        "size",
        "limits",
        "lungs",
        "lung",
        "heart",
        "clear",
        "focal",
        "acute",
        "evidence",
        "right",
        "left",
        "lower",
        "upper",
    }
    | {"base", "stable", "unchanged", "findings", "chest", "mild", "small", "large", "seen", "tube", "line", "view"}
    | {"effusion", "effusions", "opacity", "opacities", "atelectasis", "collapse", "enlarged", "film", "lines", "tip"}
    | {"ett", "ngt", "ok", "ul", "ll", "rul", "rll", "lul", "lll"}
)
"""Words of English reports that are rare in others; the short ones stand for lobes and tubes."""


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """English function words, and those of other languages. Words of both, such as "no" and "in", tell nothing."""
    english, foreign = _listed("en"), frozenset[str]().union(*map(_listed, LANGUAGES))
    return english - foreign | _REPORTS, foreign - english - _REPORTS


def _listed(language: str) -> frozenset[str]:
    """spaCy's function words of a language, from the one file that holds them: its package takes long to import."""
    spec = find_spec("spacy")
    if spec is None or spec.origin is None:
        raise AuscultError("spaCy is not installed.", remedy="Install Auscult with its dependencies.")
    path = Path(spec.origin).parent / "lang" / language / "stop_words.py"
    return frozenset(run_path(str(path))["STOP_WORDS"])


def is_english(folded: str) -> bool:
    """Whether a text in lower case is English, or too short to tell. Of a long text, its beginning is judged."""
    words = _WORD.findall(folded, 0, ENOUGH)
    if not folded.isascii():
        letters, other = (sum(map(len, some)) for some in (words, [word for word in words if not word.isascii()]))
        if letters > FEW and 2 * other > letters:
            return False
    if len(words) < FEW:
        return True
    english, foreign = _lists()
    return sum(map(foreign.__contains__, words)) <= sum(map(english.__contains__, words))
