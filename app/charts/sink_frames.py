"""Reference frames by layer with their evidence. Table in, chart and words out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from app.charts.sink_layers import GRID, PADDING, finish, layer_axis
from app.charts.words import percent
from app.palette import OKABE_ITO

FIGURES = {"centralisation": "degree centralisation", "gini": "Gini", "hhi": "HHI", "fiedler": "Fiedler value"}
COLOURS = dict(zip(FIGURES.values(), (OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[2], OKABE_ITO[6]), strict=True))

MEANS = (
    "An anchor takes a tenth of all attention and three times its even share. Centralised: one anchor has two thirds "
    "of the anchors' attention; bidirectional: one at the start and one at the end have; distributed: otherwise. "
    "Thresholds and formulas are ours: the paper's were not readable."
)


def frame_words(table: pd.DataFrame) -> str:
    """The frame of the tower and of its layers.

    Args:
        table: Of `analysis.sinks.frames.frames`.
    """
    whole = table[table["layer"] == -1].iloc[0]
    layers = table[table["layer"] >= 0]
    counts = layers["label"].value_counts()
    by = ", ".join(f"{n} {_name(label)}" for label, n in counts.items())
    return (
        f"Over all layers attention is {_name(whole.label)} in {percent(whole.agreeing)} of {int(whole.n):,} inputs, "
        f"with {whole.n_anchors:.1f} anchors an input; of the layers, {by}."
    )


def make_frames(table: pd.DataFrame, picked: int | None) -> alt.Chart:
    """The evidence by layer as lines, and the frame of each layer above them.

    Args:
        table: Of `analysis.sinks.frames.frames`.
    """
    layers = table[table["layer"] >= 0]
    x = layer_axis(int(layers["layer"].max()) + 1)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1.08], nice=False),
              axis=alt.Axis(values=[0, 0.5, 1], format="~g", **GRID))  # fmt: skip
    lines = pd.concat([layers[["layer"]].assign(value=layers[name], what=title) for name, title in FIGURES.items()])
    colour = alt.Color("what:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None)
    words = layers.assign(
        said=[_name(label)[: 5 if len(layers) > 8 else None] for label in layers["label"]], value=1.02
    )
    tips = [alt.Tooltip("layer:Q", title="layer"), alt.Tooltip("label:N", title="frame"),
            alt.Tooltip("agreeing:Q", title="share of inputs", format=".2f"),
            alt.Tooltip("n_anchors:Q", title="anchors an input", format=".2f")]  # fmt: skip
    tips += [alt.Tooltip(f"{name}:Q", title=title, format=".3~r") for name, title in FIGURES.items()]
    said = "; ".join(f"layer {row.layer} {row.label}" for row in layers.itertuples())
    return finish(
        [alt.Chart(lines).mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=34)).encode(x=x, y=y, color=colour),
         alt.Chart(words).mark_text(fontSize=12, baseline="bottom").encode(x=x, y=y, text="said:N")],
        alt.Chart(layers).encode(tooltip=tips), x, picked, f"Reference frames by layer: {said}.",
    ).properties(padding=PADDING)  # fmt: skip


def _name(label: str) -> str:
    from analysis.sinks.frames import NO_FRAME  # loads scipy

    return "without a frame" if label == NO_FRAME else label
