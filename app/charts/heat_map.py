"""One head on one input as a heat map in Altair, for notebooks and figures; the page draws its own on canvas. Pure."""

from __future__ import annotations

import base64

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from app.charts.head_maps import make_overview
from app.charts.ramps import share_colour
from app.charts.scales import ColourScale
from app.charts.text_attention import cut_label, describe_attention, pair_tips
from app.palette import SELECTED

MOST_CELLS = 5000
"""Cells that are drawn one by one: as many rows as Altair takes in one table."""

NAMED_TOKENS = 64
"""Tokens on a side up to which each is named; of more, some positions are."""

_PIXELS = 460
"""Length of the longer side, about."""

_AXIS = dict(ticks=False, domain=False, grid=False, labelFontSize=12, titleFontWeight="normal")


def make_heat_map(
    table: pd.DataFrame,
    labels: list[str],
    sides: tuple[range, range],
    scale: ColourScale,
    title: str = "weight",
    picked: int | None = None,
    kind: str = "query",
) -> alt.LayerChart:
    """Queries down, keys across, a cell a pair that may attend; where a pair may not, there is none.

    Args:
        table: From `attention_table`, of these sides.
        labels: Visible text of every token.
        sides: Tokens that are rows, and tokens that are columns.
        scale: From weights to colours.
        title: What the weights are, for the colour bar.
        picked: Token whose row (`kind` ``query``) or column (``key``) is framed.
    """
    rows, columns = ([f"{at} {cut_label(labels[at])}" for at in side] for side in sides)
    step = int(np.clip(_PIXELS / max(map(len, sides)), 5, 24))
    shown = table.assign(
        share=scale.share(table["weight"].to_numpy()),
        row=[rows[at - sides[0].start] for at in table["query"]],
        column=[columns[at - sides[1].start] for at in table["key"]],
    )
    x = alt.X("column:N", title="key", sort=None, scale=alt.Scale(domain=columns, padding=0),
              axis=_axis(columns, orient="top", labelAngle=-60))  # fmt: skip
    y = alt.Y("row:N", title="query", sort=None, scale=alt.Scale(domain=rows, padding=0), axis=_axis(rows))
    layers = [
        alt.Chart(shown)
        .mark_rect()
        .encode(x=x, y=y, color=share_colour(scale, _named(title, scale)), tooltip=pair_tips())
    ]
    if picked is not None:
        own = alt.Chart(shown[shown[kind] == picked]).mark_rect(fill=None, stroke=SELECTED, strokeWidth=1.5)
        layers.append(own.encode(x=x, y=y, tooltip=pair_tips()))
    said = describe_attention(table, labels, picked, kind, "Heat map, queries down and keys across")
    size = dict(width=step * len(columns), height=step * len(rows))
    return alt.layer(*layers).properties(**size, description=said)


def make_long_heat_map(
    attention: Float[np.ndarray, "query key"], first: tuple[int, int], scale: ColourScale, title: str = "weight"
) -> alt.LayerChart:
    """The whole of a long input as one picture, each pixel the strongest weight of its block, as the page's overview.

    Args:
        attention: NaN where a query may not attend to a key.
        first: Positions of the first query and key.
        scale: From weights to colours.
        title: What the weights are, for the colour bar.
    """
    n_queries, n_keys = attention.shape
    pixels = _PIXELS / max(n_queries, n_keys)
    width, height = n_keys * pixels, n_queries * pixels
    url = "data:image/png;base64," + base64.b64encode(make_overview(attention, scale)).decode()
    ends = [(at - 0.5, at + n - 0.5) for at, n in zip(first, attention.shape)]
    down, across = ends
    style = dict(
        domain=True, ticks=True, grid=False, tickCount=8, format="d", labelFontSize=12, titleFontWeight="normal"
    )
    x = alt.X("key:Q", title="key position", scale=alt.Scale(domain=list(across), nice=False, zero=False),
              axis=alt.Axis(orient="top", **style))  # fmt: skip
    y = alt.Y("query:Q", title="query position", scale=alt.Scale(domain=list(down[::-1]), nice=False, zero=False),
              axis=alt.Axis(**style))  # fmt: skip
    place = pd.DataFrame([{"url": url, "key": sum(across) / 2, "query": sum(down) / 2}])
    picture = alt.Chart(place).mark_image(width=width, height=height, aspect=False).encode(x=x, y=y, url="url:N")
    ends_of_bar = place.loc[[0, 0], ["key", "query"]].assign(share=[0.0, 1.0])
    bar = alt.Chart(ends_of_bar).mark_point(opacity=0).encode(x=x, y=y, color=share_colour(scale, _named(title, scale)))
    top = np.unravel_index(int(np.nanargmax(attention)), attention.shape)
    said = f"query {first[0] + top[0]} on key {first[1] + top[1]}, {attention[top]:.2g}"
    return alt.layer(picture, bar).properties(
        width=width, height=height, description=f"Heat map of {n_queries} queries and {n_keys} keys. Largest: {said}."
    )


def _named(title: str, scale: ColourScale) -> str:
    return title if scale.name == "linear" else f"{title}, {scale.name} scale"


def _axis(places: list[str], **more: str | float) -> alt.Axis:
    """The tokens; of many, every so manieth position."""
    if len(places) <= NAMED_TOKENS:
        word = "slice(datum.value, indexof(datum.value, ' ') + 1)"
        return alt.Axis(labelExpr=word, labelOverlap=False, labelLimit=110, **_AXIS, **more)
    step = max(1, round(len(places) / 8 / 5)) * 5
    number = "slice(datum.value, 0, indexof(datum.value, ' '))"
    return alt.Axis(values=places[::step], labelExpr=number, **_AXIS, **{**more, "labelAngle": 0})
