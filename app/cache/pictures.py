"""What is kept of single inputs between reruns: masks, all heads at once, value norms, scores and means over inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import streamlit as st

from analysis.metrics.averages import Averages, average_attention, sample_inputs
from analysis.sinks import USUAL, hide_sinks
from analysis.store.run import runs_dir
from analysis.types import KEY, Site
from app import cache
from app.cache import long_inputs, whole

TOGETHER_TOKENS = 512
"""Longest input of which all heads are held in memory at once; of longer ones one head at a time."""


def allowed(run_id: str, site: str, input_id: int) -> np.ndarray:
    """True where the query may attend to the key, ``[query, key]``."""
    read = _long_allowed if cache.facts(run_id).n_tokens.get(input_id, 0) > cache.LONG_TOKENS else _allowed
    return read(run_id, str(runs_dir()), cache.stamp(run_id), site, input_id)


def each_head(run_id: str, stack: list[Site], input_id: int) -> Iterator[tuple[Site, int, np.ndarray]]:
    """Every head of a stack with its attention on one input, layer by layer."""
    if cache.facts(run_id).n_tokens[input_id] <= TOGETHER_TOKENS:
        layers = _all_heads(run_id, str(runs_dir()), cache.stamp(run_id), stack[0].stack_label, input_id)
        for site, heads in zip(stack, layers):
            yield from ((site, head, attention) for head, attention in enumerate(heads))
    else:
        for site in stack:
            yield from (
                (site, head, cache.attention(run_id, site.label, head, input_id)) for head in range(site.n_heads)
            )


def value_norms(run_id: str, site: str, head: int) -> np.ndarray:
    """Length of the value vector that a head reads at every token, in token-table order."""
    return _value_norms(run_id, str(runs_dir()), cache.stamp(run_id), site, head)


def score_part(run_id: str, site: str, head: int, input_id: int, part: str) -> np.ndarray:
    """What a head would attend to by ``content`` or by ``position`` alone, over all tokens of the input.

    Raises:
        RunError: The site adds no position bias to its scores.
    """
    run = cache.run(run_id)
    both = dict(zip(("content", "position"), run.score_parts(site, head, input_id), strict=True))
    return whole.matrix(run, site, input_id, both[part])


def scores_by_input(run_id: str, metric: str) -> pd.DataFrame:
    """Scores of every head on every input: site (label), head, input_id, value."""
    return _scores_by_input(run_id, str(runs_dir()), cache.stamp(run_id), metric)


def averages(run_id: str, site: str, head: int, n_positions: int = 64, hides: bool = False) -> Averages:
    """Mean attention of a head over the inputs of the run, or a sample of them where they are many or long; without
    its sinks if `hides`."""
    return Averages(*_averages(run_id, str(runs_dir()), cache.stamp(run_id), site, head, n_positions, hides))


@st.cache_resource(max_entries=64, show_spinner=False)
def _allowed(run_id: str, folder: str, stamp: str, site: str, input_id: int) -> np.ndarray:
    run = cache.run(run_id)
    return cache.frozen(whole.matrix(run, site, input_id, run.allowed(site, input_id)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _long_allowed(run_id: str, folder: str, stamp: str, site: str, input_id: int) -> np.ndarray:
    run = cache.run(run_id)
    return cache.frozen(whole.matrix(run, site, input_id, run.allowed(site, input_id)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _all_heads(run_id: str, folder: str, stamp: str, stack: str, input_id: int) -> list[np.ndarray]:
    run = cache.run(run_id)
    attention = run.shares_all(input_id)
    stack_sites = [site for site in run.sites if site.stack_label == stack]
    return [whole.matrix(run, site, input_id, attention[site.key]) for site in stack_sites]


@st.cache_resource(max_entries=32, show_spinner=False)
def _value_norms(run_id: str, folder: str, stamp: str, site: str, head: int) -> np.ndarray:
    run = cache.run(run_id)
    return cache.frozen(np.nan_to_num(whole.rows(run, site, KEY, run.value_norms(site, head))))


@st.cache_data(max_entries=8, show_spinner=False)
def _scores_by_input(run_id: str, folder: str, stamp: str, metric: str) -> pd.DataFrame:
    run = cache.run(run_id)
    labels = {site.key: site.label for site in run.sites}
    table = run.head_input_scores(metric)[["site", "head", "input_id", "value"]]
    return table.assign(site=table["site"].map(labels).astype(str))


@st.cache_data(max_entries=64, show_spinner="Averaging over the inputs …")
def _averages(run_id: str, folder: str, stamp: str, site: str, head: int, n_positions: int, hides: bool) -> tuple:
    run = cache.run(run_id)
    lengths = cache.facts(run_id).n_tokens
    ids = np.array(list(lengths))
    chosen = ids[sample_inputs(np.array(list(lengths.values())))].tolist()
    if any(long_inputs.is_long(run_id, each, run.site(site)) for each in chosen):
        maps = (_one_map(run_id, site, head, each, hides) for each in chosen)
        return tuple(average_attention(maps, n_positions))
    if len(chosen) == len(ids):
        maps = zip(run.shares_by_input(site, head), run.allowed_by_input(site))
    else:
        maps = ((run.shares(site, head, input_id), run.allowed(site, input_id)) for input_id in chosen)
    if hides:
        rule = USUAL.at(run.site(site))
        maps = ((hide_sinks(weights, mask, rule).weights, mask) for weights, mask in maps)
    return tuple(average_attention(maps, n_positions))


def _one_map(run_id: str, site: str, head: int, input_id: int, hides: bool) -> tuple | Iterator[tuple]:
    """Weights and mask of one input, or of a long one its windows."""
    run = cache.run(run_id)
    if long_inputs.is_long(run_id, input_id, run.site(site)):
        return long_inputs.drawn(run_id, site, head, input_id, hides)
    weights, mask = run.shares(site, head, input_id), run.allowed(site, input_id)
    return (hide_sinks(weights, mask, USUAL.at(run.site(site))).weights if hides else weights), mask
