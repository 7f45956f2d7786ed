"""Head metrics: what one number says about how a head attends.

To add one, copy `first_token.py`, change the decorator and the formula, and write a pencil test; the file is found
by itself, shows up in ``python -m analysis scores`` and in the page, and runs through the contract tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.metrics.shifts import shift_rows
from analysis.metrics.tokens import UNKNOWN, Tokens, same
from analysis.registry import Registry


@dataclass(frozen=True)
class AttentionMap:
    """Attention of some heads of one site on a batch of inputs, as a metric sees it.

    Attributes:
        attention: Weights in 0..1, zero where padded; rows sum to 1, or to less where the softmax has a learned sink.
        allowed: True where the query may attend to the key; False all over for padding.
        tokens: What is known of the tokens: of the keys, where queries are others.
        period: On a generated probe, how many positions lie between a token and its other occurrence: its last
            2 x `period` tokens, special ones behind them not counted, are a random span and the same again. None on
            data.
        first: Position of the first query: a long input is scored window of queries by window, each with all its keys.
        is_cross: Queries are tokens of another sequence than the keys: only metrics with `Metric.on_cross` are asked.
    """

    attention: Float[np.ndarray, "input head query key"]
    allowed: Bool[np.ndarray, "input query key"]
    tokens: Tokens = UNKNOWN
    period: int | None = None
    is_cross: bool = False
    first: int = 0

    @classmethod
    def of_one(
        cls,
        attention: Float[np.ndarray, "head query key"],
        allowed: Bool[np.ndarray, "query key"],
        tokens: Tokens = UNKNOWN,
        period: int | None = None,
        is_cross: bool = False,
    ) -> AttentionMap:
        """A batch of a single input."""
        return cls(np.asarray(attention, np.float32)[None], allowed[None], tokens, period, is_cross)

    @property
    def is_image(self) -> bool:
        """True for images, whose tokens have places on a grid."""
        return self.tokens.row is not None

    @property
    def places(self) -> Int[np.ndarray, " query"]:
        """Position of each query."""
        return np.arange(self.first, self.first + self.allowed.shape[1])

    @cached_property
    def n_tokens(self) -> Int[np.ndarray, " input"]:
        """Tokens of each input, padding not counted: what lies up to the last key that anybody may attend to."""
        return self.allowed.shape[2] - np.argmax(self.allowed.any(axis=1)[:, ::-1], axis=1)

    @cached_property
    def n_allowed(self) -> Int[np.ndarray, "input query"]:
        """How many keys each query may attend to."""
        return self.allowed.sum(axis=-1)

    @cached_property
    def mass(self) -> Float[np.ndarray, "input head query"]:
        """Sum of each row: 1, or less with a learned sink."""
        return self.attention.sum(axis=-1)

    @cached_property
    def p_log2_p(self) -> Float[np.ndarray, "input head query"]:
        """Sum over keys of p log2 p, at most 0: what entropy and mutual information have in common."""
        logs = np.log(np.maximum(self.attention, np.float32(1e-30)))
        return np.einsum("bhqk,bhqk->bhq", self.attention, logs) / np.float32(np.log(2))

    @cached_property
    def ascending(self) -> Float[np.ndarray, "input head query key"]:
        """Each row's weights, the smallest first."""
        return np.sort(self.attention, axis=-1)

    @property
    def of_patches(self) -> AttentionMap:
        """Images: attention among patches alone, CLS and registers left out and every row scaled to sum to 1 (0 where
        it puts nothing on patches). Texts: as it is."""
        # A map that kept itself would only be freed when Python next looks for cycles, gigabytes later.
        return self if self.tokens.row is None or self.tokens.column is None else self._among_patches

    @cached_property
    def _among_patches(self) -> AttentionMap:
        row, column = self.tokens.row, self.tokens.column
        first = int(np.argmax((row >= 0).any(axis=0)))
        patch = row[:, first:] >= 0
        if self.is_cross:  # the tokens known are the keys; queries are tokens of another sequence
            keep, weights = self.allowed[:, :, first:] & patch[:, None, :], self.attention[:, :, :, first:]
        else:
            keep = self.allowed[:, first:, first:] & patch[:, :, None] & patch[:, None, :]
            weights = self.attention[:, :, first:, first:]
        weights = weights if keep.all() else weights * keep[:, None]
        mass = weights.sum(axis=-1, keepdims=True)
        tokens = Tokens(row=row[:, first:], column=column[:, first:])
        weights = weights / np.where(mass > 0, mass, np.float32(1))
        return AttentionMap(weights, keep, tokens, self.period, self.is_cross)

    @cached_property
    def shifted(self) -> Float[np.ndarray, "input head query key"]:
        """The attention with each row shifted round its allowed keys: what heads are like by chance."""
        return shift_rows(self.attention, self.allowed, self.first)

    def rows_with_a_choice(self) -> Bool[np.ndarray, "input query"]:
        """Queries with two or more allowed keys: the others attend as they must and say nothing about a head."""
        return self.n_allowed >= 2

    @cached_property
    def is_causal(self) -> Bool[np.ndarray, " input"]:
        """Inputs where no query may attend to a later key."""
        return ~np.triu(self.allowed, 1).any(axis=(1, 2))

    def repeated(self) -> Bool[np.ndarray, "input query"]:
        """Queries of a probe's second occurrence; none on data, nor where queries see what comes after them."""
        n_queries = self.allowed.shape[1]
        return (np.arange(n_queries) >= n_queries - (self.period or 0)) & self.is_causal[:, None]


