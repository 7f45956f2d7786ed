"""One head on one image: the picture with its patches shaded. Data frame in, `alt.Chart` out."""

from __future__ import annotations

import base64
import io

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from app.palette import QUIET, SELECTED

PICTURE_PIXELS = 310
"""Longer side of each of the two pictures on the page."""

_SQUARE = 0.105
"""Side of a square beside the picture, as a share of the picture's longer side."""


def patch_table(weights: Float[np.ndarray, " token"], tokens: pd.DataFrame) -> pd.DataFrame:
    """Where every token of one image is drawn, in units of patches, with its weight.

    Args:
        weights: Of each token, by position, 0..1.
        tokens: The input's rows of the token table, by position: text, row, column; CLS and registers have no row.

    Returns:
        Columns position, name, weight, is_patch, row, column, left, right, top, bottom. The picture covers 0 to its
        number of columns and of rows; CLS and registers are squares in a column to its left.
    """
    is_patch = tokens["row"].notna().to_numpy() & (tokens["row"].fillna(-1).to_numpy() >= 0)
    row = tokens["row"].fillna(-1).to_numpy(dtype=int)
    column = tokens["column"].fillna(-1).to_numpy(dtype=int)
    n_rows, n_columns = int(row.max()) + 1, int(column.max()) + 1
    side = max(n_rows, n_columns) * _SQUARE
    order = np.cumsum(~is_patch) - 1
    left = np.where(is_patch, column, -1.5 * side).astype(float)
    top = np.where(is_patch, row, order * 1.6 * side + 0.35 * side).astype(float)
    places = zip(is_patch, row, column, tokens["text"])
    names = [f"patch {r}, {c}" if patch else str(text) for patch, r, c, text in places]
    size = np.where(is_patch, 1.0, side)
    return pd.DataFrame(
        {
            "position": np.arange(len(tokens)),
            "name": names,
            "weight": np.asarray(weights, dtype=float),
            "is_patch": is_patch,
            "row": row,
            "column": column,
            "left": left,
            "right": left + size,
            "top": top,
            "bottom": top + size,
        }
    )


def strongest_patch(table: pd.DataFrame) -> int:
    """Position of the token with the largest weight, patches and squares alike."""
    return int(table["position"].iloc[int(table["weight"].to_numpy().argmax())])


def make_overlay(table: pd.DataFrame, picture: bytes, picked: int | None = None, kind: str = "query") -> alt.Chart:
    """The picture as it is, and beside it in grey with each patch shaded by its weight; a click picks (``pick``).

    Grey, so that the colours are those of the colour bar and of nothing in the picture; the larger the weight, the
    stronger the shade, so that what is ignored stays visible.

    Args:
        table: From `patch_table`.
        picture: PNG bytes.
        picked: Position of the token whose attention is shown; outlined.
        kind: ``query``: the weights are on the keys it attends to; ``key``: on the queries that attend to it.
    """
    patches = table[table["is_patch"]]
    n_rows, n_columns = int(patches["row"].max()) + 1, int(patches["column"].max()) + 1
    side = max(n_rows, n_columns) * _SQUARE
    first = -0.5 * side + min(float(table["left"].min()), 0.0)
    plain = patches.assign(left=patches["left"] + first - n_columns, right=patches["right"] + first - n_columns)
    both = pd.concat([plain.assign(shade=0.0), table.assign(shade=_shade(table["weight"]))])
    scale = PICTURE_PIXELS / max(n_rows, n_columns)
    x = alt.X("left:Q", axis=None, scale=alt.Scale(domain=[first - n_columns, n_columns], nice=False, zero=False))
    y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[n_rows, 0], nice=False, zero=False))
    size = (n_columns * scale, n_rows * scale)
    layers = [
        _picture(picture, first - n_columns / 2, n_rows / 2, size, x, y),
        _picture(_grey(picture), n_columns / 2, n_rows / 2, size, x, y),
        _shades(both, x, y, kind),
        _names(table, x, y),
    ]
    if picked is not None:
        layers.append(_frame(both[both["position"] == picked], x, y))
    return (
        alt.layer(*layers)
        .properties(
            width=(2 * n_columns - first) * scale,
            height=n_rows * scale,
            description=describe_overlay(table, picked, kind),
            autosize="pad",
        )
        .configure_view(strokeWidth=0)
    )


def describe_overlay(table: pd.DataFrame, picked: int | None, kind: str) -> str:
    """The alternative text: whose attention is drawn and where it is strongest."""
    top = table.nlargest(3, "weight")
    words = "; ".join(f"{name} {weight:.2f}" for name, weight in zip(top["name"], top["weight"]))
    whose = f" of {kind} {table['name'].iloc[picked]}" if picked is not None else ""
    return f"Picture with {int(table['is_patch'].sum())} patches shaded by attention{whose}. Strongest: {words}."


def _grey(picture: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        flat = image.convert("L").point(lambda level: int(60 + 0.6 * level))
    written = io.BytesIO()
    flat.save(written, "PNG")
    return written.getvalue()


def _shade(weights: pd.Series) -> np.ndarray:
    top = float(weights.max()) or 1.0
    return 0.3 + 0.6 * np.sqrt(weights.to_numpy() / top)


def _picture(picture: bytes, middle: float, centre: float, size: tuple[float, float], x: alt.X, y: alt.Y) -> alt.Chart:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    place = alt.Chart(pd.DataFrame([{"url": url, "left": middle, "top": centre}]))
    return place.mark_image(width=size[0], height=size[1], aspect=False, aria=False).encode(x=x, y=y, url="url:N")


def _shades(table: pd.DataFrame, x: alt.X, y: alt.Y, kind: str) -> alt.Chart:
    top = float(table["weight"].max()) or 1.0
    legend = alt.Legend(title="weight", gradientLength=160, titleFontWeight="normal", labelFontSize=12, format=".2~g")
    return (
        alt.Chart(table)
        .mark_rect(cursor="pointer")
        .encode(
            x=x,
            x2="right:Q",
            y=y,
            y2="bottom:Q",
            color=alt.Color("weight:Q", scale=alt.Scale(scheme="viridis", domain=[0, top]), legend=legend),
            opacity=alt.condition("datum.is_patch", alt.Opacity("shade:Q", scale=None), alt.value(1)),
            tooltip=[
                alt.Tooltip("name:N", title="key" if kind == "query" else "query"),
                alt.Tooltip("position:Q", title="position"),
                alt.Tooltip("weight:Q", title="weight", format=".4f"),
            ],
        )
        .add_params(alt.selection_point(name="pick", fields=["position"], on="click", toggle=False))
    )


def _names(table: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    beside = table[~table["is_patch"]]
    marks = alt.Chart(beside).mark_text(baseline="bottom", align="left", dy=-3, fontSize=12, color=QUIET)
    return marks.encode(x=x, y=y, text="name:N")


def _frame(picked: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    frame = alt.Chart(picked).mark_rect(fill=None, stroke=SELECTED, strokeWidth=3)
    return frame.encode(x=x, x2="right:Q", y=y, y2="bottom:Q")
