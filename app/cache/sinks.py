"""What the page Sinks keeps: towers, tables, levels, and the slow parts, each by run and thresholds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from analysis.pipeline.sinks import classes_of, levels_of, sinks_of, width_of
from analysis.sinks import SinkFindings, SinkRule, received_at
from analysis.sinks.geometry import head_geometry
from analysis.sinks.groups import able_tokens
from analysis.sinks.levels import LevelRule, Levels
from analysis.sinks.massive import VisualSinkRule, large_norms, visual_sinks
from analysis.sinks.summary import sum_up
from analysis.sinks.towers import Tower, read_tower
from analysis.store.one_sequence import OneSequence, of_stack
from analysis.store.run import runs_dir
from app import cache
from app.charts.sink_places import place_table


class Seen(NamedTuple):
    """What the masks alone say of the tokens of a tower.

    Attributes:
        even: What the primary sink of each input would receive if attention were even, ``[layer, input]``.
        able: True at tokens that enough queries see to be a sink, ``[point]``.
    """

    even: np.ndarray
    able: np.ndarray


def stacks(run_id: str) -> list[str]:
    """The towers, in the order of the forward pass."""
    return list(dict.fromkeys(site.stack_label for site in cache.facts(run_id).sites))


def tokens(run_id: str, stack: str) -> pd.DataFrame:
    """The tokens that are the keys of a tower, in the order of whatever is kept of them here; shared."""
    return _tokens(run_id, str(runs_dir()), cache.stamp(run_id), stack)[0].copy(deep=False)


def counted(run_id: str, stack: str) -> pd.DataFrame:
    """The same with positions that count within the tower's own sequence, as those of the tables do; shared."""
    return _tokens(run_id, str(runs_dir()), cache.stamp(run_id), stack)[1].copy(deep=False)


def tower(run_id: str, stack: str, rule: SinkRule) -> Tower:
    """What every token of a tower receives. Not to be written to.

    Raises:
        RunError: The run was made before sinks were measured, with what to do.
    """
    return _tower(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule))


def seen(run_id: str, stack: str, rule: SinkRule) -> Seen:
    """What the masks say; not to be written to."""
    return Seen(*_seen(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule)))


def findings(run_id: str, rule: SinkRule, stack: str) -> SinkFindings:
    """The tables of sinks, of all towers, and overall of those that share their keys with one; `site` is the key of the
    site. Shared.

    Raises:
        RunError: The run was made before sinks were measured.
    """
    by_head, overall = _findings(run_id, str(runs_dir()), cache.stamp(run_id), *_parts(rule))
    if "sequence" in overall:
        site = next(site for site in cache.facts(run_id).sites if site.stack_label == stack)
        overall = overall[overall["sequence"] == site.key_sequence]
    return SinkFindings(by_head.copy(deep=False), overall.copy(deep=False))


def classes(run_id: str, stack: str) -> np.ndarray:
    """The class of every token of `tokens`."""
    return _classes(run_id, str(runs_dir()), cache.stamp(run_id), stack)


def figures(run_id: str, stack: str) -> dict[str, np.ndarray]:
    """What was measured of the states of a tower, by measure; empty where nothing was."""
    return _figures(run_id, str(runs_dir()), cache.stamp(run_id), stack)


def levels(run_id: str, stack: str, rule: SinkRule, of_levels: LevelRule) -> Levels | None:
    """First layer and lifetime of what is sink-like; None where states were not measured."""
    similar, long, short = of_levels.similar, of_levels.long, of_levels.short
    return _levels(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule), similar, long, short)


def sentence(run_id: str, stack: str, rule: SinkRule, of_levels: LevelRule) -> str:
    """What the sinks of a tower are, as `analysis.pipeline.sinks.sum_up_sinks` says it, under these thresholds."""
    found = levels(run_id, stack, rule, of_levels)
    return sum_up(tower(run_id, stack, rule), found, counted(run_id, stack), classes(run_id, stack))


def received(run_id: str, site: str, counts_own: bool) -> np.ndarray:
    """Mean attention that every token receives in each head of a site, ``[head, point]``; NaN where nobody sees it."""
    return _received(run_id, str(runs_dir()), cache.stamp(run_id), site, counts_own)


def width(run_id: str, stack: str) -> int:
    """Width of the residual state of a tower."""
    return width_of(cache.run(run_id), stack)


def geometry(run_id: str, stack: str, rule: SinkRule) -> pd.DataFrame:
    """Key norm, value norm and angle of the primary sink in every head, `site` being its label; shared."""
    return _geometry(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule)).copy(deep=False)


def frames(run_id: str, stack: str, rule: SinkRule) -> pd.DataFrame:
    """The reference frame of every layer, and of all of them as layer -1; shared."""
    return _frames(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule)).copy(deep=False)


def places(run_id: str, stack: str, rule: SinkRule) -> pd.DataFrame:
    """How often the patch at each place is a sink, layer by layer, as `app.charts.sink_places.place_table`; shared."""
    return _places(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule)).copy(deep=False)


