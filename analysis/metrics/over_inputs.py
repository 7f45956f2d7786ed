"""From the rows of one input to one figure per head with an interval: means and the bootstrap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from analysis.metrics import METRICS, AttentionMap

if TYPE_CHECKING:
    import pandas as pd


def score_input(
    attended: AttentionMap, names: Iterable[str]
) -> dict[str, tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]]:
    """Each metric's mean over the queries that count, for one input.

    Returns:
        Metric name to (value per head, null per head); NaN where no query of the input counts.
    """
    scores = {}
    for name in names:
        rows = METRICS[name].compute(attended)
        scores[name] = (_mean_of_rows(rows.value), _mean_of_rows(rows.null))
    return scores


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

    if scores.empty:
        return pd.DataFrame(columns=["metric", "site", "head", "value", "ci_low", "ci_high", "null", "n"])
    tables = []
    for name, of_metric in scores.groupby("metric", sort=True):
        values = of_metric.pivot(index=["site", "head"], columns="input_id", values="value")
        low, high = bootstrap_interval(values.to_numpy(dtype=float), seed=seed)
        figures = of_metric.groupby(["site", "head"], sort=True).agg(
            value=("value", "mean"), null=("null", "mean"), n=("value", "size")
        )
        figures.insert(1, "ci_low", low)
        figures.insert(2, "ci_high", high)
        tables.append(figures.reset_index().assign(metric=name))
    columns = ["metric", "site", "head", "value", "ci_low", "ci_high", "null", "n"]
    return pd.concat(tables, ignore_index=True)[columns]


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
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    generator = np.random.default_rng(seed)
    means = np.empty((n_heads, n_resamples))
    for start in range(0, n_resamples, 100):
        drawn = generator.multinomial(n_inputs, np.full(n_inputs, 1 / n_inputs), size=min(100, n_resamples - start))
        weight = known.astype(float) @ drawn.T
        with np.errstate(invalid="ignore", divide="ignore"):
            means[:, start : start + len(drawn)] = (filled @ drawn.T) / weight
    tail = (1 - level) / 2
    enough = known.sum(axis=1) >= 2
    low, high = np.full(n_heads, np.nan), np.full(n_heads, np.nan)
    if enough.any():
        low[enough], high[enough] = np.nanquantile(means[enough], [tail, 1 - tail], axis=1)
    return low, high


def _mean_of_rows(rows: Float[np.ndarray, "head query"]) -> Float[np.ndarray, " head"]:
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, rows, 0).sum(axis=1) / np.maximum(count, 1), np.nan)
