"""Fixtures of the tests in this folder."""

from __future__ import annotations

from tests.registry.fixtures import broken_ledger, files, home, people, sent

__all__ = ["broken_ledger", "files", "home", "people", "sent"]
