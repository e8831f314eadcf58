"""One registry for everything that can be plugged in: suites, adapters, reports, generators."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from core.errors import AuscultError

T = TypeVar("T")


class Registry(Generic[T]):
    """A named collection, filled by a decorator, a scan of one package, then entry points.

    Args:
        kind: The word for one member, used in messages: ``adapter``, ``report``.
        package: The package whose modules register members when they are imported.
        group: The entry point group through which other distributions add members.

    A duplicate key raises, and so does a module that cannot be imported: a plug-in that is missing in silence
    would be a number missing in silence.
    """

    def __init__(self, *, kind: str, package: str, group: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._members: dict[str, T] = {}
        self._sources: dict[str, str] = {}
        self._scanned = False
        self._lock = threading.RLock()

    def register(self, key: str) -> Callable[[T], T]:
        """Decorator that adds a member under ``key``."""

        def add(member: T) -> T:
            if key in self._members:
                raise AuscultError(
                    f"Two members are registered as {self.kind} '{key}'.",
                    remedy=f"Rename one of them: {self._sources[key]} or {_origin(member)}.",
                )
            self._members[key] = member
            self._sources[key] = _origin(member)
            return member

        return add

    def get(self, key: str) -> T:
        """The member called ``key``.

        Raises:
            AuscultError: for an unknown key; the message lists the known ones.
        """
        self._scan()
        if key not in self._members:
            known = ", ".join(sorted(self._members)) or "none"
            raise AuscultError(f"There is no {self.kind} called '{key}'.", remedy=f"Use one of: {known}.")
        return self._members[key]

    def keys(self) -> list[str]:
        """Every key, sorted."""
        self._scan()
        return sorted(self._members)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self._scan()
        return iter(sorted(self._members.items(), key=lambda item: item[0]))

    def resolved(self) -> dict[str, str]:
        """Where each member came from, for the evidence: ``{key: module.qualified name}``."""
        self._scan()
        return dict(sorted(self._sources.items()))

    def _scan(self) -> None:
        if self._scanned:
            return
        with self._lock:
            if self._scanned:
                return
            home = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(home.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            for point in entry_points(group=self.group):
                if point.name not in self._members:  # an earlier scan that failed may have come this far
                    self.register(point.name)(point.load())
            self._scanned = True  # only now: a failed scan fails again, and nobody sees half a registry


def _origin(member: object) -> str:
    return f"{getattr(member, '__module__', '?')}.{getattr(member, '__qualname__', type(member).__qualname__)}"
