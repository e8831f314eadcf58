"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.embedded.stack import ROOT

FLOORS = ("config", "core", "models_registry", "evaluation", "synthetic", "governance", "benchmarks")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
HEAVY = ("torch", "transformers", "pandas", "fairlearn", "weasyprint", "altair", "vl_convert", "scipy.stats")
PRINTERS = ("config/cli/", "config/demo/", "benchmarks/", "governance/bundle/verify.py")


def sources(*, migrations: bool = False) -> Iterator[tuple[str, str]]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if migrations or "migrations" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for name, text in sources():
        for node in ast.walk(ast.parse(text)):
            yield name, node


def python(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own, in which nothing was imported yet."""
    kept = {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {"AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_there_is_something_to_look_at() -> None:
    assert len(list(sources())) > 100


def test_no_file_is_too_long() -> None:
    assert {name: lines for name, text in sources() if (lines := len(text.splitlines())) > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {
        f"{name}:{node.name}": lines
        for name, node in nodes()
        if isinstance(node, functions) and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert found == {}


def test_no_error_is_swallowed_unseen() -> None:
    """No bare except, and none that does nothing with whatever it caught."""
    found = []
    for name, node in nodes():
        if isinstance(node, ast.ExceptHandler):
            broad = isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            silent = all(isinstance(item, ast.Pass) for item in node.body)
            if node.type is None or (broad and silent):
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_only_the_command_line_prints() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if not name.startswith(PRINTERS)
    ]
    assert found == []


def test_nothing_is_left_to_be_done() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [
        f"{name}:{number}"
        for name, text in sources()
        for number, line in enumerate(text.splitlines(), start=1)
        if any(mark in line for mark in marks)
    ]
    assert found == []


def test_no_module_is_a_drawer_for_anything() -> None:
    assert [name for name, _ in sources() if Path(name).name in {"utils.py", "helpers.py", "misc.py"}] == []


def test_records_that_cross_floors_are_frozen() -> None:
    found = []
    for name, node in nodes():
        if not isinstance(node, ast.ClassDef) or not name.startswith(("evaluation/engine", "models_registry/adapters")):
            continue
        for decorator in node.decorator_list:
            if ast.unparse(decorator).startswith("dataclass") and "frozen=True" not in ast.unparse(decorator):
                found.append(f"{name}:{node.name}")
    assert found == []


def test_pages_start_without_the_heavy_libraries(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    done = python(
        f"""
import sys
import django
django.setup()
import config.urls, config.wsgi
print(*[name for name in {HEAVY!r} if name in sys.modules])
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "module",
    [
        "evaluation.engine",
        "evaluation.charts",
        "models_registry.adapters.base",
        "models_registry.cohorts.reader",
        "models_registry.reference.training",
        "synthetic.simulator",
        "core.store",
    ],
)
def test_the_libraries_know_no_django(tmp_path: Path, module: str) -> None:
    done = python(
        f"import sys, {module}\nprint(*[name for name in ('django', 'celery', 'torch') if name in sys.modules])",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_verifier_needs_nothing_of_the_house(tmp_path: Path) -> None:
    code = f"""
import runpy, sys
runpy.run_path({str(ROOT / "governance/bundle/verify.py")!r}, run_name="verify")
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & {set(FLOORS)!r}))
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_checks_of_django_pass(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """How long they take is told, not judged: it depends on the machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python(
        "from django.core.management import execute_from_command_line as run\nrun(['manage.py', 'check'])", tmp_path
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
    seconds = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    request.node.user_properties.append(("cpu_seconds", round(seconds, 2)))
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"manage.py check: {seconds:.2f} s of CPU time")


def test_the_models_are_those_of_the_migrations(tmp_path: Path) -> None:
    code = "import django\ndjango.setup()\nfrom django.core.management import call_command\n"
    done = python(code + "call_command('makemigrations', '--check', '--dry-run')", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
