"""What a head does on all inputs: mean weight by position and by offset. Means in, `alt.Chart` out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis.metrics.averages import Averages
from app.charts.ramps import share_colour
from app.charts.scales import ColourScale, make_scale
from app.charts.words import percent
from app.palette import QUERY, QUIET


def position_table(means: Averages) -> pd.DataFrame:
    """One row an allowed pair of positions: query, key, weight, inputs."""
    query, key = np.nonzero(means.position_counts)
    weights, counts = means.by_position[query, key], means.position_counts[query, key]
    return pd.DataFrame({"query": query, "key": key, "weight": weights, "inputs": counts})


def offset_table(means: Averages) -> pd.DataFrame:
    """One row an offset that occurs: offset (query less key), weight, pairs."""
    occurs = means.offset_counts > 0
    columns = {"offset": means.offsets, "weight": means.by_offset, "pairs": means.offset_counts}
    return pd.DataFrame({name: values[occurs] for name, values in columns.items()})


def average_words(means: Averages, n_inputs: int, hides_sinks: bool = False) -> str:
    """What the means rest on, and what they leave out.

    Args:
        n_inputs: Of the run.
        hides_sinks: The sinks of each head on each input are hidden: they count as keys of weight 0.
    """
    which = f"all {n_inputs:,}" if means.n_inputs == n_inputs else f"a sample of {means.n_inputs:,} of {n_inputs:,}"
    hidden = "sinks hidden (weight 0), nothing else hidden or merged" if hides_sinks else "nothing hidden or merged"
    said = f"Mean over {which} inputs, every token, {hidden}."
    n = len(means.by_position)
    if means.longest > n:
        said += f" Positions from {n} on (the longest input has {means.longest:,}) are not in the map of positions."
    if means.farther > 0.0005:
        said += f" {percent(means.farther)} of the weight goes farther than {means.offsets[-1]} tokens."
    return said


def make_position_map(table: pd.DataFrame, scale_name: str = "linear", pixels: int = 280) -> alt.Chart:
    """Rows are query positions, columns key positions, colour is the mean weight."""
    scale: ColourScale = make_scale(table["weight"].to_numpy(), scale_name)
    shown = table.assign(share=scale.share(table["weight"].to_numpy()))
    n = int(max(table["query"].max(), table["key"].max())) + 1
    shown = shown.assign(right=shown["key"] + 1, bottom=shown["query"] + 1)
    top = table.nlargest(1, "weight").iloc[0]
    said = f"query position {top['query']:.0f} on key position {top['key']:.0f}, {top['weight']:.2g}"
    axis = dict(grid=False, domain=False, tickCount=8, labelFontSize=12, titleFontWeight="normal", format="d")
    tip = {"query": "query position", "key": "key position"}
    return (
        alt.Chart(shown)
        .mark_rect()
        .encode(
            x=alt.X("key:Q", title="key position", scale=alt.Scale(domain=[0, n], nice=False),
                    axis=alt.Axis(orient="top", **axis)),
            x2="right:Q",
            y=alt.Y("query:Q", title="query position", scale=alt.Scale(domain=[n, 0], nice=False),
                    axis=alt.Axis(**axis)),
            y2="bottom:Q",
            color=share_colour(scale, "mean weight"),
            tooltip=[
                *(alt.Tooltip(f"{name}:Q", title=title) for name, title in tip.items()),
                alt.Tooltip("weight:Q", title="mean weight", format=".4~r"),
                alt.Tooltip("inputs:Q", title="inputs"),
            ],
        )
        .properties(
            autosize="pad", width=pixels, height=pixels, description=f"Mean weight by position. Largest: {said}."
        )
        .configure_view(strokeWidth=0)
    )  # fmt: skip


def make_offset_bars(table: pd.DataFrame, pixels: tuple[int, int] = (250, 280)) -> alt.Chart:
    """A bar an offset: how much a query puts on the key so many tokens before it (after it, below 0)."""
    axis = dict(labelFontSize=12, titleFontWeight="normal", grid=False, domainColor=QUIET, tickColor=QUIET)
    top = table.nlargest(1, "weight").iloc[0]
    said = f"Largest: offset {top['offset']:.0f}, {top['weight']:.2g}"
    width = max(1.0, pixels[0] / max(len(table), 1) - 1)
    return (
        alt.Chart(table)
        .mark_bar(color=QUERY, size=min(width, 12.0))
        .encode(
            x=alt.X("offset:Q", title="offset: query position less key position",
                    axis=alt.Axis(format="d", tickMinStep=1, **axis)),
            y=alt.Y("weight:Q", title="mean weight", axis=alt.Axis(tickCount=5, format="~g", **axis)),
            tooltip=[
                alt.Tooltip("offset:Q", title="offset"),
                alt.Tooltip("weight:Q", title="mean weight", format=".4~r"),
                alt.Tooltip("pairs:Q", title="pairs"),
            ],
        )
        .properties(autosize="pad", width=pixels[0], height=pixels[1], description=f"Mean weight by offset. {said}.")
        .configure_view(strokeWidth=0)
    )  # fmt: skip
