"""The names of a head in one line: what it is called by what it does, and how surely."""

from __future__ import annotations

import streamlit as st

from app import widgets
from app.cache import head_figures
from app.glossary import meaning
from app.state import Selection


def say_names(selection: Selection) -> None:
    """``induction 0.84 · first-token sink 0.36``, or that it has none; pointing at it tells the reasons."""
    found = head_figures.labels(selection.run)
    mine = found[(found["site"] == selection.site) & (found["head"] == selection.head)]
    mine = mine.sort_values("strength", ascending=False)
    said = " · ".join(f"**{widgets.plain(row.label)}** {row.strength:.2f}" for row in mine.itertuples())
    reasons = [f"{widgets.plain(row.label)}: {widgets.plain(row.because)}" for row in mine.itertuples()]
    first = meaning("name of a head", "The number is how pure the pattern is, 0 to 1.")
    st.caption(said or "No name", help="  \n".join([first, *reasons]))
