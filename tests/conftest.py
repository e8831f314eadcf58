"""How the tests are shared out among processes, and the database that they begin with."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.migrated import fill

ONE_INSTALLATION = "tests/stack/"
ONE_HOUSE = (
    "tests/pages/test_browser", "tests/pages/test_axe.py", "tests/adapters/test_contract.py",
    "tests/adapters/test_fusion.py", "tests/synthetic/test_image_part.py", "tests/synthetic/test_losses.py",
    "tests/synthetic/test_report_part.py", "tests/synthetic/test_series_flow.py",
    "tests/synthetic/test_private_generator.py", "tests/core/test_ledger_postgres.py",
    "tests/config/test_reference.py", "tests/reports/test_annex_iv.py", "tests/reports/test_outlined.py",
)  # fmt: skip
"""Files whose tests share something that takes long to make: a house behind a web server, trained models."""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """The database of the tests, in memory, begins with all migrations applied; it lives while it is connected to."""
    from django.db import connection

    with closing(sqlite3.connect(connection.creation._get_test_db_name(), uri=True)) as kept:
        fill(kept)
        yield


@pytest.fixture(autouse=True)
def no_language_left() -> Iterator[None]:
    """A page that was asked for in German leaves its thread in German."""
    yield
    if "django.utils.translation" in sys.modules:
        sys.modules["django.utils.translation"].deactivate()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a running installation go to one process, and begin first: an installation takes minutes to make.
    Those of a file that shares a house go to one as well.

    Marks of the kind ``xdist_group`` say the same, but pytest-xdist 3.8 writes them where pytest 9.2 does not look.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByInstallation(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(ONE_INSTALLATION):
                return ONE_INSTALLATION
            return nodeid.partition("::")[0] if nodeid.startswith(ONE_HOUSE) else nodeid

    return ByInstallation(config, log)
