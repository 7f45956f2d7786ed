"""Where the head looks: seen from the query, by distance, and by position in the input."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.types import Site, head_name
from app import cache, widgets
from app.cache import head_figures as kept
from app.cache import pictures
from app.charts.head_profile import (
    ALIGNED,
    OFFSET,
    RING,
    SHAPES,
    aligned_words,
    make_aligned,
    make_profile,
    make_received,
    profile_words,
    received_table,
    received_words,
)
from app.charts.over_inputs import (
    average_words,
    make_offset_bars,
    make_position_map,
    offset_table,
    position_table,
)
from app.state import Selection
from app.views.heads_parts.card_words import SHAPE, draw, under

MOST_POSITIONS = 1100
"""Longest image whose mean over every pair of positions is held in memory."""

_PIXELS = 312
"""Width of the pictures."""


def direction(selection: Selection, site: Site, head: int) -> None:
    """Texts: the share of attention by offset. Images: the mean map round the query, and the share by ring."""
    found = kept.profiles(selection.run)
    found = found[(found["site"] == site.key) & (found["head"] == head) & found["value"].notna()]
    if cache.input_texts(selection.run):
        _by_offset(selection, site, head, found[found["profile"] == OFFSET])
        return
    aligned, ring = found[found["profile"] == ALIGNED], found[found["profile"] == RING]
    st.markdown("###### Where it looks from the query")
    if aligned.empty and ring.empty:
        st.caption(
            "Here you would see where the head looks, seen from the query's own patch. This run was made before such "
            "profiles were kept: extract it again."
        )
        return
    if not aligned.empty:
        draw(make_aligned(aligned, _PIXELS - 92), "card_aligned")
        said = aligned_words(aligned) + " Framed: the query's patch; arrow: the peak; cross: the centre of mass."
        under(said, _columns(aligned, ["x", "y"]), _file(selection, site, head, ALIGNED), "aligned")
    if not ring.empty:
        _line(selection, site, head, ring, RING)


def positions(selection: Selection, site: Site, head: int) -> None:
    """Texts: the mean weight of every query position on every key position. Images: what every patch receives."""
    lengths = set(cache.facts(selection.run).n_tokens.values())
    if not cache.input_texts(selection.run) and len(lengths) == 1 and max(lengths) <= MOST_POSITIONS:
        _by_patch(selection, site, head, max(lengths))
        return
    st.markdown("###### Mean attention by position")
    means = pictures.averages(selection.run, site.label, head)
    table = position_table(means)
    draw(make_position_map(table, pixels=_PIXELS - 92), "card_positions")
    said = average_words(means, len(cache.facts(selection.run).n_tokens))
    under(said, table, _file(selection, site, head, "positions"), "positions")


def _by_patch(selection: Selection, site: Site, head: int, n_tokens: int) -> None:
    st.markdown("###### Mean attention by position")
    tokens = cache.tokens(selection.run)
    first = tokens[tokens["input_id"] == tokens["input_id"].iloc[0]].sort_values("position")
    first = first.iloc[cache.run(selection.run).key_positions(site, int(first["input_id"].iloc[0]))]
    if (tokens.groupby("position")[["row", "column"]].nunique() > 1).any(axis=None):
        st.caption("None here: the same position is another patch of each image.")
        return
    row, column = (first[name].fillna(-1).to_numpy(dtype=int) for name in ("row", "column"))
    means = pictures.averages(selection.run, site.label, head, n_tokens)
    table = received_table(means.by_position, row, column)
    draw(make_received(table, _PIXELS - 92), "card_received")
    n = len(cache.facts(selection.run).n_tokens)
    over = f"all {n:,}" if means.n_inputs == n else f"a sample of {means.n_inputs:,} of {n:,}"
    said = f"Mean weight each patch receives from a query, over {over} images. {received_words(table)}"
    under(said, table, _file(selection, site, head, "received"), "received")


def _by_offset(selection: Selection, site: Site, head: int, profile: pd.DataFrame) -> None:
    if site.is_cross:
        st.markdown("###### Attention by offset")
        st.caption(
            f"None here: queries are tokens of the {site.query_sequence}, keys of the {site.key_sequence}, and between "
            "places of two sequences there is no distance. For the same reason there are no scores of position, "
            "distance or likeness."
        )
        return
    if not profile.empty:
        _line(selection, site, head, profile[profile["n"] > 0], OFFSET)
        return
    st.markdown("###### Attention by offset")
    table = offset_table(pictures.averages(selection.run, site.label, head))
    draw(make_offset_bars(table, (_PIXELS, 170)), "card_offsets")
    said = "Mean weight over all pairs of tokens at each offset; this run keeps no null of it: extract it again."
    under(said, table, _file(selection, site, head, "offsets"), "offsets")


def _line(selection: Selection, site: Site, head: int, profile: pd.DataFrame, kind: str) -> None:
    words, scale = st.columns([1, 0.45], vertical_alignment="center", gap="small")
    words.markdown("###### Attention by offset" if kind == OFFSET else "###### Attention by distance")
    shape = selection.option(SHAPE, SHAPES)
    with scale:
        _pick_shape(shape)
    chart = make_profile(profile, kind, shape, (_PIXELS, 160))
    draw(chart, f"card_profile_{kind}")
    under(profile_words(profile, kind), _columns(profile, ["x"]), _file(selection, site, head, kind), kind)


def _pick_shape(shape: str) -> None:
    st.segmented_control(
        "Scale of the share of attention", list(SHAPES), format_func=SHAPES.get, required=True,
        label_visibility="collapsed",
        **widgets.bound("card_shape", shape, lambda name: widgets.select(**{SHAPE: "log" if name == "log" else None})),
    )  # fmt: skip


def _columns(profile: pd.DataFrame, places: list[str]) -> pd.DataFrame:
    return profile[[*places, "value", "null", "n"]].sort_values(places)


def _file(selection: Selection, site: Site, head: int, what: str) -> str:
    return f"{selection.run}-{head_name(site.depth, head)}-{what}.csv"
