"""Finds words that a page shows in one language only: in templates, and in the Python of pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

SHOWN = {"title", "aria-label", "alt", "placeholder", "data-label", "label"}
QUIET = {"code", "kbd", "pre", "script", "style", "svg"}
"""What stands inside is the same in every language: commands, keys, pictures."""
SAME = re.compile(r"Auscult|SHA-256|UTC|CSV|JSON|PDF|DOCX|Parquet|DICOM|FHIR|ZIP|AUROC|\b[a-z]\b|&[a-z]+;|\bn\b|\bid\b")
"""Names and signs that no language changes."""
LETTERS = re.compile(r"[A-Za-zÄÖÜäöüß]{2,}")
MARKED = re.compile(r"{%-?\s*blocktrans(?:late)?\b.*?%}.*?{%\s*endblocktrans(?:late)?\s*%}", re.S)
CLASSES = re.compile(r"{% block (?:box|body_marks) %}.*?{% endblock %}")
"""Blocks that hold names of classes and marks, and no words."""
COMMENT = re.compile(r"{#.*?#}|{%\s*comment.*?endcomment\s*%}", re.S)
TAG = re.compile(r"{%.*?%}|{{.*?}}", re.S)
GIVEN = re.compile(
    r"\b(?:title|text|step|label|word|heading|caption|empty|none|summary|lead|what|why|says?|hint|verb|consequence|first|send_word|nothing)="
    r'"([^"]*[A-Za-z]{2}[^"]*)"'
)
"""Words that a template gives to another; ``_("...")`` has a bracket before its quotation mark."""
FILTERED = re.compile(r'\|(?:default|default_if_none|yesno|pluralize|add):"([^"]*[A-Za-z]{2}[^"]*)"')
MEANT = {"primary", "submit", "en-GB"}
"""What a template falls back to, and nobody reads."""
KEYWORDS = {"label", "help_text", "title", "every", "heading", "done", "empty_label", "word", "text", "step", "lead"}


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self.quiet = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.quiet += tag in QUIET
        self.found += [value for name, value in attrs if name in SHOWN and value and _says(value)]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self.quiet -= tag in QUIET and self.quiet > 0

    def handle_data(self, data: str) -> None:
        if not self.quiet and _says(data):
            self.found.append(" ".join(data.split()))


def _says(text: str) -> bool:
    return bool(LETTERS.search(SAME.sub(" ", text)))


def in_template(source: str) -> list[str]:
    """Words of a template that are not marked for translation."""
    source = CLASSES.sub("", MARKED.sub("", COMMENT.sub("", source)))
    found = [word for tag in TAG.findall(source) for word in _in_tag(tag)]
    parser = _Words()
    parser.feed(TAG.sub(_standing, source))
    parser.close()
    return found + parser.found


def _standing(tag: re.Match[str]) -> str:
    """What stands for a tag while HTML is read: nothing that has letters, and no quotation mark."""
    return "" if tag[0].startswith("{%") else "0"


def _in_tag(tag: str) -> list[str]:
    if re.match(r"{%-?\s*(?:translate|trans)\b", tag):
        return []
    given = GIVEN.findall(tag) if re.match(r"{%-?\s*(?:include|with)\b", tag) else []
    return [word for word in [*given, *FILTERED.findall(tag)] if _says(word) and word not in MEANT and word[0] != "?"]


def in_python(source: str) -> list[str]:
    """Words that the Python of a page gives to people and that are not marked: labels, titles, messages."""
    return [word for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) for word in _in_call(node)]


def _in_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    values = [item.value for item in call.keywords if item.arg in KEYWORDS]
    if re.fullmatch(r"messages\.(success|info|warning|error)", name):
        values += call.args[1:2]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and _says(value.value):
            yield value.value
        elif isinstance(value, ast.JoinedStr):
            told = "".join(str(part.value) for part in value.values if isinstance(part, ast.Constant))
            if _says(told):
                yield told


def untranslated(root: Path) -> dict[str, list[str]]:
    """File -> words that it shows in one language only."""
    found = {}
    for path in sorted((root / "templates").rglob("*.html")):
        found[path.relative_to(root).as_posix()] = in_template(path.read_text())
    for path in sorted(root.glob("*/pages/**/*.py")):
        if path.relative_to(root).parts[0] != "tests":
            found[path.relative_to(root).as_posix()] = in_python(path.read_text())
    return {name: words for name, words in found.items() if words}
