"""Head metrics: what one number says about how a head attends.

To add one, copy `entropy.py`, change the decorator and the formula, and write a pencil test; the file is found
by itself, shows up in ``python -m analysis scores`` and in the page, and runs through the contract tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.registry import Registry


class AttentionMap(NamedTuple):
    """Attention of some heads on one input, as a metric sees it.

    Attributes:
        attention: Weights in 0..1; rows sum to 1, or to less where the softmax has a learned sink.
        allowed: True where the query may attend to the key.
        period: On a generated probe, how many positions lie between a token and its earlier occurrence: its last
            2 x `period` tokens are a random span and the same again. None on data.
    """

    attention: Float[np.ndarray, "head query key"]
    allowed: Bool[np.ndarray, "query key"]
    period: int | None = None

    def rows_with_a_choice(self) -> Bool[np.ndarray, " query"]:
        """Queries with two or more allowed keys: the others attend as they must and say nothing about a head."""
        return self.allowed.sum(axis=1) >= 2

    def repeated(self) -> Bool[np.ndarray, " query"]:
        """Queries of a probe's second occurrence; none on data, nor where queries see what comes after them."""
        n_queries = self.allowed.shape[0]
        is_causal = not np.triu(self.allowed, 1).any()
        return (np.arange(n_queries) >= n_queries - (self.period or 0)) & is_causal


class Rows(NamedTuple):
    """A metric row by row. NaN where the query does not count.

    Attributes:
        value: What the head does.
        null: What the same row gives on average when its weights are permuted over its allowed keys, or the closed
            form the metric's docstring names.
    """

    value: Float[np.ndarray, "head query"]
    null: Float[np.ndarray, "head query"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A registered metric.

    Attributes:
        compute: The function, attention of one input to `Rows`.
        name: As in the command line and the tables.
        title: As on the page.
        unit: The unit, or what 0 and 1 mean.
        high: What a high value says, in a few words.
        on_probe: Measured on generated probes instead of the data: see `analysis.pipeline.probes`.
    """

    compute: Callable[[AttentionMap], Rows]
    name: str
    title: str
    unit: str
    high: str
    on_probe: bool = False


METRICS: Registry[Metric] = Registry("metric", "analysis.metrics")
metric = METRICS.registering(Metric)


def metric_names(on_probe: bool = False) -> list[str]:
    """Names of the metrics that are measured on the data, or of those measured on generated probes."""
    return [name for name, entry in METRICS.items() if entry.on_probe is on_probe]


def weight_at(attended: AttentionMap, keys: Int[np.ndarray, " query"], counts: Bool[np.ndarray, " query"]) -> Rows:
    """The weight each query puts on one key of its own, as `Rows`.

    Args:
        attended: One input.
        keys: For each query the position of the key looked at; ignored where the query does not count.
        counts: Queries that have such a key. Those that may not attend to it, or have no other, are left out too.

    Returns:
        The weight, 0..1; the null is the row's mass spread evenly over its allowed keys.
    """
    n_queries, n_keys = attended.allowed.shape
    keys = np.clip(keys, 0, n_keys - 1)
    queries = np.arange(n_queries)
    counts = counts & attended.rows_with_a_choice() & attended.allowed[queries, keys]
    value = attended.attention[:, queries, keys]
    null = attended.attention.sum(axis=-1) / np.maximum(attended.allowed.sum(axis=1), 1)
    return Rows(np.where(counts, value, np.nan), np.where(counts, null, np.nan))
