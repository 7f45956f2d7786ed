"""Synthetic runs of which attention received and residual states are kept, with sinks of all levels by design."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from analysis.sinks.received import attention_received
from analysis.sinks.state_figures import primary_of, state_figures
from analysis.store import RunWriter
from analysis.types import BatchStates, SiteCapture
from tests.sinks.made import SINK, make_run_with_sinks
from tests.store import synthetic

WIDTH = 16
FIRST, LIVES = 2, 3
"""Layer from which the state of secondary sinks points where the primary sink's does, and for how many."""

SECONDARY_AT = (4, 6)
"""Their positions."""

MASSIVE = 5
"""The dimension in which sinks are large."""

KEPT = 0.75
"""What a learned sink leaves of each row."""


def make_run_with_states(
    folder: Path, run_id: str, *, with_states: bool = True, learned: bool = False, **more: Any
) -> Path:
    """As `tests.sinks.made.make_run_with_sinks`: `SINK` is the primary sink of every input, `SECONDARY_AT` are
    secondary sinks from layer `FIRST` on, for `LIVES` layers; with `learned` rows sum to `KEPT`."""
    rng = np.random.default_rng(7)
    put = RunWriter.put_batch

    def put_all(writer: RunWriter, captures: Any, *arguments: Any) -> None:
        if learned:
            captures = [[_with_learned_sink(one) for one in of_input] for of_input in captures]
        received = {(one.input_id, one.site.index): _received(one) for of_input in captures for one in of_input}
        figures = {}
        for of_input in captures if with_states else ():
            site, n_tokens = of_input[0].site, of_input[0].queries.shape[1]
            figures[of_input[0].input_id, site.stack_label] = _figures(rng, of_input, n_tokens)
        put(writer, captures, *arguments, received=received, state_figures=figures)

    sites = _sites if learned else _plain_sites
    with (
        mock.patch.object(RunWriter, "put_batch", put_all),
        mock.patch.object(synthetic, "make_tables", _tables),
        mock.patch.object(synthetic, "make_sites", sites),
    ):
        return make_run_with_sinks(folder, run_id, **more)


def _with_learned_sink(one: SiteCapture) -> SiteCapture:
    site = replace(one.site, has_sink_logits=True)
    return replace(one, site=site, attention=one.attention * np.float32(KEPT), must_store=True)


def _sites(*arguments: Any) -> list:
    return [replace(site, has_sink_logits=True) for site in _plain_sites(*arguments)]


_plain_sites = synthetic.make_sites


def _tables(*arguments: Any) -> tuple:
    inputs, tokens, columns = _plain_tables(*arguments)
    if "char_start" in tokens:
        tokens["word_class"] = np.where(tokens["text"] == ".", "punctuation", "word")
    return inputs, tokens, columns


_plain_tables = synthetic.make_tables


def _received(one: SiteCapture) -> tuple[np.ndarray, np.ndarray]:
    whole, others = attention_received(one.attention[None], one.allowed[None])
    return whole[0], others[0]


def _figures(rng: np.random.Generator, sites: list[SiteCapture], n_tokens: int) -> dict[str, np.ndarray]:
    others = np.concatenate([_received(one)[1] for one in sites])
    n_queries = sites[0].allowed.sum(axis=0) - 1
    primary = primary_of(others, n_queries, 8)
    states = []
    for layer in range(len(sites) + 1):
        state = rng.normal(0, 0.3, (1, n_tokens, WIDTH)).astype(np.float32)
        if 0 < layer < len(sites) - 1:
            state[0, primary, MASSIVE] = 20
        if FIRST <= layer < FIRST + LIVES:
            state[0, [at for at in SECONDARY_AT if at < n_tokens], MASSIVE] = 8
        states.append(state)
    added = [after - before for before, after in pairwise(states)]
    batch = BatchStates("", (0,), (n_tokens,), states, added)
    figures = {name: values[:, 0] for name, values in state_figures(batch, [primary]).items()}
    return figures | {"is_primary": (np.arange(n_tokens) == primary).astype(np.float32)[None]}


__all__ = ["FIRST", "KEPT", "LIVES", "MASSIVE", "SECONDARY_AT", "SINK", "WIDTH", "make_run_with_states"]
