"""What the pictures of the page share: title with table and file, charts that can be clicked, and legends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import altair as alt
import pandas as pd
import streamlit as st

from app import widgets
from app.glossary import meaning
from app.sentences import with_terms


def title_row(title: str, term: str, table: pd.DataFrame | None, file: str, key: str) -> None:
    """The title of a picture with its explanation, and behind a button the numbers and their file.

    Args:
        term: Of the glossary, which the question mark explains.
        table: None where there is none yet.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False, key=f"sinks_title_{key}"):
        st.markdown(f"**{widgets.plain(title)}**", help=meaning(term))
        if table is not None:
            with st.popover("Table", icon=":material/table:", width="content"):
                show_table(table, file, key)


def show_table(table: pd.DataFrame, file: str, key: str, height: int = 360) -> None:
    """The numbers, and their file."""
    numbers = {name: st.column_config.NumberColumn(format="%.3g") for name in table.select_dtypes("floating")}
    st.dataframe(table, hide_index=True, height=min(height, 38 + 35 * len(table)), column_config=numbers)
    st.download_button("Download CSV", lambda: table.to_csv(index=False), file, "text/csv", on_click="ignore",
                       key=f"sinks_take_{key}")  # fmt: skip


def clickable(chart: alt.Chart, picks: Mapping[str, Callable[[dict], None]], key: str) -> None:
    """A chart as wide as its column, whose point selections call a function with the values of what was clicked."""

    def picked() -> None:
        for name, then in picks.items():
            points = st.session_state[key].selection.get(name) or []
            if points:
                then(points[0])

    more = {"on_select": picked, "selection_mode": list(picks)} if picks else {}
    st.altair_chart(chart, width="stretch", key=key, **more)


def legend(colours: Mapping[str, str], note: str = "", dashed: str = "") -> None:
    """One line under a picture: what its colours are.

    Args:
        note: After them.
        dashed: Which of them is drawn dashed.
    """
    parts = [
        f'<span class="qk-swatch"><i style="border-top:3px {"dashed" if name == dashed else "solid"} '
        f'{escape(colour)}"></i>{with_terms(name)}</span>'
        for name, colour in colours.items()
    ]
    more = f'<span class="qk-note">{with_terms(note)}</span>' if note else ""
    st.html(f'<div class="qk-legend">{"".join(parts)}{more}</div>')
