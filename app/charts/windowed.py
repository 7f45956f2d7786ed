"""A bar a token: how far it looks back, and how much later tokens look at it. Figures in, `alt.Chart` out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis.metrics.windowed import Influence, peaks
from app.charts.text_attention import short_token, visible_token
from app.palette import KEY, QUERY, QUIET, SELECTED

NAMED_TOKENS = 64
"""Of longer texts only some positions stand under the bars; the pointer tells every token."""

WHOLE_TOKENS, MOST_BARS = 4096, 900
"""Longer texts are drawn in so many bars at most: more have less than a pixel each."""

LETTER_PIXELS = 7.5
"""Room for a letter of a peak's token; where two would meet, only the higher bar is named."""

WAAD, FAI = "waad_tokens", "fai"
_TITLES = {WAAD: "WAAD (tokens)", FAI: "FAI (mean weight)"}
_COLOURS = {WAAD: QUERY, FAI: KEY}
_AXIS_PIXELS = 46
_HEIGHT = 84


def rhythm_table(found: Influence, texts: list[str]) -> pd.DataFrame:
    """One row a token: position, token, waad_tokens, fai, and whether it is a peak of either.

    The first token is no peak of FAI: what attention there is at rest lies on it, whatever it says.
    """
    fai = found.fai.copy()
    fai[:1] = np.nan
    return pd.DataFrame(
        {
            "position": np.arange(len(texts)),
            "token": [visible_token(text) for text in texts],
            WAAD: found.waad_tokens,
            FAI: found.fai,
            f"{WAAD}_peak": peaks(found.waad_tokens),
            f"{FAI}_peak": peaks(fai),
        }
    )


def highest_of_blocks(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Of a long text the token with the highest bar of each block, so that there are `MOST_BARS` at most; a short one
    whole. The first token, whose FAI is not drawn, stands for no other."""
    if len(table) <= WHOLE_TOKENS:
        return table
    block = np.arange(len(table)) // -(-len(table) // MOST_BARS)
    values = table[measure].fillna(-1.0)
    values.iloc[:1] = -1.0
    return table.loc[values.groupby(block).idxmax()]


def make_rhythm(
    table: pd.DataFrame, measure: str, picked: int | None = None, *, is_lowest: bool = True, width: int = 900
) -> alt.Chart:
    """Bars of one measure over the tokens; peaks are full in colour and named, the picked token stands out.

    A click on a bar picks: the selection ``pick`` has its ``position``. Both measures have the same places on the page.

    Args:
        table: From `rhythm_table`.
        measure: `WAAD` or `FAI`; of `FAI` the first token is not drawn, or nothing else could be seen.
        picked: Position of the picked token.
        is_lowest: The tokens are written under the bars; of two pictures above each other, only under the lower one.
        width: Of the bars together, in pixels.
    """
    places = [f"{position} {short_token(text)}" for position, text in zip(table["position"], table["token"])]
    shown = table.assign(place=places, value=table[measure], peak=table[f"{measure}_peak"])
    shown = shown[shown["value"].notna() & ((measure == WAAD) | (shown["position"] > 0))]
    x = alt.X("place:N", sort=None, scale=alt.Scale(domain=places, paddingInner=0.12), axis=_tokens(places, is_lowest))
    top = float(shown["value"].max()) if len(shown) else 1.0
    y = alt.Y(
        "value:Q", title=_TITLES[measure], scale=alt.Scale(domain=[0, (top or 1.0) * 1.22], nice=False),
        axis=alt.Axis(
            tickCount=3, format="~r", minExtent=_AXIS_PIXELS, maxExtent=_AXIS_PIXELS, labelFontSize=12,
            titleFontSize=12, titleFontWeight="normal", grid=False, domainColor=QUIET, tickColor=QUIET,
        ),
    )  # fmt: skip
    colours = alt.condition(
        f"datum.position === {_number(picked)}", alt.value(SELECTED), alt.value(_COLOURS[measure])
    )  # fmt: skip
    tip = [
        alt.Tooltip("token:N", title="token"),
        alt.Tooltip("position:Q", title="position"),
        alt.Tooltip("value:Q", title=_TITLES[measure], format=".4~r"),
    ]
    bars = (
        alt.Chart(shown)
        .mark_bar(cursor="pointer")
        .encode(
            x=x, y=y, color=colours, tooltip=tip,
            opacity=alt.condition(f"datum.peak || datum.position === {_number(picked)}", alt.value(1), alt.value(0.45)),
        )
        .add_params(alt.selection_point(name="pick", fields=["position"], on="click", toggle=False))
    )  # fmt: skip
    n_tokens = int(table["position"].iloc[-1]) + 1
    named = _apart(shown[shown["peak"]].assign(label=lambda t: t["token"].map(short_token)), width / n_tokens)
    names = (
        alt.Chart(named)
        .mark_text(dy=-8, fontSize=12, color=_COLOURS[measure])
        .encode(x=x, y=y, text="label:N")
    )  # fmt: skip
    return (
        alt.layer(bars, names)
        .properties(width=width, height=_HEIGHT, autosize="pad", description=_described(shown, measure))
        .configure_view(strokeWidth=0)
    )


def _tokens(places: list[str], is_lowest: bool) -> alt.Axis:
    """The tokens under the bars; of long texts every so manieth position."""
    if not is_lowest:
        return alt.Axis(labels=False, ticks=False, title=None, domainColor=QUIET)
    style = dict(title=None, ticks=False, domainColor=QUIET, labelFontSize=12)
    if len(places) <= NAMED_TOKENS:
        word = "slice(datum.value, indexof(datum.value, ' ') + 1)"
        return alt.Axis(labelAngle=-60, labelExpr=word, labelOverlap=False, labelLimit=90, **style)
    step = int(np.ceil(len(places) / 12 / 10) * 10)
    number = "slice(datum.value, 0, indexof(datum.value, ' '))"
    return alt.Axis(values=places[::step], labelAngle=0, labelExpr=number, **(style | {"title": "position"}))


def _apart(peaks_: pd.DataFrame, step: float) -> pd.DataFrame:
    """The peaks whose labels do not meet, the highest first."""
    kept, taken = [], []
    for row in peaks_.sort_values("value", ascending=False, kind="stable").itertuples():
        middle, half = row.position * step, max(len(row.label), 2) * LETTER_PIXELS / 2
        if all(abs(middle - other) > half + reach for other, reach in taken):
            kept.append(row.Index)
            taken.append((middle, half))
    return peaks_.loc[kept]


def _number(picked: int | None) -> int:
    return -1 if picked is None else int(picked)


def _described(shown: pd.DataFrame, measure: str) -> str:
    top = shown[shown["peak"]].nlargest(3, "value")
    words = [f"{row.token} (position {row.position}) {row.value:.2g}" for row in top.itertuples()]
    return f"{_TITLES[measure]} of {len(shown)} tokens. Highest peaks: {'; '.join(words) or 'none'}."
