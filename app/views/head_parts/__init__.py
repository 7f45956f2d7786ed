"""What the Head view can do besides showing one head: other maps, like points, two heads side by side, new inputs."""

from __future__ import annotations

import streamlit as st

from analysis.types import Site
from app import widgets
from app.state import RunFacts, Selection
from app.views.head_parts.map_choice import pick_map, say_map


def render_top(sentence: str, selection: Selection, facts: RunFacts, site: Site) -> None:
    """Above the picture: what the head does, which map is shown, and what to set beside it."""
    words, which_map = st.columns([1, 0.22], vertical_alignment="center", gap="small")
    words.markdown(widgets.plain(sentence))
    with which_map:
        pick_map(selection)
    say_map(selection, facts)
