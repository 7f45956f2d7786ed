"""Levels of sinks: tokens that point where the primary sink points, by first layer and lifetime. Pure."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analysis.sinks.levels import SECONDARY, Levels
from app.charts.scales import weight_words
from app.charts.sink_layers import AXIS, HIGH, PADDING
from app.charts.text_attention import visible_token
from app.palette import QUIET, SELECTED

LEVEL = "level"
"""The point selection: first_layer and lifetime of the cell that was clicked."""

MOST_WORDS = 10
"""Layers up to which a cell has room for its number."""


def level_table(levels: Levels) -> pd.DataFrame:
    """A row a cell: first_layer, lifetime, n, label, score, strings (as words), shade (log of 1 + n), is_dark."""
    table = levels.levels
    shade = np.log1p(table["n"].to_numpy(dtype=float))
    words = [", ".join(visible_token(str(text)) for text in found) for found in table["strings"]]
    return table.assign(strings=words, shade=shade, is_dark=shade < 0.62 * (shade.max() if len(shade) else 1.0))


def make_levels(table: pd.DataFrame, levels: Levels, picked: tuple[int, int] | None) -> alt.Chart:
    """The heat map; the number of tokens stands in each cell, secondary sinks are framed, a click picks the cell.

    Args:
        table: Of `level_table`.
        levels: For the layers that are looked at.
        picked: First layer and lifetime of the cell in hand.
    """
    layers = list(range(levels.first, levels.last + 1))
    x = alt.X("first_layer:O", title="first layer", scale=alt.Scale(domain=layers), axis=_axis(layers))
    lifetimes = list(range(len(layers), 0, -1))
    y = alt.Y("lifetime:O", title="layers it lives", scale=alt.Scale(domain=lifetimes), axis=_axis(lifetimes))
    base, n_layers = alt.Chart(table).encode(x=x, y=y), len(layers)
    could = [(layer, life) for layer in layers for life in lifetimes if layer + life <= levels.last + 1]
    floor = alt.Chart(pd.DataFrame(could, columns=["first_layer", "lifetime"]))
    floor = floor.mark_rect(color=QUIET, opacity=0.1, cornerRadius=2).encode(x=x, y=y)
    tips = [
        alt.Tooltip("first_layer:O", title="first layer"), alt.Tooltip("lifetime:O", title="layers it lives"),
        alt.Tooltip("n:Q", title="tokens", format=",d"), alt.Tooltip("label:N", title="called"),
        alt.Tooltip("score:Q", title="attention received", format=".3~r"), alt.Tooltip("strings:N", title="mostly"),
    ]  # fmt: skip
    top = float(table["shade"].max())
    shade = alt.Color("shade:Q", scale=alt.Scale(scheme="viridis", domain=[0, top]), legend=None)
    picks = alt.selection_point(name=LEVEL, fields=["first_layer", "lifetime"], on="click", empty=False)
    cells = base.mark_rect(cursor="pointer", cornerRadius=2).encode(color=shade, tooltip=tips).add_params(picks)
    words = base.mark_text(fontSize=12 if n_layers <= MOST_WORDS else 0).encode(
        text=alt.Text("n:Q", format=",d"),
        color=alt.condition("datum.is_dark", alt.value("#FFFFFF"), alt.value("#000000")), tooltip=tips,
    )  # fmt: skip
    frames = base.transform_filter(alt.datum.label == SECONDARY).mark_rect(
        fill=None, stroke=QUIET, strokeWidth=2, aria=False
    )  # fmt: skip
    drawn = [floor, cells, frames, words]
    if picked is not None:
        chosen = base.transform_filter((alt.datum.first_layer == picked[0]) & (alt.datum.lifetime == picked[1]))
        drawn.append(chosen.mark_rect(fill=None, stroke=SELECTED, strokeWidth=2.5, aria=False))
    return alt.layer(*drawn).properties(height=HIGH, description=describe_levels(table), padding=PADDING)


def describe_levels(table: pd.DataFrame) -> str:
    """The alternative text."""
    said = [f"{row.n} {row.label} from layer {row.first_layer} for {row.lifetime}" for row in table.itertuples()]
    return f"Sink-like tokens by first layer and lifetime: {'; '.join(said)}."


def nearest_words(
    cosine: Float[np.ndarray, "layer point"], is_primary: Bool[np.ndarray, " point"], levels: Levels, similar: float
) -> str:
    """Why there are no levels: how near the states of other tokens come to the primary sink's.

    Args:
        similar: The cosine above which a token is sink-like.
    """
    others = np.abs(cosine[levels.first : levels.last + 1][:, ~is_primary])
    if not others.size:
        return "There is no token but the primary sinks."
    layer = int(others.max(axis=1).argmax())
    return (
        f"No other token's state points where the primary sink's points (cosine above {similar:g}, either way); "
        f"the nearest comes to {weight_words(float(others.max()))}, in front of layer {levels.first + layer}."
    )


def _axis(values: list[int]) -> alt.Axis:
    step = -(-len(values) // 10)
    return alt.Axis(values=values[::step], labelAngle=0, ticks=False, **AXIS)
