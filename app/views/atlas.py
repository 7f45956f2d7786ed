"""Atlas: being built."""

from __future__ import annotations

import streamlit as st

from app.state import Selection
from app.views import View


def render_atlas(selection: Selection) -> None:
    """Draw the page."""
    st.write("run", selection.run)


VIEW = View("Atlas", ":material/grid_view:", order=10, render=render_atlas)
