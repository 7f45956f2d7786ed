"""The numbers behind the pictures, to read and to take away."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import head_name
from app.cache import long_inputs
from app.charts.long_shown import strongest_pairs
from app.charts.text_attention import attention_table
from app.views.input_parts.one_input import OneInput

LISTED_PAIRS = 20_000
"""Most pairs of tokens in the table on the page; the file has all."""


def pair_table(one: OneInput, labels: list[str] | None = None) -> None:
    """All pairs, or of a long input the strongest ones: millions of rows would only stop the browser."""
    labels = labels or one.labels
    if one.is_long:
        _long_table(one, labels)
        return
    weights, allowed = one.drawn.weights, one.drawn.allowed
    n_pairs = int(allowed.sum())
    said = f"All {n_pairs:,} pairs."
    keep = allowed
    if n_pairs > LISTED_PAIRS:
        keep = np.zeros(weights.size, dtype=bool)
        keep[np.argpartition(-np.where(allowed, np.abs(weights), -1).ravel(), LISTED_PAIRS)[:LISTED_PAIRS]] = True
        keep = keep.reshape(weights.shape)
        said = f"The {LISTED_PAIRS:,} strongest of {n_pairs:,} pairs; the file and the picture have all of them."
    table = attention_table(weights, labels, one.places, keep)
    if n_pairs > LISTED_PAIRS:
        table = table.sort_values("weight", ascending=False, key=abs)
    show_table(_named(table))

    def everything() -> str:
        return _named(attention_table(weights, labels, one.places, allowed)).to_csv(index=False)

    save_csv(said, everything, one, "pairs")


def _long_table(one: OneInput, labels: list[str]) -> None:
    """The strongest pairs of a text whose matrix is not held."""
    n_pairs, key = one.shown.facts.n_allowed, f"pairs {one.view_key}"
    query, at, weight = long_inputs.kept(
        key, one.run_id, lambda: strongest_pairs(one.reader.windows(), LISTED_PAIRS)
    )  # fmt: skip
    names, places = np.array(labels, dtype=object), np.array(one.places, dtype=object)
    columns = {"query_at": places[query], "query_token": names[query], "key_at": places[at], "key_token": names[at]}
    table = _named(pd.DataFrame({**columns, "weight": weight.astype(float)}))
    show_table(table.sort_values("weight", ascending=False))
    said = f"The {len(table):,} strongest of {n_pairs:,} pairs, in the file too: all of them would be gigabytes."
    save_csv(said, lambda: table.to_csv(index=False), one, "pairs")


def _named(table: pd.DataFrame) -> pd.DataFrame:
    names = {"query_at": "query position", "query_token": "query", "key_at": "key position", "key_token": "key"}
    return table[[*names, "weight"]].rename(columns=names)


def show_table(frame: pd.DataFrame, height: int = 400) -> None:
    """Numbers in six significant digits."""
    st.dataframe(
        frame, hide_index=True, width="stretch", height=height,
        column_config={"weight": st.column_config.NumberColumn("weight", format="%.6g")},
    )  # fmt: skip


def save_csv(said: str, make: object, one: OneInput, what: str) -> None:
    """One line: what the table holds, and its file."""
    words, button = st.columns([1, 0.3], vertical_alignment="center")
    words.caption(said)
    site, head = one.heads[0]
    name = f"{one.run_id}-{head_name(site.depth, head)}-{what}.csv"
    button.download_button("Download CSV", make, name, "text/csv", on_click="ignore", key=f"input_csv_{what}")
