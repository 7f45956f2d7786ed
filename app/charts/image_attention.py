"""One head on one image: the picture with its patches shaded. Data frame in, `alt.Chart` out."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from app.charts.ramps import share_colour, viridis
from app.charts.scales import ColourScale, weight_exactly
from app.palette import QUIET, SELECTED

PICTURE_PIXELS = 310
"""Longer side of each of the two pictures on the page."""

MOST_NAMED = 8
"""Squares beside the picture that stand in one column, each with its name."""

WIDEST = 2.0
"""A picture that is wider for its height, as a spectrogram, is drawn with tall patches."""

if TYPE_CHECKING:
    from PIL import Image

_SMOOTH = 16
"""Pixels of a patch in the smooth shading."""

_SQUARE = 0.105
"""Side of a square beside the picture, as a share of the picture's longer side."""

_SMALL = 0.4
"""Size of the whole picture made small, as a share of the picture's."""


def patch_table(weights: Float[np.ndarray, " token"], tokens: pd.DataFrame) -> pd.DataFrame:
    """Where every token of one image is drawn, in units of patches, with its weight.

    Args:
        weights: Of each token, by position; NaN where the token is hidden.
        tokens: The input's rows of the token table, by position: text, row, column; CLS and registers have no row. Nor
            have parts of the whole picture made small beside its crops (``crop``), whose boxes are left, top, right
            and bottom.

    Returns:
        Columns position, name, weight, is_patch, is_small, row, column, left, right, top, bottom. The picture covers 0
        to its number of columns and of rows; CLS and registers are squares in a column to its left, or the small
        picture stands there.
    """
    is_patch = tokens["row"].notna().to_numpy() & (tokens["row"].fillna(-1).to_numpy() >= 0)
    row = tokens["row"].fillna(-1).to_numpy(dtype=int)
    column = tokens["column"].fillna(-1).to_numpy(dtype=int)
    n_rows, n_columns = int(row.max()) + 1, int(column.max()) + 1
    side = max(n_rows, n_columns) * _SQUARE
    is_small = ~is_patch & _is_of_whole(tokens)
    order = np.cumsum(~is_patch & ~is_small) - 1
    high = side / max(1.0, n_columns / n_rows / WIDEST)
    left = np.where(is_patch, column, -1.5 * side).astype(float)
    top = np.where(is_patch, row, (order * 1.6 + 0.35) * high).astype(float)
    places = zip(is_patch, row, column, tokens["text"])
    has_times = "seconds" in tokens and tokens["seconds"].notna().any()
    names = [f"patch {r}, {c}" if patch and not has_times else str(text) for patch, r, c, text in places]
    right = left + np.where(is_patch, 1.0, side)
    bottom = top + np.where(is_patch, 1.0, high)
    is_beside = ~is_patch & ~is_small
    if is_beside.sum() > MOST_NAMED:  # object queries: small squares in rows, named at the pointer
        in_row = int(np.ceil(np.sqrt(is_beside.sum() / 4)))
        wide, tall = 3 * side / in_row, 3 * high / in_row
        place = order[is_beside]
        left[is_beside] = (place % in_row - in_row) * wide - 0.5 * side
        top[is_beside] = (place // in_row) * tall
        right[is_beside], bottom[is_beside] = left[is_beside] + 0.9 * wide, top[is_beside] + 0.9 * tall
    if is_small.any():
        boxes = tokens[["left", "top", "right", "bottom"]].to_numpy(dtype=float)[is_small]
        wide, tall = _SMALL * n_columns, _SMALL * n_rows
        left[is_small], right[is_small] = (wide * (boxes[:, at] - 1.15) for at in (0, 2))
        top[is_small], bottom[is_small] = (tall * boxes[:, at] for at in (1, 3))
    return pd.DataFrame(
        {
            "position": np.arange(len(tokens)),
            "name": names,
            "weight": np.asarray(weights, dtype=float),
            "is_patch": is_patch,
            "is_small": is_small,
            "row": row,
            "column": column,
            "left": left,
            "right": right,
            "top": top,
            "bottom": bottom,
        }
    )


def _is_of_whole(tokens: pd.DataFrame) -> np.ndarray:
    """Parts of the whole picture made small, beside the crops of it."""
    if "crop" not in tokens:
        return np.zeros(len(tokens), dtype=bool)
    return ((tokens["crop"] == "whole") & tokens["left"].notna()).to_numpy(dtype=bool)


def strongest_patch(table: pd.DataFrame) -> int:
    """Position of the token with the largest weight, patches and squares alike."""
    return int(table["position"].iloc[int(np.nanargmax(table["weight"].to_numpy()))])


def make_overlay(
    table: pd.DataFrame,
    picture: bytes,
    scale: ColourScale,
    picked: int | None = None,
    kind: str = "query",
    *,
    title: str = "weight",
    smooth: bool = False,
    marked: list[bool] | None = None,
    arrows: pd.DataFrame | None = None,
    sinks: list[int] | None = None,
    blank: str = "hidden",
) -> alt.LayerChart:
    """The picture as it is, and beside it in grey with each patch shaded by its weight; a click picks (``pick``).

    Grey, so that the colours are those of the colour bar and of nothing in the picture; the larger the weight, the
    stronger the shade, so that what is ignored stays visible.

    Args:
        table: From `patch_table`.
        picture: PNG bytes.
        scale: From weights to colours.
        picked: Position of the token whose attention is shown; outlined.
        kind: ``query``: the weights are on the keys it attends to; ``key``: on the queries that attend to it.
        title: What the weights are.
        smooth: Bicubic between the middles of the patches instead of one shade a patch.
        marked: Tokens that stand out while the rest is dimmed; None where nothing is looked for.
        arrows: From `app.charts.image_flows`: drawn instead of the shades.
        sinks: Positions of keys that are hidden as sinks: dashed, without a shade.
        blank: What a token without a weight says.
    """
    patches = table[table["is_patch"]]
    n_rows, n_columns = int(patches["row"].max()) + 1, int(patches["column"].max()) + 1
    side = max(n_rows, n_columns) * _SQUARE
    first = -0.5 * side + min(float(table["left"].min()), 0.0)
    shift = first - n_columns
    told = table.assign(share=scale.share(table["weight"].to_numpy()), value=_told(table["weight"], blank))
    both = _in_both(told, shift, is_shaded=not smooth and arrows is None, marked=marked)
    pixels = PICTURE_PIXELS / max(n_rows, n_columns)
    tall = pixels * max(1.0, n_columns / n_rows / WIDEST)
    x = alt.X("left:Q", axis=None, scale=alt.Scale(domain=[shift, n_columns], nice=False, zero=False))
    y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[n_rows, 0], nice=False, zero=False))
    size = (n_columns * pixels, n_rows * tall)
    layers = [
        _picture(picture, shift + n_columns / 2, n_rows / 2, size, x, y),
        _picture(_grey(picture), n_columns / 2, n_rows / 2, size, x, y),
    ]
    if smooth and arrows is None:
        layers.append(_picture(smooth_shades(told), n_columns / 2, n_rows / 2, size, x, y))
    empty = both[~both["is_patch"] & ~both["is_small"] & both["weight"].isna()]
    if len(empty) > MOST_NAMED:  # object queries, which have no name beside them to show where they are
        layers.append(_frame(empty, x, y, QUIET, 1))
    layers += [_shades(both, x, y, kind, scale, title, blank), _names(table, x, y)]
    if marked is not None:
        layers += _marked(both[np.array(marked)[both["position"]]], x, y)
    if sinks:
        layers.append(_frame(both[both["position"].isin(sinks)], x, y, QUIET, 1.5, (3, 3)))
    if arrows is not None:
        layers += _arrows(arrows, x, y, pixels, scale, picked, kind)
    if picked is not None:
        layers.append(_frame(both[both["position"] == picked], x, y))
    description = describe_overlay(table, picked, kind) if arrows is None else describe_arrows(arrows)
    return (
        alt.layer(*layers)
        .properties(width=(n_columns - shift) * pixels, height=n_rows * tall, description=description, autosize="pad")
        .configure_view(strokeWidth=0)
    )


