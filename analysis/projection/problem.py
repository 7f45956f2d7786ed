"""One head as a layout problem: its vectors, who may attend to whom, and how much they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from analysis.errors import UnknownName
from analysis.sinks import USUAL, SinkRule, sink_columns

TARGETS = ("attention", "without_sinks")
"""What a map is trained on and judged by: the whole attention, or the attention without sink columns."""

N_NEIGHBOURS = 15
"""Neighbours a map should keep; the customary number of UMAP and of AttentionViz."""


@dataclass(frozen=True)
class Layout:
    """Where the points of one head lie.

    Attributes:
        queries: One place per query, in token-table order.
        keys: One place per key.
        parameters: Everything that made the map, as plain values for JSON. ``reading`` says how distance is
            turned into attention: ``{"power": a, "sigma": s}`` for ``(1 + d^2 / s^2)^-a``, with ``power`` 0 for
            ``exp(-d^2 / s^2)``; without it, the kindest reading of a family is searched for.
    """

    queries: Float32[np.ndarray, "query dims"]
    keys: Float32[np.ndarray, "key dims"]
    parameters: dict[str, Any] = field(default_factory=dict)


class Pairs(NamedTuple):
    """Every (query, key) pair that may attend, as one run of keys per query: what the kernels read.

    Attributes:
        first: The first key of each query's run, as a row of the point table.
        length: Keys in the run; 0 for a query with nothing to explain.
        offset: Where the run begins in `target`.
        target: The weights, each run summing to 1; -1 marks a key inside the run that may not be attended.
        n_allowed: Keys of the run that may be attended.
    """

    first: Int[np.ndarray, " point"]
    length: Int[np.ndarray, " point"]
    offset: Int[np.ndarray, " point"]
    target: Float32[np.ndarray, " pair"]
    n_allowed: Int[np.ndarray, " point"]


@dataclass(frozen=True)
class HeadProblem:
    """All queries and keys of one head over a run, with its attention.

    Attributes:
        queries: All inputs one after the other.
        keys: Same rows as `queries`; of other tokens where there are `key_starts`.
        scale: Factor on q·k before the softmax.
        starts: Row of the queries at which each input begins, and their number at the end.
        attention: One matrix per input. Rows are read as proportions: with learned sinks they sum to less than 1
            and are rescaled over the keys.
        allowed: One mask per input, True where the query may attend to the key.
        is_special: True for CLS, SEP, registers and the like among the tokens that are keys.
        target: One of `TARGETS`; see `with_target`.
        key_starts: Row of the keys at which each input begins, where they are other tokens than the queries.
        special_queries: The special ones of these.
    """

    queries: Float[np.ndarray, "query d_head"]
    keys: Float[np.ndarray, "key d_head"]
    scale: float
    starts: Int[np.ndarray, " boundary"]
    attention: Sequence[Float[np.ndarray, "_ _"]]
    allowed: Sequence[Bool[np.ndarray, "_ _"]]
    is_special: Bool[np.ndarray, " key"]
    target: str = "attention"
    key_starts: Int[np.ndarray, " boundary"] | None = None
    special_queries: Bool[np.ndarray, " query"] | None = None

    @property
    def n_points(self) -> int:
        """Number of queries; in self-attention that of tokens, each with one query and one key."""
        return len(self.queries)

    @property
    def bounds_of_keys(self) -> Int[np.ndarray, " boundary"]:
        """Row of the keys at which each input begins, and their number at the end."""
        return self.starts if self.key_starts is None else self.key_starts

    @property
    def is_special_query(self) -> Bool[np.ndarray, " query"]:
        """True for queries of special tokens."""
        return self.is_special if self.special_queries is None else self.special_queries

    @property
    def d_head(self) -> int:
        """Width of a query."""
        return self.queries.shape[1]

    def with_target(self, target: str) -> HeadProblem:
        """The same head with attention as the given target has it.

        Args:
            target: ``"attention"`` keeps it whole; ``"without_sinks"`` removes sink and special columns.

        Raises:
            UnknownName: No such target, or sinks cannot be put back.
        """
        if target == self.target:
            return self
        if target not in TARGETS or self.target != "attention":
            raise UnknownName(
                f"There is no way from the target {self.target!r} to {target!r}; known: {', '.join(TARGETS)}, "
                "always starting from 'attention'."
            )
        # Where keys are other tokens than queries, no query is a token's own.
        rule = USUAL if self.key_starts is None else replace(USUAL, counts_own=True)
        attention, allowed = without_sinks(self.attention, self.allowed, self.is_special, self.bounds_of_keys, rule)
        narrowed = replace(self, attention=attention, allowed=allowed, target=target)
        for name in ("query_neighbours", "key_neighbours"):
            if name in self.__dict__:
                narrowed.__dict__[name] = self.__dict__[name]
        return narrowed

    def of_inputs(self, inputs: Int[np.ndarray, " input"]) -> HeadProblem:
        """The same head on some of its inputs only, in the order given."""
        if np.array_equal(inputs, np.arange(len(self.attention))):
            return self
        rows, key_rows = rows_of(self.starts, inputs), rows_of(self.bounds_of_keys, inputs)
        special = self.special_queries
        return replace(
            self, queries=self.queries[rows], keys=self.keys[key_rows], is_special=self.is_special[key_rows],
            starts=bounds_of(self.starts, inputs), special_queries=None if special is None else special[rows],
            key_starts=None if self.key_starts is None else bounds_of(self.key_starts, inputs),
            attention=[self.attention[i] for i in inputs], allowed=[self.allowed[i] for i in inputs],
        )  # fmt: skip

    @cached_property
    def pairs(self) -> Pairs:
        """The allowed pairs packed for the kernels."""
        return pack(self.attention, self.allowed, self.bounds_of_keys)

    @cached_property
    def query_neighbours(self) -> Int[np.ndarray, "query neighbour"]:
        """The nearest other queries of each query, by Euclidean distance, nearest first."""
        from analysis.projection.kernels.neighbours import nearest

        return nearest(self.queries, min(N_NEIGHBOURS, len(self.queries) - 1))

    @cached_property
    def key_neighbours(self) -> Int[np.ndarray, "key neighbour"]:
        """The nearest other keys of each key, by Euclidean distance, nearest first."""
        from analysis.projection.kernels.neighbours import nearest

        return nearest(self.keys, min(N_NEIGHBOURS, len(self.keys) - 1))


def rows_of(starts: Int[np.ndarray, " boundary"], inputs: Int[np.ndarray, " input"]) -> Int[np.ndarray, " point"]:
    """Rows of the point table that belong to some inputs, in the order of the inputs."""
    sizes = np.diff(starts)[inputs]
    return np.arange(sizes.sum()) + np.repeat(starts[inputs] - (np.cumsum(sizes) - sizes), sizes)


def bounds_of(
    starts: Int[np.ndarray, " boundary"], inputs: Int[np.ndarray, " input"]
) -> Int[np.ndarray, " kept_boundary"]:
    """`starts` of some inputs put after each other."""
    return np.concatenate([[0], np.cumsum(np.diff(starts)[inputs])])


def without_sinks(
    attention: Sequence[Float[np.ndarray, "_ _"]],
    allowed: Sequence[Bool[np.ndarray, "_ _"]],
    is_special: Bool[np.ndarray, " key"],
    starts: Int[np.ndarray, " boundary"],
    rule: SinkRule = USUAL,
) -> tuple[list[Float[np.ndarray, "_ _"]], list[Bool[np.ndarray, "_ _"]]]:
    """Remove sink and special columns and rescale what remains.

    Sinks are found on each input, see `analysis.sinks.sink_columns`. A query left with less than a millionth of its
    attention has nothing to explain: its row becomes zero.

    Args:
        attention: One matrix per input; not changed.
        allowed: One mask per input; not changed.
        is_special: For all keys of the run.
        starts: Row of the keys at which each input begins.
        rule: From how much attention on a key is a sink.

    Returns:
        Attention with rows that sum to 1 (or 0), and masks without the removed columns.
    """
    kept_attention, kept_allowed = [], []
    for index, (weights, mask) in enumerate(zip(attention, allowed)):
        removed = sink_columns(weights, mask, rule) | is_special[starts[index] : starts[index + 1]]
        mask = mask & ~removed[None, :]
        rest = np.where(mask, weights, 0).astype(np.float32)
        total = rest.sum(axis=1, keepdims=True)
        kept_attention.append(np.where(total > 1e-6, rest / np.maximum(total, 1e-6), 0).astype(np.float32))
        kept_allowed.append(mask)
    return kept_attention, kept_allowed


def pack(
    attention: Sequence[Float[np.ndarray, "_ _"]],
    allowed: Sequence[Bool[np.ndarray, "_ _"]],
    starts: Int[np.ndarray, " boundary"],
) -> Pairs:
    """Attention as one run of keys per query, from the first allowed key to the last; see `Pairs`."""
    first, length, n_allowed, runs = [], [], [], []
    for start, weights, mask in zip(starts, attention, allowed):
        total = np.where(mask, weights, 0).sum(axis=1, keepdims=True)
        rows = np.where(mask, weights / np.where(total > 0, total, 1), -1).astype(np.float32)
        useful = mask.any(axis=1) & (total[:, 0] > 0)
        begin = np.where(useful, mask.argmax(axis=1), 0)
        end = np.where(useful, mask.shape[1] - mask[:, ::-1].argmax(axis=1), 0)
        columns = np.arange(mask.shape[1])
        runs.append(rows[(columns >= begin[:, None]) & (columns < end[:, None])])
        first.append(begin + start)
        length.append(end - begin)
        n_allowed.append(np.where(useful, mask.sum(axis=1), 0))
    empty = [np.zeros(0, dtype=np.int64)]
    length = np.concatenate(length or empty).astype(np.int64)
    return Pairs(
        first=np.concatenate(first or empty).astype(np.int64),
        length=length,
        offset=np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)[: len(length)],
        target=np.concatenate(runs or [np.zeros(0, dtype=np.float32)]),
        n_allowed=np.concatenate(n_allowed or empty).astype(np.int64),
    )


def attention_extent(problem: HeadProblem) -> tuple[float, float]:
    """``sum A log A`` and KL(attention || uniform), both summed over queries, in nats."""
    pairs = problem.pairs
    weights = pairs.target[pairs.target > 0].astype(np.float64)
    entropy = float((weights * np.log(weights)).sum())
    return entropy, entropy + float(np.log(np.maximum(pairs.n_allowed, 1)).sum())
