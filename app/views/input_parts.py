"""The two pictures of the Input view: a text and an image, each with its details beside it."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import KEY, QUERY, Site, head_name
from app import cache, widgets
from app.cache import pictures
from app.charts.image_attention import make_overlay, patch_table
from app.charts.text_attention import (
    FAINTEST_LINE,
    HEAT_MAP_TOKENS,
    LINE_TOKENS,
    attention_table,
    make_heat_map,
    make_lines,
    token_gaps,
    visible_token,
)
from app.components.sentence import sentence
from app.components.textmap import WINDOW_TOKENS, textmap
from app.state import Selection

LISTED_PAIRS = 20_000
"""Most pairs of tokens in the table."""


@dataclass(frozen=True)
class OneInput:
    """What the view draws.

    Attributes:
        heads: The shown head first, then those averaged with it.
        attention: Mean over `heads`, [query, key].
        allowed: True where one of the heads may attend.
        tokens: The input's rows of the token table, by position.
        text: The whole text; None for an image.
    """

    run_id: str
    selection: Selection
    heads: list[tuple[Site, int]]
    attention: np.ndarray
    allowed: np.ndarray
    tokens: pd.DataFrame
    text: str | None

    @property
    def is_image(self) -> bool:
        """True when the tokens are patches."""
        return self.text is None

    @property
    def names(self) -> str:
        """``L3H5``, or the mean of several."""
        names = [head_name(site.depth, head) for site, head in self.heads]
        return names[0] if len(names) == 1 else f"the mean of {', '.join(names)}"


def weights_of(one: OneInput, token: int | None, kind: str) -> np.ndarray:
    """Weight on (from) every token for one query (key); the mean over queries when no token is picked."""
    if token is None:
        return one.attention.mean(axis=0)
    return one.attention[token] if kind == QUERY else one.attention[:, token]


def render_text(one: OneInput) -> None:
    """The sentence, under it heat map or lines, beside it the strongest weights."""
    selection, tokens = one.selection, one.tokens["text"].tolist()
    special = one.tokens["is_special"].astype(bool).tolist()
    _head_line(one)
    sentence(
        tokens, token_gaps(one.text, one.tokens), special, weights_of(one, selection.token, selection.kind),
        one.attention, selection.token, selection.kind, lambda token: widgets.select(token=token), key="input_sentence",
    )  # fmt: skip
    picture, details = st.columns([3.7, 1], gap="small")
    with details:
        _details(one)
    with picture:
        shows = {"map": "Heat map", "lines": "Lines", "table": "Table"}
        shown = selection.option("show", shows)
        _choose("show", shows, shown)
        if shown == "table":
            _pairs(one, tokens)
        elif shown == "lines":
            _lines(one, tokens, special)
        elif len(tokens) <= HEAT_MAP_TOKENS:
            _heat_map(one, tokens)
        else:
            _window(one, tokens)


def render_image(one: OneInput) -> None:
    """The picture beside its patches shaded for the picked token."""
    selection = one.selection
    weights = weights_of(one, selection.token, selection.kind)
    table = patch_table(weights, one.tokens)
    _head_line(one)
    picture, details = st.columns([3.35, 1], gap="small")
    with details:
        _details(one, table["name"].tolist())
    with picture:
        shows = {"map": "Picture", "table": "Table"}
        shown = selection.option("show", shows)
        _choose("show", shows, shown)
        if shown == "table":
            _table(table[["position", "name", "row", "column", "weight"]])
            return
        image = cache.run(one.run_id).image(selection.input)
        chart = make_overlay(table, image, selection.token, selection.kind)
        _clickable(chart, {"pick": lambda point: widgets.select(token=int(point["position"]))}, "input_overlay")
        st.caption(_image_words(table, selection))


def _head_line(one: OneInput) -> None:
    """What the head does here, in one sentence, and the way the picked token is read."""
    summary, way = st.columns([1, 0.38], vertical_alignment="center")
    summary.caption(_summary(one))
    words = {QUERY: "where it looks", KEY: "who looks at it"}
    st.session_state["input_kind"] = one.selection.kind
    way.segmented_control(
        "For the picked token, show", list(words), key="input_kind", format_func=words.get, required=True,
        on_change=lambda: widgets.select(kind=st.session_state["input_kind"]), label_visibility="collapsed",
        width="stretch",
    )  # fmt: skip


def _summary(one: OneInput) -> str:
    attention, n = one.attention, len(one.tokens)
    rows = max(n - 1, 1)
    first = "CLS" if one.is_image and not _is_patch(one.tokens)[0] else "the first token"
    parts = [
        f"{attention[:, 0].mean():.0%} of its weight on {first}",
        f"{np.trace(attention) / n:.0%} on the token itself",
    ]
    if not one.is_image:
        parts.append(f"{np.trace(attention, offset=-1) / rows:.0%} on the previous token")
    what = "image" if one.is_image else "text"
    return f"On this {what} of {n:,} tokens, {one.names} puts {parts[0]}, {', '.join(parts[1:])} (means over queries)."


def _image_words(table: pd.DataFrame, selection: Selection) -> str:
    beside = table.loc[~table["is_patch"], "weight"].sum()
    share = f" {beside:.0%} of the weight lies on the squares beside the picture." if (~table["is_patch"]).any() else ""
    if selection.token is None:
        return f"Mean weight of every token over all queries.{share} Click a patch or a square to see its own."
    name = table["name"].iloc[selection.token]
    if selection.kind == KEY:
        return f"How much each token looks at {name} (outlined); these weights need not add up to 1."
    return f"Where {name} (outlined) looks.{share}"


def _details(one: OneInput, names: list[str] | None = None) -> None:
    """The strongest weights of the picked token, as a ranked list."""
    selection = one.selection
    weights = weights_of(one, selection.token, selection.kind)
    names = names or [visible_token(text) for text in one.tokens["text"]]
    order = np.argsort(-weights, kind="stable")[:8]
    if selection.token is not None:
        may = one.allowed[selection.token] if selection.kind == QUERY else one.allowed[:, selection.token]
        order = order[may[order]]
    frame = pd.DataFrame({"token": [names[i] for i in order], "at": order, "weight": weights[order].astype(float)})
    if selection.token is None:
        st.caption("No token picked: mean over queries")
    else:
        st.text(names[selection.token])
        st.caption(
            f"position {selection.token} · "
            + ("its strongest keys" if selection.kind == QUERY else "who looks at it most")
        )
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            "token": st.column_config.TextColumn("key" if selection.kind == QUERY else "query"),
            "at": st.column_config.NumberColumn("at", help="Position in the input, from 0.", width="small"),
            "weight": st.column_config.NumberColumn("weight", format="%.4f", width="small"),
        },
    )
    if selection.token is not None and st.button("Let go", key="input_release", help="Pick no token", type="tertiary"):
        widgets.select(token=None)
        st.rerun(scope="fragment")


def _pairs(one: OneInput, tokens: list[str]) -> None:
    """All pairs, or of a long text the strongest ones: millions of rows would only stop the browser."""
    weights = np.where(one.allowed, one.attention, -1.0).ravel()
    n_pairs = int(one.allowed.sum())
    if n_pairs <= LISTED_PAIRS:
        _table(attention_table(one.attention, tokens, one.allowed))
        return
    keep = np.zeros(weights.size, dtype=bool)
    keep[np.argpartition(-weights, LISTED_PAIRS)[:LISTED_PAIRS]] = True
    table = attention_table(one.attention, tokens, keep.reshape(one.attention.shape))
    _table(table.sort_values("weight", ascending=False))
    st.caption(f"The {LISTED_PAIRS:,} strongest of {n_pairs:,} pairs; the heat map has all of them.")


def _heat_map(one: OneInput, tokens: list[str]) -> None:
    selection = one.selection
    chart = make_heat_map(attention_table(one.attention, tokens, one.allowed), tokens, selection.token, selection.kind)
    _clickable(chart, {"pick": lambda cell: widgets.select(token=int(cell[selection.kind]))}, "input_map")


def _lines(one: OneInput, tokens: list[str], special: list[bool]) -> None:
    selection, n = one.selection, len(tokens)
    first = _first_shown(selection, n, LINE_TOKENS)[0]
    stretch = range(first, min(n, first + LINE_TOKENS))
    table = attention_table(one.attention, tokens, one.allowed, stretch)
    chart = make_lines(table, tokens, special, selection.token, selection.kind)

    def pick(end: dict) -> None:
        sides = [side for side in (QUERY, KEY) if end.get(side) is not None]
        kind = selection.kind if len(sides) == 2 else sides[0]
        widgets.select(token=int(end[kind]), kind=kind)

    _clickable(chart, {"pick": pick}, "input_lines")
    part = ""
    if n > LINE_TOKENS:
        last = n - LINE_TOKENS
        st.slider(
            "First token drawn", 0, last, value=first, key="input_stretch",
            on_change=lambda: widgets.select(at=f"{st.session_state['input_stretch']}.0"),
        )  # fmt: skip
        part = f" Drawn are tokens {stretch[0]} to {stretch[-1]} of {n:,}; the heat map shows all pairs."
    st.caption(f"Left the queries, right the keys; weights under {FAINTEST_LINE:.0%} have no line.{part}")


def _window(one: OneInput, tokens: list[str]) -> None:
    """The canvas for texts too long for one rectangle a cell."""
    selection, n = one.selection, len(tokens)
    first = _first_shown(selection, n, WINDOW_TOKENS)
    part = (slice(first[0], first[0] + WINDOW_TOKENS), slice(first[1], first[1] + WINDOW_TOKENS))
    site, head = one.heads[0]
    textmap(
        [visible_token(token) for token in tokens],
        np.where(one.allowed[part], one.attention[part], np.nan),
        first,
        pictures.overview(one.run_id, site.label, head, selection.input),
        float(one.attention.max()),
        selection.token,
        selection.kind,
        lambda query, key: widgets.select(token=query if selection.kind == QUERY else key),
        lambda query, key: widgets.select(at=f"{query}.{key}"),
        key="input_window",
    )


def _first_shown(selection: Selection, n: int, size: int) -> tuple[int, int]:
    """First query and key of the part that is drawn: as the link says, else round the picked token."""
    said = selection.options.get("at", "").split(".")
    if len(said) == 2 and all(word.isascii() and word.isdigit() and len(word) < 9 for word in said):
        query, key = int(said[0]), int(said[1])
    else:
        query = key = (selection.token or 0) - size // 2
    return tuple(int(np.clip(first, 0, max(n - size, 0))) for first in (query, key))


def _clickable(chart: alt.Chart, picks: dict, key: str) -> None:
    """Draw a chart whose point selections call a function with the values of the mark that was clicked."""

    def picked() -> None:
        for name, then in picks.items():
            points = st.session_state[key].selection.get(name) or []
            if points:
                then(points[0])

    st.altair_chart(chart, width="content", key=key, on_select=picked, selection_mode=list(picks))


def _choose(option: str, words: dict[str, str], shown: str) -> None:
    key = f"input_{option}"
    st.session_state[key] = shown
    st.segmented_control(
        option, list(words), key=key, format_func=words.get, required=True, label_visibility="collapsed",
        on_change=lambda: widgets.select(**{option: st.session_state[key]}),
    )  # fmt: skip


def _table(frame: pd.DataFrame) -> None:
    st.dataframe(
        frame, hide_index=True, width="stretch", height=480,
        column_config={"weight": st.column_config.NumberColumn("weight", format="%.6f")},
    )  # fmt: skip


def _is_patch(tokens: pd.DataFrame) -> np.ndarray:
    return (tokens["row"].fillna(-1) >= 0).to_numpy()
