"""The row of pages at the top. Its links carry the whole selection, as the address has it when they are used."""

from __future__ import annotations

import streamlit as st

from app.components import register
from app.glossary import TERMS

_mount = register("nav", parts=("terms", "charts"))


def pages_row(pages: list[tuple[str, str]], current: str) -> str | None:
    """Draw the row: skip link, pages, tour, charts to save, copy button; it also explains every term of the page, see
    terms.js.

    Args:
        pages: Name in the address and title of each page; the first is the landing page.
        current: Name of the page shown.

    Returns:
        The page to go to, or None.
    """
    with st.container(key="nav"):
        data = {
            "pages": [{"name": name, "title": title} for name, title in pages],
            "current": current,
            "terms": {term.name: term.sentence for term in TERMS},
        }
        return _mount(key="nav_row", data=data, on_go_change=lambda: None).go
