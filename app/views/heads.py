"""Heads: what every head does, as a scatter and as a grid of one measure, linked; names, trends and comparison."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.errors import UserError
from app import cache, widgets
from app.components.headboard import headboard
from app.state import Selection, resolve
from app.views import View
from app.views.heads_parts.board import likeness, make_board
from app.views.heads_parts.choice import COMPARED, LIKENESS, Choice, read_choice, write_compared
from app.views.heads_parts.compare import compare_table, table_of_all
from app.views.heads_parts.controls import filter_row, names_row, pick_measures
from app.views.heads_parts.importance import importance_line
from app.views.heads_parts.picked import of_picked
from app.views.heads_parts.summary import summary_of
from app.views.heads_parts.thresholds import names_and_thresholds
from app.views.heads_parts.trends import trends

BOARD, RUN, STACK = "heads_board", "heads_run", "heads_stack"

LAYOUT = """
<style>
.st-key-heads_top [data-testid="stPills"] button, .st-key-heads_top [data-testid="stButtonGroup"] button {
  min-height: 26px; padding: 1px 9px; font-size: 13px; }
.st-key-heads_top { gap: 0.35rem; }
</style>
"""
"""The names are small. No data goes in here."""


def render_heads(selection: Selection) -> None:
    """Draw the page."""
    st.html(LAYOUT)
    st.session_state[RUN] = str(selection.run)
    st.session_state[STACK] = _stack(selection)
    body(str(selection.run))


@st.fragment
def body(run_id: str) -> None:
    """All but the left column: what a pick, a filter or another measure draws anew."""
    selection, _ = resolve(widgets.current().having(run=run_id), cache.facts(run_id))
    try:
        draw(read_choice(selection))
    except UserError as error:
        widgets.say_problem(str(error))
    if st.session_state.get(STACK) != _stack(selection):
        st.rerun()  # the left column names the stack


def draw(choice: Choice) -> None:
    """The sentence, what is chosen, both pictures, and what belongs under them."""
    selection = choice.selection
    with st.container(key="heads_top"):
        counted = " Sinks are counted in on this page." if selection.hides_sinks else ""
        widgets.say(summary_of(choice) + counted)
        names_row(choice)
        filter_row(choice)
        pick_measures(choice)
    with st.container(key="heads_picture"):
        places = places_of(choice) if choice.across == LIKENESS else None
        opened = headboard(
            make_board(choice, places), lambda row: pick(choice, row), lambda rows: compare(choice, rows), key=BOARD
        )
    if opened is not None:
        row = choice.scores.heads.iloc[opened]
        widgets.open_view("head", site=row["site"], head=int(row["head"]))
    of_picked(choice)
    compare_table(choice)
    trends(choice)
    names_and_thresholds(choice)
    importance_line(choice)
    table_of_all(choice, f"{selection.run}-heads.csv")


def places_of(choice: Choice) -> pd.DataFrame | None:
    """The heads by likeness; None, with the reason on the page, where they cannot be arranged."""
    try:
        with st.spinner("Arranging the heads …"):
            return likeness(choice)
    except UserError as error:
        widgets.say_problem(str(error))
        return None


def pick(choice: Choice, row: int | None) -> None:
    """A head was clicked, or let go."""
    if row is None:
        widgets.select(head=None)
    else:
        picked = choice.scores.heads.iloc[row]
        widgets.select(site=picked["site"], head=int(picked["head"]))


def compare(choice: Choice, rows: list[int]) -> None:
    """Several heads were selected."""
    widgets.select(**{COMPARED: write_compared(rows, choice.scores)})


def _stack(selection: Selection) -> str:
    return cache.facts(selection.run).site(selection.site).stack_label


VIEW = View("Heads", ":material/bubble_chart:", order=40, render=render_heads)
"""What the page Heads is to the frame."""
