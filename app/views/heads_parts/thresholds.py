"""The thresholds by which heads get their names: changing one renames at once."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import widgets
from app.cache import head_figures as kept
from app.views.heads_parts.choice import LIMITS, Choice, label_counts, write_limits

CLOSED = "Names of heads: thresholds"


def names_and_thresholds(choice: Choice) -> None:
    """A number for every threshold beside what it asks, and how many heads have the name now."""
    opened = st.expander(CLOSED, key="heads_thresholds", on_change="rerun", expanded=bool(choice.limits))
    if not opened.open:
        return
    with opened:
        st.caption(
            "A head gets every name whose rows all hold; it may have several or none. A name needs an interval that "
            "excludes chance. Changed thresholds are in the link."
        )
        counts = label_counts(choice.labels)
        rows = [row for row in kept.thresholds() if set(row["metrics"]) & set(choice.scores.measures)]
        rows = [row for row in rows if not (row["images_only"] and choice.is_text)]
        left, right = st.columns(2, gap="large")
        half = (len(rows) + 1) // 2
        for column, part in ((left, rows[:half]), (right, rows[half:])):
            with column:
                for row in part:
                    _threshold(choice, row, counts)
        st.button(
            "Back to the table of thresholds", key="heads_limits_back", disabled=not choice.limits,
            on_click=lambda: widgets.select(**{LIMITS: None}),
        )  # fmt: skip
        _because(choice)


def _threshold(choice: Choice, row: dict[str, Any], counts: dict[str, int]) -> None:
    name = row["name"]
    words, number = st.columns([1, 0.36], gap="small", vertical_alignment="center")
    n = counts.get(row["label"], 0)
    changed = f" (before: {row['limit']:g})" if name in choice.limits else ""
    words.markdown(
        f"**{widgets.plain(name)}** · {n} {'head' if n == 1 else 'heads'}  \n"
        f"<small>{widgets.plain(row['measures'])} {row['comparison']}{changed}</small>",
        unsafe_allow_html=True,
        help=f"{row['explains']} {kept.comparisons()[row['comparison']]} Source: {row['source']}.",
    )
    now = float(choice.limits.get(name, row["limit"]))
    number.number_input(
        name, 0.0, 1.0, step=0.05, format="%.2f", label_visibility="collapsed",
        **widgets.bound(f"heads_limit_{name}", now, lambda limit: set_limit(choice, name, limit)),
    )  # fmt: skip


def set_limit(choice: Choice, name: str, limit: float) -> None:
    """One threshold was changed; one that cannot be is refused with the reason."""
    limits = {**choice.limits, name: limit}
    from analysis.errors import UserError
    from analysis.labels import changed_thresholds

    try:
        changed_thresholds(limits)
    except UserError as error:
        st.toast(widgets.plain(str(error)), icon=":material/error:")
        return
    widgets.select(**{LIMITS: write_limits(limits)})


def _because(choice: Choice) -> None:
    """Every name with what speaks for it."""
    names = dict(zip(zip(choice.scores.heads["site"], choice.scores.heads["head"]), choice.scores.heads["name"]))
    shown = choice.labels.copy()
    shown.insert(0, "name", [names.get(place, "") for place in zip(shown["site"], shown["head"])])
    shown = shown.sort_values(["label", "strength"], ascending=[True, False])
    st.dataframe(
        shown[["name", "label", "strength", "because", "site"]], hide_index=True, height=260,
        column_config={
            "strength": st.column_config.NumberColumn(format="%.2f", help="0 to 1: how pure the pattern is."),
            "because": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip
    st.download_button(
        "Download CSV", lambda: shown.to_csv(index=False), f"{choice.selection.run}-names.csv", "text/csv",
        on_click="ignore", key="heads_take_names",
    )  # fmt: skip
