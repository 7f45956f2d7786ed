"""Means over inputs of what a cut did, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.metrics.over_inputs import bootstrap_interval
from analysis.sinks.cut_measures import MEASURES

if TYPE_CHECKING:
    import pandas as pd


def summarise_cuts(per_input: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """One row per cut and measure from one per cut, measure and input.

    Args:
        per_input: ``cut, input_id, measure, before, after``, as `Run.sink_cuts`; inputs a measure says nothing about
            are absent.
        seed: Of the bootstrap.

    Returns:
        ``cut, measure, before, after, change, ci_low, ci_high, n``: means over inputs, each counting once; the mean of
        after less before with its 95 % interval, NaN for a single input; and on how many inputs it rests. Measures in
        the order of `MEASURES`.
    """
    import pandas as pd

    order = {name: place for place, name in enumerate(MEASURES)}
    rows = []
    for (cut, measure), found in per_input.groupby(["cut", "measure"], sort=False):
        before, after = found["before"].to_numpy(float), found["after"].to_numpy(float)
        low, high = (float(end[0]) for end in bootstrap_interval((after - before)[None], seed=seed))
        rows.append((cut, measure, before.mean(), after.mean(), (after - before).mean(), low, high, len(found)))
    columns = ["cut", "measure", "before", "after", "change", "ci_low", "ci_high", "n"]
    table = pd.DataFrame(rows, columns=columns)
    cuts = {cut: place for place, cut in enumerate(dict.fromkeys(per_input["cut"]))}
    places = table["cut"].map(cuts) * len(order) + table["measure"].map(order)
    return table.iloc[np.argsort(places.to_numpy(), kind="stable")].reset_index(drop=True)
