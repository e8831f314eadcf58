"""``python -m config.reference`` writes ``docs/reference/`` from the code; ``--check`` only says what is not current.

Commands come from click, settings from ``config.variables``, acts from the sources that write the ledger, metrics from
the registry of suites, roles from the rules about people.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
FLOORS = ("core", "models_registry", "evaluation", "synthetic", "governance", "config")
WRITTEN = "Written by `python -m config.reference`; a change by hand is lost."
ACT = re.compile(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*")
FILES = (".csv", ".json", ".parquet", ".safetensors", ".yaml")
NO_ACTS = (
    "config/cli/monitor_file.py",
    "evaluation/engine/",
    "evaluation/monitoring/schema.py",
    "models_registry/adapters/",
    "models_registry/reference/",
    "synthetic/generators/",
    "synthetic/release/",
)
"""Sources that enter nothing in the ledger: their dotted words are columns, or keys of a file."""
CODES = re.compile(r"Exit (?:status|codes?):?\s(.+?)\.(?:\s|$)", re.DOTALL)
PLAIN = "open this page"
"""What everybody with a role may do is told by no list."""
USUAL_CODES = "0 done, 3 refused or bad input"


def pages() -> dict[str, str]:
    """The text of every page of the folder, by the name of its file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    return {
        "commands.md": commands_page(),
        "settings.md": settings_page(),
        "acts.md": acts_page(),
        "metrics.md": metrics_page(),
        "roles.md": roles_page(),
    }


def commands_page() -> str:
    """Every command of ``auscult`` with its options and exit codes."""
    from config.cli import auscult

    lines = [
        "# Commands",
        WRITTEN,
        "",
        "Each command works on the installation in `--home`, else `AUSCULT_HOME`, else `var`. `auscult --help`, and "
        "`--help` behind any command, tell the same in a terminal.",
        "",
        "| Exit code of every command | |",
        "|---|---|",
        "| 0 | done, unless the command says something else |",
        "| 2 | an option is missing or wrong; click says which. `auscult audit` and `auscult gate` use it for *not "
        "enough evidence*, too |",
        "| 3 | refused or bad input: the reason and what to do stand on standard error |",
        "| 70 | a fault of the program; it is told whole on standard error |",
    ]
    for path, command in _walk(auscult, "auscult"):
        lines += ["", f"{'##' if path.count(' ') < 2 else '###'} {path}", *_command(path, command)]
    return "\n".join(lines) + "\n"


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if path != "auscult":
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None and not found.hidden:
                yield from _walk(found, f"{path} {name}")


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    text = inspect.cleandoc(command.help or "")
    codes = CODES.search(text)
    yield CODES.sub("", text).strip()
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return
    yield ""
    yield f"    {' '.join([path, *command.collect_usage_pieces(context)])}"
    rows = [record for item in command.get_params(context) if (record := item.get_help_record(context))]
    options = [(name, said) for name, said in rows if not name.startswith("--help")]
    if options:
        yield from ("", "| Option | |", "|---|---|")
    for name, said in options:
        yield f"| `{_cell(name)}` | {_cell(said)} |"
    yield ""
    yield f"Exit codes: {' '.join(codes.group(1).split()) if codes else USUAL_CODES}."


def _cell(text: str) -> str:
    """Text that can stand in a cell of a table: a stroke would end it."""
    return " ".join(text.split()).replace("|", "\\|")


def settings_page() -> str:
    """Every variable of the environment."""
    from config.variables import GROUPS

    lines = ["# Settings", WRITTEN, "", "All settings come from the environment. None has to be set for a trial."]
    for group in GROUPS:
        lines += ["", f"## {group.title}", "| Variable | Meaning | Default | Read by |", "|---|---|---|---|"]
        for item in group.variables:
            name = f"{item.name}*" if item.name.endswith("_") else item.name
            lines.append(f"| `{name}` | {_cell(item.meaning)} | {_cell(item.default)} | {item.read_by} |")
    return "\n".join(lines) + "\n"


def acts_page() -> str:
    """Every act that can stand in the ledger, by what it is about."""
    from governance.reports.logs_art12 import ACTS

    about: dict[str, set[str]] = defaultdict(set)
    for act in ledger_acts({noun for noun, _ in ACTS}):
        about[act.partition(".")[0]].add(act)
    lines = ["# Acts in the ledger", WRITTEN, "", "An act is `NOUN.VERB`; see [the ledger](../governance/ledger.md)."]
    lines += ["", "| About | Acts | |", "|---|---|---|"]
    for noun, sentence in ACTS:
        acts = ", ".join(f"`{act}`" for act in sorted(about[noun])) or "entered by none of the present commands"
        lines.append(f"| {noun} | {acts} | {_cell(str(sentence))} |")
    return "\n".join(lines) + "\n"


