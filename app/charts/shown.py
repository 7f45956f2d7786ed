"""From the attention of a head to what is shown: tokens hidden, rows scaled up again, sub-words merged into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analysis.errors import UserError

LEAST_LEFT = 1e-6
"""A row of which less than this share is left is not scaled up: its digits would be rounding."""


@dataclass(frozen=True)
class Shown:
    """A matrix over units: a unit is a token, or a word of several.

    Attributes:
        weights: Of query unit on key unit; a row has the sum it had before anything was hidden.
        allowed: True where any token of the query unit may attend to any of the key unit.
        unit_of: The unit of every token; -1 where the token is hidden.
        first: Position of the first shown token of each unit.
        last: Position of the last shown token of each unit.
        hidden_mass: Share of each query unit's weight that lay on hidden tokens, 0..1.
        n_emptied: Query tokens whose weight lay on hidden tokens only; their rows are 0.
        sinks: Key units that are hidden as sinks, and still are there as queries; nobody may attend to them.
    """

    weights: Float[np.ndarray, "query key"]
    allowed: Bool[np.ndarray, "query key"]
    unit_of: Int[np.ndarray, " token"]
    first: Int[np.ndarray, " unit"]
    last: Int[np.ndarray, " unit"]
    hidden_mass: Float[np.ndarray, " query"]
    n_emptied: int
    sinks: Bool[np.ndarray, " key"]

    def __len__(self) -> int:
        return len(self.first)

    def unit(self, token: int | None) -> int | None:
        """The unit a token belongs to; None where it is hidden or nothing is picked."""
        unit = -1 if token is None else int(self.unit_of[token])
        return None if unit < 0 else unit

    def seen(self) -> Float[np.ndarray, "query key"]:
        """The weights with NaN where a query may not attend."""
        return self.weights if self.allowed.all() else np.where(self.allowed, self.weights, np.nan)

    def part(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Weights of some queries on some keys, and which of them may attend."""
        return self.weights[rows, columns], self.allowed[rows, columns]

    def row(self, unit: int) -> Float[np.ndarray, " key"]:
        """Weights of one query, NaN where it may not attend."""
        return np.where(self.allowed[unit], self.weights[unit], np.nan)

    def column(self, unit: int) -> Float[np.ndarray, " query"]:
        """Weights on one key, NaN where a query may not attend."""
        return np.where(self.allowed[:, unit], self.weights[:, unit], np.nan)

    def mean(self, queries: range) -> Float[np.ndarray, " key"]:
        """The mean of consecutive queries."""
        return self.weights[queries.start : queries.stop].mean(axis=0)

    @property
    def largest(self) -> float:
        """The largest weight of all."""
        return float(self.weights.max())

    def strongest_queries(self, keys: slice) -> tuple[np.ndarray, np.ndarray]:
        """The queries that weigh each of some keys most, and how much; as `strongest`."""
        return strongest(self.weights[:, keys].T, self.allowed[:, keys].T)


class Strongest(NamedTuple):
    """The strongest keys of every query unit and the strongest queries of every key unit, largest first.

    Attributes:
        keys: Units, -1 where there are fewer.
        key_weights: Their weights, 0 where there are fewer.
    """

    keys: Int[np.ndarray, "query n"]
    key_weights: Float[np.ndarray, "query n"]
    queries: Int[np.ndarray, "key n"]
    query_weights: Float[np.ndarray, "key n"]


