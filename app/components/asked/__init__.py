"""The address that somebody asked for who had to sign in first: kept by their own tab, and gone to afterwards."""

from __future__ import annotations

import streamlit as st

from app.components import register

_mount = register("asked")


def keep_asked() -> None:
    """Before signing in: this tab keeps its address."""
    _draw(keep=True)


def go_to_asked() -> None:
    """Afterwards the provider sends everybody to the first page: on to the address that the tab has kept, once."""
    _draw(keep=False)


def _draw(keep: bool) -> None:
    with st.container(key="asked"):  # which takes no room: see app/style.py
        _mount(key="asked_by_tab", data={"keep": keep})
