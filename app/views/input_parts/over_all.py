"""The tab beside the single input: what the head does on all inputs of the run."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.metrics.averages import Averages
from app import cache
from app.cache import pictures
from app.charts.over_inputs import average_words, make_offset_bars, make_position_map, offset_table, position_table
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.tables import save_csv, show_table


def over_all(one: OneInput) -> None:
    """Mean weight by position and by offset, of the shown heads, and their tables."""
    hides = one.sinks is not None
    means = mean_of([pictures.averages(one.run_id, site.label, head, hides=hides) for site, head in one.heads])
    positions, offsets = position_table(means), offset_table(means)
    left, right = st.columns([1.35, 1], gap="small")
    with left:
        st.altair_chart(make_position_map(positions, one.scale.name), width="content", key="input_positions")
    with right:
        if one.is_cross:
            st.caption(
                "No offsets here: queries and keys are tokens of two sequences, between whose places there is no "
                "distance."
            )
        else:
            st.altair_chart(make_offset_bars(offsets), width="content", key="input_offsets")
    if one.site.query_sequence:
        st.caption(
            f"Positions count within the sequence: queries in the {one.site.query_sequence}, keys in the "
            f"{one.site.key_sequence}."
        )
    st.caption(average_words(means, len(cache.facts(one.run_id).n_tokens), hides))
    with st.expander("Tables"):
        show_table(positions, 240)
        save_csv(f"{len(positions):,} pairs of positions", lambda: positions.to_csv(index=False), one, "positions")
        if not one.is_cross:
            show_table(offsets, 240)
            save_csv(f"{len(offsets):,} offsets", lambda: offsets.to_csv(index=False), one, "offsets")


def mean_of(found: list[Averages]) -> Averages:
    """The plain mean over heads, whose inputs and masks are the same."""
    first = found[0]
    return first._replace(
        by_position=np.mean([each.by_position for each in found], axis=0),
        by_offset=np.mean([each.by_offset for each in found], axis=0),
        farther=float(np.mean([each.farther for each in found])),
    )
