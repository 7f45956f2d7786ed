"""What makes a chart of the page a figure that stands alone."""

from __future__ import annotations

import textwrap

import altair as alt

from app.charts.joint_map import MOVES

_LETTER_PIXELS = 5.6
_ONLY_ON_TOP = ("config", "autosize", "padding")


def figure(chart: alt.LayerChart, title: str, *said: str, pixels: int = 460) -> alt.LayerChart:
    """The chart with a title, and without what keeps it from being put beside another, or only the page listens to.

    Args:
        title: What is drawn.
        said: Sentences under the title; empty ones are left out.
        pixels: Width to which they are wrapped.
    """
    chart = chart.copy(deep=False)
    for name in _ONLY_ON_TOP:
        chart[name] = alt.Undefined
    if chart.params is not alt.Undefined:  # the others are what a click on the page picks
        kept = [param for param in chart.params if param.name == "hover" or param.name.startswith(MOVES)]
        chart.params = kept or alt.Undefined
    lines = textwrap.wrap(" ".join(part for part in said if part), int(pixels / _LETTER_PIXELS))
    chart.view = alt.ViewBackground(strokeWidth=0)
    chart.title = alt.TitleParams(
        title, anchor="start", fontSize=14, offset=8,
        **({"subtitle": lines, "subtitleFontSize": 12, "subtitleColor": "#5A6068"} if lines else {}),
    )  # fmt: skip
    return chart
