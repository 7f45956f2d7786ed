"""Joint maps of a run: made during its extraction, or added to a finished run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis import __version__
from analysis.errors import RunError
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    from analysis.projection.fit import Thinned
    from analysis.projection.naming import MapKind
    from analysis.projection.problem import HeadProblem, Layout
    from analysis.store import AddonWriter, RunWriter
    from analysis.store.reading import Reader
    from analysis.types import Site

POINT_BYTES = 30
"""On disk, of a point, with what tells whose it is; measured."""

THUMBNAIL_PX = 80
"""Width of a head's thumbnail."""


def project(
    run: str | Path,
    *,
    method: str,
    dims: int = 2,
    target: str = "attention",
    aligned: bool = False,
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report = silent,
) -> str:
    """Add a joint map to a finished run, as an add-on file of its own; go on with it where an earlier call was stopped.

    Args:
        run: Id of the run or its folder.
        method: A name in `PROJECTIONS`.
        dims: 2 or 3.
        target: ``attention``, or ``without_sinks`` for attention without sinks and special tokens.
        aligned: Start each head towards the head before it, so that neighbouring heads can be compared by eye.
        seed: Of the method.
        runs_dir: Folder of the runs, when `run` is an id.
        report: Told how far the work has come.

    Returns:
        The name of the add-on.

    Raises:
        UserError: Unknown method, unknown run, or a map of these settings is already there.
    """
    from analysis.projection import PROJECTIONS
    from analysis.projection.naming import MapKind
    from analysis.store import add_to_run, open_run

    kind = MapKind(method, dims, target, aligned)
    kind.check()
    name = kind.name + (f"-seed{seed}" if seed else "")
    with open_run(run, runs_dir) as opened:
        if (kind, seed) in _made(opened):
            raise RunError(f"{opened.run_id} already has the map {name}; choose another seed, target or method.")
        made_by = {**asdict(kind), "seed": seed, "code_version": __version__}
        with add_to_run(opened.path, name, {**made_by, **PROJECTIONS[method].parameters(target)}) as addition:
            addition.expect(map_bytes(opened))
            make_map(addition, opened, kind, seed=seed, report=report)
            made_from = {part: opened.manifest.get(part) for part in ("model", "model_revision", "data", "data_hash")}
            addition.publish({**made_from, **made_by})
    report(Progress("done"))
    return name


def _made(run: Reader) -> set[tuple[MapKind, int]]:
    """The kinds and seeds of the maps a run has."""
    from analysis.projection.naming import MapKind

    return {
        (MapKind(row.method, row.dims, row.target, bool(json.loads(row.parameters).get("aligned"))), row.seed)
        for row in run.projections().itertuples()
    }


def make_map(
    writer: RunWriter | AddonWriter,
    reader: Reader,
    kind: MapKind,
    *,
    seed: int = 0,
    report: Report = silent,
) -> str:
    """Lay out every head of a run, with its fidelity, and draw the thumbnails of every stack."""
    from analysis.projection import PROJECTIONS
    from analysis.projection.fit import fit_heads
    from analysis.projection.problem import Layout

    sites = reader.mapped_sites
    if not sites:
        raise RunError("The run has attention alone, without queries and keys: there is nothing to map.")
    parameters = {**PROJECTIONS[kind.method].parameters(kind.target), "code_version": __version__}
    parameters |= {"aligned": True} if kind.aligned else {}
    projection_id = writer.put_projection("", kind.method, kind.target, kind.dims, seed, parameters)
    done = writer.done_heads(projection_id)
    heads = [(site, head) for site in sites for head in range(site.n_heads)]
    is_special = reader.tokens()["is_special"].to_numpy(dtype=bool)
    sides = {site.key: _sides(reader, site, is_special) for site in sites}
    waiting = [
        (site.key, head, partial(StoredHead, reader, site, head, *sides[site.key]))
        for site, head in heads
        if kind.aligned or (site.key, head) not in done
    ]
    n_done = len(done)
    report(Progress("project", n_done, len(heads), "heads", message=f"Making the map {projection_id}"))

    def known(key: str, head: int) -> Layout | None:
        return Layout(*writer.layout(projection_id, key, head)) if (key, head) in done else None

    for key, head, layout, fidelity in fit_heads(waiting, **asdict(kind), seed=seed, known=known):
        # Coordinates last: a head that has them is done.
        writer.put_head_parameters(projection_id, key, head, layout.parameters)
        writer.put_fidelity(projection_id, key, head, fidelity)
        writer.put_coordinates(projection_id, key, head, layout.queries, layout.keys)
        n_done += 1
        report(Progress("project", n_done, len(heads), "heads"))
    _draw_thumbnails(writer, projection_id, sites)
    return projection_id


