"""A run and an addition that are published without a model, in a tenth of a second: commands for a light `Nursery`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.store import RunWriter, add_to_run
from tests.store import batches
from tests.store.synthetic import add_map

RUN, MAP = "killed", "linear-2d"
MADE = {"model": "m", "created": "2020-01-01T00:00:00"}


def publish_run(arguments: list[str]) -> int:
    """Store what is missing of a small run, and publish it; the folder of the runs is the second argument."""
    with RunWriter.open(arguments[1], RUN, batches.SPEC) as writer:
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(*batches.tables(), {})
        waiting = sorted(set(range(batches.N_INPUTS)) - writer.done_inputs())
        if waiting:
            captures = [[batches.capture(i)] for i in waiting]
            writer.put_batch(captures, batches.scores(waiting), lambda capture: False)
        writer.publish(MADE)
    return 0


def publish_map(arguments: list[str]) -> int:
    """Add a map to this run, where it is not stored yet, and publish it."""
    if (Path(arguments[1]) / RUN / f"add-{MAP}.json").exists():
        return 0
    with add_to_run(Path(arguments[1]) / RUN, MAP, {"seed": 0}) as addition:
        if not addition.database.execute("SELECT 1 FROM projections"):
            add_map(addition, "linear", 2, addition.sites, batches.N_INPUTS * batches.N_TOKENS)
        addition.publish(MADE)
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {"publish-run": publish_run, "publish-map": publish_map}
