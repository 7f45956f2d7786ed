"""A score of every head in Altair, for notebooks and figures: as a grid, and as a strip with intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from app.charts.head_grid import DARK, LIGHT, Shades, cell_words, figure_words, ink_on, make_shades, unit_words
from app.palette import QUERY, QUIET

_CELL = 34
"""Side of a cell of the grid in pixels, where there is room."""

_ROW = 17
"""Height of a row of the strip in pixels."""

_AXIS = dict(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", domainColor=QUIET, tickColor=QUIET)


def make_score_grid(
    heads: pd.DataFrame, figures: pd.DataFrame, words: Mapping[str, str], against_null: bool = False
) -> alt.LayerChart:
    """Rows are layers, columns heads, colour is the measure, as on the page; a head it says nothing of has no cell.

    Args:
        heads: Columns layer, head, name, one row a head.
        figures: Columns value, ci_low, ci_high, null, n, of the same heads.
        words: Title, unit and high of the measure.
        against_null: Show value less null around 0.
    """
    shades, values = make_shades(figures, words, against_null)
    table = heads[["layer", "head", "name"]].assign(
        value=figures["value"], ci_low=figures["ci_low"], ci_high=figures["ci_high"], null=figures["null"],
        shown=values, text=[cell_words(value, shades) for value in values],
        is_dark=[ink_on(colour) == LIGHT for colour in shades.colours(values)],
        said=[figure_words(row, words["unit"]) for row in figures.to_dict("records")],
    )  # fmt: skip
    there = table[np.isfinite(table["shown"])]
    n_layers, n_heads = heads["layer"].nunique(), int(heads["head"].max()) + 1
    cell = float(np.clip(720 / max(n_layers, n_heads), 9, _CELL))
    axis = dict(domain=False, ticks=False, labelAngle=0, labelOverlap=True, **_AXIS)
    x = alt.X("head:O", scale=alt.Scale(domain=list(range(n_heads))), axis=alt.Axis(orient="top", **axis))
    y = alt.Y("layer:O", scale=alt.Scale(domain=sorted(heads["layer"].unique().tolist())), axis=alt.Axis(**axis))
    tips = [alt.Tooltip("name:N", title="head"), alt.Tooltip("said:N", title=shades.title)]
    base = alt.Chart(there).encode(x=x, y=y, tooltip=tips)
    layers = [base.mark_rect().encode(color=_ramp(shades))]
    if cell >= 28:
        ink = alt.condition("datum.is_dark", alt.value(LIGHT), alt.value(DARK))
        layers.append(base.mark_text(fontSize=11).encode(text="text:N", color=ink))
    return alt.layer(*layers).properties(
        width=cell * n_heads, height=cell * n_layers,
        description=f"{_titled(shades.title, shades.unit)} of {len(there)} heads; rows are layers. {_highest(there)}",
    )  # fmt: skip


def make_score_strip(
    heads: pd.DataFrame, figures: pd.DataFrame, words: Mapping[str, str], most: int = 30, pixels: int = 340
) -> alt.LayerChart:
    """A row a head, the highest first: the value as a dot on its 95 % interval, the null as a grey stroke.

    Args:
        heads: Column name, one row a head.
        figures: Columns value, ci_low, ci_high, null, n, of the same heads; those without a value are left out.
        words: Title and unit of the measure.
        most: Rows drawn.
        pixels: Width.
    """
    said = [figure_words(row, words["unit"]) for row in figures.to_dict("records")]
    table = pd.concat([heads[["name"]], figures[["value", "ci_low", "ci_high", "null", "n"]]], axis=1).assign(said=said)
    table = table.dropna(subset=["value"]).sort_values("value", ascending=False, kind="stable").head(most)
    names = table["name"].tolist()
    axis = alt.Axis(ticks=False, domain=False, labelOverlap=False, **_AXIS)
    y = alt.Y("name:N", title=None, sort=None, scale=alt.Scale(domain=names), axis=axis)
    style = alt.Axis(grid=True, gridOpacity=0.35, tickCount=5, format="~g", orient="top", **_AXIS)
    x = alt.X("value:Q", title=_titled(words["title"], words["unit"]), axis=style)
    tips = [alt.Tooltip("name:N", title="head"), alt.Tooltip("said:N", title=words["title"])]
    base = alt.Chart(table).encode(y=y, tooltip=tips)
    ranges, nulls = (alt.Chart(table.dropna(subset=[name])).encode(y=y, tooltip=tips) for name in ("ci_low", "null"))
    layers = [
        nulls.mark_tick(color=QUIET, thickness=3, height=11, opacity=1).encode(x=alt.X("null:Q", title=None)),
        ranges.mark_rule(color=QUERY, strokeWidth=5, opacity=0.5).encode(
            x=alt.X("ci_low:Q", title=None), x2="ci_high:Q"
        ),
        base.mark_point(color=QUERY, filled=True, size=52, opacity=1).encode(x=x),
    ]
    said = f"{_titled(words['title'], words['unit'])} of {len(names)} heads with intervals and nulls. {_highest(table)}"
    return alt.layer(*layers).properties(width=pixels, height=_ROW * len(names), description=said)


def _ramp(shades: Shades) -> alt.Color:
    lines = [part for part in (shades.title, unit_words(shades.unit)) if part]
    legend = alt.Legend(
        type="gradient", title=lines, titleFontWeight="normal", titleLimit=220, labelFontSize=12, gradientLength=140,
        tickCount=5,
    )  # fmt: skip
    return alt.Color(
        "shown:Q", scale=alt.Scale(domain=[shades.low, shades.top], range=list(shades.stops)), legend=legend
    )


def _titled(title: str, unit: str) -> str:
    return ", ".join(part for part in (title, unit_words(unit)) if part)


def _highest(table: pd.DataFrame) -> str:
    top = table.nlargest(3, "value")
    return f"Highest: {'; '.join(f'{name} {value:.2g}' for name, value in zip(top['name'], top['value']))}."
