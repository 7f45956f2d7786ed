"""Attention without its sinks, kept between reruns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import streamlit as st

from analysis.pipeline.without_sinks import heads_without_sinks
from analysis.sinks import Hidden, hide_sinks
from analysis.store.run import runs_dir
from app import cache
from app.cache import attended, long_inputs, pictures


def attention(run_id: str, site: str, head: int, input_id: int) -> Hidden:
    """One head on one input with its sinks hidden. Not to be written to."""
    read = _long_attention if cache.facts(run_id).n_tokens.get(input_id, 0) > cache.LONG_TOKENS else _attention
    return read(run_id, str(runs_dir()), cache.stamp(run_id), site, head, input_id)


def weights(run_id: str, site: str, head: int, input_id: int, hides: bool) -> np.ndarray:
    """What is drawn of a head on one input, ``[query, key]``: with sinks hidden, or the attention itself."""
    if hides:
        return attention(run_id, site, head, input_id).weights
    return cache.attention(run_id, site, head, input_id)


def by_input(run_id: str, site: str, head: int, hides: bool) -> Iterator[tuple]:
    """As `app.cache.attended.by_input`, with sinks hidden if `hides`; of long inputs one window of queries after the
    other, with the rows of these before those of the input."""
    found = cache.run(run_id).site(site)
    lengths = cache.facts(run_id).n_tokens
    if not any(long_inputs.is_long(run_id, each, found) for each in lengths):
        for rows, drawn, allowed in attended.by_input(run_id, site, head):
            yield rows, hide_sinks(drawn, allowed).weights if hides else drawn, allowed
        return
    start = 0
    for each, n in lengths.items():
        rows, start = slice(start, start + n), start + n
        if long_inputs.is_long(run_id, each, found):
            for first, drawn, allowed in long_inputs.drawn(run_id, site, head, each, hides):
                begin = rows.start + first
                yield slice(begin, begin + len(drawn)), rows, drawn, allowed
        else:
            yield rows, weights(run_id, site, head, each, hides), pictures.allowed(run_id, site, each)


def heads(run_id: str, metrics: tuple[str, ...] = ()) -> tuple[pd.DataFrame, int]:
    """All heads without their sinks, `site` being its label, and how many inputs the figures rest on; shared.

    Args:
        metrics: Scores to measure again, as `analysis.pipeline.without_sinks.heads_without_sinks` does.
    """
    table, n_inputs = _heads(run_id, str(runs_dir()), cache.stamp(run_id), metrics)
    return table.copy(deep=False), n_inputs


@st.cache_resource(max_entries=2, show_spinner=False)
def _long_attention(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> Hidden:
    return _hide(run_id, site, head, input_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _attention(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> Hidden:
    return _hide(run_id, site, head, input_id)


def _hide(run_id: str, site: str, head: int, input_id: int) -> Hidden:
    found = hide_sinks(cache.attention(run_id, site, head, input_id), pictures.allowed(run_id, site, input_id))
    cache.frozen(found.weights)
    return found


@st.cache_resource(max_entries=16, show_spinner="Measuring the heads without sinks …")
def _heads(run_id: str, folder: str, stamp: str, metrics: tuple[str, ...]) -> tuple[pd.DataFrame, int]:
    run = cache.run(run_id)
    found = heads_without_sinks(run, metrics)
    labels = {site.key: site.label for site in run.sites}
    return found.heads.assign(site=found.heads["site"].map(labels).astype(str)), found.n_inputs