class Rows(NamedTuple):
    """A metric row by row.

    Attributes:
        value: What the head does.
        null: What the same row gives on average when its weights are permuted over its allowed keys, or the closed
            form the metric's docstring names. Where it is the same for all heads, one will do.
        counts: Queries that count.
    """

    value: Float[np.ndarray, "input head query"]
    null: Float[
        np.ndarray,
        (
            input  # head query
        ),
    ]
    counts: Bool[np.ndarray, "input query"]


class PerInput(NamedTuple):
    """A metric that is not a mean over rows: one value and null an input and head, NaN where it says nothing."""

    value: Float[np.ndarray, "input head"]
    null: Float[
        np.ndarray,
        (
            input  # head
        ),
    ]


class WindowSums(Protocol):
    """What a metric that is no mean over rows is made of, window by window of a long text."""

    def add(self, window: AttentionMap) -> None:
        """Take in some queries with all their keys."""

    def result(self) -> PerInput:
        """The metric of all of them."""


ON_DATA, ON_PROBES, ON_SAMPLE = "data", "probes", "sample"
"""Where a metric is measured: on every input while it is captured, on generated probes (`analysis.pipeline.probes`), or
over pairs of inputs of a sample (`analysis.pipeline.samples`)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A registered metric.

    Attributes:
        compute: The function, attention of a batch of inputs to `Rows` or `PerInput`.
        name: As in the command line and the tables.
        title: As on the page.
        unit: The unit, or what 0 and 1 mean.
        high: What a high value says, in a few words.
        group: Where it stands among the others: ``spread``, ``position``, ``structure``, ``in-context`` or
            ``homogeneity``.
        measured: `ON_DATA`, `ON_PROBES` or `ON_SAMPLE`.
        closed_null: The null is the closed form that the docstring names, not the mean over permuted keys.
        over_windows: Of one that is no mean over rows: makes what sums it up over the windows of a long text; without
            it the text is scored whole.
        on_cross: It also says something where queries are tokens of another sequence than the keys: it asks neither how
            far a key is from its query nor whether the two are alike. All others are absent there.
    """

    compute: Callable[[AttentionMap], Rows | PerInput]
    name: str
    title: str
    unit: str
    high: str
    group: str = "position"
    measured: str = ON_DATA
    closed_null: bool = False
    on_cross: bool = False
    over_windows: Callable[[], WindowSums] | None = None


