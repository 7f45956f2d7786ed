"""What is kept of texts too long for a whole matrix to be held: sums of heads, figures of what is shown, columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import streamlit as st

from analysis.pipeline.long_sums import HeadSums, is_read_in_windows, sum_up, widened
from analysis.sinks import USUAL, hide_columns
from analysis.store.run import runs_dir
from analysis.store.windows import Window
from analysis.types import Site
from app import cache


def is_long(run_id: str, input_id: int, site: Site) -> bool:
    """Whether the attention of a head on an input is read some queries at a time.

    Not where the weights are signed, which are stored whole, nor of pictures and of inputs of several sequences.
    """
    n_tokens = cache.facts(run_id).n_tokens.get(input_id, 0)
    return is_read_in_windows(site, n_tokens, has_text=input_id in cache.input_texts(run_id))


def windows(run_id: str, site: str, head: int, input_id: int, starts: list[int] | None = None) -> Iterator[Window]:
    """Attention of one head on one input, window after window, as measures take it."""
    return cache.run(run_id).attention_windows(site, head, input_id, starts)


def head_sums(run_id: str, site: str, head: int, input_id: int) -> HeadSums:
    """Where a head looks on average, and its sinks. Not to be written to."""
    return _head_sums(run_id, str(runs_dir()), cache.stamp(run_id), site, head, input_id)


def drawn(
    run_id: str, site: str, head: int, input_id: int, hides: bool
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """First query, weights and mask of each window, over all keys; with sinks hidden if `hides`."""
    n = cache.facts(run_id).n_tokens[input_id]
    sinks = head_sums(run_id, site, head, input_id).sinks if hides else None
    for window in windows(run_id, site, head, input_id):
        weights, allowed = widened(window, n)
        yield window.rows.start, weights if sinks is None else hide_columns(weights, sinks).weights, allowed


def row_and_column(
    run_id: str, site: str, head: int, input_id: int, position: int, hides: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What the query of one token puts on every key, and what every query puts on its key; with sinks hidden if
    `hides`. Not to be written to."""
    return _row_and_column(run_id, str(runs_dir()), cache.stamp(run_id), site, head, input_id, position, hides)


def kept(what: str, run_id: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, some MB at most, kept under `what`, which must name everything it depends on but the run."""
    return _kept(what, run_id, str(runs_dir()), cache.stamp(run_id), make)


@st.cache_resource(max_entries=16, show_spinner="Reading a long text …")
def _kept(what: str, run_id: str, folder: str, stamp: str, _make: Callable[[], Any]) -> Any:
    return _make()


@st.cache_resource(max_entries=64, show_spinner="Reading a long text …")
def _head_sums(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> HeadSums:
    return sum_up(windows(run_id, site, head, input_id), cache.facts(run_id).n_tokens[input_id], USUAL)


@st.cache_resource(max_entries=32, show_spinner="Reading a long text …")
def _row_and_column(
    run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int, position: int, hides: bool
) -> tuple[np.ndarray, np.ndarray]:
    row, columns = None, []
    for first, weights, _ in drawn(run_id, site, head, input_id, hides):
        if first <= position < first + len(weights):
            row = weights[position - first].copy()
        columns.append(weights[:, position].copy())
    return cache.frozen(row), cache.frozen(np.concatenate(columns))
