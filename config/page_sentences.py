"""Sentences that Python makes in English: what is refused and why, what to do, what was found. Pages translate them.

They are stored, told to programs and compared, so they stay English where they are made. In the catalogue a sentence
stands with a number in braces for each value that is put into it: ``There is no system '{0}'.`` Where a part of it is
one of several words, each stands there by itself: ``{0} report`` and ``{0} reports``. What is shown is recognised by
these (``core.spoken``). This module finds them, for the catalogue and for its test.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import yaml

QUESTIONNAIRE = "governance/questionnaire.yaml"
APPS = ("core", "models_registry", "evaluation", "synthetic", "governance")
LEFT_OUT = (
    "synthetic/simulator/", "governance/bundle/", "governance/catalogue_checks.py", "evaluation/engine/probing/",
    "models_registry/reference/cards.py", "core/management/",
)  # fmt: skip
"""What these say is no page's: texts of simulated patients, a verifier that works alone, questions to models."""
CLAUSES = (
    "evaluation/charts/", "evaluation/engine/drift/shifts.py", "evaluation/engine/drift/lifetime.py",
    "governance/execution_findings.py", "evaluation/engine/drift/words.py", "evaluation/engine/suites/",
    "evaluation/engine/judging.py", "evaluation/engine/words.py", "evaluation/monitoring/telling.py",
    "evaluation/pages/monitors_words.py", "evaluation/templatetags/monitors.py",
)  # fmt: skip
"""What these say are parts of the sentence of a verdict: each part that has two words counts."""
NOTICES = (
    "core/heads.py", "evaluation/monitoring/", "evaluation/services/", "governance/execution", "governance/services/",
    "models_registry/services/", "synthetic/services/",
)  # fmt: skip
"""Where people are told of something: titles of these notifications are no sentences."""
CUT = (
    "the {0} of {1} differs most between {2} and {3}", "the {0} differs most {1}", "within {0}", "Drawn", "Promise",
    "{0} interval", "Scores of {0}", "Share of studies with {0}", "Estimated performance on {0}", "Performance on {0}",
    "{0} at equal score", "Scores against the observed share, by bins of scores.",
    *(f"too {side} {where}" for side in ("low", "high")
      for where in ("above {0}", "below {0}", "from {0} to {1}", "throughout")),
)  # fmt: skip
"""What pages show of a sentence by itself."""
MARKED = {"_", "gettext", "gettext_lazy", "ngettext", "npgettext", "pgettext", "nouns"}
MOST_WAYS = 12
"""Ways in which one expression may read; where there are more, each of its parts counts as a value."""
LEAST_LETTERS = 6
WORDS = re.compile(r"[A-Za-z]{2,} ")
HOLE = re.compile(r"\{\d+\}")
SENTENCE = re.compile(r"[A-Z\"'{0-9].*[.?!]\s*", re.DOTALL)
CODE = re.compile(r"datum\.|sans-serif")
"""An expression or a font of a chart."""
LIKE_LOG = re.compile(r"(log|logger|re|click)\.")
Way = list[str | None]
"""One way in which an expression reads: its words, and None for each value."""


def page_sentences(root: Path) -> dict[str, set[str]]:
    """Sentences with ``{0}``, ``{1}``, ... for values -> the files that make them."""
    found: dict[str, set[str]] = defaultdict(set)
    for app in APPS:
        for path in sorted((root / app).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if "migrations" in path.parts or name.startswith(LEFT_OUT):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for sentence in _of_module(tree, clauses=name.startswith(CLAUSES), notices=name.startswith(NOTICES)):
                found[sentence].add(name)
    for text in CUT:
        found[text].add("core/templatetags/figures.py")
    for text in _of_questionnaire(root / QUESTIONNAIRE):
        found[text].add(QUESTIONNAIRE)
    return dict(found)


def _of_questionnaire(path: Path) -> Iterator[str]:
    """Titles of chapters, and of questions what is asked, explained and offered."""
    body = yaml.safe_load(path.read_text(encoding="utf-8"))
    yield from (chapter["title"] for chapter in body["chapters"])
    for question in body["questions"]:
        yield from filter(None, (question["label"], question["text"], question.get("help")))
        options = question.get("options")
        yield from map(str, options.values() if isinstance(options, dict) else options or ())


def _of_module(tree: ast.Module, *, clauses: bool, notices: bool) -> Iterator[str]:
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr | ast.Constant | ast.IfExp | ast.BinOp) or _is_inside(node, parents):
            continue
        act = _is_act(node, list(islice(_above(node, parents), 2)))
        told = act or _is_told(node, parents) or (notices and _is_headline(node, parents))
        for way in _ways(node) or ():
            sentence = _written(way)
            words = HOLE.sub("", sentence)
            whole = SENTENCE.fullmatch(sentence) and len(words.split()) >= 3
            part = clauses and len(words.split()) >= 2 and sentence == sentence.strip() and " / " not in sentence
            speaks = (act or WORDS.search(words)) and (told or whole or part)
            if speaks and "\n" not in sentence.strip() and _recognisable(sentence):
                yield sentence.lstrip(",; ") if part else sentence


