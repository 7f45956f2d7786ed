"""A new text or image in the map of a head: its points, marked as new, where the map can take them."""

from __future__ import annotations

import hashlib

import streamlit as st

from analysis.errors import UserError
from app import cache, widgets
from app.cache.new_input import NEW, asked_for, is_offered, new_input, new_points
from app.components.scatter import NewPoints
from app.state import RunFacts, Selection
from app.views.head_parts.map_choice import WANT, show_map


def points_of_new(selection: Selection) -> tuple[NewPoints | None, str]:
    """What the picture draws as new, and a word that differs whenever it does; None where there is nothing to draw."""
    new = asked_for(selection)
    if new is None or not is_offered() or not _is_linear(selection):
        return None, ""
    try:
        queries, keys = new_points(selection.run, new, selection.site, selection.head, selection.map)
        words = new_input(selection.run, new).tokens["text"].astype(str).tolist()
    except UserError:  # `say_new` tells why
        return None, ""
    return NewPoints(queries, keys, words), hashlib.blake2b(new.encode(), digest_size=8).hexdigest()


def say_new(selection: Selection, facts: RunFacts) -> None:
    """Above the picture, while the link holds a new input: what is drawn of it, or the way to see it."""
    new = asked_for(selection)
    if new is None or selection.map is None:
        return
    words, show, away = st.columns([1, 0.24, 0.16], vertical_alignment="center", gap="small")
    words.caption(_sentence(selection, new))
    linear = next((name for name in facts.maps if cache.projection(selection.run, name)["method"] == "linear"), None)
    if is_offered() and not _is_linear(selection):
        show.button(
            "Show the linear map" if linear else "Make a linear map", key="new_linear", width="stretch",
            on_click=lambda: show_map(linear) if linear else widgets.select(**{WANT: "linear-2d"}),
        )  # fmt: skip
    away.button(
        "Take it away", key="new_away", type="tertiary", width="stretch", on_click=lambda: widgets.select(**{NEW: None})
    )


def _sentence(selection: Selection, new: str) -> str:
    what = f"“{_short(new)}”" if cache.input_texts(selection.run) else "the new image"
    if not _is_linear(selection):
        return widgets.plain(f"Not on this map: {what}. Only a linear map takes points that the run does not hold.")
    try:
        made = new_input(selection.run, new)
    except UserError as error:
        return f":material/error: {widgets.plain(str(error))}"
    n, cut = len(made.tokens), "".join(f" {note}" for note in made.notes)
    return widgets.plain(
        f"★ new: the {n:,} queries and {n:,} keys of {what}, placed by the matrices of this map, which was not fitted "
        f"on them.{cut}"
    )


def _is_linear(selection: Selection) -> bool:
    return cache.projection(selection.run, selection.map)["method"] == "linear"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
