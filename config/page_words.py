"""Words that Python gives to pages in English: labels, titles, heads of columns, states. Pages translate them.

They are not marked where they stand: what services and models hold is stored, shown to programs and compared, and stays
English. Templates send them through the filter ``said``. This module finds them, for the catalogue and for its test.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

APPS = ("core", "models_registry", "evaluation", "synthetic", "governance")
CHOICES = {"TextChoices", "IntegerChoices"}
TECHNICAL = re.compile(
    r"^[/?#%.]|\.html$|\.js$|^(?:text|application|image)/|[{}]/|__|attachment;|^[a-z_]+:[a-z_]+$|^[A-Z][a-z]+(?:[A-Z][a-z]+)+$|"
    r"^[\w-]+/[\w-]+$|^HX-|^X-|^Cache-|^Content-|^default-src|^private, |^\{\"|^ ?s are$|^Ml $"
)
KEYS = {"to", "opens", "name", "key", "field", "template", "template_name", "content_type", "attrs", "prefix", "search"}
CALLS = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext", "guarded", "getattr", "reverse", "redirect", "render",
         "open", "nouns", "F", "Q", "Value", "format_html", "re.compile", "re.sub"}  # fmt: skip


def page_words(root: Path) -> dict[str, set[str]]:
    """Words -> the files that give them to pages."""
    found: dict[str, set[str]] = defaultdict(set)
    for app in APPS:
        for path in sorted((root / app).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            name, tree = path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
            words = _of_choices(tree)
            if f"{app}/pages/" in name:
                words = {*words, *_of_page(tree)}
            for word in words:
                found[word].add(name)
    return dict(found)


def _of_choices(tree: ast.Module) -> set[str]:
    """The labels of enumerations of choices: the second of each pair."""
    return {
        item.value.elts[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).rpartition(".")[2] in CHOICES for base in node.bases)
        for item in node.body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Tuple) and len(item.value.elts) == 2
        if isinstance(item.value.elts[1], ast.Constant) and isinstance(item.value.elts[1].value, str)
    }


def _of_page(tree: ast.Module) -> Iterator[str]:
    """Constants of a page's module that read like words for people."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_for_people(node, parents):
            yield node.value


def _is_for_people(node: ast.Constant, parents: dict[ast.AST, ast.AST]) -> bool:
    text = str(node.value)
    reads_like_words = re.match(r"[A-Z][a-z]", text) or " " in text.strip()
    if (
        not isinstance(text, str)
        or not reads_like_words
        or not re.search(r"[A-Za-z]{2}", text)
        or TECHNICAL.search(text)
    ):
        return False
    parent = parents[node]
    if isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue | ast.Compare | ast.Subscript):
        return False
    if isinstance(parent, ast.keyword) and parent.arg in KEYS:
        return False
    if isinstance(parent, ast.Dict) and node in parent.keys:
        return False
    if isinstance(parent, ast.Call) and (
        ast.unparse(parent.func) in CALLS or ast.unparse(parent.func).startswith("log.")
    ):
        return False
    return not any(isinstance(above, ast.Raise | ast.Assert) for above in _above(node, parents))


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node
