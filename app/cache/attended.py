"""Attention of a whole head kept between reruns, for what asks about many points at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import streamlit as st

from analysis.store.run import runs_dir
from analysis.types import KEY, QUERY
from app import cache
from app.cache import whole

MOST_CELLS = 20_000_000
"""Attention of all inputs of a head is held in memory up to so many weights; beyond, one input is read at a time."""


def fits(run_id: str) -> bool:
    """Whether a head's attention on all inputs is small enough to read at once."""
    return sum(n * n for n in cache.facts(run_id).n_tokens.values()) <= MOST_CELLS


def by_input(run_id: str, site: str, head: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """For each input in order: its rows of the token table, the head's attention on it, and where it is allowed."""
    if fits(run_id):
        pairs = zip(*_all(run_id, str(runs_dir()), cache.stamp(run_id), site, head))
    else:
        run = cache.run(run_id)

        def read(each: int) -> list[np.ndarray]:
            blocks = run.shares(site, head, each), run.allowed(site, each)
            return [whole.matrix(run, site, each, block) for block in blocks]

        pairs = map(read, cache.facts(run_id).n_tokens)
    start = 0
    for attention, allowed in pairs:
        yield slice(start, start + len(attention)), attention, allowed
        start += len(attention)


def norms(run_id: str, site: str, head: int) -> dict[str, np.ndarray]:
    """Euclidean norms of a head's ``query``, ``key`` and ``value`` vectors, float32 in token-table order; NaN where a
    token has none."""
    return _norms(run_id, str(runs_dir()), cache.stamp(run_id), site, head)


@st.cache_resource(max_entries=2, show_spinner=False)
def _all(run_id: str, folder: str, stamp: str, site: str, head: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    run = cache.run(run_id)
    ids, both = run.lengths_of(""), (run.shares_by_input(site, head), run.allowed_by_input(site))
    return tuple([whole.matrix(run, site, each, one) for each, one in zip(ids, of_inputs)] for of_inputs in both)


@st.cache_data(max_entries=16, show_spinner=False)
def _norms(run_id: str, folder: str, stamp: str, site: str, head: int) -> dict[str, np.ndarray]:
    run = cache.run(run_id)
    found = {"query": run.queries(site, head), "key": run.keys(site, head)}
    lengths = {kind: np.linalg.norm(vectors, axis=1) for kind, vectors in found.items()}
    lengths["value"] = run.value_norms(site, head)
    return {
        kind: whole.rows(run, site, QUERY if kind == "query" else KEY, values.astype(np.float32))
        for kind, values in lengths.items()
    }
