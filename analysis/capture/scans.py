"""The seam of state-space layers: the function of a model file that runs the selective scan, recorded on its way.

Every Mamba-like model of transformers calls one function of its own file, with the arguments of the kernel that it
stands for (``selective_scan_fn``, ``mamba_chunk_scan_combined``). While somebody listens, that function is recorded: it
runs as it is, on its own arguments. It is known by its parameters, not by its name or the model's.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch

from analysis.capture.implicit import Scan, read_scan

Listener = Callable[[Scan], None]

_SCAN_PARAMETERS = frozenset(("hidden_states", "dt", "A", "B", "C", "D"))
_listening: ContextVar[tuple[tuple[Listener, bool], ...]] = ContextVar("listeners to scans", default=())
_lock = threading.Lock()
_users: Counter[tuple[ModuleType, str]] = Counter()
_originals: dict[tuple[ModuleType, str], Callable] = {}


def is_scan(function: Any) -> bool:
    """True for a function that scans a whole sequence; those of single steps take the state too."""
    if not inspect.isfunction(function):
        return False
    names = set(inspect.signature(function).parameters)
    return names >= _SCAN_PARAMETERS and "state" not in names


def find_scans(model: torch.nn.Module) -> list[tuple[ModuleType, str]]:
    """The scan functions of the files that a model's parts come from: file and name."""
    files = dict.fromkeys(type(part).__module__ for part in model.modules())
    found = [sys.modules[name] for name in files if name.startswith("transformers.models.")]
    return [(file, name) for file in found for name, value in vars(file).items() if is_scan(value)]


@contextmanager
def listening(model: torch.nn.Module, listener: Listener, keep_outputs: bool = False) -> Iterator[None]:
    """Tell a listener of every scan of this thread while the block lasts.

    Args:
        model: Whose files are looked at.
        keep_outputs: Scans come with what the model's own function gives without skip connection and gate.
    """
    places = find_scans(model)
    for place in places:
        _install(*place)
    token = _listening.set((*_listening.get(), (listener, keep_outputs)))
    try:
        yield
    finally:
        _listening.reset(token)
        for place in places:
            _uninstall(*place)


def _install(file: ModuleType, name: str) -> None:
    with _lock:
        if not _users[file, name]:
            _originals[file, name] = getattr(file, name)
            setattr(file, name, _recorded(_originals[file, name]))
        _users[file, name] += 1


def _uninstall(file: ModuleType, name: str) -> None:
    with _lock:
        _users[file, name] -= 1
        if not _users[file, name]:
            setattr(file, name, _originals.pop((file, name)))


def _recorded(function: Callable) -> Callable:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        listeners = _listening.get()
        if listeners:
            bound = signature.bind(*args, **kwargs)
            given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
            given.pop("kwargs", None)
            with torch.no_grad():
                for listener, keep_output in listeners:
                    listener(read_scan(function, given, keep_output))
        return function(*args, **kwargs)

    return recorded
