"""QK Atlas: see how a transformer pays attention.

The public names, each loaded when it is first used, so that importing the package costs nothing:

    Capture(model)       context manager; records queries, keys and attention of every call
    extract(model, data) run a model over data and return the `Run`
    open_run(path)       open a finished run for reading
    list_runs()          the runs of a folder as a table
    METRICS, PROJECTIONS the registries of head metrics and of joint maps
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"

_HOMES = {
    "Capture": "analysis.capture",
    "extract": "analysis.pipeline",
    "open_run": "analysis.store",
    "list_runs": "analysis.store",
    "METRICS": "analysis.metrics",
    "PROJECTIONS": "analysis.projection",
}

__all__ = ["METRICS", "PROJECTIONS", "Capture", "extract", "list_runs", "open_run"]

if TYPE_CHECKING:
    from analysis.capture import Capture
    from analysis.metrics import METRICS
    from analysis.pipeline import extract
    from analysis.projection import PROJECTIONS
    from analysis.store import list_runs, open_run


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
