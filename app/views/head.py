"""Head: being built."""

from __future__ import annotations

import streamlit as st

from app.state import Selection
from app.views import View


def render_head(selection: Selection) -> None:
    """Draw the page."""
    st.write("run", selection.run)


VIEW = View("Head", ":material/scatter_plot:", order=20, render=render_head)
