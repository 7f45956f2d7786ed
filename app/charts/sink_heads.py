"""Sinks head by head: geometry of the primary sink, and what a learned sink takes. Tables in, charts out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.charts.sink_layers import GRID, PADDING
from app.palette import QUIET, SELECTED, VIRIDIS

HEAD = "head"
"""The point selection: site and head of the dot that was clicked."""

PAIRS = {
    "Norm of the key": ("key_norm_sink", "key_norm_others"),
    "Norm of the value": ("value_norm_sink", "value_norm_others"),
    "Angle of the key to the mean query, degrees": ("angle_sink_deg", "angle_others_deg"),
}
"""What is compared: of the sink, and of all other tokens."""

HIGH = 230


def make_pair(table: pd.DataFrame, what: str, picked: str | None) -> alt.Chart:
    """A dot a head: a figure of all other tokens across, of the primary sink up; on the line both are alike.

    Args:
        table: Of `analysis.sinks.geometry.head_geometry` with name and share (of attention on sinks).
        what: One of `PAIRS`.
        picked: Name of the head in hand.
    """
    sink, others = PAIRS[what]
    low, top = float(table[[sink, others]].min().min()), float(table[[sink, others]].max().max())
    room = 0.06 * (top - low or 1)
    scale = alt.Scale(domain=[max(low - room, 0), top + room], nice=False, zero=False)
    axis = alt.Axis(tickCount=4, format=".3~r", **GRID)
    x = alt.X(f"{others}:Q", title="all other tokens, mean", scale=scale, axis=axis)
    y = alt.Y(f"{sink}:Q", title="primary sink", scale=scale, axis=axis)
    line = pd.DataFrame({sink: [low, top], others: [low, top]})
    tips = [
        alt.Tooltip("name:N", title="head"), alt.Tooltip(f"{sink}:Q", title="primary sink", format=".3~r"),
        alt.Tooltip(f"{others}:Q", title="other tokens, mean", format=".3~r"),
        alt.Tooltip("share:Q", title="attention on sinks", format=".2f"), alt.Tooltip("n:Q", title="inputs"),
    ]  # fmt: skip
    colour = alt.Color("share:Q", scale=alt.Scale(range=list(VIRIDIS), domain=[0, 1]), legend=None)
    dots = (
        alt.Chart(table)
        .mark_circle(size=60, opacity=0.9, cursor="pointer", stroke=QUIET, strokeWidth=0.5)
        .encode(x=x, y=y, color=colour, tooltip=tips)
        .add_params(alt.selection_point(name=HEAD, fields=["site", "head"], on="click", empty=False))
    )
    mine = alt.Chart(table[table["name"] == picked])
    ring = mine.mark_point(size=130, color=SELECTED, strokeWidth=2.5, filled=False, aria=False).encode(x=x, y=y)
    alike = alt.Chart(line).mark_line(color=QUIET, strokeDash=[4, 3], strokeWidth=1).encode(x=x, y=y)
    lower = int((table[sink] < table[others]).sum())
    said = f"{what}, of the primary sink and of other tokens, in {len(table)} heads; in {lower} the sink's is smaller."
    return alt.layer(alike, dots, ring).properties(height=HIGH, description=said, padding=PADDING)


def geometry_words(table: pd.DataFrame) -> str:
    """In how many heads the sink's key is shorter, its value shorter, its key nearer to the mean query."""
    n = len(table)
    counts = [int((table[sink] < table[others]).sum()) for sink, others in PAIRS.values()]
    return (
        f"Of {n} heads, the primary sink has a shorter key in {counts[0]}, a shorter value in {counts[1]}, and a key "
        f"nearer to the mean query in {counts[2]}."
    )


def make_learned(table: pd.DataFrame, picked: str | None) -> alt.Chart:
    """A dot a head: what its learned sink takes, with the interval of how often that passes the threshold in the
    pointer's words.

    Args:
        table: name, site, head, layer, place (its layer, moved a little aside), score, rate, ci_low, ci_high, n.
    """
    layers = sorted(table["layer"].unique().tolist())
    x = alt.X("place:Q", title="layer", scale=alt.Scale(domain=[layers[0] - 0.5, layers[-1] + 0.5], nice=False),
              axis=alt.Axis(values=layers, format="d", **{**GRID, "grid": False}))  # fmt: skip
    y = alt.Y("score:Q", title="attention on the learned sink", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(tickCount=5, format="~g", **GRID))  # fmt: skip
    tips = [alt.Tooltip("name:N", title="head"), alt.Tooltip("score:Q", title="mean over inputs", format=".3~r"),
            alt.Tooltip("rate:Q", title="share of inputs over the threshold", format=".2f"),
            alt.Tooltip("n:Q", title="inputs")]  # fmt: skip
    dots = alt.Chart(table).mark_circle(size=60, opacity=0.8, cursor="pointer").encode(x=x, y=y, tooltip=tips)
    dots = dots.add_params(alt.selection_point(name=HEAD, fields=["site", "head"], on="click", empty=False))
    ring = alt.Chart(table[table["name"] == picked])
    ring = ring.mark_point(size=130, color=SELECTED, strokeWidth=2.5, aria=False)
    return alt.layer(dots, ring.encode(x=x, y=y)).properties(
        height=HIGH, padding=PADDING, description=f"Attention on the learned sink in {len(table)} heads, by layer."
    )
