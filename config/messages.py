"""``make messages``: collect the marked texts of reports, and compile those in German.

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

    _collect()
    texts = polib.pofile(str(FILE), wrapwidth=WIDTH)
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


def _lacking(texts: Any) -> list[str]:
    """A text without a German one, or with one that was only guessed from a similar text."""
    return [str(entry.msgid) for entry in texts if not entry.translated() or "fuzzy" in entry.flags]


if __name__ == "__main__":
    sys.exit(main())
