"""The Ray cluster that an extraction runs on: found or started, and how many workers it has room for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.errors import RunError, UserError, first_line

if TYPE_CHECKING:
    from analysis.models import LoadedModel

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable: the cluster to join. Without it one is started on this machine, for the time of the job."""

_SPARE_BYTES = 2**30
"""Memory of a worker beside its model: torch itself and two batches."""

_ROOT = Path(__file__).resolve().parents[2]


class Crew(NamedTuple):
    """The workers of a job.

    Attributes:
        n_workers: Copies of the model.
        cpus: Cores of each.
        gpus: GPUs of each, less than 1 where several share one.
        is_cluster: They run on a cluster that was there before; else on this machine.
    """

    n_workers: int
    cpus: int
    gpus: float
    is_cluster: bool

    def in_words(self) -> str:
        """As in ``2 workers with Ray on this machine, 1 core each``."""
        workers = "1 worker" if self.n_workers == 1 else f"{self.n_workers} workers"
        where = f"on the cluster of {ADDRESS}" if self.is_cluster else "on this machine"
        share = f"{self.gpus:g} GPU" if self.gpus else f"{self.cpus} core{'s' if self.cpus > 1 else ''}"
        return f"{workers} with Ray {where}, {share} each"


def check_ray() -> None:
    """That the package is there.

    Raises:
        UserError: It is not; the message says what to install.
    """
    if find_spec("ray") is None:
        raise UserError(
            "The engine ray needs the package ray, which is not installed: python -m pip install -r "
            "requirements-ray.txt, or leave --engine ray out."
        )


def find_crew(asked: int | None, loaded: LoadedModel, n_batches: int) -> Crew:
    """How many workers a job has, on the cluster that is `connected`.

    Args:
        asked: So many; None for one a GPU, without GPUs one a core, as far as memory goes.
        loaded: The model. Spread over devices, a worker has as many GPUs as come to it.
        n_batches: There are no more workers than batches.
    """
    import ray

    found = ray.cluster_resources()
    n_gpus, n_cpus = int(found.get("GPU", 0)), max(1, int(found.get("CPU", 1)))
    n_bytes = loaded.n_parameters * (4 if loaded.dtype == "float32" else 2)
    room = max(1, int(found.get("memory", 0) // (2 * n_bytes + _SPARE_BYTES)))
    is_spread = len(loaded.devices) > 1
    n_workers = max(1, min(asked or (1 if n_gpus and is_spread else n_gpus or min(n_cpus, room)), n_batches))
    is_cluster = bool(os.environ.get(ADDRESS))
    if n_gpus:
        share = n_gpus // n_workers if is_spread else 1
        return Crew(n_workers, 1, share if share * n_workers <= n_gpus and share else n_gpus / n_workers, is_cluster)
    return Crew(n_workers, 1 if is_cluster else max(1, n_cpus // n_workers), 0, is_cluster)


@contextmanager
def connected(asked: int | None) -> Iterator[None]:
    """Within the block Ray is there: the cluster of `ADDRESS`, or one on this machine that ends with the block. One
    that the caller has joined already is used as it is.

    Raises:
        RunError: The cluster does not answer, or none can be started.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    own = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if own else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _join(asked)
    except Exception as error:  # a node that does not come up in time is told by a plain one
        where = f"The Ray cluster of {ADDRESS} does not answer" if os.environ.get(ADDRESS) else "Ray does not start"
        raise RunError(f"{where}: {first_line(error)}") from error
    finally:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _join(asked: int | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get(ADDRESS):
        ray.init(**quiet)
        return
    n_cpus = max(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1, asked or 1)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([before] if before else [])])
    try:
        ray.init(address="local", num_cpus=n_cpus, include_dashboard=False, **quiet)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
