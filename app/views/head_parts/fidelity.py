"""How far the map of a head can be believed: one line under the picture, and every figure with one sentence."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import cache, widgets
from app.charts.fidelity import fidelity_note, fidelity_rows, fidelity_short, sample_note
from app.glossary import meaning
from app.state import Selection


def under_picture(selection: Selection, figures: dict[str, Any], side: str = "") -> None:
    """The line, and the panel that opens; nothing for a map without figures."""
    target = cache.projection(selection.run, selection.map)["target"]
    short, rows = fidelity_short(figures, target), fidelity_rows(figures, target)
    parameters = cache.head_parameters(selection.run, selection.map, selection.site, selection.head)
    notes = [note for note in (fidelity_note(figures), sample_note(parameters)) if note]
    if not rows:
        for note in notes:
            st.caption(widgets.plain(note))
        return
    line = {"horizontal": True, "vertical_alignment": "center", "gap": "small", "wrap": False}
    with st.container(**line, key=f"head_fidelity{side}"):
        st.caption(widgets.plain(" ".join([short, *notes])))
        with st.popover("All figures", help=meaning("fidelity")):
            st.markdown(f"**Fidelity of this map of {widgets.plain(selection.map)}**, this head alone")
            lines = [f"| {row['name']} | {row['value']} | {widgets.plain(row['meaning'])} |" for row in rows]
            st.markdown("\n".join(["| figure | value | what it says |", "|:--|--:|:--|", *lines]))
            for note in notes:
                st.caption(widgets.plain(note))
