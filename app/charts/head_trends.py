"""What becomes of the heads over the layers: a measure by layer, and where attention goes by distance. Frames in,
`alt.Chart` out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.palette import QUERY, QUIET, SELECTED

PICK = "head"
"""The point selection of `make_layer_trend`: site and head of the dot that was clicked."""

_AXIS = dict(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", domainColor=QUIET, tickColor=QUIET)


def trend_table(heads: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """One row a head with a value: layer, head, name, site, value, place (its layer, moved a little aside)."""
    table = heads[["layer", "head", "name", "site"]].assign(value=values.to_numpy(dtype=float)).dropna()
    aside = table.groupby("layer")["head"].rank(pct=True) - 0.5
    return table.assign(place=table["layer"] + 0.36 * aside).reset_index(drop=True)


def layer_quartiles(table: pd.DataFrame) -> pd.DataFrame:
    """Per layer: layer, low, median, high (quartiles over its heads), heads, mean."""
    grouped = table.groupby("layer")["value"]
    return pd.DataFrame({
        "low": grouped.quantile(0.25), "median": grouped.median(), "high": grouped.quantile(0.75),
        "heads": grouped.size(), "mean": grouped.mean(),
    }).reset_index()  # fmt: skip


def make_layer_trend(
    table: pd.DataFrame, title: str, unit: str, picked: str | None, width: int = 400, height: int = 230
) -> alt.LayerChart:
    """A dot a head, which can be clicked (`PICK`), per layer the median and the quartiles.

    Args:
        table: Of `trend_table`.
        title, unit: Of the measure.
        picked: Name of the head in hand, drawn in its own colour.
    """
    middle = layer_quartiles(table)
    layers = sorted(table["layer"].unique().tolist())
    x = alt.X(
        "place:Q", title="layer", scale=alt.Scale(domain=[min(layers) - 0.5, max(layers) + 0.5], nice=False),
        axis=alt.Axis(values=layers, format="d", grid=False, **_AXIS),
    )  # fmt: skip
    axis = alt.Axis(grid=True, gridOpacity=0.35, tickCount=5, format="~g", **_AXIS)
    y = alt.Y("value:Q", title=_fitting(title, unit, height), axis=axis, scale=alt.Scale(zero=False))
    band = alt.Chart(middle).mark_area(color=QUERY, opacity=0.18).encode(x="layer:Q", y="low:Q", y2="high:Q")
    line = (
        alt.Chart(middle)
        .mark_line(color=QUERY, strokeWidth=2, point=alt.OverlayMarkDef(color=QUERY, size=40, shape="diamond"))
        .encode(x="layer:Q", y="median:Q", tooltip=_tips(
            ("layer:Q", "layer", "d"), ("median:Q", "median", ".3~r"), ("low:Q", "lower quartile", ".3~r"),
            ("high:Q", "upper quartile", ".3~r"), ("heads:Q", "heads", "d"),
        ))
    )  # fmt: skip
    dots = (
        alt.Chart(table)
        .mark_circle(size=36, opacity=0.6, color=QUIET, cursor="pointer")
        .encode(x=x, y=y, tooltip=_tips(("name:N", "head", ""), ("value:Q", title, ".4~r")))
        .add_params(alt.selection_point(name=PICK, fields=["site", "head"], on="click", empty=False))
    )
    mine = (
        alt.Chart(table[table["name"] == picked])
        .mark_circle(size=90, opacity=1, color=SELECTED, aria=False)
        .encode(x=x, y=y, tooltip=_tips(("name:N", "head", ""), ("value:Q", title, ".4~r")))
    )
    said = ", ".join(f"layer {row.layer:.0f} {row.median:.2g}" for row in middle.itertuples())
    return alt.layer(band, dots, line, mine).properties(
        width=width, height=height, autosize="pad", description=f"{title} by layer; medians: {said}."
    ).configure_view(strokeWidth=0)  # fmt: skip


PROFILES = {
    "offset": ("query position less key position, in tokens", "mean attention by offset"),
    "ring": ("Chebyshev distance on the grid, in patches", "mean attention by ring"),
}
"""Profile of a run: what its x says, and what a line is."""

FARTHEST = {"offset": 16, "ring": 64}


def profile_table(heads: pd.DataFrame, profiles: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The profiles of one kind with names: layer, head, name, site, x, value, null, n; far offsets left out.

    Args:
        heads: Of `HeadScores.heads`, with key.
        profiles: As `Run.head_profiles` gives them.
    """
    wanted = profiles[(profiles["profile"] == kind) & (profiles["x"].abs() <= FARTHEST[kind])]
    named = wanted.rename(columns={"site": "key"}).merge(
        heads[["key", "head", "layer", "name", "site"]], on=["key", "head"]
    )
    table = named[["layer", "head", "name", "site", "x", "value", "null", "n"]]
    if kind == "offset" and (table["x"] < 0).any() and not (table.loc[table["x"] < 0, "value"] > 0).any():
        table = table[table["x"] >= 0]  # nobody looks ahead
    return table.sort_values(["layer", "head", "x"], ignore_index=True)