def _in_both(told: pd.DataFrame, shift: float, is_shaded: bool, marked: list[bool] | None) -> pd.DataFrame:
    """The patches of the plain picture, clear, and all tokens of the shaded one."""
    plain = told[told["is_patch"]].assign(shade=0.0)
    plain = plain.assign(left=plain["left"] + shift, right=plain["right"] + shift)
    shades = (0.3 + 0.6 * told["share"].fillna(0)) * told["weight"].notna() if is_shaded else 0.0
    if marked is not None:
        shades = shades * np.where(np.array(marked)[told["position"]], 1, 0.4)
    return pd.concat([plain, told.assign(shade=shades)])


def smooth_shades(table: pd.DataFrame) -> bytes:
    """The shading of the patches as one PNG, bicubic between their middles; hidden patches are clear.

    Args:
        table: From `patch_table`, with a column ``share``.
    """
    from PIL import Image

    patches = table[table["is_patch"]]
    shares = np.full((int(patches["row"].max()) + 1, int(patches["column"].max()) + 1), np.nan, dtype=np.float32)
    shares[patches["row"], patches["column"]] = patches["share"]
    size = (shares.shape[1] * _SMOOTH, shares.shape[0] * _SMOOTH)
    grid = Image.fromarray(np.nan_to_num(shares), mode="F").resize(size, Image.Resampling.BICUBIC)
    places = np.clip(np.asarray(grid), 0, 1)
    known = np.isfinite(shares).repeat(_SMOOTH, axis=0).repeat(_SMOOTH, axis=1)
    alpha = np.where(known, 255 * (0.3 + 0.6 * places), 0).astype(np.uint8)
    return _png(Image.fromarray(np.dstack([viridis(places), alpha]), mode="RGBA"))


