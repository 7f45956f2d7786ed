"""One worker of the ray engine: a copy of the model that captures batches and writes each as a shard.

Nothing in here knows ray; `analysis.engines.ray` makes an actor of it.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis import __version__
from analysis.engines.local import stores_attention
from analysis.engines.sampled_rows import MAPS, rows_of_maps
from analysis.engines.work import Batch, BatchWork, Captured, Wanted
from analysis.errors import ModelError, RunError
from analysis.pipeline.samples import Sample, sampled_maps
from analysis.store.batch_rows import batch_rows
from analysis.store.shards import Shards

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.models import LoadedModel


@dataclass(frozen=True)
class Task:
    """What every worker of a run does.

    Attributes:
        model: How the model is loaded, as `analysis.models.load_model` takes it.
        revision: Of the model as the driver has it.
        plan: Its sites.
        wanted: What is made of every batch.
        sample: Inputs whose maps are kept for the metrics over pairs of inputs.
        shards: Where shards go; see `Shards`.
        code_version: Of QK Atlas where the driver runs.
    """

    model: dict[str, Any]
    revision: str
    plan: CapturePlan
    wanted: Wanted
    sample: Sample
    shards: str
    code_version: str = __version__


class Ready(NamedTuple):
    """A worker that has loaded its model: where its weights are, and its process."""

    device: str
    pid: int


class Worker:
    """Loads the model once, at the first call; two batches may be asked of it at once: one is then captured while the
    other is scored and written."""

    def __init__(self) -> None:
        self._capturing, self._storing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._work: BatchWork | None = None
        self._device = ""
        self._opening = threading.Lock()

    def ready(self, task: Task) -> Ready:
        """Load the model.

        Raises:
            UserError: It cannot be loaded here, or is another than the driver's.
        """
        self._open(task)
        return Ready(self._device, os.getpid())

    def run(self, task: Task, batch: Batch, name: str) -> str:
        """Capture a batch and write it as the shard of this name, which is then there for good.

        Args:
            task: The same at every call; a worker that was started again has to be told.
            batch: The inputs.
            name: From `analysis.store.shards.shard_name`.

        Raises:
            UserError: The batch cannot be captured or written; one sentence.
        """
        work = self._open(task)
        captured = self._capturing.submit(work.capture, batch).result()
        self._storing.submit(_store, task, work, captured, name).result()
        return name

    def _open(self, task: Task) -> BatchWork:
        with self._opening:
            if self._work is None:
                loaded = _load(task)
                work = BatchWork(loaded, task.plan, task.wanted)
                self._capturing.submit(work.__enter__).result()
                self._device = " and ".join(loaded.devices or (loaded.device,))
                self._work = work
            return self._work


def _store(task: Task, work: BatchWork, captured: Captured, name: str) -> None:
    scored = work.score(captured)
    rows = batch_rows(
        captured.captures, task.plan.sites, task.plan.key_offsets, scored.scores,
        stores_attention(task.wanted.attention), scored.profiles, scored.received, scored.figures,
    )  # fmt: skip
    work.release(captured)
    maps = sampled_maps(captured.captures, task.sample, task.plan.sink_logits)
    Shards(task.shards).put(name, rows, {MAPS: rows_of_maps(maps)} if maps else None)


def _load(task: Task) -> LoadedModel:
    from analysis.models import load_model

    if task.code_version != __version__:
        raise RunError(
            f"A worker has QK Atlas {__version__} where the job was started with {task.code_version}: install the same "
            "version on every node."
        )
    loaded = load_model(**task.model)
    if loaded.revision != task.revision:
        raise ModelError(
            f"A worker found other files of {loaded.name} than the job was started with: put the same model in the "
            "same place on every node."
        )
    return loaded
