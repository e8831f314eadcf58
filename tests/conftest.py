"""How the tests are shared out among processes."""

from __future__ import annotations

from typing import Any

import pytest

ONE_INSTALLATION = "tests/stack/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a running installation go to one process, and begin first: an installation takes minutes to make.

    Marks of the kind ``xdist_group`` say the same, but pytest-xdist 3.8 writes them where pytest 9.2 does not look.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByInstallation(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_INSTALLATION if nodeid.startswith(ONE_INSTALLATION) else nodeid

    return ByInstallation(config, log)
