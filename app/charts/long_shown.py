"""What is shown of a text too long for its matrix to be held: rows that are read when they are drawn, and figures of
all rows, made in one pass over windows of them. Windows in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from app.charts.scales import RANKED, ColourScale, make_scale, scale_by_rank
from app.charts.shown import Strongest


class Rows(NamedTuple):
    """Some rows of what is shown, over all units as keys.

    Attributes:
        first: Unit of the first of them.
        weights: As in `app.charts.shown.Shown`.
        allowed: As there.
    """

    first: int
    weights: Float[np.ndarray, "query key"]
    allowed: Bool[np.ndarray, "query key"]


class LongFacts(NamedTuple):
    """What one pass over all rows tells.

    Attributes:
        strongest: Of every row and column.
        mean: Of every key over the queries.
        largest: The largest weight.
        n_allowed: Pairs that may attend.
        blocks: The largest weight of each block of cells, NaN where none may attend.
    """

    strongest: Strongest
    mean: Float[np.ndarray, " key"]
    largest: float
    n_allowed: int
    blocks: Float[np.ndarray, "pixel_row pixel_column"]


@dataclass(frozen=True)
class LongShown:
    """A matrix over units that is not held; where `app.charts.shown.Shown` is drawn, this is too.

    Attributes:
        read: Gives the rows from one unit to the one before another.
        read_column: Gives the weights of all queries on one unit, and which may attend to it.
        facts: Of all rows.
        unit_of, first, last, hidden_mass, n_emptied, sinks: As in `Shown`.
    """

    read: Callable[[int, int], Rows]
    read_column: Callable[[int], tuple[np.ndarray, np.ndarray]]
    facts: LongFacts
    unit_of: Int[np.ndarray, " token"]
    first: Int[np.ndarray, " unit"]
    last: Int[np.ndarray, " unit"]
    hidden_mass: Float[np.ndarray, " query"]
    n_emptied: int
    sinks: Bool[np.ndarray, " key"]
    _kept: dict[tuple[int, int], Rows] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.first)

    def unit(self, token: int | None) -> int | None:
        """The unit a token belongs to; None where it is hidden or nothing is picked."""
        unit = -1 if token is None else int(self.unit_of[token])
        return None if unit < 0 else unit

    def part(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Weights of some queries on some keys, and which of them may attend."""
        begin, end, _ = rows.indices(len(self))
        if (begin, end) not in self._kept:
            self._kept[begin, end] = self.read(begin, end)
        found = self._kept[begin, end]
        return found.weights[:, columns], found.allowed[:, columns]

    def row(self, unit: int) -> Float[np.ndarray, " key"]:
        """Weights of one query, NaN where it may not attend."""
        weights, allowed = self.part(slice(unit, unit + 1), slice(None))
        return np.where(allowed[0], weights[0], np.nan)

    def column(self, unit: int) -> Float[np.ndarray, " query"]:
        """Weights on one key, NaN where a query may not attend."""
        weights, allowed = self.read_column(unit)
        return np.where(allowed, weights, np.nan)

    def mean(self, queries: range) -> Float[np.ndarray, " key"]:
        """The mean over queries; all of them, as those of an input that is one sequence are."""
        return self.facts.mean

    @property
    def largest(self) -> float:
        """The largest weight of all."""
        return self.facts.largest

    def strongest_queries(self, keys: slice) -> tuple[np.ndarray, np.ndarray]:
        """The queries that weigh each of some keys most, and how much."""
        return self.facts.strongest.queries[keys], self.facts.strongest.query_weights[keys]


