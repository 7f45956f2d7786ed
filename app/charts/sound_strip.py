"""A sound as a strip: how loud each frame is, and over it how strongly it is attended to. Frames in, chart out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from app.charts.scales import weight_exactly
from app.palette import KEY, QUERY, QUIET, SELECTED

WIDTH, HEIGHT = 1080, 110

QUIETEST_DB = -60.0
"""A frame of this loudness or less is drawn as a line."""


def frame_table(
    tokens: pd.DataFrame, weights: Float[np.ndarray, " token"], marked: np.ndarray | None = None
) -> pd.DataFrame:
    """One row a frame: position, begin and end in seconds, half height 0.01 to 1, weight, and both as words.

    Args:
        tokens: Of one input, by position; those that are no frames have no ``seconds``.
        weights: Of every token; NaN where it may not be attended to or is hidden.
        marked: Tokens that stand out; None where nothing is looked for.
    """
    frames = tokens["seconds"].notna().to_numpy()
    own = tokens[frames]
    begin, loudness = own["seconds"].to_numpy(dtype=float), own["loudness"].to_numpy(dtype=float)
    weight = np.asarray(weights, dtype=float)[frames]
    most = np.nanmax(weight) if np.isfinite(weight).any() else 0.0
    return pd.DataFrame(
        {
            "position": np.flatnonzero(frames), "begin": begin, "end": begin + own["duration"].to_numpy(dtype=float),
            "height": np.clip(1 - loudness / QUIETEST_DB, 0.01, 1), "weight": weight,
            "share": np.nan_to_num(weight / most) if most > 0 else 0.0,
            "told": ["no weight" if np.isnan(each) else weight_exactly(each) for each in weight],
            "loud": ["padding" if pad else f"{db:.0f} dB" for db, pad in zip(loudness, own["is_padding"].astype(bool))],
            "is_marked": True if marked is None else marked[frames],
        }
    )  # fmt: skip


def make_strip(table: pd.DataFrame, picked: int | None, kind: str, title: str = "weight") -> alt.LayerChart:
    """The strip; a click on a frame picks it (``pick``).

    Args:
        table: From `frame_table`.
        picked: Position of the picked frame, or of a token that is none.
        kind: ``query``: the weights are on what the picked token looks at; ``key``: on what looks at it.
        title: What the weights are.
    """
    end = float(table["end"].max())
    table = table.assign(low=-table["height"], floor=-1.0, roof=1.0)
    x = alt.X(
        "begin:Q", title="seconds", scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(grid=False, tickCount=10, labelFontSize=12, titleFontSize=12),
    )  # fmt: skip
    y = {"scale": alt.Scale(domain=[-1.08, 1.08], nice=False, zero=False), "axis": None}
    tips = [
        alt.Tooltip("begin:Q", title="second", format=".2f"), alt.Tooltip("told:N", title=title),
        alt.Tooltip("loud:N", title="loudness"), alt.Tooltip("position:Q", title="position"),
    ]  # fmt: skip
    pick = alt.selection_point(name="pick", fields=["position"], on="click", empty=False, clear=False)
    base = alt.Chart(table)
    shades = base.mark_rect(color=KEY if kind == "query" else QUERY, stroke=None).encode(
        x=x, x2="end:Q", y=alt.Y("floor:Q", **y), y2="roof:Q",
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.02, 0.75]), legend=None), tooltip=tips,
    ).add_params(pick)  # fmt: skip
    loud = base.mark_rect(color=QUIET).encode(
        x=x, x2="end:Q", y=alt.Y("low:Q", **y), y2="height:Q",
        opacity=alt.condition("datum.is_marked", alt.value(0.95), alt.value(0.3)), tooltip=tips,
    )  # fmt: skip
    layers = [shades, loud]
    if picked is not None and (table["position"] == picked).any():
        layers.append(
            alt.Chart(table[table["position"] == picked])
            .mark_rect(fill=None, stroke=SELECTED, strokeWidth=2, aria=False)
            .encode(x=x, x2="end:Q", y=alt.Y("floor:Q", **y), y2="roof:Q")
        )
    return (
        alt.layer(*layers)
        .properties(width=WIDTH, height=HEIGHT, description=describe_strip(table, picked, kind), autosize="pad")
        .configure_view(strokeWidth=0)
    )


def describe_strip(table: pd.DataFrame, picked: int | None, kind: str) -> str:
    """The alternative text: whose attention is drawn and where in time it is strongest."""
    top = table.nlargest(3, "weight")
    words = "; ".join(f"{begin:.2f} s {weight:.2g}" for begin, weight in zip(top["begin"], top["weight"]))
    whose = f" of the {kind} at {picked}" if picked is not None else ""
    return f"Loudness of {len(table):,} frames, shaded by attention{whose}. Strongest: {words or 'none'}."
