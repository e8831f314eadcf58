"""``make messages``: collect the texts of pages and reports, and compile those in German.

Needs gettext's ``xgettext`` and, from the extra ``test``, polib. Nothing else does: the compiled file is committed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "locale" / "de" / "LC_MESSAGES" / "django.po"
LEFT_OUT = (".venv", ".venv-peers", "var", "tests", "benchmarks", "static", "build", "dist")
WIDTH = 118


def main() -> int:
    """Write ``django.po`` and ``django.mo`` anew; name every text that has no German one yet."""
    import polib  # type: ignore[import-untyped]

    before = {entry.msgid: entry.msgstr for entry in polib.pofile(str(FILE)) if not entry.msgctxt}
    _collect()
    texts = polib.pofile(str(FILE), wrapwidth=WIDTH)
    _add_page_words(texts, before)
    texts.metadata.pop("POT-Creation-Date", None)  # it would differ at every run and say nothing
    texts.save()
    texts.save_as_mofile(str(FILE.with_suffix(".mo")))
    lacking = _lacking(texts)
    for text in lacking:
        sys.stderr.write(f"no German text: {text}\n")
    return 1 if lacking else 0


def _collect() -> None:
    import django
    from django.core.management import call_command

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.chdir(FILE.parents[3])
    django.setup()
    call_command("makemessages", locale=["de"], add_location="file", no_obsolete=True, ignore_patterns=list(LEFT_OUT))


def _add_page_words(texts: Any, before: dict[str, str]) -> None:
    """Words and sentences that Python gives to pages in English, which nothing marks."""
    import polib

    from config.page_sentences import page_sentences
    from config.page_words import page_words

    known = {entry.msgid for entry in texts if not entry.msgctxt}
    for word, files in sorted((page_sentences(FILE.parents[3]) | page_words(FILE.parents[3])).items()):
        if word not in known:
            places = [(name, "") for name in sorted(files)]
            texts.append(polib.POEntry(msgid=word, msgstr=before.get(word, ""), occurrences=places))


def _lacking(texts: Any) -> list[str]:
    """A text without a German one, or with one that was only guessed from a similar text."""
    return [str(entry.msgid) for entry in texts if not entry.translated() or "fuzzy" in entry.flags]


if __name__ == "__main__":
    sys.exit(main())