def map_bytes(reader: Reader) -> int:
    """About what a map of a run takes on disk."""
    sides = ((site, reader.query_rows(site), reader.key_rows(site)) for site in reader.mapped_sites)
    return POINT_BYTES * sum(site.n_heads * (len(queries) + len(keys)) for site, queries, keys in sides)


@dataclass(frozen=True)
class StoredHead:
    """One head of a run as `fit_heads` wants it: read only for the inputs asked for, so that memory stays bounded.

    Attributes:
        starts: Row of the queries at which each input begins, and their number at the end.
        is_special: For every key of the run.
        key_starts: Row of the keys at which each input begins, where they are other tokens than the queries.
        special_queries: For every one of these.
    """

    reader: Reader
    site: Site
    head: int
    starts: np.ndarray
    is_special: np.ndarray
    key_starts: np.ndarray | None = None
    special_queries: np.ndarray | None = None

    @property
    def bounds_of_keys(self) -> np.ndarray:
        """Row of the keys at which each input begins, and their number at the end."""
        return self.starts if self.key_starts is None else self.key_starts

    @property
    def input_ids(self) -> np.ndarray:
        """Of the inputs, in order."""
        return np.array(list(self.reader.lengths_of(self.site.query_sequence)))

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """All queries and all keys."""
        return self.reader.queries(self.site, self.head), self.reader.keys(self.site, self.head)

    def thinned(self, seed: int) -> Thinned | None:
        """A sample of the tokens of every long input, the same for all heads; None where none is long."""
        from analysis.pipeline.thinned_head import LONGEST_INPUT, ThinnedHead, kept_tokens
        from analysis.projection.fit import Thinned

        sides = np.diff(self.starts), np.diff(self.bounds_of_keys)
        if max(int(lengths.max(initial=0)) for lengths in sides) <= LONGEST_INPUT:
            return None
        head = ThinnedHead(self, *(kept_tokens(lengths, seed, LONGEST_INPUT) for lengths in sides))
        return Thinned(head, head.rows, head.key_rows)

    def of_inputs(self, inputs: np.ndarray) -> HeadProblem:
        """The problem of some inputs, rising."""
        from analysis.projection.problem import HeadProblem, bounds_of, rows_of

        everything = len(inputs) == len(self.starts) - 1
        chosen = None if everything else inputs
        key_starts, special = self.key_starts, self.special_queries
        return HeadProblem(
            queries=self.reader.queries(self.site, self.head, chosen),
            keys=self.reader.keys(self.site, self.head, chosen),
            scale=self.site.scale,
            starts=bounds_of(self.starts, inputs),
            attention=self.reader.attention_by_input(self.site, self.head, chosen),
            allowed=self.reader.allowed_by_input(self.site, chosen),
            is_special=self.is_special[rows_of(self.starts if key_starts is None else key_starts, inputs)],
            key_starts=None if key_starts is None else bounds_of(key_starts, inputs),
            special_queries=None if special is None else special[rows_of(self.starts, inputs)],
        )


def _sides(reader: Reader, site: Site, is_special: np.ndarray) -> tuple:
    """Of `StoredHead`, what all heads of a site share."""
    starts, key_starts = (
        np.concatenate([[0], np.cumsum(list(reader.lengths_of(name).values()))])
        for name in (site.query_sequence, site.key_sequence)
    )
    special_queries, special = (is_special[rows] for rows in (reader.query_rows(site), reader.key_rows(site)))
    return (starts, special, key_starts, special_queries) if site.is_cross else (starts, special)


def _draw_thumbnails(writer: RunWriter | AddonWriter, projection_id: str, sites: Sequence[Site]) -> None:
    from analysis.projection.problem import Layout
    from analysis.projection.thumbnails import sprite

    for stack in dict.fromkeys(site.stack_label for site in sites):
        layouts = {}
        for site in (site for site in sites if site.stack_label == stack):
            for head in range(site.n_heads):
                layouts[site.depth, head] = Layout(*writer.layout(projection_id, site.key, head))
        writer.put_thumbnail(projection_id, stack, sprite(layouts, THUMBNAIL_PX), THUMBNAIL_PX)