METRICS: Registry[Metric] = Registry("metric", "analysis.metrics")
metric = METRICS.registering(Metric)


def metric_names(measured: str = ON_DATA) -> list[str]:
    """Names of the metrics that are measured on the data, on generated probes or on a sample of inputs."""
    return [name for name, entry in METRICS.items() if entry.measured == measured]


def weight_at(
    attended: AttentionMap,
    keys: Int[np.ndarray, "#input #query"],
    counts: Bool[np.ndarray, "#input #query"],
) -> Rows:
    """The weight each query puts on one key of its own.

    Args:
        attended: A batch.
        keys: For each query the position of the key looked at; ignored where the query does not count.
        counts: Queries that have such a key. Those that may not attend to it, or have no other, are left out too.

    Returns:
        The weight, 0..1; the null is the row's mass spread evenly over its allowed keys.
    """
    n_inputs, n_queries, n_keys = attended.allowed.shape
    keys = np.broadcast_to(np.clip(keys, 0, n_keys - 1), (n_inputs, n_queries))
    inputs, queries = np.arange(n_inputs)[:, None], np.arange(n_queries)[None, :]
    counts = counts & attended.rows_with_a_choice() & attended.allowed[inputs, queries, keys]
    value = np.moveaxis(attended.attention[inputs, :, queries, keys], -1, 1)
    return Rows(value, attended.mass / np.maximum(attended.n_allowed, 1)[:, None], counts)


def weight_on(
    attended: AttentionMap, such: Bool[np.ndarray, "input query key"] | Bool[np.ndarray, "input key"]
) -> Rows:
    """The weight each query puts on all keys of a kind.

    Args:
        attended: A batch.
        such: True for the keys meant: for each query its own, or the same for all.

    Returns:
        The weight, 0..1; the null is the row's mass times the share of such keys among those it may attend to. Queries
        that may attend to none of them, or to nothing else, are left out: they have no choice.
    """
    if such.ndim == 2:
        n_inputs, n_heads, n_queries, n_keys = attended.attention.shape
        flat = attended.attention.reshape(n_inputs, n_heads * n_queries, n_keys)
        value = np.matmul(flat, such[:, :, None].astype(np.float32)).reshape(n_inputs, n_heads, n_queries)
        n_such = np.matmul(attended.allowed.astype(np.float32), such[:, :, None].astype(np.float32))[..., 0]
    else:
        such = such & attended.allowed
        value = np.einsum("bhqk,bqk->bhq", attended.attention, such.astype(np.float32))
        n_such = such.sum(axis=-1)
    null = attended.mass * (n_such / np.maximum(attended.n_allowed, 1))[:, None]
    return Rows(value, null, (n_such > 0) & (n_such < attended.n_allowed))


def weight_on_same(attended: AttentionMap, numbers: Int[np.ndarray, "input token"]) -> Rows:
    """The weight each query puts on other tokens that carry its own number: its row, its sentence, its label.

    Args:
        attended: A batch.
        numbers: -1 for tokens that carry none.

    Returns:
        As `weight_on`; queries are left out where all they may attend to is alike, or nothing.
    """
    alike = same(numbers, attended.places)
    rows = weight_on(attended, alike & (attended.places[:, None] != np.arange(numbers.shape[1])))
    differ = attended.allowed & ~alike & (numbers >= 0)[:, None, :]
    return rows._replace(counts=rows.counts & differ.any(axis=-1))


def nothing(attended: AttentionMap) -> PerInput:
    """What a metric returns where it means nothing: no value for any input."""
    n_inputs, n_heads = attended.attention.shape[:2]
    empty = np.full((n_inputs, n_heads), np.nan)
    return PerInput(empty, empty)
