"""Shards of batches on their way into a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from analysis.engines.sampled_rows import MAPS, maps_of_rows
from analysis.errors import RunError
from analysis.progress import Progress, Report
from analysis.store.shards import run_digest, shard_name

if TYPE_CHECKING:
    import numpy as np

    from analysis.pipeline.samples import SampledMap
    from analysis.store import RunWriter
    from analysis.store.shards import Shards

RETRIES = 2
"""Times that a batch is tried again after its worker died over it, or its shard was damaged."""


class Merging:
    """Shards go into the run one after the other in the order of their batches, so that sums come out as if one process
    had made them; one shard is held at a time. Whoever is killed on the way goes on where it was: what is stored is
    passed over, and a shard is let go of once it is stored.

    Args:
        writer: The run.
        shards: Where they are.
        groups: The inputs of each batch that is not stored yet, in order.
        key_offsets: Of the plan: shards made under another one are none of this run.
        take: Given the maps of sampled inputs.
        report: Told when something arrives.
        n_inputs: Of the run.

    Attributes:
        names: Of the shards, in the order of `groups`.
    """

    def __init__(
        self,
        writer: RunWriter,
        shards: Shards,
        groups: Sequence[Sequence[int]],
        key_offsets: Mapping[str, np.ndarray],
        take: Callable[[Iterable[SampledMap]], None],
        report: Report,
        n_inputs: int,
    ) -> None:
        self._writer, self._shards, self._groups = writer, shards, groups
        self._take, self._report, self._n_inputs = take, report, n_inputs
        of_run = run_digest(writer.spec, key_offsets)
        self.names = [shard_name(of_run, group) for group in groups]
        self._arrived: set[int] = set()
        self._next = 0
        self._done = n_inputs - sum(map(len, groups))
        self._damaged = 0
        shards.make()
        there = shards.names()
        # Stored by a job that was killed before it let go of them, or of a run that is no more.
        shards.remove(there - set(self.names))
        self.arrive(place for place, name in enumerate(self.names) if name in there)

    def arrive(self, places: Iterable[int]) -> None:
        """These batches are written."""
        new = set(places) - self._arrived
        self._arrived |= new
        self._done += sum(len(self._groups[place]) for place in new)
        self.tell()

    @property
    def is_done(self) -> bool:
        """Every batch is stored."""
        return self._next == len(self.names)

    def missing(self) -> list[int]:
        """The batches that have not arrived, in order."""
        return [place for place in range(self._next, len(self.names)) if place not in self._arrived]

    def merge(self) -> int | None:
        """Store what can be stored in order.

        Returns:
            A batch that has to be written again, its shard being damaged; else None.

        Raises:
            RunError: Shards are damaged again and again, or the run cannot be written.
        """
        while self._next in self._arrived:
            found = self._shards.read(self.names[self._next])
            if found is None:
                self._damaged += 1
                if self._damaged > RETRIES:
                    raise RunError("Shards arrive damaged again and again: check the disk that they are written to.")
                self._arrived.discard(self._next)
                self._done -= len(self._groups[self._next])
                return self._next
            rows, extra = found
            self._writer.put_rows(rows)
            if MAPS in extra:
                self._take(maps_of_rows(extra[MAPS]))
            self._shards.remove([self.names[self._next]])
            self._arrived.discard(self._next)
            self._next += 1
        return None

    def inputs_of(self, place: int) -> str:
        """The inputs of a batch, in words."""
        ids = sorted(self._groups[place])
        return f"input {ids[0]}" if len(ids) == 1 else f"{len(ids)} inputs from {ids[0]} to {ids[-1]}"

    def tell(self, message: str = "") -> None:
        """Report how many inputs are written or stored."""
        self._report(Progress("capture", self._done, self._n_inputs, "inputs", message, self._writer.run_id))
