"""From the rows of a batch to one figure per head with an interval: means and the bootstrap."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from analysis.metrics import METRICS, AttentionMap, Rows

if TYPE_CHECKING:
    import pandas as pd

MOST_DRAWS = 10_000_000
"""Resamples x inputs that are held at once."""

COLUMNS = ["metric", "site", "head", "value", "ci_low", "ci_high", "null", "n"]


def score_batch(
    attended: AttentionMap, names: Iterable[str]
) -> dict[str, tuple[Float[np.ndarray, "input head"], Float[np.ndarray, "input head"]]]:
    """Each metric of each input of a batch: its mean over the queries that count.

    Returns:
        Metric name to (value, null); NaN where no query of the input counts.
    """
    scores = {}
    for name in names:
        found = METRICS[name].compute(attended)
        if isinstance(found, Rows):
            scores[name] = _mean_of_rows(found.value, found), _mean_of_rows(found.null, found)
        else:
            shape = found.value.shape
            scores[name] = found.value, np.broadcast_to(found.null, shape)
    return scores


def score_input(
    attended: AttentionMap, names: Iterable[str]
) -> dict[str, tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]]:
    """As `score_batch` for a batch of one input: metric name to (value per head, null per head)."""
    return {name: (value[0], null[0]) for name, (value, null) in score_batch(attended, names).items()}


def over_inputs(scores: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """One figure per head from one per head and input.

    Args:
        scores: ``metric, site, head, input_id, value, null``; inputs a metric says nothing about are absent.
        seed: Of the bootstrap.

    Returns:
        ``metric, site, head, value, ci_low, ci_high, null, n``: the mean over inputs, each counting once whatever its
        length, its 95 % interval, the mean null, and how many inputs it rests on.
    """
    import pandas as pd

    by_metric = scores.groupby("metric", sort=True, observed=True)
    tables = [summary(of_metric, seed=seed).assign(metric=str(name)) for name, of_metric in by_metric]
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def summary(scores: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """`over_inputs` of one metric.

    Args:
        scores: ``site, head, input_id, value, null``, one row or more.
        seed: Of the bootstrap.

    Returns:
        ``site, head, value, ci_low, ci_high, null, n``.
    """
    import pandas as pd

    sites, known_sites = pd.factorize(scores["site"], sort=True)
    inputs, known_inputs = pd.factorize(scores["input_id"], sort=True)
    head = scores["head"].to_numpy(dtype=np.int64)
    width = int(head.max()) + 1
    # A dense table of heads by inputs, NaN where an input says nothing.
    numbers = sites * width + head
    known = np.flatnonzero(np.bincount(numbers))
    rows = np.searchsorted(known, np.arange(len(known_sites) * width))[numbers]
    values, nulls = np.full((2, len(known), len(known_inputs)), np.nan)
    values[rows, inputs], nulls[rows, inputs] = scores["value"], scores["null"]
    low, high = bootstrap_interval(values, seed=seed)
    return pd.DataFrame(
        {
            "site": known_sites[known // width],
            "head": known % width,
            "value": _mean_known(values),
            "ci_low": low,
            "ci_high": high,
            "null": _mean_known(nulls),
            "n": np.isfinite(values).sum(axis=1),
        }
    )


def _mean_known(values: Float[np.ndarray, "head input"]) -> Float[np.ndarray, " head"]:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def bootstrap_interval(
    values: Float[np.ndarray, "head input"], *, level: float = 0.95, n_resamples: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """Percentile bootstrap of the mean over inputs.

    Args:
        values: One value per head and input; NaN where the input says nothing of the head.
        level: Coverage of the interval.
        n_resamples: Resamples of the inputs, the same ones for all heads.
        seed: Of the resampling.

    Returns:
        Lower and upper ends per head. NaN for heads with fewer than two inputs: one input says nothing of spread.

    Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13 (percentile interval).
    """
    n_heads, n_inputs = values.shape
    low, high = np.full((2, n_heads), np.nan)
    enough = np.isfinite(values).sum(axis=1) >= 2
    if not enough.any():
        return low, high
    values = values[enough]
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    n_parts = -(-n_inputs * n_resamples // MOST_DRAWS)
    means = []
    for part in range(n_parts):
        drawn = _draws(n_inputs, -(-n_resamples // n_parts), seed + part)
        # Where every input says something, each resample holds as many as there are inputs.
        n_drawn = n_inputs if known.all() else known.astype(np.float32) @ drawn.T
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append(filled @ drawn.T / n_drawn)
    means = np.concatenate(means, axis=1)
    tail = (1 - level) / 2
    # A resample may hold no input that says anything of a head.
    quantile = np.nanquantile if np.isnan(means).any() else np.quantile
    low[enough], high[enough] = quantile(means, [tail, 1 - tail], axis=1)
    return low, high


@lru_cache(maxsize=1)
def _draws(n_inputs: int, n_resamples: int, seed: int) -> Float[np.ndarray, "resample input"]:
    """How often each input is drawn in each resample; the same for all metrics of a run."""
    generator = np.random.default_rng(seed)
    even = np.full(n_inputs, 1 / n_inputs)
    drawn = [generator.multinomial(n_inputs, even).astype(np.float32) for _ in range(n_resamples)]
    return np.stack(drawn)


def _mean_of_rows(
    values: Float[
        np.ndarray,
        (
            input  # head query
        ),
    ],
    rows: Rows,
) -> Float[np.ndarray, "input head"]:
    count = np.count_nonzero(rows.counts, axis=-1)[:, None]
    # An uncounted row may hold anything but NaN or infinity without harm.
    total = np.einsum("bhq,bq->bh", values, rows.counts.astype(np.float64))
    if not np.isfinite(total).all():
        known = np.isfinite(values) & rows.counts[:, None]
        total, count = np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.broadcast_to(mean, rows.value.shape[:2])
