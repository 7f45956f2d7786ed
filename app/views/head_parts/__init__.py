"""What the Head view can do besides showing one head: other maps, like points, two heads side by side, new inputs."""

from __future__ import annotations

import streamlit as st

from app import widgets
from app.state import RunFacts, Selection
from app.views.head_parts.compare import both_names, pick_beside, say_close
from app.views.head_parts.map_choice import pick_map, say_map, whole_page_waits
from app.views.head_parts.new_points import say_new


def render_top(sentence: str, selection: Selection, right: Selection | None, facts: RunFacts) -> None:
    """Above the picture: what the head does, which map is shown, and what to set beside it."""
    if whole_page_waits():
        st.rerun()
    words, which_map, other = st.columns([1, 0.22, 0.17], vertical_alignment="center", gap="small")
    with words:
        widgets.say(sentence) if right is None else st.markdown(both_names(selection, right, facts))
    with which_map:
        pick_map(selection)
    with other:
        if right is None:
            pick_beside(selection, facts)
        else:
            say_close()
    say_map(selection, facts)
    say_new(selection, facts)
