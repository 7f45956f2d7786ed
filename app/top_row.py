"""The top row, the same in every view: the pages, tour, link and search."""

from __future__ import annotations

import streamlit as st

from app import widgets
from app.components.nav import pages_row
from app.state import Selection
from app.views import VIEWS, View


def top_row(view: View, selection: Selection) -> None:
    """Draw it, and go where it asks to."""
    with st.container(key="top", horizontal=True):
        go = pages_row([(each.name, each.title) for each in VIEWS], view.name)
        widgets.search_box(selection)
    if go is not None:
        widgets.open_view(go, tour=None)
