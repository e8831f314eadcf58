"""The pages of docs/reference/ say what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from config import reference
from config.cli import COMMANDS
from config.variables import all_variables

NAME = re.compile(r"AUSCULT_[A-Z_]+")
SETTINGS_ALONE = {"AUSCULT_DELIVERY_BYTES", "AUSCULT_IMPORT_BYTES"}
"""Names of Django's settings that tests replace; no environment sets them."""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


def test_every_page_is_current(pages: dict[str, str]) -> None:
    assert reference.stale(pages) == [], "run: python -m config.reference"


def test_a_page_that_is_not_current_is_told(pages: dict[str, str]) -> None:
    changed = dict(pages) | {"roles.md": pages["roles.md"] + "more", "new.md": "# New\n"}
    assert reference.stale(changed) == ["roles.md", "new.md"]


def read_by_the_code() -> set[str]:
    """Names of variables that stand as whole strings in the code, beside the table itself."""
    found = set()
    for name, tree in reference._sources():
        if name == "config/variables.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                found.add(node.value)
    return found - SETTINGS_ALONE


def test_every_variable_that_the_code_reads_is_in_the_table() -> None:
    names = [item.name for item in all_variables()]
    assert len(names) == len(set(names))
    prefixes = tuple(name for name in names if name.endswith("_"))
    assert sorted(name for name in read_by_the_code() - set(names) if not name.startswith(prefixes)) == []


def test_every_variable_of_the_table_is_read_by_the_code() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for floor in reference.FLOORS
        for path in (reference.ROOT / floor).rglob("*.py")
        if path.name != "variables.py"
    )
    assert [item.name for item in all_variables() if item.name not in sources] == []


def test_every_command_and_option_stands_on_the_page(pages: dict[str, str]) -> None:
    text = pages["commands.md"]
    for path, command in reference._walk(_auscult(), "auscult"):
        assert re.search(rf"^##+ {re.escape(path)}$", text, re.MULTILINE)
        for option in (item for item in command.params if isinstance(item, click.Option)):
            assert option.opts[-1] in text
    assert {f"## auscult {name}" for name in COMMANDS} <= set(text.splitlines())


def _auscult() -> click.Command:
    from config.cli import auscult

    return auscult


def test_exit_codes_are_those_that_the_command_tells(pages: dict[str, str]) -> None:
    assert "Exit codes: 0 reproduced, 1 a verdict changed, a measurement differs" in pages["commands.md"]


def test_acts_are_acts_and_no_file_names(pages: dict[str, str]) -> None:
    acts = re.findall(r"`([a-z_]+\.[a-z_]+)`", pages["acts.md"])
    assert {"run.judged", "vote.cast", "incident.recorded", "window.refused", "statement.accepted"} <= set(acts)
    assert [act for act in acts if act.endswith(reference.FILES) or not act.split(".")[1].strip("_")] == []


def test_a_role_may_what_the_rules_say(pages: dict[str, str]) -> None:
    rules = dict(reference.rules_about_roles())
    assert rules["request an audit"] == {"auditor"}
    assert rules["vote on a review"] == set()
    auditor = pages["roles.md"].split("## Auditor")[1].split("\n## ")[0]
    assert "- request an audit" in auditor
    assert "approve a protocol" not in auditor


def test_every_metric_of_every_suite_stands_on_the_page(pages: dict[str, str]) -> None:
    from evaluation.engine.registry import known_metrics

    assert [name for name in known_metrics() if f"| `{name}` |" not in pages["metrics.md"]] == []


def test_the_pages_hold_no_path_of_a_machine(pages: dict[str, str]) -> None:
    home = str(Path.home())
    assert [name for name, text in pages.items() if str(reference.ROOT) in text or f"{home}/" in text] == []
