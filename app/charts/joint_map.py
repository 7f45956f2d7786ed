"""The joint map of one head as Altair points, for notebooks and figures; the page draws its own in WebGL. Pure."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from app.charts.colouring import Colouring
from app.charts.text_attention import visible_token
from app.palette import QUIET

KINDS, SHAPES = ["query", "key"], ["circle", "diamond"]
"""Queries are circles and keys diamonds, as on the page."""

MOVES = "moves"
"""What the selection that moves and zooms begins with."""

_POINT = 34
"""Area of a point in square pixels."""


def point_table(coordinates: pd.DataFrame, tokens: pd.DataFrame, colouring: Colouring) -> pd.DataFrame:
    """One row a point, in the order of the tokens, so that neither kind lies over the other.

    Args:
        coordinates: Of one head: input_id, position, kind, x, y.
        tokens: The token table of the run.
        colouring: Of all its tokens.

    Returns:
        Columns kind, token (visible text), input, position, x, y, and value: a number where the colours are a ramp,
        else the name of the class; None without one.
    """
    rows = tokens[["input_id", "position", "text"]].assign(row=np.arange(len(tokens)))
    points = coordinates.merge(rows, on=["input_id", "position"], how="left", validate="many_to_one")
    points = points.sort_values(["row", "kind"], kind="stable", ignore_index=True)
    at, is_query = points["row"].to_numpy(), (points["kind"] == KINDS[0]).to_numpy()
    value = np.where(is_query, colouring.queries[at], colouring.keys[at])
    known: list = [None if np.isnan(each) else float(each) for each in value]
    if colouring.classes is not None:
        known = [None if each is None else colouring.classes[int(each)]["name"] for each in known]
    return pd.DataFrame({
        "kind": points["kind"].astype(str), "token": [visible_token(str(text)) for text in points["text"]],
        "input": points["input_id"], "position": points["position"],
        "x": points["x"].astype(float), "y": points["y"].astype(float), "value": pd.Series(known, dtype=object),
    })  # fmt: skip


def make_joint_map(table: pd.DataFrame, colouring: Colouring, pixels: int = 460, name: str = MOVES) -> alt.LayerChart:
    """The points, the same scale across and up, which have no unit; to be moved and zoomed with the pointer.

    Args:
        table: From `point_table`; at least one row.
        colouring: What it was made with. Points without a value are grey.
        pixels: Width and height.
        name: Of the selection that moves and zooms; beginning with `MOVES`, and another one in another picture.
    """
    middle = [(float(table[axis].min()) + float(table[axis].max())) / 2 for axis in "xy"]
    reach = 0.52 * max(float(np.ptp(table[axis])) for axis in "xy") or 1.0
    x, y = (
        alt.X(f"{axis}:Q", axis=None, scale=alt.Scale(domain=[at - reach, at + reach], nice=False, zero=False))
        for axis, at in zip("xy", middle)
    )
    y = alt.Y(**y.to_dict())
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=KINDS, range=SHAPES), legend=_legend(""))
    is_known = table["value"].notna()
    tips = [
        alt.Tooltip("token:N"), alt.Tooltip("kind:N"), alt.Tooltip("input:Q"), alt.Tooltip("position:Q"),
    ]  # fmt: skip
    if colouring.kind != "kind":
        tips.append(alt.Tooltip(f"value:{_type(colouring)}", title=colouring.title))
    moves = alt.selection_interval(name=name, bind="scales", encodings=["x", "y"])
    marks = dict(filled=True, size=_POINT, opacity=0.6)
    layers = [
        alt.Chart(table[is_known]).mark_point(**marks)
        .encode(x=x, y=y, shape=shape, color=_colour(colouring), tooltip=tips).add_params(moves)
    ]  # fmt: skip
    if not is_known.all():
        without = alt.Chart(table[~is_known]).mark_point(color=QUIET, **marks)
        layers.insert(0, without.encode(x=x, y=y, shape=shape, tooltip=tips))
    n = table["kind"].value_counts()
    said = " and ".join(f"{n[kind]:,} {word}" for kind, word in zip(KINDS, ("queries", "keys")) if kind in n)
    by = "" if colouring.kind == "kind" else f", coloured by {colouring.title}"
    return alt.layer(*layers).properties(width=pixels, height=pixels, description=f"Joint map of {said}{by}.")


def _type(colouring: Colouring) -> str:
    return "Q" if colouring.classes is None else "N"


def _colour(colouring: Colouring) -> alt.Color:
    title = f"{colouring.title}, {colouring.unit}" if colouring.unit else colouring.title
    if colouring.classes is None:
        scale = alt.Scale(domain=[colouring.low, colouring.high], range=list(colouring.stops), clamp=True)
        return alt.Color("value:Q", scale=scale, legend=_legend(title))
    names, tones = ([each[part] for each in colouring.classes] for part in ("name", "colour"))
    if colouring.kind == "kind":  # one legend with the shapes
        return alt.Color("kind:N", scale=alt.Scale(domain=names, range=tones), legend=_legend(""))
    return alt.Color("value:N", scale=alt.Scale(domain=names, range=tones), legend=_legend(title))


def _legend(title: str) -> alt.Legend:
    return alt.Legend(title=title or None, titleFontWeight="normal", labelFontSize=12, titleLimit=160, symbolOpacity=1)
