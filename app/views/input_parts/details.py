"""Beside the picture: the strongest weights of the picked token, as a list."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import KEY, QUERY
from app import widgets
from app.charts.scales import weight_exactly
from app.views.input_parts.one_input import OneInput

LISTED = 8

_NONE = -1
"""In the list of tokens: none of them."""


def details(one: OneInput, labels: list[str]) -> None:
    """Which way the picked token is read, and its strongest weights.

    Args:
        labels: Name of every unit.
    """
    kind, picked = one.selection.kind, one.picked
    words = {QUERY: "looks at", KEY: "looked at by"}
    st.segmented_control(
        "For the picked token, show what it", list(words), format_func=words.get, required=True,
        label_visibility="collapsed", width="stretch",
        **widgets.bound("input_kind", kind, lambda chosen: widgets.select(kind=chosen)),
    )  # fmt: skip
    if one.is_image:
        _pick_token(one, labels)
    weights = one.drawn_weights()
    order = np.argsort(-np.nan_to_num(np.abs(weights), nan=-1), kind="stable")[:LISTED]
    order = order[np.isfinite(weights[order])]
    if picked is None:
        st.caption(f"No token picked: the {LISTED} largest means over queries")
    else:
        way = f"its {LISTED} strongest keys" if kind == QUERY else f"the {LISTED} that look at it most"
        st.caption(f"**{widgets.plain(labels[picked])}** · position {one.places[picked]} · {way}")
    if picked is not None and one.site.query_sequence and picked not in one.spans[0 if kind == QUERY else 1]:
        has, lacks = ("key", "query") if kind == QUERY else ("query", "key")
        other = f"it is a {has} here and no {lacks}" if one.is_cross else "this stack does not read it"
        st.caption(f"Nothing to list: {other}.")
    frame = pd.DataFrame(
        {
            "token": [labels[i] for i in order],
            "at": [one.places[i] for i in order],
            "weight": weights[order].astype(float),
        }
    )
    st.dataframe(
        frame.style.format({"weight": weight_exactly}),
        key="input_listed",
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            "token": st.column_config.TextColumn("key" if kind == QUERY else "query", width=90),
            "at": st.column_config.TextColumn("at", help="Position in the input, from 0.", width=44),
            "weight": st.column_config.NumberColumn("weight", width=74),
        },
    )
    if picked is not None and st.button("Clear", key="input_release", help="Pick no token", type="tertiary"):
        one.pick(None)
        st.rerun(scope="fragment")


def _pick_token(one: OneInput, labels: list[str]) -> None:
    """A list of the patches: what a click on the picture does, for who has no pointer. A text has its sentence."""
    first = one.shown.first.tolist()
    names = {_NONE: "no token picked", **dict(zip(first, labels))}
    chosen = _NONE if one.picked is None else first[one.picked]
    st.selectbox(
        "Picked token", list(names), format_func=names.get, label_visibility="collapsed",
        **widgets.bound("input_token", chosen, lambda at: one.pick(None if at == _NONE else at)),
    )  # fmt: skip
