"""Input: one text or image through one head, or through the average of several."""

from __future__ import annotations

import streamlit as st

from analysis.errors import UserError
from analysis.types import QUERY, Site, head_name
from app import cache, widgets
from app.cache.new_input import asked_for
from app.charts.text_attention import short_token
from app.charts.words import percent
from app.state import Selection, resolve
from app.views import View
from app.views.input_parts import image_pictures, text_pictures
from app.views.input_parts.clicks import choose
from app.views.input_parts.details import details
from app.views.input_parts.input_picker import averaged_with, pick_row
from app.views.input_parts.long_input import is_long, read_long
from app.views.input_parts.looks import looks_popover
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.over_all import over_all
from app.views.input_parts.part_of_input import shown_part
from app.views.input_parts.picture_of_text import PICTURE, picture_of_text, pictures_of_text
from app.views.input_parts.read_one import read_one
from app.views.input_parts.sound_pictures import sound_strip
from app.views.input_parts.sources import leaves_new, source_of
from app.views.input_parts.steps import at_step, steps
from app.views.input_parts.strip import strip
from app.views.input_parts.windowed import rhythm

LAYOUT = """
<style>
@media (max-width: 1000px) {
  .st-key-input_waad, .st-key-input_fai, .st-key-input_lines { overflow-x: auto; }
}
</style>
"""
"""On narrow screens only a wide chart scrolls sideways. No data goes in here."""


def render_input(selection: Selection) -> None:
    """Draw the page."""
    st.html(LAYOUT)
    _draw(selection.run)


@st.fragment
def _draw(run_id: str) -> None:
    try:
        _view(run_id)
    except UserError as error:
        widgets.say_problem(str(error))
        if asked_for(widgets.current()) is not None:
            st.button("Back to the inputs of the run", on_click=lambda: widgets.select(**leaves_new()))


def _view(run_id: str) -> None:
    facts = cache.facts(run_id)
    if not facts.n_tokens or not facts.sites:
        raise UserError(f"Run {run_id} has no inputs or no attention: extract it again.")
    selection, _ = resolve(widgets.current().having(run=run_id), facts)
    inputs = cache.inputs(run_id)
    if selection.input is None:
        selection = selection.having(input=int(inputs["input_id"].iloc[0]))
    site = facts.site(selection.site)
    stack = [each for each in facts.sites if each.stack_label == site.stack_label]
    pick_row(selection, inputs, site, stack, facts)
    source = shown_part(source_of(selection), site)
    heads = _averaged(selection, stack)
    one = (read_long if is_long(source, heads) else read_one)(at_step(selection, source), source, heads)
    with st.container(key="input_said"):
        widgets.say(_summary(one) + _hidden(one), quiet=True)
    steps(one)
    pictures = image_pictures.PICTURES if one.is_image else pictures_of_text(one)
    if one.is_sound:
        sound_strip(one)
    if not one.is_image:
        text_pictures.text_sentence(one)
    shown = selection.option("show", pictures)
    n_rows = len(one.labels) if shown == "map" and not one.is_image else 0
    st.html(f"<style>html {{ --input-rows: {n_rows}; }}</style>")
    with st.container(key="input_two_image" if one.is_image else "input_two_text"):
        picture, beside = st.columns([3.7, 1], gap="small")
    with beside:
        looks_popover(one)
        details(one, image_pictures.unit_names(one) if one.is_image else one.labels)
    with picture:
        choose("show", pictures, shown)
        if one.notes:
            st.caption(widgets.plain(" ".join(one.notes)))
        if shown == "all":
            over_all(one)
        elif one.is_image:
            image_pictures.image_picture(one, shown)
        elif shown == PICTURE:
            picture_of_text(one)
        else:
            text_pictures.text_picture(one, shown)
    if shown != "all":
        rhythm(one, stack)
    strip(one, stack, facts)


def _averaged(selection: Selection, stack: list[Site]) -> list[tuple[Site, int]]:
    """The picked head and those it is averaged with, each once."""
    known = {head_name(site.depth, head): (site, head) for site in stack for head in range(site.n_heads)}
    own = next((site, selection.head) for site in stack if site.label == selection.site)
    return list(dict.fromkeys([own, *(known[name] for name in averaged_with(selection) if name in known)]))


def _summary(one: OneInput) -> str:
    """What the head does here, in one sentence, of the attention itself."""
    if one.is_cross:
        return _summary_of_cross(one)
    n, (on_first, on_own, on_previous) = len(one.source.query_positions(one.site)), one.means
    first = "CLS" if one.is_image and bool(one.tokens["is_special"].iloc[0]) else "the first token"
    parts = [
        f"{percent(on_first)} of its weight on {first}",
        f"{percent(on_own)} on the token itself",
    ]
    if not one.is_image:
        parts.append(f"{percent(on_previous)} on the previous token")
    what = one.what
    new = "new " if asked_for(one.selection) is not None else ""
    means = "means" if one.sinks is None else "means, sinks counted in"
    side = "" if one.is_part else one.site.query_sequence
    of = f"{n:,} tokens" if not side else f"the {side}, {n:,} tokens"
    return f"On this {new}{what} of {of}, {one.names} puts {parts[0]}, {', '.join(parts[1:])} ({means})."


def _summary_of_cross(one: OneInput) -> str:
    """The same where the queries are the tokens of one sequence and the keys those of another."""
    n_queries, n_keys = one.block.shape
    received = one.block.mean(axis=0)
    top, special = int(received.argmax()), one.tokens["is_special"].to_numpy(dtype=bool)
    places = one.source.key_positions(one.site)
    named = short_token(str(one.tokens["text"].iloc[places[top]]))
    counted = "" if one.sinks is None else ", sinks counted in"
    return (
        f"From {n_queries:,} tokens of the {one.site.query_sequence} to {n_keys:,} of the {one.site.key_sequence}, "
        f"{one.names} puts {percent(received[top])} of its weight on “{named}” at {places[top]}, the most on one "
        f"token, and {percent(received[special[places]].sum())} on special tokens (means{counted})."
    )


def _hidden(one: OneInput) -> str:
    """How much of the attention is hidden with the sinks."""
    if one.sinks is None:
        return ""
    names = image_pictures.token_names(one) if one.is_image else [short_token(str(text)) for text in one.tokens["text"]]
    return " " + one.sinks.sentence(one.names, names, one.token if one.selection.kind == QUERY else None)


VIEW = View("Input", ":material/article:", order=30, render=render_input)
