"""What a first-time visitor sees: three sentences over the picture, and a tour of six steps through real elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.components import register
from app.components.tour.steps import Step
from app.palette import KEY, QUERY

_mount_welcome = register("tour", "welcome")
_mount_tour = register("tour")

WELCOME = (
    ("A cell", "is one attention head: rows are layers, columns the heads of a layer."),
    ("A point", "is one token in that head, drawn twice: as its query (what it looks for) and as its key (what it "
     "offers)."),
    ("A colour", "says which of the two: queries and keys; a query lies near the keys it attends to, as far as a plane "
     "can show it."),
)  # fmt: skip
"""What the page is made of: the word in bold, and the rest of its sentence."""


def welcome(is_first_look: bool, path: str | None) -> bool:
    """Draw the strip; the browser decides whether it shows, for it remembers who has read it.

    Args:
        is_first_look: The address has no words: somebody came to the page itself, not by a link.
        path: Name of the suggested path, or None without a run to follow it on.

    Returns:
        True when the path shall begin.
    """
    data = {"first": is_first_look, "path": path, "sentences": WELCOME, "colours": [QUERY, KEY]}
    with st.container(key="welcome"):
        return bool(_mount_welcome(key="welcome_strip", data=data, on_start_change=lambda: None).start)


def draw_tour(steps: Sequence[Step], now: int | None) -> int | None:
    """Draw the card of one step and point at its target; nothing where `now` is None.

    Returns:
        The step to go to, 0 to end the tour, None for neither.
    """
    step: dict[str, Any] | None = None
    if now is not None:
        shown = steps[now - 1]
        step = {"title": shown.title, "text": shown.text, "targets": list(shown.targets), "now": now, "of": len(steps)}
    with st.container(key="tour"):
        return _mount_tour(key="tour_card", data={"step": step}, on_go_change=lambda: None).go
