"""Extraction on a pool of Ray actors: each loads the model once and writes shards, which are merged here in order.

At least once, and never twice: a batch whose worker dies is done again, a shard has one name whoever writes it, and
what is stored already is passed over. A driver that is killed goes on with the shards that are there. Batches, and the
order in which they are merged, are those of the local engine, and so are the figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.engines.local import batches, make_batch
from analysis.engines.merging import RETRIES, Merging
from analysis.engines.ray_cluster import Crew, connected, find_crew
from analysis.engines.ray_worker import Ready, Task, Worker
from analysis.errors import RunError, UserError, first_line
from analysis.progress import Report
from analysis.store.shards import Shards

if TYPE_CHECKING:
    from analysis.engines.work import Batch, Wanted
    from analysis.inputs import Inputs
    from analysis.models import LoadedModel
    from analysis.pipeline.samples import Sample, SampledMap
    from analysis.store import RunWriter
    from analysis.store.plan_tables import StoredPlan

AT_ONCE = 2
"""Batches that a worker has at a time: one that is captured and one that is scored and written."""


class Asked(NamedTuple):
    """What the user asked of the engine.

    Attributes:
        workers: Copies of the model; None for one a GPU, else one a core, as far as memory goes.
        shards: Where shards go; see `Shards`. None for a folder within the partial run.
    """

    workers: int | None = None
    shards: str | None = None


def capture_into(
    writer: RunWriter,
    loaded: LoadedModel,
    plan: StoredPlan,
    inputs: Inputs,
    *,
    model: dict[str, Any],
    wanted: Wanted,
    sample: Sample,
    take: Callable[[Iterable[SampledMap]], None],
    asked: Asked,
    report: Report,
) -> list[str]:
    """Capture every input the run does not hold yet: what `analysis.engines.local.capture_into` does, on many workers.

    Args:
        writer: The partial run.
        loaded: The model as it is here; workers have copies of their own.
        plan: Its sites.
        inputs: The encoded data; workers are sent the inputs of each batch.
        model: How a worker loads the model, as `analysis.models.load_model` takes it.
        wanted: What is made of every batch.
        sample: Inputs whose maps are kept for the metrics over pairs of inputs.
        take: Given their maps.
        asked: Number of workers, and where shards go.
        report: Told after every batch.

    Returns:
        Where the workers' models were; empty where every shard was there already.

    Raises:
        UserError: A worker cannot load the model or capture a batch, or died over it again and again.
    """
    held = writer.done_inputs()
    waiting = [input_id for input_id in range(len(inputs)) if input_id not in held]
    groups = list(batches(waiting, inputs.n_tokens, sum(site.n_heads for site in plan.sites)))
    shards = Shards(shards_place(writer, asked.shards))
    merging = Merging(writer, shards, groups, plan.key_offsets, take, report, len(inputs))
    task = Task(model, loaded.revision, plan, wanted, sample, shards.place)

    def batch_of(place: int) -> Batch:
        return make_batch(inputs, plan.sites, groups[place], wanted.attention)

    devices: list[str] = []
    merging.merge()
    if not merging.is_done:
        devices = _capture(task, loaded, asked, merging, batch_of)
    shards.clear()
    return devices


def shards_place(writer: RunWriter, asked: str | None) -> str:
    """The folder or address of the shards of a run."""
    return str(writer.shards_path) if asked is None else f"{asked.rstrip('/')}/{writer.run_id}.shards"


def _capture(
    task: Task,
    loaded: LoadedModel,
    asked: Asked,
    merging: Merging,
    batch_of: Callable[[int], Batch],
) -> list[str]:
    """Have workers write the missing shards, and merge them as they come."""
    waiting = deque(merging.missing())
    with connected(asked.workers):
        crew = find_crew(asked.workers, loaded, len(waiting))
        merging.tell(f"Starting {crew.in_words()}")
        pool = _Pool(task, crew)
        try:
            while not merging.is_done:
                merging.arrive(pool.work(waiting, batch_of, merging))
                if (damaged := merging.merge()) is not None:
                    waiting.appendleft(damaged)
            return pool.devices()
        finally:
            pool.close()


class _Pool:
    """The actors. Each is given batches once it is ready, `AT_ONCE` at most."""

    def __init__(self, task: Task, crew: Crew) -> None:
        import ray

        actor = ray.remote(Worker).options(
            num_cpus=crew.cpus, num_gpus=crew.gpus, max_concurrency=AT_ONCE, max_restarts=-1, max_task_retries=RETRIES
        )
        # Given with every call: what an actor is made with must outlive its restarts.
        self._task = ray.put(task)
        self._actors = [actor.remote() for _ in range(crew.n_workers)]
        self._getting_ready = {worker.ready.remote(self._task): worker for worker in self._actors}
        self._running: dict[Any, tuple[Any, int]] = {}
        self._ready: dict[Any, Ready] = {}

    def devices(self) -> list[str]:
        """Where the models are, of those workers that were ready."""
        return sorted({ready.device for ready in self._ready.values()})

    def work(self, waiting: deque[int], batch_of: Callable[[int], Batch], merging: Merging) -> list[int]:
        """Hand out batches as far as workers are free, and wait until something is done.

        Returns:
            The batches that are written.

        Raises:
            UserError: A worker failed.
        """
        import ray

        for worker in self._ready:
            while waiting and sum(worker is at for at, _ in self._running.values()) < AT_ONCE:
                place = waiting.popleft()
                written = worker.run.remote(self._task, batch_of(place), merging.names[place])
                self._running[written] = worker, place
        pending = [*self._running, *self._getting_ready]
        arrived = []
        for reference in ray.wait(pending, num_returns=1)[0]:
            if reference in self._getting_ready:
                worker = self._getting_ready.pop(reference)
                self._ready[worker] = _result(reference, "loading the model")
            else:
                _, place = self._running.pop(reference)
                _result(reference, merging.inputs_of(place))
                arrived.append(place)
        return arrived

    def close(self) -> None:
        """Let go of the workers at once."""
        import ray

        for worker in self._actors:
            ray.kill(worker)


def _result(reference: Any, at: str) -> Any:
    """What a worker gave.

    Raises:
        UserError: The worker's own sentence, or one that says what it was at.
    """
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError):
            raise type(cause)(str(cause)) from error
        raise RunError(f"A worker failed at {at}: {first_line(cause)}") from error
    except ray.exceptions.RayError as error:
        raise RunError(
            f"A worker died {RETRIES + 1} times at {at}, for want of memory perhaps: the same command with fewer "
            "--workers goes on from what was captured."
        ) from error
