"""Atlas: every head of the run as one small map, layers by heads."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app import cache, widgets
from app.cache import atlas
from app.charts.head_measures import in_families
from app.charts.head_order import ORDER_HELP, ORDERS
from app.charts.head_table import summary
from app.components.matrix import draw_card, draw_marks, draw_matrix
from app.state import EXPLAINED, RunFacts, Selection
from app.views import View
from app.views.atlas_parts import NO_TINT, marks_message, matrix_message, score_title, selected_points
from app.views.atlas_sinks import SinksOfHeads, say_counted_in, sinks_of_heads
from app.views.head_parts.map_choice import say_hidden, say_map

HINT = "Point at a head to see it here. Click keeps it, double click or Enter opens it."

READ_AHEAD = 4_000_000
"""Heads x tokens up to which the places of all points are read once the grid is shown, before anybody searches."""


def render_atlas(selection: Selection) -> None:
    """Draw the page."""
    facts = cache.facts(selection.run)
    heads = cache.heads(selection.run, selection.map)
    with st.container(key="atlas_said"):
        widgets.say(summary(heads))
    told = st.container()
    with st.container(key="atlas_row"):
        picture, side = st.columns([4, 1])
    with side, st.container(key="atlas_controls"):
        tint, order, by = pick_frame(selection, facts, heads)
    with picture, st.container(key="atlas_picture"):
        grid, waiting = st.container(), st.container()
        with waiting:
            sinks = sinks_of_heads(selection, facts, heads, (tint, by))
        with waiting, st.spinner("Drawing the heads …"):
            message = matrix_message(selection, facts, heads, tint, order, by, sinks)
        with grid:
            opened = draw_matrix(message, key="atlas_matrix", on_select=select_head)
        with waiting, st.spinner("Marking the points of all heads …"):
            lit = marks_message(selection, facts)
        with grid:
            draw_marks(lit, key="atlas_marks")
    with side:
        opened = opened or head_card(selection)
    if opened:
        widgets.open_view("head", **opened)
    if sinks is not None:
        with told:
            say_sinks(selection, facts, sinks)
    table(heads, sinks)
    read_places(selection, facts, len(heads))


def read_places(selection: Selection, facts: RunFacts, n_heads: int) -> None:
    """Read the places of all points into the cache, where they are not too many."""
    if selection.map and n_heads * sum(facts.n_tokens.values()) <= READ_AHEAD:
        for stack in facts.stacks:
            atlas.stack_pixels(selection.run, selection.map, stack)


def read_first_look(selection: Selection, facts: RunFacts) -> None:
    """Read what the page shows of a run at first into the caches; draws nothing."""
    heads = cache.heads(selection.run, selection.map)
    matrix_message(selection, facts, heads, None, "layer", None)
    read_places(selection, facts, len(heads))


def pick_frame(selection: Selection, facts: RunFacts, heads: pd.DataFrame) -> tuple[str | None, str, str | None]:
    """What the frames show, in which order the heads are, and by which score."""
    measures = in_families(facts.scores)
    scores = [EXPLAINED, *measures] if EXPLAINED in heads else measures
    tint = selection.score if selection.score in scores else None
    order = selection.option("order", ORDERS if scores else ("layer",))
    by = selection.option("by", scores, default=tint or scores[0]) if order != "layer" else None
    widgets.pick(
        "Frame shows", [NO_TINT, *scores], tint or NO_TINT,
        lambda name: {"score": None if name == NO_TINT else name}, key="pick_tint", format_func=score_title,
    )  # fmt: skip
    if selection.hides_sinks:
        say_counted_in(tint)
    if scores:
        widgets.pick(
            "Order", list(ORDERS), order, lambda word: set_order(word, by), key="pick_order", format_func=ORDERS.get,
            help=ORDER_HELP,
        )  # fmt: skip
    if by:
        widgets.pick("Ordered by", scores, by, lambda name: {"by": name}, key="pick_by", format_func=score_title)
    return tint, order, by


def say_sinks(selection: Selection, facts: RunFacts, sinks: SinksOfHeads) -> None:
    """How much is hidden, and whether the maps count it in."""
    say_hidden(sinks.sentence, selection, facts)
    if selection.map is not None:
        say_map(selection, facts)


def set_order(order: str, by: str | None) -> dict[str, str | None]:
    """Only the unusual order is worth words in the address."""
    return {"order": None, "by": None} if order == "layer" else {"order": order, "by": by}


def select_head() -> None:
    """The matrix says which head was clicked: the address remembers it."""
    place = st.session_state["atlas_matrix"].select
    widgets.select(site=place and place["site"], head=place and place["head"])


def head_card(selection: Selection) -> Mapping[str, object] | None:
    """The selected head larger and in words; hovering shows another without a rerun."""
    selected = points = None
    if widgets.current().head is not None:
        selected = {"site": selection.site, "head": selection.head}
        points = selected_points(selection) if selection.map else None
    return draw_card(selected, points, HINT, key="atlas_card")


def table(heads: pd.DataFrame, sinks: SinksOfHeads | None) -> None:
    """The same numbers as a table, to read, sort and take away; what sinks take, and scores without them, beside."""
    with st.expander("Table of all heads"):
        if sinks is not None:
            rest = sinks.heads.drop(columns=["site", "head", "learned", "n_emptied"])
            names = {"hidden": "share hidden", "n_hidden": "sinks an input"}
            heads = heads.join(rest.rename(columns=lambda name: names.get(name, f"{score_title(name)} without sinks")))
        shown = heads.rename(columns=score_title).drop(columns=["stack"])
        st.dataframe(shown, hide_index=True, height=320)
        st.download_button(
            "Download CSV", lambda: heads.to_csv(index=False), "heads.csv", "text/csv", on_click="ignore"
        )


VIEW = View("Atlas", ":material/grid_view:", order=10, render=render_atlas)
