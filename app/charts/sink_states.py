"""What makes a sink and what becomes of it: massive dimensions, the MLP in front, weakening. Tables in, charts out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis.sinks.levels import LIKE_PRIMARY, NOISE, PRIMARY, SECONDARY
from app.charts.scales import weight_words
from app.charts.sink_layers import GRID, PADDING, finish, layer_axis
from app.charts.text_attention import visible_token
from app.palette import OKABE_ITO, QUIET

TOKEN = "token"
"""The point selection of `make_relation`: input_id and position of the token that was clicked."""

LABELS = {SECONDARY: OKABE_ITO[1], LIKE_PRIMARY: OKABE_ITO[0], NOISE: QUIET}
WITH, WITHOUT = "secondary sinks live in the layer", "none does"
WEAK = {WITH: OKABE_ITO[1], WITHOUT: OKABE_ITO[0]}


def make_massive(table: pd.DataFrame, rest: list[float], picked: int | None) -> alt.Chart:
    """The largest dimension of the primary sinks layer by layer, named, against the largest ratio there can be.

    Args:
        table: Of `analysis.sinks.massive.massive_dimensions`.
        rest: Median of the largest ratio of all other tokens, in front of each layer and behind the last.
    """
    first = table.groupby("layer", sort=True).head(1)
    n_rows = int(first["layer"].max()) + 1
    x, top = layer_axis(n_rows), float(first["most"].iloc[0])
    y = alt.Y(
        "ratio:Q", title=None, axis=alt.Axis(tickCount=4, format=".3~r", **GRID), scale=alt.Scale(domain=[0, top])
    )
    others = pd.DataFrame({"layer": np.arange(len(rest)), "ratio": rest})
    told = first.assign(rest=first["layer"].map(dict(enumerate(rest))), dim=first["dimension"].astype(str))
    tips = [
        alt.Tooltip("layer:Q", title="in front of layer"), alt.Tooltip("dim:N", title="dimension"),
        alt.Tooltip("ratio:Q", title="ratio at the primary sink", format=".3~r"),
        alt.Tooltip("inputs:Q", title="share of inputs", format=".2f"),
        alt.Tooltip("shared:Q", title="share of other sinks with it", format=".2f"),
        alt.Tooltip("rest:Q", title="median ratio of all others", format=".3~r"),
    ]  # fmt: skip
    base = alt.Chart(told).encode(x=x, y=y)
    said = "; ".join(f"layer {row.layer} dimension {row.dimension} {row.ratio:.3g}" for row in first.itertuples())
    return finish(
        [alt.Chart(others).mark_line(color=QUIET, strokeDash=[4, 3]).encode(x=x, y=y),
         base.mark_line(color=OKABE_ITO[0], strokeWidth=2, point=alt.OverlayMarkDef(size=50)),
         base.mark_text(dy=-12, fontSize=12).encode(text="dim:N")],
        alt.Chart(told).encode(tooltip=tips), x, picked,
        f"Largest value of the primary sinks' states over their root mean square, at most {top:.3g}: {said}.",
        last=n_rows - 1,
    )  # fmt: skip


def relation_table(tokens: pd.DataFrame) -> pd.DataFrame:
    """The sink-like tokens whose MLP is known: input_id, position, text, label, mlp_norm, score, lifetime.

    Args:
        tokens: Of `analysis.sinks.levels.Levels`; primary sinks are left out.
    """
    found = tokens[(tokens["label"] != PRIMARY) & tokens["mlp_norm"].notna()]
    names = ["input_id", "position", "text", "label", "mlp_norm", "mlp_cosine", "score", "lifetime"]
    return found[names].assign(text=[visible_token(str(text)) for text in found["text"]]).reset_index(drop=True)


def make_relation(table: pd.DataFrame, to: str, title: str) -> alt.Chart:
    """A dot a token: the norm of what the MLP in front added, and its score or lifetime; a click picks the token.

    Args:
        table: Of `relation_table`.
        to: ``score`` or ``lifetime``.
        title: What that is.
    """
    axis = dict(tickCount=5, format=".3~r", **GRID)
    colour = alt.Color("label:N", scale=alt.Scale(domain=list(LABELS), range=list(LABELS.values())), legend=None)
    tips = [
        alt.Tooltip("text:N", title="token"), alt.Tooltip("input_id:Q", title="input"),
        alt.Tooltip("position:Q", title="position"), alt.Tooltip("label:N", title="called"),
        alt.Tooltip("mlp_norm:Q", title="norm the MLP added", format=".3~r"),
        alt.Tooltip("mlp_cosine:Q", title="its cosine", format=".3~r"),
        alt.Tooltip(f"{to}:Q", title=title, format=".3~r"),
    ]  # fmt: skip
    picks = alt.selection_point(name=TOKEN, fields=["input_id", "position"], on="click", empty=False)
    return (
        alt.Chart(table)
        .mark_circle(size=46, opacity=0.7, cursor="pointer")
        .encode(
            x=alt.X("mlp_norm:Q", title="norm that the MLP in front added", axis=alt.Axis(**axis)),
            y=alt.Y(f"{to}:Q", title=title, axis=alt.Axis(**axis), scale=alt.Scale(zero=False, padding=8)),
            color=colour, tooltip=tips,
        )
        .add_params(picks)
        .properties(height=220, padding=PADDING, description=f"{len(table)} tokens: {title} by the norm of the MLP.")
    )  # fmt: skip


def rank_words(value: float, n: int) -> str:
    """A rank correlation of secondary sinks, or why there is none."""
    if not np.isfinite(value):
        return "no rank correlation: fewer than three secondary sinks whose MLP is known"
    return f"rank correlation {value:.2f} over {n:,} secondary sinks"


def make_weakening(table: pd.DataFrame, picked: int | None) -> alt.Chart:
    """What the primary sink receives where secondary sinks live and where none does, layer by layer.

    Args:
        table: Of `analysis.sinks.levels.weakening`.
    """
    x = layer_axis(len(table))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], **GRID))
    lines = pd.concat([
        pd.DataFrame({"layer": table["layer"], "value": table[name], "what": what})
        for name, what in (("with_secondary", WITH), ("without", WITHOUT))
    ]).dropna()  # fmt: skip
    colour = alt.Color("what:N", scale=alt.Scale(domain=list(WEAK), range=list(WEAK.values())), legend=None)
    tips = [
        alt.Tooltip("layer:Q", title="layer"), alt.Tooltip("with_secondary:Q", title=WITH, format=".3~r"),
        alt.Tooltip("n_with:Q", title="inputs with"), alt.Tooltip("without:Q", title=WITHOUT, format=".3~r"),
        alt.Tooltip("n_without:Q", title="inputs without"),
    ]  # fmt: skip
    base = alt.Chart(lines).encode(x=x, y=y, color=colour)
    said = "; ".join(
        f"layer {row.layer} {_known(row.with_secondary)} and {_known(row.without)}" for row in table.itertuples()
    )
    return finish(
        [base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=40))], alt.Chart(table).encode(tooltip=tips), x,
        picked, f"Attention the primary sink receives in inputs with secondary sinks and without, by layer: {said}.",
    )  # fmt: skip


def _known(value: float) -> str:
    return weight_words(round(float(value), 3)) if np.isfinite(value) else "none"
