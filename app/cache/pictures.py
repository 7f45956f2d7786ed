"""Pictures of one input kept between reruns: all its heads as small maps, and the overview of a long text."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.store.run import runs_dir
from analysis.types import Site
from app import cache
from app.charts.head_maps import TILE_PIXELS, make_overview, make_sprite, reduce_to

TOGETHER_TOKENS = 512
"""Longest input of which all heads are held in memory at once; of longer ones one head at a time."""


def allowed(run_id: str, site: str, input_id: int) -> np.ndarray:
    """True where the query may attend to the key, ``[query, key]``."""
    return _allowed(run_id, str(runs_dir()), cache.stamp(run_id), site, input_id)


def text_sprite(run_id: str, stack: str, input_id: int) -> tuple[bytes, tuple[int, int]]:
    """The matrices of every head of a stack on one text, rows are layers: PNG and pixels of a tile."""
    return _text_sprite(run_id, str(runs_dir()), cache.stamp(run_id), stack, input_id)


def image_sprite(run_id: str, stack: str, input_id: int, token: int | None, kind: str) -> tuple[bytes, tuple[int, int]]:
    """For every head of a stack the image's patches shaded for one token (or the mean query): PNG and tile pixels."""
    return _image_sprite(run_id, str(runs_dir()), cache.stamp(run_id), stack, input_id, token, kind)


def overview(run_id: str, site: str, head: int, input_id: int) -> bytes:
    """The whole matrix of one head on one long text as a PNG."""
    return _overview(run_id, str(runs_dir()), cache.stamp(run_id), site, head, input_id)


@st.cache_data(max_entries=64, show_spinner=False)
def _allowed(run_id: str, folder: str, stamp: str, site: str, input_id: int) -> np.ndarray:
    return cache.run(run_id).allowed(site, input_id)


@st.cache_data(max_entries=4, show_spinner=False)
def _all_heads(run_id: str, folder: str, stamp: str, stack: str, input_id: int) -> list[np.ndarray]:
    run = cache.run(run_id)
    attention = run.attention_all(input_id)
    return [attention[site.key] for site in run.sites if site.stack_label == stack]


@st.cache_data(max_entries=32, show_spinner=False)
def _text_sprite(run_id: str, folder: str, stamp: str, stack: str, input_id: int) -> tuple[bytes, tuple[int, int]]:
    run = cache.run(run_id)
    sites = [site for site in run.sites if site.stack_label == stack]
    masks = [allowed(run_id, site.label, input_id) for site in sites]
    if len(masks[0]) <= TOGETHER_TOKENS:
        layers = _all_heads(run_id, folder, stamp, stack, input_id)
        return make_sprite([[np.where(mask, head, np.nan) for head in layer] for mask, layer in zip(masks, layers)])

    def small(site: Site, mask: np.ndarray, head: int) -> np.ndarray:
        return reduce_to(np.where(mask, run.attention(site, head, input_id), np.nan), TILE_PIXELS)

    return make_sprite([[small(site, mask, head) for head in range(site.n_heads)] for site, mask in zip(sites, masks)])


@st.cache_data(max_entries=64, show_spinner=False)
def _image_sprite(
    run_id: str, folder: str, stamp: str, stack: str, input_id: int, token: int | None, kind: str
) -> tuple[bytes, tuple[int, int]]:
    tokens = cache.tokens(run_id)
    rows = tokens[tokens["input_id"] == input_id].sort_values("position")
    place = rows["row"].fillna(-1).to_numpy(dtype=int)
    patches = np.flatnonzero(place >= 0)
    n_rows, n_columns = place.max() + 1, int(rows["column"].fillna(-1).max()) + 1

    def patch_map(head: np.ndarray) -> np.ndarray:
        weights = head.mean(axis=0) if token is None else head[token] if kind == "query" else head[:, token]
        return weights[patches].reshape(n_rows, n_columns)

    return make_sprite(
        [[patch_map(head) for head in layer] for layer in _all_heads(run_id, folder, stamp, stack, input_id)]
    )


@st.cache_data(max_entries=16, show_spinner=False)
def _overview(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> bytes:
    weights = cache.attention(run_id, site, head, input_id)
    return make_overview(np.where(allowed(run_id, site, input_id), weights, np.nan))
