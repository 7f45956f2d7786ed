"""Sinks by layer: how often the primary sink is one, what it receives, and how long states are. Arrays in, tables and
`alt.Chart` out."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analysis.metrics.over_inputs import bootstrap_interval
from app.charts.scales import weight_words
from app.palette import OKABE_ITO, QUIET, SELECTED

LAYER = "layer"
"""The point selection of all charts by layer: `pick` is the layer that was clicked."""

RECEIVED, NULL, RATE = "attention received", "if even", "share of heads it is a sink in"
PRIMARY, OTHERS, REST = "primary sink", "other sinks", "the rest"
COLOURS = {RECEIVED: OKABE_ITO[0], NULL: QUIET, RATE: OKABE_ITO[2]}
OF_TOKENS = {PRIMARY: OKABE_ITO[0], OTHERS: OKABE_ITO[1], REST: QUIET}

AXIS = dict(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", domainColor=QUIET, tickColor=QUIET)
GRID = dict(grid=True, gridOpacity=0.35, **AXIS)
PADDING = {"left": 0, "top": 4, "right": 4, "bottom": 0}
HIGH = 216
"""Height of the charts by layer, in pixels."""


def layer_table(
    share: Float[np.ndarray, "layer input"],
    received: Float[np.ndarray, "layer input"],
    even: Float[np.ndarray, "layer input"],
) -> pd.DataFrame:
    """The primary sink layer by layer.

    Args:
        share: Share of the heads of a layer in which the primary sink of an input is a sink, 0..1.
        received: Mean attention it receives over these heads, 0..1.
        even: What it would receive if attention were even.

    Returns:
        A row a layer: layer, rate and received (means over inputs) each with `_low` and `_high` (95 % bootstrap over
        inputs; NaN for a single input), null, n (inputs).
    """
    table = {"layer": np.arange(len(share))}
    for name, values in (("rate", share), ("received", received)):
        low, high = bootstrap_interval(np.asarray(values, dtype=float))
        table |= {name: values.mean(axis=1), f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame({**table, "null": even.mean(axis=1), "n": share.shape[1]})


def make_layers(
    table: pd.DataFrame, threshold: float, picked: int | None, n_layers: int | None = None, *, alone: bool = False
) -> alt.Chart:
    """Two lines with their intervals, the null dashed and the threshold dotted; a click anywhere picks the layer.

    Args:
        table: Of `layer_table`.
        threshold: From which a token is a sink.
        picked: The layer in hand.
        n_layers: Of the axis, where it is to be the same as another's.
        alone: It stands without the page round it: axes are named and the legend is part of it.
    """
    x = layer_axis(n_layers or len(table), alone)
    axis = alt.Axis(values=[0, 0.5, 1], **GRID)
    y = alt.Y("value:Q", title="share, 0 to 1" if alone else None, scale=alt.Scale(domain=[0, 1]), axis=axis)
    colour = _colour("what:N", COLOURS, alone)
    lines = pd.concat([
        pd.DataFrame({"layer": table["layer"], "value": table[name], "what": what, "low": table.get(f"{name}_low"),
                      "high": table.get(f"{name}_high")})
        for name, what in (("received", RECEIVED), ("rate", RATE), ("null", NULL))
    ])  # fmt: skip
    drawn = lines[lines["what"] != NULL]
    base = alt.Chart(drawn).encode(x=x, color=colour)
    return finish(
        [
            *_threshold(threshold, y),
            base.transform_filter("isValid(datum.low)").mark_area(opacity=0.2).encode(y="low:Q", y2="high:Q"),
            alt.Chart(lines[lines["what"] == NULL]).mark_line(strokeDash=[4, 3], strokeWidth=1.5)
            .encode(x=x, y=y, color=colour),
            base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=34)).encode(y=y),
        ],
        _told(table), x, picked, describe_layers(table),
    )  # fmt: skip


def describe_layers(table: pd.DataFrame) -> str:
    """The alternative text."""
    said = "; ".join(f"layer {row.layer} {row.rate:.2f} and {row.received:.2f}" for row in table.itertuples())
    return f"Share of heads in which the primary sink is a sink, and mean attention it receives, by layer: {said}."


def group_table(
    values: Float[np.ndarray, "layer point"],
    is_primary: Bool[np.ndarray, " point"],
    is_other: Bool[np.ndarray, " point"],
) -> pd.DataFrame:
    """A figure of every token layer by layer, as quartiles over each kind of token.

    Args:
        values: Such as the norm of the residual state in front of each layer, and behind the last.
        is_primary: The primary sinks of all inputs.
        is_other: Tokens that are a sink of some head in some layer; primary sinks among them do not count.

    Returns:
        A row a layer and kind of token: layer, tokens (`PRIMARY`, `OTHERS`, `REST`), low, median, high (quartiles), n.
    """
    groups = {PRIMARY: is_primary, OTHERS: is_other & ~is_primary, REST: ~is_primary & ~is_other}
    rows = []
    for name, chosen in groups.items():
        if not chosen.any():
            continue
        low, median, high = np.quantile(values[:, chosen], [0.25, 0.5, 0.75], axis=1)
        n = int(chosen.sum())
        rows += [(layer, name, low[layer], median[layer], high[layer], n) for layer in range(len(values))]
    return pd.DataFrame(rows, columns=["layer", "tokens", "low", "median", "high", "n"])


def make_groups(
    table: pd.DataFrame, picked: int | None, what: str, *, log: bool = True, behind: bool = False, alone: bool = False
) -> alt.Chart:
    """A line a kind of token with its quartiles; a click picks the layer.

    Args:
        table: Of `group_table`.
        what: The figure, as in ``norm of the residual state``.
        log: A logarithmic scale.
        behind: The last row stands for the state behind all layers, which cannot be picked.
        alone: It stands without the page round it: axes are named and the legend is part of it.
    """
    n_rows = int(table["layer"].max()) + 1
    x = layer_axis(n_rows, alone)
    scale = alt.Scale(type="log", zero=False, nice=False, domain=_domain(table)) if log else alt.Scale(zero=False)
    ticks = dict(values=_ticks(table)) if log else dict(tickCount=4)
    axis = alt.Axis(format=".3~r", **ticks, **GRID)
    title = f"{what}, median" if alone else None
    y = alt.Y("median:Q", title=title, axis=axis, scale=scale)
    names = [name for name in OF_TOKENS if (table["tokens"] == name).any()]
    colour = _colour("tokens:N", {name: OF_TOKENS[name] for name in names}, alone)
    base = alt.Chart(table).encode(x=x, color=colour)
    wide = table.pivot(index="layer", columns="tokens", values="median").reset_index()
    tips = [alt.Tooltip("layer:Q", title="in front of layer" if behind else "layer")]
    tips += [alt.Tooltip(f"{name}:Q", title=f"{name}, median", format=".3~r") for name in names]
    said = "; ".join(f"{name} {' '.join(weight_words(value) for value in wide[name])}" for name in names)
    return finish(
        [base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
         base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=34)).encode(y=y)],
        alt.Chart(wide).encode(tooltip=tips), x, picked, f"Median {what} by layer: {said}.",
        last=n_rows - 1 if behind else None,
    )  # fmt: skip


def layer_axis(n_layers: int, alone: bool = False) -> alt.X:
    """Layers from 0, whole numbers only, a little room at both ends; named where the chart stands `alone`."""
    step = -(-n_layers // 12)
    return alt.X(
        "layer:Q", title="layer" if alone else None, scale=alt.Scale(domain=[-0.5, n_layers - 0.5], nice=False),
        axis=alt.Axis(values=list(range(0, n_layers, step)), format="d", grid=False, **AXIS),
    )  # fmt: skip


def finish(
    layers: list[alt.Chart], told: alt.Chart, x: alt.X, picked: int | None, said: str, last: int | None = None
) -> alt.Chart:
    """Layers of a chart by layer, the picked one marked, and over all of it what a pointer reads and a click picks.

    Args:
        told: A row a layer with its tooltips; a click picks the layer.
        last: Layers from this one on cannot be picked.
    """
    rule = alt.Chart(pd.DataFrame({"layer": [] if picked is None else [picked]}, dtype=float))
    marked = rule.mark_rule(color=SELECTED, strokeWidth=2, opacity=0.9, aria=False).encode(x=x)
    highest = "datum.layer" if last is None else f"min(datum.layer, {last - 1})"
    over = told.transform_calculate(left="datum.layer - 0.5", right="datum.layer + 0.5", pick=highest)
    bars = over.mark_rect(opacity=0, cursor="pointer", tooltip=True).encode(
        x=alt.X("left:Q", title=x["title"]), x2="right:Q",
    )  # fmt: skip
    bars = bars.add_params(alt.selection_point(name=LAYER, fields=["pick"], on="click", empty=False))
    return alt.layer(marked, *layers, bars).properties(height=HIGH, description=said, padding=PADDING)


def _colour(field: str, colours: Mapping[str, str], alone: bool) -> alt.Color:
    shown = alt.Legend(title=None, orient="top", labelFontSize=12, labelLimit=260, symbolOpacity=1)
    legend = shown if alone else None
    return alt.Color(field, scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=legend)


def _threshold(threshold: float, y: alt.Y) -> list[alt.Chart]:
    at = alt.Chart(pd.DataFrame({"value": [threshold], "said": [f"threshold {threshold:g}"]}))
    words = at.mark_text(align="right", baseline="bottom", dy=-2, fontSize=12, color=QUIET)
    return [at.mark_rule(color=QUIET, strokeDash=[1, 3]).encode(y=y),
            words.encode(x=alt.value("width"), y=y, text="said:N")]  # fmt: skip


def _told(table: pd.DataFrame) -> alt.Chart:
    words = pd.DataFrame({
        "layer": table["layer"],
        "rate": [_interval(row.rate, row.rate_low, row.rate_high) for row in table.itertuples()],
        "received": [_interval(row.received, row.received_low, row.received_high) for row in table.itertuples()],
        "null": [weight_words(round(value, 6)) for value in table["null"]],
    })  # fmt: skip
    titles = {"layer": "layer", "rate": RATE, "received": RECEIVED, "null": NULL}
    return alt.Chart(words).encode(
        tooltip=[
            alt.Tooltip(f"{name}:{'Q' if name == 'layer' else 'N'}", title=title) for name, title in titles.items()
        ]
    )


def _interval(value: float, low: float, high: float) -> str:
    if not np.isfinite(low):
        return f"{value:.2f}"
    return f"{value:.2f} (95 %: {low:.2f} to {high:.2f})"


def _ticks(table: pd.DataFrame) -> list[float]:
    """Round numbers along a logarithmic axis: 1, 2 and 5 times powers of ten, or only these where that is many."""
    low, high = _domain(table)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def _domain(table: pd.DataFrame) -> list[float]:
    low, high = max(float(table["low"].min()), 1e-6), float(table["high"].max())
    return [low / 1.15, max(high, low * 1.01) * 1.15]