def show_attention(
    attention: Float[np.ndarray, "query key"],
    allowed: Bool[np.ndarray, "query key"],
    hidden: Bool[np.ndarray, " token"],
    group: Int[np.ndarray, " token"],
    sinks: Bool[np.ndarray, " token"] | None = None,
    scales: bool = True,
) -> Shown:
    """Hide tokens, then merge groups.

    A hidden token is taken away as query and as key; what is left of a row is scaled up to the row's old sum. A group
    attends as the mean of its queries and is attended to with the sum of its keys, so that rows still have their sum.

    Args:
        attention: Weights of one head, or any rows of which a share can be said.
        allowed: True where the query may attend to the key.
        hidden: Tokens to take away.
        group: Number of each token's group, ascending by one at each first token of a group.
        scales: Scale rows up to their old sum; of signed weights, whose sum means nothing, they stay as they are.
        sinks: Keys that are hidden already, as `analysis.sinks.hide_sinks` does it: their weights are 0.

    Raises:
        UserError: Nothing would be left.
    """
    units = units_of(hidden, group)
    sinks = np.zeros(len(hidden), dtype=bool) if sinks is None else sinks
    rows = show_rows(attention, allowed & ~sinks if sinks.any() else allowed, 0, units, scales)
    return Shown(
        rows.weights, rows.allowed, units.unit_of, units.first, units.last, rows.hidden_mass, rows.n_emptied,
        units.of_sinks(sinks),
    )  # fmt: skip


@dataclass(frozen=True)
class Units:
    """Which tokens are shown, and which of them as one.

    Attributes:
        kept: Positions of the tokens that are not hidden.
        starts: Where in `kept` each unit begins.
        unit_of, first, last: As in `Shown`.
    """

    kept: Int[np.ndarray, " kept"]
    starts: Int[np.ndarray, " unit"]
    unit_of: Int[np.ndarray, " token"]
    first: Int[np.ndarray, " unit"]
    last: Int[np.ndarray, " unit"]

    def of_sinks(self, sinks: Bool[np.ndarray, " token"]) -> Bool[np.ndarray, " unit"]:
        """Units that are sinks in all of their tokens."""
        kept = sinks[self.kept]
        return kept if len(self.starts) == len(kept) else np.logical_and.reduceat(kept, self.starts)


class ShownRows(NamedTuple):
    """Some rows of `Shown`: weights, allowed, hidden mass and queries that are emptied."""

    weights: Float[np.ndarray, "query key"]
    allowed: Bool[np.ndarray, "query key"]
    hidden_mass: Float[np.ndarray, " query"]
    n_emptied: int


def units_of(hidden: Bool[np.ndarray, " token"], group: Int[np.ndarray, " token"]) -> Units:
    """The units, as `show_attention` makes them.

    Raises:
        UserError: Nothing would be left.
    """
    if hidden.all():
        raise UserError("Every token of this input is hidden: take some out of the list under Show.")
    kept = np.flatnonzero(~hidden)
    starts = np.flatnonzero(np.diff(group[kept], prepend=-1))
    ends = np.append(starts[1:], len(kept)) - 1
    unit_of = np.full(len(hidden), -1)
    unit_of[kept] = np.cumsum(np.isin(np.arange(len(kept)), starts)) - 1
    return Units(kept, starts, unit_of, kept[starts], kept[ends])


def show_rows(
    attention: Float[np.ndarray, "query key"],
    allowed: Bool[np.ndarray, "query key"],
    begin: int,
    units: Units,
    scales: bool = True,
) -> ShownRows:
    """What `show_attention` does, of some rows: the tokens of whole units, the first of them at `begin`."""
    n_keys = len(units.unit_of)
    weights, kept = attention, units.kept
    own = slice(*np.searchsorted(kept, [begin, begin + len(attention)]).tolist())
    mass, n_emptied = np.zeros(len(attention)), 0
    if len(kept) < n_keys:
        rows = kept[own] - begin
        total = attention[rows].sum(axis=1, dtype=np.float64)
        weights, allowed = attention[np.ix_(rows, kept)], allowed[np.ix_(rows, kept)]
        left = weights.sum(axis=1, dtype=np.float64)
        is_left = left > LEAST_LEFT * total
        n_emptied = int((~is_left & (total > 0)).sum())
        mass = np.clip(1 - left / np.where(total > 0, total, 1), 0, 1) * (total > 0)
        factor = np.where(is_left, total / np.where(is_left, left, 1), 0) if scales else np.ones(len(rows))
        weights = (weights * factor[:, None]).astype(np.float32)
    starts = units.starts
    if len(starts) < len(kept):
        at = starts[slice(*np.searchsorted(starts, [own.start, own.stop]).tolist())] - own.start
        size = np.diff(at, append=len(weights))[:, None]
        weights = np.add.reduceat(np.add.reduceat(weights, starts, axis=1), at, axis=0) / size.astype(np.float32)
        allowed = np.logical_or.reduceat(np.logical_or.reduceat(allowed, starts, axis=1), at, axis=0)
        mass = np.add.reduceat(mass, at) / size[:, 0]
    return ShownRows(weights, allowed, mass, n_emptied)


