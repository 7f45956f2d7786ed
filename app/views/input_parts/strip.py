"""Every head of the stack on the same input, as small maps; in rank order if the link says by what."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.sinks import hide_sinks
from analysis.types import KEY, QUERY, Site, head_name
from app import cache, widgets
from app.charts.head_maps import TILE_PIXELS, make_sprite, reduce_to, tile_shape
from app.charts.long_shown import blocks_of
from app.charts.scales import weight_words
from app.charts.shown import Shown, hidden_tokens, show_attention
from app.charts.words import within
from app.components.headstrip import headstrip
from app.state import RunFacts
from app.views.input_parts.link_words import HIDE, groups, look_key
from app.views.input_parts.long_input import through_look
from app.views.input_parts.one_input import OneInput, seconds_words
from app.views.input_parts.tables import save_csv, show_table

LONG_TOKENS = 1024
"""From here on the small maps of all heads take seconds and wait for a click."""

STRIP = "strip"
"""Word of the link: the score by which the heads are ranked."""


def strip(one: OneInput, stack: list[Site], facts: RunFacts) -> None:
    """The strip, its order and one line of words."""
    title, order = st.columns([1, 0.32], vertical_alignment="center")
    title.markdown("###### All heads on this input")
    with order:
        metric = _pick_order(one, facts)
    n = len(one.tokens)
    if n > LONG_TOKENS and not st.toggle(
        f"Draw the small maps of all heads ({n:,} tokens: {seconds_words(one)})", key="input_all"
    ):
        return
    places = [(site, head) for site in stack for head in range(site.n_heads)]
    names = [head_name(site.depth, head) for site, head in places]
    n_columns = max(site.n_heads for site in stack)
    sprite = cache.message(_key(one, stack), one.run_id, lambda: _sprite(one, stack))
    notes, ranked, said = names, None, "Rows are layers, columns heads"
    if metric is not None:
        notes, ranked, said = _ranked(one, stack, metric, names, facts)
    shown = "queries down, keys across"
    if one.is_image:
        shown = "the weights of the picked token" if one.token is not None else "the mean weight on each patch"
    if n > TILE_PIXELS and not one.is_image:
        shown += ", the largest weight of each block of cells"
    if one.sinks is not None:
        shown += ", sinks hidden"
        said += " (sinks counted in)" if metric is not None else ""
    st.caption(f"{said}: {shown}. Each map runs from 0 to its own largest weight, square-root scale.")
    shape = tile_shape(sprite, len(stack), n_columns)
    headstrip(
        sprite, names, notes, n_columns, [f"L{site.depth}" for site in stack], shape,
        [places.index(each) for each in one.heads], ranked,
        lambda place: widgets.select(site=places[place][0].label, head=places[place][1]),
        key="input_strip",
    )  # fmt: skip
    _table(one, stack, facts, names)


def _pick_order(one: OneInput, facts: RunFacts) -> str | None:
    metrics = cache.metrics()
    chosen = one.selection.option(STRIP, facts.scores, "") if facts.scores else ""
    widgets.pick(
        "Order of the heads", ["", *facts.scores], chosen, lambda name: {STRIP: name or None}, key="input_strip_order",
        format_func=lambda name: (
            f"by {within(metrics.get(name, {}).get('title', name))}, highest first" if name else "by layer and head"
        ),
        label_visibility="collapsed",
    )  # fmt: skip
    return chosen or None


def _ranked(
    one: OneInput, stack: list[Site], metric: str, names: list[str], facts: RunFacts
) -> tuple[list[str], list[int], str]:
    """Notes with scores, places in rank order, and which scores they are."""
    about = cache.metrics().get(metric, {})
    title, unit = about.get("title", metric), about.get("unit", "0 to 1").partition(";")[0]
    behind = "" if "0 to 1" in unit else f" {unit}"
    scores, where = one.source.scores(metric, stack), "on this input"
    if not scores:
        table = cache.heads(one.run_id, one.selection.map)
        scores, where = dict(zip(zip(table["site"], table["head"]), table[metric])), "over all inputs"
    values = [scores.get((site.label, head), np.nan) for site in stack for head in range(site.n_heads)]
    notes = [
        f"{name} · {within(title)} {'no score' if np.isnan(value) else weight_words(value) + behind}"
        for name, value in zip(names, values)
    ]
    ranked = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable").tolist()
    return notes, ranked, f"By {within(title)} {where}, highest first"


def _table(one: OneInput, stack: list[Site], facts: RunFacts, names: list[str]) -> None:
    """Every score that the heads have on this input, a row a head; read once it is opened."""
    opened = st.expander("Table of these heads", key="input_strip_table", on_change="rerun")
    if not opened.open:
        return
    places = [(site.label, head) for site in stack for head in range(site.n_heads)]
    columns = {"head": names}
    for metric in facts.scores:
        scores = one.source.scores(metric, stack)
        if scores:
            columns[cache.metrics().get(metric, {}).get("title", metric)] = [scores.get(at, np.nan) for at in places]
    table = pd.DataFrame(columns)
    with opened:
        if len(columns) == 1:
            st.caption("This run has no scores on single inputs: extract it again.")
            return
        show_table(table, 320)
        save_csv(f"{len(table):,} heads, their scores on this input", lambda: table.to_csv(index=False), one, "heads")


def _key(one: OneInput, stack: list[Site]) -> str:
    token = f"{one.token} {one.selection.kind}" if one.is_image else ""
    return f"strip {stack[0].stack_label} {one.source.key} {token} {look_key(one.selection)}"


def _sprite(one: OneInput, stack: list[Site]) -> bytes:
    hidden = hidden_tokens(one.selection.options.get(HIDE, ""), one.tokens["is_special"].to_numpy(dtype=bool))
    if one.is_long:
        return make_sprite([[_long_tile(one, site, head, hidden) for head in range(site.n_heads)] for site in stack])
    group = groups(one.selection, one.source)
    masks = {site.label: one.source.allowed(site.label) for site in stack}
    rows: dict[str, list[np.ndarray]] = {site.label: [] for site in stack}
    for site, head, attention in one.source.each_head(stack):
        sinks = None
        if one.sinks is not None:
            found = hide_sinks(attention, masks[site.label])
            attention, sinks = found.weights, found.columns
        if one.is_weighed:
            attention = attention * one.source.value_norms(site.label, head).astype(np.float32)
        shown = show_attention(attention, masks[site.label], hidden, group, sinks)
        rows[site.label].append(_patches(one, shown) if one.is_image else reduce_to(one.cut(shown.seen()), TILE_PIXELS))
    return make_sprite(list(rows.values()))


def _long_tile(one: OneInput, site: Site, head: int, hidden: np.ndarray) -> np.ndarray:
    shown, _ = through_look(one.selection, one.source, [(site, head)], hidden)
    return blocks_of(shown.windows(), len(shown.units.first), TILE_PIXELS)


def _patches(one: OneInput, shown: Shown) -> np.ndarray:
    """Weights of the picked token (the mean query) on the grid of patches, NaN where hidden."""
    unit = shown.unit(one.token)
    weights = np.where(shown.sinks, np.nan, shown.weights.mean(axis=0))
    if unit is not None:
        weights = {QUERY: shown.seen()[unit], KEY: shown.seen()[:, unit]}[one.selection.kind]
    row, column = (one.tokens[name].fillna(-1).to_numpy(dtype=int) for name in ("row", "column"))
    grid = np.full((row.max() + 1, column.max() + 1), np.nan, dtype=np.float32)
    is_shown = (row >= 0) & (shown.unit_of >= 0)
    grid[row[is_shown], column[is_shown]] = weights[shown.unit_of[is_shown]]
    return grid