def ledger_acts(nouns: set[str]) -> set[str]:
    """The acts that the sources name: dotted words that begin with one of these nouns."""
    from evaluation.models import MonitorWindow
    from governance.models import Statement

    ended = (MonitorWindow.Status.EMPTY, MonitorWindow.Status.REFUSED)
    decided = (Statement.Status.ACCEPTED, Statement.Status.RETURNED)
    found = {f"window.{status}" for status in ended} | {f"statement.{status}" for status in decided}
    for name, tree in _sources():
        for node in ast.walk(tree) if not name.startswith(NO_ACTS) else ():
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and ACT.fullmatch(value) and not value.endswith(FILES):
                found.update({value} if value.partition(".")[0] in nouns else ())
    return found


def _sources() -> Iterator[tuple[str, ast.Module]]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


JUDGED = {
    "rate": "a rate: in each group {direction}",
    "gap": "a gap between two groups: at most the margin",
    "ratio": "a ratio of two groups: at least the margin, and at most one over it",
    "deviation": "a deviation from {ideal}: at most the margin",
    "described": "described: it is measured, and no criterion can be written on it",
}


def metrics_page() -> str:
    """Every metric of every suite, with what its suite declares of it."""
    from evaluation.engine.registry import SUITES

    lines = [
        "# Metrics",
        WRITTEN,
        "",
        "What each suite that is installed can measure, and how a [criterion](../protocols.md) on it is judged; "
        "formulas stand in [fairness](../fairness.md), [drift](../drift/measures.md), "
        "[hallucination](../hallucination.md) and [synthetic patients](../synthetic.md).",
    ]
    for key, suite in SUITES:
        lines += ["", f"## {key}", "| Metric | Title | Read from | n counts | Judged as |", "|---|---|---|---|---|"]
        for name, info in suite.metrics.items():
            words = JUDGED[info.kind].format(direction="at least or at most the margin", ideal=f"{info.ideal:g}")
            counted = info.counted or "studies"
            lines.append(f"| `{name}` | {_cell(info.title)} | {info.basis} | {_cell(counted)} | {words} |")
    return "\n".join(lines) + "\n"


def roles_page() -> str:
    """Every role, and what only people with it may do."""
    from core.models import Role

    allowed: dict[str, set[str]] = defaultdict(set)
    for act, roles in rules_about_roles():
        for role in roles or ("",):
            allowed[role].add(act)
    lines = [
        "# Roles",
        WRITTEN,
        "",
        "What a role may do by the rules of the house. One person may hold several. A rule about people (who made, "
        "ran, approved or owns something) may still refuse an act that the role allows, and what is open to everybody "
        "with a role is not listed: see [governance](../governance.md) and [people](../operations.md#people).",
    ]
    for role in Role:
        lines += ["", f"## {role.label}", f"`{role.value}`", ""]
        lines += [f"- {act}" for act in sorted(allowed[role.value])] or ["- nothing by itself"]
    lines += [
        "",
        "## As the policy in force says",
        "The roles are those that the [policy](../governance/policies.md) names.",
        "",
    ]
    lines += [f"- {act}" for act in sorted(allowed[""])]
    return "\n".join(lines) + "\n"


def rules_about_roles() -> Iterator[tuple[str, frozenset[str]]]:
    """``(act in words, roles)`` of every ``check_role(user, ..., to="...")``; no role where they depend on data."""
    for name, tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check_role":
                act = _words(next((item.value for item in node.keywords if item.arg == "to"), None))
                if act and act != PLAIN:
                    yield act, frozenset(_roles(node.args[1:], name))


def _words(node: ast.expr | None) -> str:
    """The text of a literal; what an f-string fills in is an ellipsis. Empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _roles(items: list[ast.expr], source: str) -> Iterator[str]:
    """Roles as a call names them: ``Role.DPO``, or ``*VOTERS`` of the same module; what a policy says is left out."""
    from core.models import Role

    for item in items:
        if isinstance(item, ast.Attribute) and ast.unparse(item.value) == "Role":
            yield Role[item.attr].value
        elif isinstance(item, ast.Starred) and isinstance(item.value, ast.Name):
            module = import_module(source.removesuffix(".py").replace("/", "."))
            yield from (Role(role).value for role in getattr(module, item.value.id, ()))


def stale(found: Mapping[str, str], read: Callable[[Path], str] = Path.read_text) -> list[str]:
    """Names of the pages that are missing or not what the code says."""
    return [name for name, text in found.items() if not (FOLDER / name).is_file() or read(FOLDER / name) != text]


def main() -> int:
    """Write every page that is not current; with ``--check`` name them, and end with 1 if there is one."""
    found = pages()
    wrong = stale(found)
    if "--check" in sys.argv[1:]:
        for name in wrong:
            sys.stderr.write(f"docs/reference/{name} is not what the code says. Run: python -m config.reference\n")
        return 1 if wrong else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in wrong:
        (FOLDER / name).write_text(found[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