def block_in(n_tokens: int, queries: np.ndarray, keys: np.ndarray, block: np.ndarray) -> np.ndarray:
    """A block among `n_tokens` queries and keys, at these rows and columns; 0 or False elsewhere."""
    if len(queries) == len(keys) == n_tokens:
        return block
    whole = np.zeros((*block.shape[:-2], n_tokens, n_tokens), dtype=block.dtype)
    whole[..., queries[:, None], keys] = block
    return whole


def each_alone(n_tokens: int) -> Int[np.ndarray, " token"]:
    """Groups of one token."""
    return np.arange(n_tokens)


def word_groups(tokens: pd.DataFrame, text: str) -> Int[np.ndarray, " token"]:
    """Groups of tokens that are one word: their places in the text touch and no white space lies between.

    Args:
        tokens: The input's rows of the token table, by position: char_start, char_end, is_special.
        text: The whole input.

    Returns:
        The number of each token's word. Special tokens and tokens without a place in the text stay alone.
    """
    starts, ends = (tokens[name].fillna(-1).to_numpy(dtype=int) for name in ("char_start", "char_end"))
    has_place = (ends > starts) & (starts >= 0) & ~tokens["is_special"].to_numpy(dtype=bool)
    is_first = np.ones(len(tokens), dtype=bool)
    for i in range(1, len(tokens)):
        if has_place[i] and has_place[i - 1] and starts[i] <= ends[i - 1]:
            around = text[ends[i - 1] - 1 : ends[i - 1]] + text[starts[i] : starts[i] + 1]
            is_first[i] = any(sign.isspace() for sign in around)
    return np.cumsum(is_first) - 1


def hidden_tokens(said: str, is_special: Bool[np.ndarray, " token"]) -> Bool[np.ndarray, " token"]:
    """The tokens a link hides: ``special``, positions, or both, as in ``special,3,7``. Other words mean nothing;
    what the legend of a head hides, ``genre:0,3``, goes by the same name."""
    words = {word.strip() for word in said.split(",")} if ":" not in said else set()
    hidden = is_special.copy() if "special" in words else np.zeros(len(is_special), dtype=bool)
    places = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 9]
    hidden[[place for place in places if place < len(hidden)]] = True
    return hidden


def strongest_both_ways(shown: Shown, n: int = 3) -> Strongest:
    """The `n` strongest of every row and of every column."""
    return Strongest(*strongest(shown.weights, shown.allowed, n), *strongest(shown.weights.T, shown.allowed.T, n))


def strongest(
    weights: Float[np.ndarray, "query key"], allowed: Bool[np.ndarray, "query key"], n: int = 3
) -> tuple[Int[np.ndarray, "query n"], Float[np.ndarray, "query n"]]:
    """For each query the `n` keys with the largest weights, by their size where they are signed, largest first; -1 and
    0 where it may attend to fewer."""
    seen = np.where(allowed, np.abs(weights), -1).astype(np.float32)
    n = min(n, seen.shape[1])
    some = np.argpartition(-seen, n - 1, axis=1)[:, :n]
    values = np.take_along_axis(seen, some, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    keys, values = np.take_along_axis(some, order, axis=1), np.take_along_axis(values, order, axis=1)
    own = np.where(values < 0, 0, np.take_along_axis(np.asarray(weights), keys, axis=1))
    return np.where(values < 0, -1, keys).astype(np.int32), own.astype(np.float32)