def make_profiles(
    table: pd.DataFrame, kind: str, picked: str | None, on_log: bool = True, width: int = 138, height: int = 104
) -> alt.FacetChart:
    """The profile of every head as a thin line, a small picture a layer, and the mean null dashed.

    Args:
        table: Of `profile_table`.
        picked: Name of the head in hand, drawn thick.
        on_log: A symmetric logarithmic scale, on which small weights are seen beside large ones.
    """
    across, what = PROFILES[kind]
    null = table.groupby(["layer", "x"], as_index=False)["null"].mean()
    shown = pd.concat(
        [table.assign(line=table["name"], part="head"), null.assign(line="null", part="null", value=null["null"])],
        ignore_index=True,
    )
    shown.loc[shown["line"] == picked, "part"] = "picked"
    shown["label"] = "L" + shown["layer"].astype(str)
    tick = alt.Axis(grid=False, tickCount=4, **_AXIS)
    scale = alt.Scale(type="symlog", constant=0.01) if on_log else alt.Scale()
    ticks = [0, 0.03, 0.1, 0.3, 1] if on_log else alt.Undefined
    parts = ["head", "null", "picked"]
    base = alt.Chart(shown).mark_line(clip=True).encode(
        x=alt.X("x:Q", title=None, axis=tick),
        y=alt.Y("value:Q", title=None, scale=scale,
                axis=alt.Axis(grid=False, values=ticks, format="~g", labelOverlap=True, **_AXIS)),
        detail="line:N",
        color=alt.Color("part:N", scale=alt.Scale(domain=parts, range=[QUERY, QUIET, SELECTED]), legend=None),
        strokeDash=alt.StrokeDash("part:N", scale=alt.Scale(domain=parts, range=[[1, 0], [4, 3], [1, 0]]), legend=None),
        strokeWidth=alt.StrokeWidth("part:N", scale=alt.Scale(domain=parts, range=[1, 1.5, 3]), legend=None),
        opacity=alt.Opacity("part:N", scale=alt.Scale(domain=parts, range=[0.5, 1, 1]), legend=None),
        tooltip=_tips(("line:N", "head", ""), ("x:Q", across, "~g"), ("value:Q", "mean weight", ".3~r"),
                      ("n:Q", "pairs", ",d")),
    )  # fmt: skip
    n = table["layer"].nunique()
    return (
        base.properties(width=width, height=height)
        .facet(facet=alt.Facet("label:N", sort=[f"L{layer}" for layer in sorted(table["layer"].unique())], title=None,
                               header=alt.Header(labelFontSize=12, labelPadding=2)), columns=3, spacing=10)
        .properties(description=f"{what.capitalize()}: {table['name'].nunique()} heads, {n} layers; across: {across}.")
        .configure_view(strokeWidth=0)
    )  # fmt: skip


def strongest(table: pd.DataFrame) -> pd.DataFrame:
    """Where each head puts most: layer, head, name, x, value, null."""
    rows = table.loc[table.groupby(["layer", "head"])["value"].idxmax()]
    return rows[["layer", "head", "name", "x", "value", "null"]].reset_index(drop=True)


def _fitting(title: str, unit: str, pixels: int) -> str:
    """Measure and unit where an axis of so many pixels has room for both at 12 px, else what of them fits."""
    room = pixels / 6.5
    return next((words for words in (f"{title}, {unit}", unit, title) if words and len(words) <= room), title)


def _tips(*parts: tuple[str, str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(field, title=title, **({"format": how} if how else {})) for field, title, how in parts]
