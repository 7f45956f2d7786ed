"""One way to add a thing: a file in the folder, a decorator on the function.

`METRICS` and `PROJECTIONS` are registries. A registry imports its folder when it is first read, so a new
file is found with no other edit; two entries of one name and unknown names are errors.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from analysis.errors import UnknownName

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Names to entries, filled by the modules of one package.

    Args:
        kind: The word for an entry in messages, as in "metric".
        package: The package whose modules register the entries.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._scanned = False

    def register(self, name: str, entry: Entry) -> None:
        """Add an entry.

        Raises:
            ValueError: The name is taken, by whom.
        """
        if name in self._entries:
            raise ValueError(f"{self._kind} {name!r} is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = entry

    def registering(self, make: Callable[..., Entry]) -> Callable[..., Callable[[Callable], Callable]]:
        """A decorator factory: ``@decorator(name, ...)`` registers ``make(function, name, ...)``."""

        def decorator(name: str, **details: object) -> Callable[[Callable], Callable]:
            def add(function: Callable) -> Callable:
                self.register(name, make(function, name, **details))
                return function

            return add

        return decorator

    def __getitem__(self, name: str) -> Entry:
        self._scan()
        if name not in self._entries:
            raise UnknownName(f"There is no {self._kind} {name!r}; known: {', '.join(sorted(self._entries))}.")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._scan()
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        self._scan()
        return name in self._entries

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
