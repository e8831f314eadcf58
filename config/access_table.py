"""``python -m config.access_table`` writes docs/access.md: who may do and open what, read off the code.

Acts are the calls of ``check_role``: their roles are evaluated where they stand, and their words are those of the
denial. Addresses say by the decorator of their view whom they open for. Nothing of it is kept by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "access.md"
APPS = {
    "core": "The installation", "models_registry": "Systems, versions, cohorts", "evaluation": "Audits and monitors",
    "synthetic": "Synthetic patients", "governance": "Decisions, risks, incidents, documents, people",
}  # fmt: skip
OPEN_TO_ALL = {
    "sign-in": "everybody", "account_login": "everybody", "sign-out": "everybody", "theme": "everybody",
    "language": "everybody",
    "home": "every account", "socialaccount_connections": "every account",
}  # fmt: skip
BY_LINK = {"portal-link": "regulators", "invitation": "whoever holds the link"}


@dataclass(frozen=True, kw_only=True)
class Act:
    """An act with the roles that it asks for.

    Attributes:
        words: Completing "may ...".
        roles: Values of roles; empty where they depend on what is acted on.
        besides: What else the rule asks for: the first sentence of its own words.
    """

    app: str
    words: str
    roles: frozenset[str]
    besides: str


def acts() -> list[Act]:
    """Every act, in the order of the apps and of their words."""
    found = {act for app in APPS for act in _acts_of(app)}
    return sorted(found, key=lambda act: (list(APPS).index(act.app), act.words, act.besides))


def _acts_of(app: str) -> Iterator[Act]:
    for file in sorted((ROOT / app).rglob("*.py")):
        text = file.read_text()
        if "check_role(" not in text or file.name == "readers.py":  # which tells of pages, as the addresses do
            continue
        module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for rule in (item for item in ast.walk(ast.parse(text)) if isinstance(item, ast.FunctionDef)):
            for call in ast.walk(rule):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "check_role":
                    yield _act(app, call, rule, module)


def _act(app: str, call: ast.Call, rule: ast.FunctionDef, module: Any) -> Act:
    words = next((_words(item.value) for item in call.keywords if item.arg == "to"), "")
    said = (ast.get_docstring(rule) or "").split("\n\n")[0].replace("\n", " ")
    return Act(app=app, words=words, roles=_roles(call, module), besides="" if said.startswith("Raise") else said)


def _roles(call: ast.Call, module: Any) -> frozenset[str]:
    try:
        asked = ast.fix_missing_locations(ast.Expression(ast.Tuple(elts=call.args[1:], ctx=ast.Load())))
        code = compile(asked, "<roles>", "eval")
        return frozenset(str(role) for role in eval(code, vars(module)))  # noqa: S307 - our own source
    except NameError:  # a name of the function: the roles depend on what is acted on
        return frozenset()


def _words(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in value.values)
    return ""


def addresses() -> list[tuple[str, str]]:
    """(address, for whom it opens) of every page."""
    from django.urls import get_resolver

    found: list[tuple[str, str]] = []

    def walk(patterns: list[Any], prefix: str) -> None:
        for item in patterns:
            route = prefix + str(item.pattern)
            if hasattr(item, "url_patterns"):
                walk(item.url_patterns, route)
            elif item.name and not route.startswith("api/"):
                found.append((f"/{route}", _opens(item, route)))

    walk(get_resolver().url_patterns, "")
    return sorted(set(found))


def _opens(item: Any, route: str) -> str:
    """For whom an address opens: its view says it, or it is on the way in, or one of a person's own account."""
    told = getattr(item.callback, "opens", "") or OPEN_TO_ALL.get(item.name) or BY_LINK.get(item.name, "")
    if not told and item.callback.__module__.startswith("allauth."):
        return "everybody" if getattr(item.callback, "login_required", True) is False else "every account"
    return told


def table() -> str:
    """The page."""
    from core.models import Role

    heads = [role for role in Role if role != Role.REGULATOR]
    parts = [
        "# Who may do what",
        "Made from the code by `python -m config.access_table`; a test says whether it is current.",
        "A role is held everywhere or on one system. Somebody whose roles are all limited to systems sees these and no "
        "other: what belongs to another hospital's system answers as if it were not there, on pages, in lists, in the "
        "programming interface and in acts. An act on several systems asks for the role on each. Administrator and "
        "regulator cannot be limited. Cohorts, protocols and policies are of the house: who is limited reads the "
        "protocols, and no cohort's page.",
        "Beside a role, many acts ask that duties are separate: the last column says how.",
    ]
    for app, title in APPS.items():
        rows = [act for act in acts() if act.app == app and act.words]
        names = " | ".join(str(role.label) for role in heads)
        lines = [f"| Act | {names} | Besides |", "|---" * (len(heads) + 2) + "|"]
        for act in rows:
            marks = ["as the policy says" if not act.roles and place == 0 else "yes" if role in act.roles else ""
                     for place, role in enumerate(heads)]  # fmt: skip
            lines.append(f"| {act.words} | {' | '.join(marks)} | {act.besides} |")
        if rows:
            parts += [f"## {title}", "\n".join(lines)]
    parts += ["## Addresses", "\n".join(["| Address | Opens for |", "|---|---|", *_address_rows()])]
    return "\n\n".join(parts) + "\n"


def _address_rows() -> list[str]:
    return [f"| `{route}` | {opens} |" for route, opens in addresses()]


def main() -> None:
    """Write the page."""
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    FILE.write_text(table())


if __name__ == "__main__":
    main()
