"""More like this point: the nearest of the same kind in the head's own space, over all inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from analysis.types import KEY, Site, head_name
from app import cache, marks, widgets
from app.cache.new_input import SPOT
from app.cache.vectors import nearest_points, nearest_to_new, small_image
from app.charts.nearest import Nearest, describe_found
from app.components.similar import similar
from app.palette import KEY as KEY_COLOUR
from app.palette import QUERY as QUERY_COLOUR
from app.state import Selection
from app.views.head_parts.new_points import new_vector

NEAR = "near"
"""The word of the link that says how many like points are listed."""

OTHERS = "near_words"
COUNTS = ("12", "30", "100")
LIST = "head_similar"


def render_similar(selection: Selection, site: Site, side: str = "") -> None:
    """Under the picture: a button while a point is picked, and the list once it was asked for.

    Args:
        side: Told of the right one of two heads, whose list follows what is chosen at the left one.
    """
    new = new_vector(selection)
    if new is None and (selection.input is None or selection.token is None):
        return
    if selection.options.get(NEAR) not in COUNTS:
        if side:
            return
        st.button(
            "More like this point", key="similar_open", icon=":material/join_inner:",
            on_click=lambda: widgets.select(**{NEAR: COUNTS[0]}), help=_HELP,
        )  # fmt: skip
        return
    n = int(selection.options[NEAR])
    others = selection.options.get(OTHERS) == "other" and bool(cache.input_texts(selection.run))
    like = _like_picked(selection, site, n, others) if new is None else _like_new(selection, site, *new, n, others)
    _list(selection, site, like, side)


_HELP = (
    "The points of the same kind with the least Euclidean distance in this head's full space (not on the map), "
    "in every input of the run."
)


class _Like(NamedTuple):
    """The picked point and what is like it.

    Attributes:
        word: Text of its token.
        row: Its row of the token table; none for a token that the run does not hold.
    """

    word: str
    row: list[int]
    found: Nearest


def _like_picked(selection: Selection, site: Site, n: int, others: bool) -> _Like:
    tokens = cache.tokens(selection.run)
    mine = (tokens["input_id"].to_numpy() == selection.input) & (tokens["position"].to_numpy() == selection.token)
    row = int(np.flatnonzero(mine)[0])
    found = nearest_points(selection.run, site.label, selection.head, selection.kind, row, n, others)
    return _Like(str(tokens["text"].iloc[row]), [row], found)


def _like_new(selection: Selection, site: Site, word: str, vector: np.ndarray, n: int, others: bool) -> _Like:
    where = selection.run, site.label, selection.head, selection.kind
    return _Like(word, [], nearest_to_new(*where, vector, word, n, others))


def _list(selection: Selection, site: Site, like: _Like, side: str) -> None:
    tokens, texts, found = cache.tokens(selection.run), cache.input_texts(selection.run), like.found
    rows = describe_found(found, tokens, selection.kind, texts)
    name = head_name(site.depth, selection.head)
    title = f"The {len(rows)} {_plural(selection.kind)} nearest to “{like.word.strip()}” in {name}"
    _head_row(selection, title, np.append(found.rows, like.row).astype(int), side)
    if not rows:
        st.caption("No other token of another text: the run has only this one.")
        return
    st.caption(
        f"Euclidean distance of the {site.d_head} numbers of each {selection.kind}; 0.00 is the same vector, "
        f"{found.typical:.2f} the median of all {len(tokens):,} here (a full bar). Computed exactly, not on the map."
    )
    images = {} if texts else {each["input"]: small_image(selection.run, each["input"]) for each in rows}
    similar(
        rows, images, colour=KEY_COLOUR if selection.kind == KEY else QUERY_COLOUR, farthest=max(found.typical, 1e-9),
        label=title, key=LIST + side, on_pick=lambda point: widgets.select(**point, **{SPOT: None}),
    )  # fmt: skip


_AS_TALL = "<div style='height:2.5rem'></div>"
"""As high as a button: both lists begin on one line."""


def _head_row(selection: Selection, title: str, rows: np.ndarray, side: str) -> None:
    words, close = st.columns([1, 0.12], vertical_alignment="center", gap="small")
    words.markdown(f"**{widgets.plain(title)}**")
    count, mark, others = st.columns([1, 1, 1.4], vertical_alignment="center", gap="small")
    mark.button(
        "Mark everywhere", key=f"similar_mark{side}", width="stretch", icon=":material/ink_highlighter:",
        help="These tokens and the picked one stand out in every view until you clear the marks.",
        on_click=_mark, args=(selection.run, rows, title[0].lower() + title[1:]),
    )  # fmt: skip
    if side:
        count.caption("as many as at the left")
        close.html(_AS_TALL)
        return
    with count:
        st.segmented_control(
            "How many", COUNTS, required=True, label_visibility="collapsed", width="stretch",
            **widgets.bound("similar_count", selection.options[NEAR], lambda n: widgets.select(**{NEAR: n})),
        )  # fmt: skip
    if cache.input_texts(selection.run):
        _pick_others(selection, others)
    close.button(
        "Close", key="similar_close", type="tertiary", width="stretch",
        on_click=lambda: widgets.select(**{NEAR: None, OTHERS: None}),
    )  # fmt: skip


def _mark(run_id: str, rows: np.ndarray, title: str) -> None:
    """Mark them instead of what a lasso holds."""
    marks.pick_tokens(run_id, rows, title)
    widgets.select(**{marks.LASSO: None})


def _pick_others(selection: Selection, place: Any) -> None:
    only = selection.options.get(OTHERS) == "other"
    place.toggle(
        "Other tokens only", help="Leave out tokens of the same text.",
        **widgets.bound("similar_others", only, lambda is_on: widgets.select(**{OTHERS: "other" if is_on else None})),
    )  # fmt: skip


def _plural(kind: str) -> str:
    return "keys" if kind == KEY else "queries"