def describe_overlay(table: pd.DataFrame, picked: int | None, kind: str) -> str:
    """The alternative text: whose attention is drawn and where it is strongest."""
    top = table.nlargest(3, "weight")
    words = "; ".join(f"{name} {weight:.2g}" for name, weight in zip(top["name"], top["weight"]))
    own = table.loc[table["position"] == picked, "name"]
    whose = f" of {kind} {own.iloc[0]}" if len(own) else ""
    return f"Picture with {int(table['is_patch'].sum())} patches shaded by attention{whose}. Strongest: {words}."


def describe_arrows(arrows: pd.DataFrame) -> str:
    """The alternative text of a picture with arrows."""
    top = arrows.nlargest(3, "weight")
    words = [f"{row.query_name} to {row.key_name} {row.weight:.2g}" for row in top.itertuples()]
    return f"Picture with {len(arrows)} arrows from queries to keys. Strongest: {'; '.join(words) or 'none'}."


def _told(weights: pd.Series, blank: str) -> list[str]:
    return [blank if np.isnan(weight) else weight_exactly(weight) for weight in weights]


def _grey(picture: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        return _png(image.convert("L").point(lambda level: int(60 + 0.6 * level)))


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def _picture(picture: bytes, middle: float, centre: float, size: tuple[float, float], x: alt.X, y: alt.Y) -> alt.Chart:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    place = alt.Chart(pd.DataFrame([{"url": url, "left": middle, "top": centre}]))
    return place.mark_image(width=size[0], height=size[1], aspect=False, aria=False).encode(x=x, y=y, url="url:N")


def _shades(
    table: pd.DataFrame, x: alt.X, y: alt.Y, kind: str, scale: ColourScale, title: str, blank: str
) -> alt.Chart:
    return (
        alt.Chart(table)
        .mark_rect(cursor="pointer")
        .encode(
            x=x,
            x2="right:Q",
            y=y,
            y2="bottom:Q",
            color=share_colour(scale, title),
            opacity=alt.condition(
                f"datum.is_patch || datum.value === '{blank}'", alt.Opacity("shade:Q", scale=None), alt.value(1)
            ),
            tooltip=[
                alt.Tooltip("name:N", title="key" if kind == "query" else "query"),
                alt.Tooltip("position:Q", title="position"),
                alt.Tooltip("value:N", title=title),
            ],
        )
        .add_params(alt.selection_point(name="pick", fields=["position"], on="click", toggle=False))
    )


def _names(table: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    beside = table[~table["is_patch"] & ~table["is_small"]]
    beside = beside if len(beside) <= MOST_NAMED else beside[:0]
    marks = alt.Chart(beside).mark_text(baseline="bottom", align="left", dy=-3, fontSize=12, color=QUIET, aria=False)
    return marks.encode(x=x, y=y, text="name:N")


def _frame(
    picked: pd.DataFrame, x: alt.X, y: alt.Y, colour: str = SELECTED, width: float = 3, dash: tuple[int, ...] = (1, 0)
) -> alt.Chart:
    frame = alt.Chart(picked).mark_rect(
        fill=None, stroke=colour, strokeWidth=width, strokeDash=list(dash), aria=False
    )  # fmt: skip
    return frame.encode(x=x, x2="right:Q", y=y, y2="bottom:Q")


def _marked(marked: pd.DataFrame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """White dashes over black: seen on any picture."""
    return [_frame(marked, x, y, "#000000", 3), _frame(marked, x, y, "#FFFFFF", 2, (4, 3))]


def _arrows(
    arrows: pd.DataFrame,
    x: alt.X,
    y: alt.Y,
    pixels: float,
    scale: ColourScale,
    picked: int | None,
    kind: str,
) -> list[alt.Chart]:
    faint = "true" if picked is None else f"datum.{kind} === {picked}"
    shares = viridis(scale.share(arrows["weight"].to_numpy()))
    drawn = arrows.assign(colour=[f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in shares.tolist()])
    colour = alt.Color("colour:N", scale=None)
    tips = [
        alt.Tooltip("query_name:N", title="query"),
        alt.Tooltip("key_name:N", title="key"),
        alt.Tooltip("weight:Q", title="weight", format=".4~r"),
    ]
    opacity = alt.condition(faint, alt.value(0.95), alt.value(0.4))
    lines = (
        alt.Chart(drawn)
        .mark_rule(strokeWidth=2, strokeCap="round")
        .encode(x=x, y=y, x2="right:Q", y2="bottom:Q", color=colour, opacity=opacity, tooltip=tips)
    )
    head = (0.32 * pixels) ** 2
    ends = alt.Chart(drawn.assign(left=drawn["right"], top=drawn["bottom"]))
    points = ends.mark_point(filled=True, size=float(np.clip(head, 25, 120))).encode(
        x=x,
        y=y,
        color=colour,
        opacity=opacity,
        tooltip=tips,
        shape=alt.condition("datum.is_self", alt.value("circle"), alt.value("triangle")),
        angle=alt.Angle("angle:Q", scale=None),
    )
    return [lines, points]