def look_through(windows: Iterable[Rows], n_units: int, pixels: int, n: int = 3) -> LongFacts:
    """The figures of all rows.

    Args:
        windows: Of consecutive rows, all of them.
        pixels: Rows and columns of `LongFacts.blocks`, at most.
        n: Strongest keys of every query, and queries of every key.
    """
    n = min(n, n_units)
    keys, key_weights = np.full((n_units, n), -1, np.int32), np.zeros((n_units, n), np.float32)
    queries, query_weights = np.full((n, n_units), -1, np.int32), np.full((n, n_units), -1, np.float32)
    total, largest, n_allowed = np.zeros(n_units), 0.0, 0
    blocks = _Blocks(n_units, pixels)
    for window in windows:
        seen = np.where(window.allowed, window.weights, np.float32(-1))
        rows = slice(window.first, window.first + len(seen))
        blocks.add(window.first, seen)
        total += window.weights.sum(axis=0, dtype=np.float64)
        n_allowed += int(np.count_nonzero(window.allowed))
        largest = max(largest, float(seen.max(initial=0)))
        _take_columns(seen, window.first, queries, query_weights)
        for place in range(n):
            at = seen.argmax(axis=1)
            best = np.take_along_axis(seen, at[:, None], axis=1)[:, 0]
            keys[rows, place], key_weights[rows, place] = np.where(best < 0, -1, at), np.maximum(best, 0)
            np.put_along_axis(seen, at[:, None], np.float32(-1), axis=1)
    is_none = query_weights < 0
    query_weights = np.where(is_none, np.float32(0), query_weights)
    top = Strongest(keys, key_weights, np.ascontiguousarray(queries.T), np.ascontiguousarray(query_weights.T))
    return LongFacts(top, (total / n_units).astype(np.float32), largest, n_allowed, blocks.found())


def _take_columns(seen: np.ndarray, first: int, queries: np.ndarray, weights: np.ndarray) -> None:
    """Bring the strongest queries of every key up to date with some rows; changed in place."""
    touched = np.flatnonzero(seen.max(axis=0) > weights[-1])
    if not len(touched):
        return
    n = len(weights)
    # The rows before come first: of equal weights the earlier query is named.
    both = np.concatenate([weights[:, touched], seen[:, touched]]).T.copy()
    fresh = np.broadcast_to(np.arange(first, first + len(seen), dtype=np.int32), (len(touched), len(seen)))
    numbers = np.concatenate([queries[:, touched].T, fresh], axis=1)
    lines = np.arange(len(touched))
    for place in range(n):
        at = both.argmax(axis=1)
        best = both[lines, at]
        weights[place, touched], queries[place, touched] = best, np.where(best < 0, -1, numbers[lines, at])
        both[lines, at] = -2


class _Blocks:
    """The largest weight of each block, as `app.charts.head_maps.reduce_to` finds it in a whole matrix."""

    def __init__(self, n_units: int, pixels: int) -> None:
        self._step = -(-n_units // pixels)
        self._starts = np.arange(0, n_units, self._step)
        self._largest = np.full((len(self._starts),) * 2, -1, np.float32)

    def add(self, first: int, seen: np.ndarray) -> None:
        """Take some rows; -1 where a query may not attend."""
        across = np.maximum.reduceat(seen, self._starts, axis=1)
        of_row = np.arange(first, first + len(seen)) // self._step
        begins = np.flatnonzero(np.diff(of_row, prepend=-1))
        blocks, down = of_row[begins], np.maximum.reduceat(across, begins, axis=0)
        self._largest[blocks] = np.maximum(self._largest[blocks], down)

    def found(self) -> np.ndarray:
        return np.where(self._largest < 0, np.nan, self._largest)


def blocks_of(windows: Iterable[Rows], n_units: int, pixels: int) -> Float[np.ndarray, "pixel_row pixel_column"]:
    """The whole matrix with at most so many rows and columns, each the largest weight of its block."""
    blocks = _Blocks(n_units, pixels)
    for window in windows:
        blocks.add(window.first, np.where(window.allowed, window.weights, np.float32(-1)))
    return blocks.found()


def long_scale(windows: Callable[[], Iterable[Rows]], facts: LongFacts, name: str) -> ColourScale:
    """The scale that `make_scale` makes of the whole matrix; only ranks need a pass over it."""
    if name != "rank":
        return make_scale(np.array([facts.largest]), name)
    step, taken, at = -(-facts.n_allowed // RANKED), [], 0
    for window in windows():
        known = window.weights[window.allowed]
        taken.append(known[-at % step :: step])
        at += len(known)
    return scale_by_rank(np.concatenate(taken), facts.largest or 1.0)


def strongest_pairs(windows: Iterable[Rows], most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and weights of the strongest pairs, in order of the queries; at most so many."""
    query, key, weight = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    least = -1.0
    for window in windows:
        row, column = np.nonzero(window.allowed & (window.weights > least))
        query, key = np.concatenate([query, row + window.first]), np.concatenate([key, column])
        weight = np.concatenate([weight, window.weights[row, column]])
        if len(weight) > most:
            kept = np.sort(np.argpartition(-weight, most - 1)[:most])
            query, key, weight = query[kept], key[kept], weight[kept]
            least = float(weight.min())
    return query, key, weight
