"""Every text that is marked for translation, found without gettext's programs: an oracle for ``make messages``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

from config.page_sentences import page_sentences
from config.page_words import page_words

Marked = tuple[str | None, str, str | None]
"""Context, text, plural."""

FUNCTIONS = ("_", "gettext", "gettext_lazy", "gettext_noop")
PLURALS = ("ngettext", "ngettext_lazy")
CONTEXTS = ("pgettext", "pgettext_lazy")
COUNTED = ("npgettext", "npgettext_lazy")
IN_TEMPLATES = re.compile(r"\b(_|gettext|ngettext|pgettext|npgettext)\(")

APPS = ("config", "core", "models_registry", "evaluation", "synthetic", "governance")


def marked_texts(root: Path) -> set[Marked]:
    """Of the Python files of all apps, and of the templates of pages, reports and mails."""
    found: set[Marked] = set()
    for app in APPS:
        for path in sorted((root / app).rglob("*.py")):
            found.update(_in_module(path.read_text(encoding="utf-8")))
    found.update((None, text, None) for text in (*page_words(root), *page_sentences(root)))
    for path in sorted([*(root / "templates").rglob("*.html"), *(root / "templates").rglob("*.txt")]):
        found.update(_in_template(path.read_text(encoding="utf-8")))
    return found


def _in_module(source: str) -> Iterator[Marked]:
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
    }
    # A package without Django marks with a function of its own.
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} & {"_", *COUNTED}
    names |= {name: "gettext_noop" if name == "_" else name for name in own}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (function := _called(node.func, names)):
            texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
            yield from _of_call(function, texts)


def _called(function: ast.expr, names: dict[str, str]) -> str:
    """``gettext`` for a call of ``_`` or of ``translation.gettext``."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id == "translation" else ""
    return names.get(function.id, "") if isinstance(function, ast.Name) else ""


def _of_call(function: str, texts: list[object]) -> Iterator[Marked]:
    first, second = ([*texts, None, None])[:2]
    if function in FUNCTIONS and isinstance(first, str):
        yield None, first, None
    if function in PLURALS and isinstance(first, str) and isinstance(second, str):
        yield None, first, second
    if function in COUNTED and len(texts) > 2 and all(isinstance(text, str) for text in texts[:3]):
        yield str(texts[0]), str(texts[1]), str(texts[2])
    if function in CONTEXTS and isinstance(first, str) and isinstance(second, str):
        yield first, second, None


def _in_template(source: str) -> Iterator[Marked]:
    """Django writes a template anew as calls of gettext, everything else blanked out; the calls are parsed."""
    calls = templatize(source)
    for match in IN_TEMPLATES.finditer(calls):
        end = calls.index(") ", match.end()) + 1
        while True:
            try:
                call = ast.parse(calls[match.start() : end], mode="eval").body
                break
            except SyntaxError:
                end = calls.index(")", end) + 1
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in call.args]
        yield from _of_call(call.func.id, texts)
