"""A text: the shaded sentence, the heat map, the lines, the table of pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
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
from app.views.input_parts.link_words import SCALE
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.tables import pair_table

PICTURES = {"map": "Heat map", "lines": "Lines", "table": "Table", "all": "Over all inputs"}
"""Words of the link (``show=``) and of the page."""


MOST_PATCHES = 64
"""Parts of a picture that are named among the words of a text; more are left to the picture."""


def text_sentence(one: OneInput) -> None:
    """The text itself, shaded; of a sound nothing, for its frames are drawn in time."""
    pieces, elsewhere = one.pieces(), np.zeros(len(one.tokens), dtype=bool)
    if one.is_sound:
        elsewhere = one.tokens["seconds"].notna().to_numpy()
    if one.is_part and (patches := one.tokens["left"].notna().to_numpy()).sum() > MOST_PATCHES:
        elsewhere = patches
    if elsewhere.any():
        pieces = [replace(piece, is_drawn=not elsewhere[piece.position]) for piece in pieces]
        first = next((at for at, piece in enumerate(pieces) if piece.is_drawn), None)
        if first is None:
            return
        pieces[first] = replace(pieces[first], gap="")
    sentence(
        pieces, one.shown, one.strongest, one.weights(), one.picked, one.selection.kind,
        one.scale.name if one.selection.options.get(SCALE) else "linear",
        one.title if one.signed is None else "absolute weight",
        one.pick, key="input_sentence",
    )  # fmt: skip


def text_picture(one: OneInput, shown: str) -> None:
    """The picture that the link asks for."""
    {"map": heat_map, "lines": lines, "table": pair_table}[shown](one)


def heat_map(one: OneInput) -> None:
    """Queries down, keys across; of a long text a window and an overview."""
    kind, spans = one.selection.kind, one.spans
    first = first_shown(one.selection, one.picked, spans, window_of(spans))
    overview = b""
    if max(map(len, spans)) > WHOLE_UNITS:
        overview = cache.message(
            f"overview {one.scale.name} {one.view_key}", one.run_id,
            lambda: make_overview(
                one.shown.facts.blocks if one.is_long else one.cut(one.drawn.seen()), one.scale
            ),
        )  # fmt: skip
    textmap(
        one.labels, one.drawn, spans, first, one.scale, one.title, overview, one.picked, kind, one.marked(),
        lambda query, key: one.pick(query if kind == QUERY else key),
        lambda query, key: widgets.select(at=f"{query}.{key}"), key="input_window",
    )  # fmt: skip


def lines(one: OneInput) -> None:
    """Queries left, keys right; of a long text a stretch."""
    selection, n = one.selection, max(map(len, one.spans))
    first = first_shown(selection, one.picked, one.spans, (LINE_TOKENS, LINE_TOKENS))
    if not one.is_cross:
        first = (first[0], first[0])
    sides = tuple(range(at, min(span.stop, at + LINE_TOKENS)) for at, span in zip(first, one.spans))
    table = _pairs_within(one, sides)
    most = one.shown.largest
    faintest = FAINTEST_LINE * most if one.is_weighed else FAINTEST_LINE
    sinks = one.shown.sinks.tolist()
    chart = make_lines(
        table, one.labels, one.special(), one.picked, selection.kind, faintest, one.marked(), sinks, one.places, sides
    )

    def pick(end: dict) -> None:
        sides = [side for side in (QUERY, KEY) if end.get(side) is not None]
        kind = selection.kind if len(sides) == 2 else sides[0]
        one.pick(int(one.shown.first[int(end[kind])]), kind=kind)

    clickable(chart, {"pick": pick}, "input_lines")
    part = ""
    if n > LINE_TOKENS:
        axis = 0 if len(one.spans[0]) == n else 1
        begin = one.spans[axis].start

        def move(start: int) -> None:
            at = [begin + start if each == axis else first[each] for each in (0, 1)]
            widgets.select(at=f"{at[0]}.{at[1]}")

        st.slider("First token drawn", 0, n - LINE_TOKENS, **widgets.bound("input_stretch", first[axis] - begin, move))
        drawn = sides[axis]
        part = f" Drawn: {one.places[drawn[0]]} to {one.places[drawn[-1]]} of {n:,}; the heat map has all pairs."
    hidden = " ⊘: hidden, a sink." if any(sinks) else ""
    queries, keys = (f", {name}" if name else "" for name in one.sequences)
    st.caption(
        f"Left the queries{queries}, right the keys{keys}; weights under {weight_words(faintest)} have no line."
        f"{hidden}{part}"
    )


def _pairs_within(one: OneInput, sides: tuple[range, range]) -> pd.DataFrame:
    """The table of the pairs of some queries and some keys."""
    if not one.is_long:
        return attention_table(one.shown.weights, one.labels, one.places, one.shown.allowed, sides)
    rows, columns = (slice(side.start, side.stop) for side in sides)
    weights, allowed = one.shown.part(rows, columns)  # of one text: both sides are the same tokens
    table = attention_table(weights, one.labels[rows], one.places[rows], allowed)
    return table.assign(query=table["query"] + rows.start, key=table["key"] + columns.start)


def first_shown(
    selection: Selection, picked: int | None, spans: tuple[range, range], size: tuple[int, int]
) -> tuple[int, int]:
    """First query and key unit of the part that is drawn: as the link says, else round the picked one."""
    said = selection.options.get("at", "").split(".")
    if len(said) == 2 and all(word.isascii() and word.isdigit() and len(word) < 9 for word in said):
        wanted = [int(word) for word in said]
    else:
        wanted = [(picked if picked in span else span.start) - length // 2 for length, span in zip(size, spans)]
    return tuple(
        int(np.clip(first, span.start, max(span.stop - length, span.start)))
        for first, length, span in zip(wanted, size, spans)
    )
