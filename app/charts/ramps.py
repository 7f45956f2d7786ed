"""Viridis as numbers, and a colour bar whose ticks are weights."""

from __future__ import annotations

import altair as alt
import numpy as np
from jaxtyping import Float, UInt8

from app.charts.scales import ColourScale
from app.palette import VIRIDIS

N_TICKS = 5


def viridis(shares: Float[np.ndarray, ...], ramp: tuple[str, ...] = VIRIDIS) -> UInt8[np.ndarray, "... 3"]:
    """Red, green and blue at places 0..1 of a ramp, by default viridis."""
    stops = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in ramp], dtype=float)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.round(np.interp(shares, at, part)) for part in stops.T], axis=-1).astype(np.uint8)


def share_colour(scale: ColourScale, title: str) -> alt.Color:
    """The colour of a column ``share`` that holds places on the ramp; the legend says the weights they stand for."""
    places = np.linspace(0, 1, N_TICKS).tolist()
    words = ", ".join(f"'{tick}'" for tick in scale.ticks(N_TICKS))
    legend = alt.Legend(
        type="gradient",
        title=title,
        titleLimit=120,
        titleFontWeight="normal",
        gradientLength=160,
        labelFontSize=12,
        values=places,
        labelExpr=f"[{words}][round(datum.value * {N_TICKS - 1})]",
    )
    ramp = {"range": list(scale.ramp)} if scale.is_signed else {"scheme": "viridis"}
    return alt.Color("share:Q", scale=alt.Scale(**ramp, domain=[0, 1]), legend=legend)