def _recognisable(sentence: str) -> bool:
    """Whether it is a text with enough letters around the values to know it by."""
    if CODE.search(sentence):
        return False
    return "{0}" not in sentence or sum(letter.isalpha() for letter in HOLE.sub("", sentence)) >= LEAST_LETTERS


def _is_inside(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """A part of a larger text, a docstring, a text that is marked, or one that nobody is shown."""
    above = list(islice(_above(node, parents), 4))
    if isinstance(above[0], ast.Expr | ast.JoinedStr | ast.FormattedValue | ast.IfExp | ast.BinOp):
        return True
    calls = [ast.unparse(item.func) for item in above[:3] if isinstance(item, ast.Call)]
    return any(isinstance(item, ast.Assert) for item in above) or any(
        name.rpartition(".")[2] in MARKED or LIKE_LOG.match(name) for name in calls
    )


def _is_told(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """The message or the remedy of an error, whatever it looks like."""
    above = list(islice(_above(node, parents), 2))
    if isinstance(above[0], ast.keyword) and above[0].arg in {"remedy", "message"}:
        return True
    call = next((item for item in above if isinstance(item, ast.Call)), None)
    return call is not None and ast.unparse(call.func).endswith("Error")


def _is_headline(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """The title of a notification, or a part of it: ``title=...``, and what is kept under such a name."""
    above = next(_above(node, parents))
    named = {above.arg} if isinstance(above, ast.keyword) else set()
    if isinstance(above, ast.Assign):
        named = {target.id for target in above.targets if isinstance(target, ast.Name)}
    return bool(named & {"title", "text", "what", "words"})


def _is_act(node: ast.AST, above: list[ast.AST]) -> bool:
    """What somebody may not do, completing "may ...": ``to="request an audit"``."""
    if not (isinstance(above[0], ast.keyword) and above[0].arg == "to" and isinstance(above[1], ast.Call)):
        return False
    return ast.unparse(above[1].func).rpartition(".")[2].startswith(("check_", "_check_", "can"))


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _ways(node: ast.expr) -> list[Way] | None:
    """Every way in which an expression reads; None for one that is a value."""
    match node:
        case ast.Constant(value=str(text)):
            return [[text]]
        case ast.JoinedStr():
            return _joined(node)
        case ast.IfExp():
            return [way for part in (node.body, node.orelse) for way in _ways(part) or [[None]]]
        case ast.BoolOp(op=ast.Or()):
            return [way for part in node.values for way in _ways(part) or [[None]]]
        case (
            ast.BinOp(op=ast.Mult(), left=ast.Constant(value=str(text)))
            | ast.BinOp(op=ast.Mult(), right=ast.Constant(value=str(text)))
        ):
            return [[], [text]]
        case ast.BinOp(op=ast.Add()):
            left, right = _ways(node.left), _ways(node.right)
            if left is None and right is None:
                return None
            return [one + other for one in left or [[None]] for other in right or [[None]]]
    return None


def _joined(node: ast.JoinedStr) -> list[Way]:
    parts: list[list[Way]] = []
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            plain = value.format_spec is None and value.conversion == -1
            parts.append((_ways(value.value) if plain else None) or [[None]])
        else:
            parts.append(_ways(value) or [[None]])
    total = 1
    for ways in parts:
        total *= len(ways)
    if total > MOST_WAYS:
        parts = [ways if len(ways) == 1 else [[None]] for ways in parts]
    return [[piece for way in chosen for piece in way] for chosen in product(*parts)]


def _written(way: Way) -> str:
    written, values = "", 0
    for piece in way:
        written += f"{{{values}}}" if piece is None else piece
        values += piece is None
    return written
