"""Sinks: which tokens swallow attention, from which layer, for how long, and what speaks for it."""

from __future__ import annotations

import streamlit as st

from analysis.errors import RunError, UserError
from app import cache, widgets
from app.cache import sinks as kept
from app.state import Selection, resolve
from app.views import View
from app.views.sinks_parts.below import below
from app.views.sinks_parts.beside import beside, compares, pick_beside
from app.views.sinks_parts.choice import Choice, read_choice
from app.views.sinks_parts.evidence import evidence
from app.views.sinks_parts.images import one_image, places
from app.views.sinks_parts.overview import by_layer, heads_by_share, levels, norms, sentence_of, top_tokens
from app.views.sinks_parts.settings import settings

STACK = "sinks_stack"
TWO_RUNS = "Two runs side by side: what their sinks are, the primary sink by layer, and the classes of tokens."

LAYOUT = """
<style>
.st-key-sinks_beside_0 p.qk-sentence, .st-key-sinks_beside_1 p.qk-sentence { min-height: 5.4rem; }
.st-key-sinks_beside_runs [data-testid="stMarkdownContainer"] > p { white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.st-key-sinks_picture div:has(> svg.marks) { width: 100% !important; }
.st-key-sinks_picture svg.marks { width: 100%; height: auto; }
.qk-legend { display: flex; flex-wrap: wrap; gap: 1px 12px; align-items: center; font-size: 12.5px; line-height: 1.35; }
.qk-swatch { display: inline-flex; gap: 5px; align-items: center; white-space: nowrap; }
.qk-swatch i { width: 14px; height: 0; display: inline-block; }
.qk-ramp { width: 70px; height: 9px; border-radius: 4px; }
.qk-note { color: color-mix(in srgb, currentColor 66%, transparent); }
</style>
"""
"""How its parts look; the room that is kept for them is in `app.style`. No data goes in here."""


def render_sinks(selection: Selection) -> None:
    """Draw the page."""
    st.html(LAYOUT)
    st.session_state[STACK] = _stack(selection)
    _body(str(selection.run))


@st.fragment
def _body(run_id: str) -> None:
    selection, _ = resolve(widgets.current().having(run=run_id), cache.facts(run_id))
    with st.container(key="sinks_page"):
        try:
            _draw(selection)
        except UserError as error:
            widgets.say_problem(str(error))
    if st.session_state.get(STACK) != _stack(selection):
        st.rerun()  # the left column names the stack


def _draw(selection: Selection) -> None:
    if not kept.stacks(str(selection.run)):
        raise RunError("Sinks are tokens that take the attention of others, and this run has no self-attention.")
    words, side = st.columns([3, 1], gap="medium")
    with words:
        words = st.container(key="sinks_said")
    try:
        with words, st.spinner("Reading what tokens receive …"):
            choice = read_choice(selection)
            said = sentence_of(choice)
    except RunError as error:
        return _nothing(str(selection.run), str(error))
    with words:
        widgets.say_notes(choice.notes)
        widgets.say(TWO_RUNS if compares(choice) else said)
    with side, st.container(key="sinks_controls"):
        settings(choice)
        pick_beside(choice)
    beside(choice)
    with st.container(key="sinks_row"):
        left, right = st.columns([3, 1], gap="medium")
    with left, st.container(key="sinks_overview"):
        _overview(choice)
    with right, st.container(key="sinks_evidence"):
        evidence(choice)
    if not choice.is_text:
        one_image(choice)
    return below(choice)


def _nothing(run: str, why: str) -> None:
    """A run without anything of sinks: what would be here, and what to do."""
    st.markdown("##### No sinks measured in this run")
    widgets.say("Here you would see which tokens swallow attention, from which layer on and for how long.")
    st.caption(widgets.plain(why))
    if st.button("All runs", icon=":material/database:", key="sinks_see_runs"):
        widgets.open_view("runs", row=run)


def _overview(choice: Choice) -> None:
    with st.container(key="sinks_first"):
        lines, table = st.columns([1, 2.06], gap="small")
        with lines:
            by_layer(choice)
        with table:
            top_tokens(choice)
            if not choice.is_text:
                places(choice)
    with st.container(key="sinks_second"):
        for place, part in zip(st.columns(3, gap="small"), (heads_by_share, levels, norms), strict=True):
            with place:
                part(choice)


def _stack(selection: Selection) -> str:
    return cache.facts(selection.run).site(selection.site).stack_label


VIEW = View("Sinks", ":material/water_drop:", order=50, render=render_sinks)
"""What the page Sinks is to the frame."""
