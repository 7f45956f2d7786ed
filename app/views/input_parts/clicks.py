"""Charts that can be clicked, and the row that chooses between pictures."""

from __future__ import annotations

from collections.abc import Callable

import altair as alt
import streamlit as st

from app import widgets


def clickable(chart: alt.Chart, picks: dict[str, Callable[[dict], None]], key: str) -> None:
    """Draw a chart whose point selections call a function with the values of the mark that was clicked."""

    def picked() -> None:
        for name, then in picks.items():
            points = st.session_state[key].selection.get(name) or []
            if points:
                then(points[0])

    st.altair_chart(chart, width="content", key=key, on_select=picked, selection_mode=list(picks))


def choose(option: str, words: dict[str, str], shown: str) -> None:
    """A row of words of which one is chosen; the link says which."""
    st.segmented_control(
        option, list(words), format_func=words.get, required=True, label_visibility="collapsed",
        **widgets.bound(f"input_{option}", shown, lambda word: widgets.select(**{option: word})),
    )  # fmt: skip
