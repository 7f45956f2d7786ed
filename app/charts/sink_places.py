"""Where on images sinks sit: the mean map of every layer, and one image with its sinks. Tables in, charts out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from app.charts.image_attention import make_overlay, patch_table
from app.charts.scales import ColourScale, make_scale, weight_words
from app.charts.sink_layers import LAYER
from app.palette import OKABE_ITO, QUIET, SELECTED, VIRIDIS

MOST_CELLS = 5000
"""Patches of all maps together that are drawn; of more layers an even choice is shown."""

VISUAL, LARGE = OKABE_ITO[1], OKABE_ITO[2]
"""Colours of visual sinks and of large norms."""

_GAP = 0.16
_ACROSS = 12


def place_table(share: Float[np.ndarray, "layer point"], tokens: pd.DataFrame) -> pd.DataFrame:
    """How often the patch at each place is a sink, layer by layer.

    Args:
        share: Share of the heads of a layer in which a token is a sink, 0..1.
        tokens: The token table with row and column; other tokens have none.

    Returns:
        layer, row, column, rate (share of heads and images in which it is a sink), some (share of images in which it
        is a sink of some head), n (images with that place).
    """
    row, column = (tokens[name].fillna(-1).to_numpy(dtype=int) for name in ("row", "column"))
    patch = np.flatnonzero((row >= 0) & (column >= 0))
    width = int(column.max()) + 1
    known, place = np.unique(row[patch] * width + column[patch], return_inverse=True)
    count = np.bincount(place)
    tables = []
    for layer, of_layer in enumerate(share[:, patch]):
        rate, some = (np.bincount(place, values) / count for values in (of_layer, (of_layer > 0).astype(float)))
        tables.append(pd.DataFrame({"layer": layer, "row": known // width, "column": known % width, "rate": rate,
                                    "some": some, "n": count}))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def make_places(table: pd.DataFrame, picked: int | None, pixels: int) -> alt.Chart:
    """A small map a layer, side by side, all on one scale from 0; a click picks the layer.

    Args:
        table: Of `place_table`.
        picked: The layer in hand, framed.
        pixels: Width of all maps together.
    """
    layers, n_rows, n_columns = _shown(table)
    across = min(len(layers), _ACROSS)
    step = n_columns * (1 + _GAP)
    tall = n_rows + 0.3 * n_columns
    at = {layer: (place % across * step, place // across * tall) for place, layer in enumerate(layers)}
    shown = table[table["layer"].isin(layers)]
    left = shown["column"] + shown["layer"].map({layer: x for layer, (x, _) in at.items()})
    top = shown["row"] + shown["layer"].map({layer: y for layer, (_, y) in at.items()})
    shown = shown.assign(left=left, right=left + 1, top=top, bottom=top + 1, pick=shown["layer"])
    size = pixels / (across * step - _GAP * n_columns)
    high = (len(layers) - 1) // across * tall + n_rows
    x = alt.X("left:Q", axis=None, scale=alt.Scale(domain=[0, across * step - _GAP * n_columns], nice=False))
    y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[high, -0.24 * n_columns], nice=False))
    most = max(float(shown["rate"].max()), 1e-9)
    colour = alt.Color("rate:Q", scale=alt.Scale(range=list(VIRIDIS), domain=[0, most]), legend=None)
    tips = [
        alt.Tooltip("layer:Q", title="layer"), alt.Tooltip("row:Q", title="row"),
        alt.Tooltip("column:Q", title="column"), alt.Tooltip("rate:Q", title="sink rate", format=".3~r"),
        alt.Tooltip("some:Q", title="images where some head has it", format=".2f"),
    ]  # fmt: skip
    cells = alt.Chart(shown).mark_rect(cursor="pointer").encode(x=x, x2="right:Q", y=y, y2="bottom:Q", color=colour,
                                                                tooltip=tips)  # fmt: skip
    cells = cells.add_params(alt.selection_point(name=LAYER, fields=["pick"], on="click", empty=False))
    frames = pd.DataFrame([
        {"left": at[layer][0], "right": at[layer][0] + n_columns, "top": at[layer][1], "bottom": at[layer][1] + n_rows,
         "name": f"L{layer}", "is_picked": layer == picked} for layer in layers
    ])  # fmt: skip
    names = alt.Chart(frames).mark_text(align="left", baseline="bottom", dy=-2, fontSize=12, color=QUIET)
    ring = alt.Chart(frames[frames["is_picked"]]).mark_rect(fill=None, stroke=SELECTED, strokeWidth=2.5, aria=False)
    return alt.layer(
        cells, names.encode(x=x, y=y, text="name:N"), ring.encode(x=x, x2="right:Q", y=y, y2="bottom:Q")
    ).properties(
        width=pixels, height=round((high + 0.24 * n_columns) * size), autosize="pad",
        padding={"left": 2, "top": 2, "right": 2, "bottom": 2}, description=describe_places(table),
    ).configure_view(strokeWidth=0)  # fmt: skip


def describe_places(table: pd.DataFrame) -> str:
    """The alternative text: where each layer has most of them."""
    best = table.loc[table.groupby("layer")["rate"].idxmax()]
    said = [f"layer {row.layer} row {row.row}, column {row.column} {row.rate:.2g}" for row in best.itertuples()]
    return f"Sink rate of every place of the images by layer; the highest: {'; '.join(said)}."


def busiest_layer(table: pd.DataFrame) -> int:
    """The layer in which patches are sinks most often; the first of equal ones."""
    return int(table.groupby("layer")["rate"].mean().idxmax())


def make_image(
    share: Float[np.ndarray, " token"],
    is_visual: Bool[np.ndarray, " token"],
    is_large: Bool[np.ndarray, " token"],
    tokens: pd.DataFrame,
    picture: bytes,
    picked: int | None,
) -> alt.LayerChart:
    """One image in one layer: patches shaded by the share of heads in which they are a sink, visual sinks framed, large
    norms crossed; a click picks a token (``pick``: position).

    Args:
        share: 0..1, by position.
        tokens: The image's rows of the token table.
        picture: PNG bytes.
        picked: Position of the token in hand.
    """
    table = patch_table(np.where(share > 0, share, np.nan), tokens)
    scale: ColourScale = make_scale(np.array([0.0, 1.0]))
    chart = make_overlay(table, picture, scale, picked, "key", title="share of heads", blank="no sink")
    x, y = (alt.X("left:Q"), alt.Y("top:Q"))
    frames, crosses = table[is_visual], table[is_large]
    both = [
        alt.Chart(frames).mark_rect(fill=None, stroke=stroke, strokeWidth=width, aria=False)
        .encode(x=x, x2="right:Q", y=y, y2="bottom:Q")
        for stroke, width in (("#000000", 5), (VISUAL, 3))
    ]  # fmt: skip
    middle = crosses.assign(left=(crosses["left"] + crosses["right"]) / 2, top=(crosses["top"] + crosses["bottom"]) / 2)
    both += [
        alt.Chart(middle)
        .mark_point(shape="cross", angle=45, size=size, filled=True, color=tone, opacity=1, aria=False)
        .encode(x=x, y=y)
        for tone, size in (("#000000", 150), (LARGE, 80))
    ]  # fmt: skip
    chart.layer = [*chart.layer, *both]
    chart.description = count_words(share, is_visual, is_large, tokens)
    return chart


def token_table(
    share: Float[np.ndarray, " token"],
    is_visual: Bool[np.ndarray, " token"],
    is_large: Bool[np.ndarray, " token"],
    tokens: pd.DataFrame,
) -> pd.DataFrame:
    """What `make_image` draws as numbers: a row a token, with the share of heads in which it is a sink, 0 to 1."""
    return pd.DataFrame({
        "position": tokens["position"].to_numpy(), "token": tokens["text"].astype(str).to_numpy(),
        "share of heads": np.asarray(share, dtype=float), "visual sink": is_visual, "large norm": is_large,
    })  # fmt: skip


def count_words(
    share: Float[np.ndarray, " token"],
    is_visual: Bool[np.ndarray, " token"],
    is_large: Bool[np.ndarray, " token"],
    tokens: pd.DataFrame,
) -> str:
    """What is drawn on one image, counted."""
    patch = (tokens["row"].fillna(-1) >= 0).to_numpy()
    n = int((share[patch] > 0).sum())
    beside = [
        f"{name} in {weight_words(round(float(value), 3))} of the heads"
        for name, value, is_patch in zip(tokens["text"], share, patch)
        if not is_patch and value > 0
    ]
    squares = f" Beside the picture: {', '.join(map(str, beside))}." if beside else ""
    return (
        f"{n} of {int(patch.sum())} patches {'is' if n == 1 else 'are'} a sink of some head; "
        f"{_of(is_visual[patch], 'visual sink', 'visual sinks')}; {_of(is_large[patch], 'large norm', 'large norms')}."
        f"{squares}"
    )


def _of(found: Bool[np.ndarray, " patch"], one: str, many: str) -> str:
    n = int(found.sum())
    return f"{n} {one if n == 1 else many}"


def _shown(table: pd.DataFrame) -> tuple[list[int], int, int]:
    layers = sorted(int(layer) for layer in table["layer"].unique())
    n_rows, n_columns = int(table["row"].max()) + 1, int(table["column"].max()) + 1
    most = max(MOST_CELLS // (n_rows * n_columns), 1)
    if len(layers) > most:
        layers = [layers[at] for at in np.unique(np.linspace(0, len(layers) - 1, most).astype(int))]
    return layers, n_rows, n_columns