def massive_patches(
    run_id: str, stack: str, rule: SinkRule, of_states: VisualSinkRule
) -> tuple[np.ndarray, np.ndarray]:
    """Which patches are visual sinks, and which have a large norm, in front of each layer, ``[layer, point]``; none
    where states were not measured."""
    limits = (of_states.threshold(width(run_id, stack)), of_states.first_layer, of_states.norm)
    return _massive_patches(run_id, str(runs_dir()), cache.stamp(run_id), stack, *_parts(rule), *limits)


def _parts(rule: SinkRule) -> tuple[float, int, bool]:
    return rule.threshold, rule.min_queries, rule.counts_own


@st.cache_resource(max_entries=8, show_spinner=False)
def _tower(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool
) -> Tower:
    return read_tower(of_stack(cache.run(run_id), stack), stack, SinkRule(threshold, min_queries, counts_own))


@st.cache_resource(max_entries=8, show_spinner=False)
def _seen(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool
) -> tuple[np.ndarray, np.ndarray]:
    rule = SinkRule(threshold, min_queries, counts_own)
    found = _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own)
    even, able = [], np.zeros(len(found.inputs), dtype=bool)
    for site in received_at(of_stack(cache.run(run_id), stack), rule, found.sites):
        even.append(site.even[found.primary])
        able |= able_tokens(site.n_queries, found.inputs, rule)
    return cache.frozen(np.stack(even)), cache.frozen(able)


@st.cache_resource(max_entries=8, show_spinner=False)
def _findings(
    run_id: str, folder: str, stamp: str, threshold: float, min_queries: int, counts_own: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tuple(sinks_of(cache.run(run_id), SinkRule(threshold, min_queries, counts_own)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _classes(run_id: str, folder: str, stamp: str, stack: str) -> np.ndarray:
    return cache.frozen(classes_of(of_stack(cache.run(run_id), stack)))


@st.cache_resource(max_entries=8, show_spinner=False)
def _tokens(run_id: str, folder: str, stamp: str, stack: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    part, everything = of_stack(cache.run(run_id), stack), cache.tokens(run_id)
    if not isinstance(part, OneSequence):
        return everything, everything
    own = everything.iloc[part.rows].reset_index(drop=True)
    return own, own.assign(position=own.groupby("input_id").cumcount())


@st.cache_resource(max_entries=4, show_spinner=False)
def _figures(run_id: str, folder: str, stamp: str, stack: str) -> dict[str, np.ndarray]:
    return {name: cache.frozen(values) for name, values in cache.run(run_id).state_figures(stack).items()}


@st.cache_resource(max_entries=8, show_spinner=False)
def _levels(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool,
    similar: float, long: int | None, short: int | None,
) -> Levels | None:  # fmt: skip
    found = _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own)
    levels = levels_of(cache.run(run_id), found, LevelRule(similar, long, short))
    if levels is None:
        return None
    # Positions are those in the input, which links and clicks mean.
    position = tokens(run_id, stack)["position"].to_numpy()[levels.tokens["row"].to_numpy(dtype=np.int64)]
    return levels._replace(tokens=levels.tokens.assign(position=position))


@st.cache_resource(max_entries=32, show_spinner=False)
def _received(run_id: str, folder: str, stamp: str, site: str, counts_own: bool) -> np.ndarray:
    return cache.frozen(cache.run(run_id).received(site, counts_own=counts_own))


@st.cache_resource(max_entries=4, show_spinner=False)
def _geometry(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool
) -> pd.DataFrame:
    run = of_stack(cache.run(run_id), stack)
    found = head_geometry(run, _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own))
    return found.assign(site=found["site"].map({site.key: site.label for site in run.sites}))


@st.cache_resource(max_entries=4, show_spinner=False)
def _frames(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool
) -> pd.DataFrame:
    from analysis.sinks.frames import frames as find_frames

    part = of_stack(cache.run(run_id), stack)
    return find_frames(part, _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own))


@st.cache_resource(max_entries=8, show_spinner=False)
def _places(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool
) -> pd.DataFrame:
    found = _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own)
    return place_table(found.share, tokens(run_id, stack))


@st.cache_resource(max_entries=4, show_spinner=False)
def _massive_patches(
    run_id: str, folder: str, stamp: str, stack: str, threshold: float, min_queries: int, counts_own: bool,
    ratio: float, first_layer: int, norm: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    found = _tower(run_id, folder, stamp, stack, threshold, min_queries, counts_own)
    measured, n_layers = _figures(run_id, folder, stamp, stack), len(found.sites)
    none = np.zeros(found.share.shape, dtype=bool)
    if not measured:
        return none, none
    rule = VisualSinkRule(ratio, first_layer, norm)
    is_patch = (tokens(run_id, stack)["row"].fillna(-1) >= 0).to_numpy()
    visual = visual_sinks(measured, is_patch, width(run_id, stack), rule)[:n_layers]
    large = large_norms(measured["norm"], is_patch, found, rule)[:n_layers]
    return cache.frozen(visual), cache.frozen(large)
