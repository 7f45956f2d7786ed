"""A text: the shaded sentence, the heat map, the lines, the table of pairs."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.types import KEY, QUERY
from app import cache, widgets
from app.charts.head_maps import make_overview
from app.charts.scales import weight_words
from app.charts.text_attention import FAINTEST_LINE, LINE_TOKENS, attention_table, make_lines
from app.components.sentence import sentence
from app.components.textmap import WHOLE_UNITS, textmap, window_of
from app.state import Selection
from app.views.input_parts.clicks import clickable
from app.views.input_parts.one_input import SCALE, OneInput
from app.views.input_parts.tables import pair_table

PICTURES = {"map": "Heat map", "lines": "Lines", "table": "Table", "all": "Over all inputs"}
"""Words of the link (``show=``) and of the page."""


def text_sentence(one: OneInput) -> None:
    """The text itself, shaded."""
    sentence(
        one.pieces(), one.shown, one.strongest, one.weights(), one.picked, one.selection.kind,
        one.scale.name if one.selection.options.get(SCALE) else "linear", one.title,
        one.pick, key="input_sentence",
    )  # fmt: skip


def text_picture(one: OneInput, shown: str) -> None:
    """The picture that the link asks for."""
    {"map": heat_map, "lines": lines, "table": pair_table}[shown](one)


def heat_map(one: OneInput) -> None:
    """Queries down, keys across; of a long text a window and an overview."""
    n, kind = len(one.shown), one.selection.kind
    first = first_shown(one.selection, one.picked, n, window_of(n))
    overview = b""
    if n > WHOLE_UNITS:
        overview = cache.message(
            f"overview {one.scale.name} {one.view_key}", one.run_id, lambda: make_overview(one.shown.seen(), one.scale)
        )
    textmap(
        one.labels, one.shown, first, one.scale, one.title, overview, one.picked, kind, one.marked(),
        lambda query, key: one.pick(query if kind == QUERY else key),
        lambda query, key: widgets.select(at=f"{query}.{key}"), key="input_window",
    )  # fmt: skip


def lines(one: OneInput) -> None:
    """Queries left, keys right; of a long text a stretch."""
    selection, n = one.selection, len(one.shown)
    first = first_shown(selection, one.picked, n, (LINE_TOKENS, LINE_TOKENS))[0]
    stretch = range(first, min(n, first + LINE_TOKENS))
    keep = one.shown.allowed | np.eye(n, dtype=bool)  # every token has its place, also one that looks at sinks only
    table = attention_table(one.shown.weights, one.labels, one.places, keep, stretch)
    most = float(one.shown.weights.max())
    faintest = FAINTEST_LINE * most if one.is_weighed else FAINTEST_LINE
    sinks = one.shown.sinks.tolist()
    chart = make_lines(table, one.labels, one.special(), one.picked, selection.kind, faintest, one.marked(), sinks)

    def pick(end: dict) -> None:
        sides = [side for side in (QUERY, KEY) if end.get(side) is not None]
        kind = selection.kind if len(sides) == 2 else sides[0]
        one.pick(int(one.shown.first[int(end[kind])]), kind=kind)

    clickable(chart, {"pick": pick}, "input_lines")
    part = ""
    if n > LINE_TOKENS:
        last = n - LINE_TOKENS
        st.slider(
            "First token drawn", 0, last, value=first, key="input_stretch",
            on_change=lambda: widgets.select(at=f"{st.session_state['input_stretch']}.0"),
        )  # fmt: skip
        part = f" Drawn: {one.places[stretch[0]]} to {one.places[stretch[-1]]} of {n:,}; the heat map has all pairs."
    hidden = " ⊘: hidden, a sink." if any(sinks) else ""
    st.caption(f"Left the queries, right the keys; weights under {weight_words(faintest)} have no line.{hidden}{part}")


def first_shown(selection: Selection, picked: int | None, n: int, size: tuple[int, int]) -> tuple[int, int]:
    """First query and key unit of the part that is drawn: as the link says, else round the picked one."""
    said = selection.options.get("at", "").split(".")
    if len(said) == 2 and all(word.isascii() and word.isdigit() and len(word) < 9 for word in said):
        wanted = [int(word) for word in said]
    else:
        wanted = [(picked or 0) - length // 2 for length in size]
    return tuple(int(np.clip(first, 0, max(n - length, 0))) for first, length in zip(wanted, size))
