"""A new text or image in the map of a head: its points, marked as new, where the map can take them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.pipeline.new_input import NEW_INPUT, NewInput
from analysis.sinks import hide_sinks
from analysis.types import QUERY
from app import cache, widgets
from app.cache import two_texts, whole
from app.cache.new_input import NEW, SPOT, asked_for, is_offered, new_input, new_points, spot
from app.charts.attended import strongest_ties
from app.charts.neighbours import LINES, LINES_WORD, describe_pick
from app.components.scatter import NewPoints
from app.state import RunFacts, Selection
from app.views.head_parts.map_choice import WANT, show_map


def points_of_new(selection: Selection) -> tuple[NewPoints | None, str]:
    """What the picture draws as new, and a word that differs whenever it does; None where there is nothing to draw."""
    made = _drawn(selection)
    if made is None:
        return None, ""
    new, where = str(asked_for(selection)), (selection.site, selection.head)
    sides = made.query_positions(selection.site), made.key_positions(selection.site)
    queries, keys = (
        _at(len(made.tokens), side, places)
        for side, places in zip(sides, new_points(selection.run, new, *where, selection.map))
    )
    norms = {
        f"{kind}_norm": _at(len(made.tokens), side, np.linalg.norm(vectors, axis=1).astype(np.float32))
        for kind, side, vectors in zip(("query", "key"), sides, (made.queries(*where), made.keys(*where)))
    }
    allowed = whole.block_in(len(made.tokens), *sides, made.allowed(selection.site))
    ties = strongest_ties([(_attention(selection, made)[0], allowed)])
    words = made.tokens["text"].astype(str).tolist()
    sinks = " without sinks" if selection.hides_sinks else ""
    tokens, text = _with_text(made)
    points = NewPoints(queries, keys, words, tokens, text or "", norms | ties)
    return points, hashlib.blake2b(new.encode(), digest_size=8).hexdigest() + sinks


def picked_new(selection: Selection) -> dict[str, Any] | None:
    """What the panel says of the picked token of the new input; None where none is, or this map does not draw it.

    Its points come after those of the run: first the new queries, then the new keys.
    """
    made = _drawn(selection)
    place = None if made is None else spot(selection, len(made.tokens))
    if made is None or place is None:
        return None
    attention, hidden = _attention(selection, made)
    rule = selection.option(LINES_WORD, LINES)
    tokens, text = _with_text(made)
    found = describe_pick(attention, tokens, NEW_INPUT, place, selection.kind, text, rule, hidden)
    if made.image is not None:
        found |= {"image": f"data:image/png;base64,{base64.b64encode(made.image).decode()}", "image_alt": "New image"}
    first = 2 * len(cache.tokens(selection.run))
    lists = {side: _after(found[side], first) for side in ("sees", "seen")}
    return {**found, **lists, "point": found["point"] + first}


def new_vector(selection: Selection) -> tuple[str, np.ndarray] | None:
    """The text and the query, or the key, of the picked token of the new input, ``[d_head]`` in fp32; None where none
    is picked, this map does not draw it, or the token has none here."""
    made = _drawn(selection)
    place = None if made is None else spot(selection, len(made.tokens))
    if made is None or place is None:
        return None
    of_kind = (made.queries, made.query_positions) if selection.kind == QUERY else (made.keys, made.key_positions)
    vectors, positions = of_kind[0](selection.site, selection.head), of_kind[1](selection.site)
    rows = np.flatnonzero(positions == place)
    return (str(made.tokens["text"].iloc[place]), vectors[rows[0]]) if len(rows) else None


def _after(listed: dict[str, Any], first: int) -> dict[str, Any]:
    """A list of neighbours whose points are counted on from `first`."""
    rows = [{**row, "point": row["point"] + first} for row in listed["rows"]]
    return {**listed, "start": listed["start"] + first, "rows": rows}


def _drawn(selection: Selection) -> NewInput | None:
    """The new input, where this map draws it; `say_new` tells why it does not."""
    new = asked_for(selection)
    if new is None or not is_offered() or not _is_linear(selection):
        return None
    try:
        return new_input(selection.run, new)
    except UserError:
        return None


def _attention(selection: Selection, made: NewInput) -> tuple[np.ndarray, np.ndarray | None]:
    """The head's attention on the new input as it is drawn, and the keys that are hidden; None where nothing is."""
    sides = made.query_positions(selection.site), made.key_positions(selection.site)
    attention, allowed = (
        whole.block_in(len(made.tokens), *sides, block)
        for block in (made.attention(selection.site, selection.head), made.allowed(selection.site))
    )
    if not selection.hides_sinks:
        return attention, None
    found = hide_sinks(attention, allowed)
    return found.weights, found.columns


def _with_text(made: NewInput) -> tuple[pd.DataFrame, str | None]:
    """The tokens with their places in the text; in both texts as one, where the model reads two."""
    if made.target is None:
        return made.tokens, made.text
    return two_texts.of_one(made.tokens, str(made.text), made.target)


def _at(n_tokens: int, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows of some tokens as rows of all: NaN elsewhere."""
    rows = np.full((n_tokens, *values.shape[1:]), np.nan, dtype=np.float32)
    rows[positions] = values
    return rows


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
        "Take it away", key="new_away", type="tertiary", width="stretch",
        on_click=lambda: widgets.select(**{NEW: None, SPOT: None}),
    )  # fmt: skip


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
